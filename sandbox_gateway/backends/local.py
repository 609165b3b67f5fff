"""The sessions of this machine: those that `sandbox create --local` and the SDK know as `local/NAME`."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from sandbox_client import AsyncSandbox
from sandbox_client.errors import Conflict, InvalidArgument, NotFound, NotSupported
from sandbox_client.lifecycle.durations import parse_duration
from sandbox_client.local.address import check_local_name
from sandbox_client.local.durations import MAX_SECONDS
from sandbox_client.local.named import operations
from sandbox_client.local.named.control import info_of
from sandbox_client.local.named.record import LocalRequest, Phase
from sandbox_client.local.named.registry import Registry, not_found
from sandbox_client.local.named.reports import list_records, read_logs
from sandbox_client.options import LOCAL_DEFAULTS, complete
from sandbox_gateway.backend import GatewaySession
from sandbox_gateway.backends.connections import Connections
from sandbox_gateway.backends.limits import (
    Rates,
    check_count,
    check_deadline,
    check_resume,
    check_visible,
    complete_new,
    is_suspended,
    refuse_suspended,
    select,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sandbox_client.local.named.record import Record
    from sandbox_gateway.backend import Caller, NewSession

_DEFAULT_SECONDS: Final = 24 * 3600.0
_NOTES: Final = "gateway"
_OPTIONS: Final = frozenset({"idle_timeout", "keep_variables", "lifetime", "on_idle"})


class LocalBackend:
    """The sessions of this machine. Code in them runs as this user, without isolation.

    Args:
        aliases: Names of templates that clients use, and what they stand for; "" is the only template here.
    """

    def __init__(self, aliases: Mapping[str, str]) -> None:
        self._aliases = aliases
        self._connections = Connections()
        self._rates = Rates()
        # Two creates at a time would both see the count before.
        self._counting = asyncio.Lock()

    async def create(self, caller: Caller, new: NewSession) -> GatewaySession:
        """Create a session, or return the caller's one of that name."""
        wanted = complete_new(caller, new, self._aliases)
        _check_template(new.template, wanted.template)
        name = check_local_name(wanted.name)
        try:
            existing = self._read(name)
        except NotFound:
            async with contextlib.nullcontext() if caller.max_sessions is None else self._counting:
                check_count(caller, self._all())
                self._rates.count(caller)
                # Of two requests with the same name, the second one gets the session of the first.
                with contextlib.suppress(Conflict):
                    return _session(await operations.create(*_request(caller, wanted, shown=new.template)))
            existing = self._read(name)
        if existing.owner not in ("", caller.name):
            raise Conflict(f"there is a session {name} already, of another key", reason="ALREADY_EXISTS", field="name")
        return await self.resume(caller, name)

    async def get(self, caller: Caller, name: str) -> GatewaySession:
        """Return one session."""
        return check_visible(caller, self._read(name))

    async def list(self, caller: Caller, metadata: Mapping[str, str] | None = None) -> list[GatewaySession]:
        """Return the sessions that have all of these words."""
        return select(caller, self._all(), metadata)

    async def connect(self, caller: Caller, name: str, *, wake: bool = True) -> AsyncSandbox:
        """Return the shared connection."""
        record = self._own_record(caller, name)
        if record.phase is Phase.SUSPENDED:
            if not wake:
                raise refuse_suspended(name)
            await self.resume(caller, name)
        # With `wake` a connection follows its session to the next run. Without, each run has its own.
        run = "" if wake or record.run is None else record.run.token
        key = (name, record.uid, wake, run)
        return await self._connections.get(key, lambda: AsyncSandbox.connect(f"local/{name}", wake=wake))

    async def suspend(self, caller: Caller, name: str, *, keep: bool = False) -> GatewaySession:  # noqa: ARG002
        """Save a session and end its processes. Its end counts only while it runs, so it is always kept."""
        self._own_record(caller, name)
        suspended = _session(await operations.suspend(name))
        # Their streams would look for the agent for some time. Connections that follow the session go on.
        await self._connections.drop(lambda key: key[:3] == (name, suspended.uid, False))  # type: ignore[index]
        return suspended

    async def resume(self, caller: Caller, name: str, seconds: float | None = None) -> GatewaySession:
        """Start a suspended session again."""
        session = await self.get(caller, name)
        if seconds is not None:
            check_resume(caller, session, seconds, dt.datetime.now(dt.UTC))
        async with contextlib.nullcontext() if caller.max_sessions is None else self._counting:
            if is_suspended(session):
                check_count(caller, self._all(), session.uid)
            record = await operations.resume(name)
        if seconds is not None:
            record = await operations.set_expiry(name, seconds)
        return _session(record)

    async def set_timeout(self, caller: Caller, name: str, seconds: float) -> dt.datetime:
        """Set the session's end."""
        check_deadline(caller, await self.get(caller, name), seconds, dt.datetime.now(dt.UTC))
        record = await operations.set_expiry(name, min(seconds, MAX_SECONDS))
        return _session(record).info.expires_at or dt.datetime.now(dt.UTC)

    async def logs(self, caller: Caller, name: str, tail: int) -> Mapping[str, str]:
        """Return the last lines of a session's logs."""
        self._own_record(caller, name)
        return await asyncio.to_thread(read_logs, name, tail)

    async def delete(self, caller: Caller, name: str) -> None:
        """End a session and remove its files."""
        uid = self._own_record(caller, name).uid
        try:
            await operations.delete(name)
        finally:
            await self._connections.drop(lambda key: key[:2] == (name, uid))  # type: ignore[index]

    async def close(self) -> None:
        """Close all connections."""
        await self._connections.close()

    def _read(self, name: str) -> GatewaySession:
        return _session(self._record(name))

    def _own_record(self, caller: Caller, name: str) -> Record:
        record = self._record(name)
        check_visible(caller, _session(record))
        return record

    def _record(self, name: str) -> Record:
        try:
            check_local_name(name)
        except InvalidArgument:
            # Names come from URLs, so this one could also lead to another folder.
            raise not_found(name) from None
        return Registry().read(name.removeprefix("local/"))

    def _all(self) -> Sequence[GatewaySession]:
        return [_session(record) for record in list_records()]


