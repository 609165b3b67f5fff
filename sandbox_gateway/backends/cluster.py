"""The sessions of a cluster: SandboxSessions in the namespaces of the callers."""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import time
from typing import TYPE_CHECKING, Any, Final

from sandbox_client import AsyncSandbox
from sandbox_client.cluster.client import AsyncCluster, ClusterControl
from sandbox_client.cluster.logs import read_logs
from sandbox_client.cluster.sessions import SessionApi, SessionRequest
from sandbox_client.errors import (
    Conflict,
    NotFound,
    ResourceExhausted,
    SandboxError,
    SandboxUnavailable,
    Unauthenticated,
)
from sandbox_client.lifecycle.session_info import format_time
from sandbox_client.options import ignore
from sandbox_gateway.backends.connections import Connections
from sandbox_gateway.backends.limits import (
    Rates,
    check_count,
    check_deadline,
    check_resume,
    check_visible,
    check_wake,
    complete_new,
    is_suspended,
    own_workspace,
    refuse_suspended,
    running_of,
    select,
    too_many,
    wake_seconds,
)
from sandbox_gateway.backends.notes import (
    ON_EXPIRY,
    OWNER_LABEL,
    owner_label,
    read_kept_choice,
    read_session,
    write_notes,
)
from sandbox_gateway.backends.starts import Starts
from sandbox_gateway.backends.waking import CountedWaker

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sandbox_gateway.backend import Caller, GatewaySession, NewSession

_START_SECONDS: Final = 120.0
_FRESH_SECONDS: Final = 2.0
"""Time for which a session that was read counts as current, for calls that follow one another."""
_ON_EXPIRY: Final = {"delete": "Delete", "suspend": "Suspend"}