def _check_template(given: str, template: str) -> None:
    if template not in ("", "default"):
        message = f"there is no template {given}: sessions on this machine have none. Leave it out"
        raise NotFound(message, reason="TEMPLATE_NOT_FOUND", field="template")


def _request(caller: Caller, new: NewSession, *, shown: str) -> tuple[LocalRequest, Any]:
    if new.egress == "allowlist":
        message = "a session on this machine cannot limit its egress to a list: use none or public"
        raise NotSupported(message, reason="NOT_SUPPORTED", field="egress")
    if unknown := ", ".join(sorted(new.options.keys() - _OPTIONS)):
        message = f"a session on this machine cannot have {unknown}: leave it out"
        raise NotSupported(message, reason="NOT_SUPPORTED", field=unknown)
    given = dict(new.options)
    keep_variables = bool(given.pop("keep_variables", False))
    if given.get("lifetime") is not None and new.seconds is None:
        new = replace(new, seconds=parse_duration(given["lifetime"], "lifetime").total_seconds())
    notes = {"owner": caller.name, "key": caller.key_id, "metadata": dict(new.metadata), "template": shown}
    request = LocalRequest(
        new.name,
        # Other protocols know no end by idleness.
        idle_timeout=given.get("idle_timeout", MAX_SECONDS),
        on_idle=given.get("on_idle", "suspend"),
        lifetime=min(_DEFAULT_SECONDS if new.seconds is None else new.seconds, MAX_SECONDS),
        on_expiry="delete" if new.is_ephemeral else new.on_timeout,
        notes={_NOTES: notes},
    )
    egress: Any = new.egress or "public"
    return request, complete({"env": dict(new.env), "egress": egress, "keep_variables": keep_variables}, LOCAL_DEFAULTS)


def _session(record: Record) -> GatewaySession:
    notes = record.notes.get(_NOTES) or {}
    info = replace(info_of(record), name=record.name, template=str(notes.get("template") or ""))
    owner, key_id = str(notes.get("owner") or ""), str(notes.get("key") or "")
    return GatewaySession(info, dict(notes.get("metadata") or {}), owner=owner, uid=record.uid, key_id=key_id)