class ClusterBackend:
    """The sessions of a cluster. Each caller sees one namespace.

    Args:
        client: The kubernetes package's ApiClient.
        aliases: Names of templates that clients use, and what they stand for; "" is the template `default`.
        is_direct: Whether the gateway reaches pods at their own addresses.
        start_seconds: Seconds that a session may take to start.
    """

    def __init__(
        self, client: Any, aliases: Mapping[str, str], *, is_direct: bool, start_seconds: float = _START_SECONDS
    ) -> None:
        self._client = client
        self._aliases = aliases
        self._is_direct = is_direct
        self._waiting: Any = {"timeout": start_seconds, "on_phase": ignore}
        self._connections = Connections()
        self._rates = Rates()
        self._starts = Starts(seconds=start_seconds)
        self._read: dict[tuple[str, str], tuple[GatewaySession, float]] = {}

    async def create(self, caller: Caller, new: NewSession) -> GatewaySession:
        """Create a session, or return the caller's one of that name."""
        wanted = complete_new(caller, new, self._aliases)
        sessions = self._sessions(caller)
        with _own_failures():
            try:
                existing = read_session(await sessions.get(wanted.name)) if new.name else None
            except NotFound:
                existing = None
            if existing is None:
                check_count(caller, await self._mine(caller))
                self._rates.count(caller)
                with contextlib.suppress(Conflict):
                    async with self._starts.slot(caller):
                        return await self._create(caller, sessions, wanted)
                # Another request with the same name was first.
                existing = read_session(await sessions.get(wanted.name))
        if existing.owner != caller.name:
            message = f"there is a session {wanted.name} already, which this key has not created"
            raise Conflict(message, reason="ALREADY_EXISTS", field="name")
        return await self.resume(caller, wanted.name)

    async def get(self, caller: Caller, name: str) -> GatewaySession:
        """Return one session."""
        with _own_failures():
            found = self._keep(caller, read_session(await self._sessions(caller).get(name)))
        return check_visible(caller, found)

    async def list(self, caller: Caller, metadata: Mapping[str, str] | None = None) -> list[GatewaySession]:
        """Return the sessions of the caller's namespace that have all of these words."""
        with _own_failures():
            return select(caller, [read_session(each) for each in await self._sessions(caller).list()], metadata)

    async def connect(self, caller: Caller, name: str, *, wake: bool = True) -> AsyncSandbox:
        """Return the shared connection."""
        session, read_at = self._read.get((caller.namespace, name), (None, 0.0))
        if session is None or time.monotonic() - read_at > _FRESH_SECONDS:
            session = await self.get(caller, name)
        check_visible(caller, session)
        if is_suspended(session):
            if not wake:
                raise refuse_suspended(name)
            await self.resume(caller, name)
        # With `wake` a connection follows its session to the next pod. Without, each pod has its own.
        pod = None if wake else (session.info.pod, session.info.started_at)
        key = (caller.namespace, name, session.uid, pod)
        sessions = self._sessions(caller)
        with _own_failures():
            return await self._connections.get(key, lambda: self._open(caller, sessions, name, wake=wake))

    async def suspend(self, caller: Caller, name: str, *, keep: bool = False) -> GatewaySession:
        """Save a session and delete its pod."""
        if not keep:
            await self._check_own(caller, name)
        else:
            session = await self.get(caller, name)
            lifecycle = (session.info.resource.get("spec") or {}).get("lifecycle") or {}
            choice = read_kept_choice(session) or lifecycle.get("onExpiry") or "Suspend"
            spec = {"suspended": True, "lifecycle": {"expiresAt": None, "onExpiry": "Suspend"}}
            with _own_failures():
                await self._sessions(caller).patch(name, spec, {ON_EXPIRY: choice})
        suspended = await self._changed(caller, name, self._cluster(caller).suspend(name))
        # Their streams would look for the pod for some time. Connections that follow the session go on.
        await self._connections.drop(lambda key: key[:2] == (caller.namespace, name) and key[3] is not None)  # type: ignore[index]
        return suspended

    async def resume(self, caller: Caller, name: str, seconds: float | None = None) -> GatewaySession:
        """Start a suspended session again."""
        session = await self.get(caller, name)
        now = dt.datetime.now(dt.UTC)
        if seconds is None and read_kept_choice(session):
            # Its end was removed. Without a new one it would outlast what the caller may have.
            seconds = caller.max_seconds
        if seconds is None:
            seconds = wake_seconds(caller, session, now)
        if seconds is not None:
            check_resume(caller, session, seconds, now)
        if not is_suspended(session):
            return await self._changed(caller, name, self._cluster(caller).resume(name, expires=seconds))
        async with self._starts.slot(caller):
            check_count(caller, await self._mine(caller), session.uid)
            resumed = await self._changed(caller, name, self._cluster(caller).resume(name, expires=seconds))
            await self._check_woken(caller, resumed)
        return resumed

    async def set_timeout(self, caller: Caller, name: str, seconds: float) -> dt.datetime:
        """Set the session's end."""
        now = dt.datetime.now(dt.UTC)
        check_deadline(caller, await self.get(caller, name), seconds, now)
        with _own_failures():
            ends = await self._cluster(caller).set_timeout(name, seconds)
        return ends or now + dt.timedelta(seconds=seconds)

    async def logs(self, caller: Caller, name: str, tail: int) -> Mapping[str, str]:
        """Return the last lines of a session's logs."""
        await self._check_own(caller, name)
        with _own_failures():
            return await read_logs(self._sessions(caller), name, ("agent", "sandbox"), tail=tail)

    async def delete(self, caller: Caller, name: str) -> None:
        """End a session. Its stored workspace stays."""
        uid = await self._check_own(caller, name)
        self._read.pop((caller.namespace, name), None)
        with _own_failures():
            await self._sessions(caller).delete(name, uid=uid)
        await self._connections.drop(lambda key: key[:2] == (caller.namespace, name))  # type: ignore[index]

    async def close(self) -> None:
        """Close all connections."""
        await self._connections.close()

    async def _create(self, caller: Caller, sessions: SessionApi, new: NewSession) -> GatewaySession:
        lifecycle: dict[str, Any] = {"onExpiry": _ON_EXPIRY[new.on_timeout]}
        if new.seconds is not None:
            lifecycle["expiresAt"] = format_time(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=new.seconds))
        request = SessionRequest(
            new.name,
            template=new.template or None,
            env=new.env,
            egress=new.egress or None,
            spec={"lifecycle": lifecycle},
            is_ephemeral=new.is_ephemeral,
            own_labels={OWNER_LABEL: owner_label(caller)},
            annotations=write_notes(caller, new),
            **{**new.options, "workspace": own_workspace(caller, new)},
        )
        created = await sessions.create(request)
        uid = str(created["metadata"].get("uid") or "")
        try:
            await self._check_rank(caller, read_session(created))
            ready = await sessions.wait_ready(new.name, since=created, **self._waiting)
        except BaseException:
            # The client has no name to delete it by.
            with contextlib.suppress(SandboxError):
                # A later session may have the same name.
                await sessions.delete(new.name, uid=uid)
            raise
        return self._keep(caller, read_session(ready))

    async def _check_own(self, caller: Caller, name: str) -> str:
        """Check that the caller may see a session, and return its uid; "" for a caller that sees all."""
        return (await self.get(caller, name)).uid if caller.sees_own_only else ""

    async def _check_rank(self, caller: Caller, created: GatewaySession) -> None:
        """Check the count again, with what other replicas created meanwhile. The oldest sessions stay."""
        if caller.max_sessions is None:
            return
        running = running_of(caller, await self._mine(caller))
        if created.uid in [each.uid for each in running[caller.max_sessions :]]:
            raise too_many(caller, caller.max_sessions)

    async def _check_woken(self, caller: Caller, woken: GatewaySession) -> None:
        """Check the count again, with what others have started meanwhile. If it is too high, suspend the session."""
        with _own_failures():
            try:
                check_wake(caller, woken, await self._mine(caller))
            except ResourceExhausted:
                self._read.pop((caller.namespace, woken.info.name), None)
                await self._sessions(caller).suspend(woken.info.name)
                raise

    async def _mine(self, caller: Caller) -> Sequence[GatewaySession]:
        """Return the sessions of a caller, if they matter for its limits."""
        if caller.max_sessions is None:
            return []
        found = await self._sessions(caller).list({OWNER_LABEL: owner_label(caller)})
        return [read_session(each) for each in found]

    async def _open(self, caller: Caller, sessions: SessionApi, name: str, *, wake: bool) -> AsyncSandbox:
        if not wake:
            endpoint, resources = await sessions.connect(name)
            return AsyncSandbox(endpoint, name=name, resources=resources, control=ClusterControl(sessions, name))
        # What was read some seconds ago may have changed.
        if is_suspended(await self.get(caller, name)):
            await self.resume(caller, name)
        waker = await CountedWaker.open(sessions, name, **self._waiting)
        waker.resume = functools.partial(self.resume, caller, name)
        return AsyncSandbox(waker.endpoint, name=name, waker=waker, control=waker.control)

    async def _changed(self, caller: Caller, name: str, change: Any) -> GatewaySession:
        self._read.pop((caller.namespace, name), None)
        with _own_failures():
            session = read_session((await change).resource)
            choice = read_kept_choice(session)
            if not choice or is_suspended(session):
                return session
            # Only now that it has a new end: the old one would delete it.
            patch = ({"lifecycle": {"onExpiry": choice}}, {ON_EXPIRY: None})
            return read_session(await self._sessions(caller).patch(name, *patch))

    def _keep(self, caller: Caller, session: GatewaySession) -> GatewaySession:
        if len(self._read) > 10_000:  # noqa: PLR2004 - a bound for memory
            self._read.clear()
        self._read[caller.namespace, session.info.name] = (session, time.monotonic())
        return session

    def _sessions(self, caller: Caller) -> SessionApi:
        if not caller.namespace:
            raise NotFound("this caller has no namespace in the cluster", reason="NOT_FOUND")
        return SessionApi(self._client, caller.namespace, is_direct=self._is_direct)

    def _cluster(self, caller: Caller) -> AsyncCluster:
        return AsyncCluster(self._sessions(caller))


@contextlib.contextmanager
def _own_failures() -> Iterator[None]:
    """Report a lack of the gateway's own permissions as unavailable: the caller's key is right."""
    try:
        yield
    except Unauthenticated as error:
        message = f"the gateway may not do this in the cluster: {error.message}"
        raise SandboxUnavailable(message, reason="GATEWAY_FORBIDDEN") from error
