"""The cluster client of the SDK: the sessions of one namespace, without a connection to them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Self, Unpack

from sandbox_client.cluster.expiry import check_bound, deadline_of, effective_expiry, is_observed
from sandbox_client.cluster.sessions import ClusterOptions, SessionApi, SessionRequest, describe_failure
from sandbox_client.errors import InvalidArgument, SessionFailed
from sandbox_client.lifecycle.control import SessionControl
from sandbox_client.lifecycle.options import SESSION_DEFAULTS, SessionOptions
from sandbox_client.lifecycle.session_info import SessionInfo, format_time, read_session_info, workspace_of
from sandbox_client.options import complete, ignore, with_options
from sandbox_client.stored.stores import open_objects
from sandbox_client.stored.workspaces import AsyncStoredWorkspaces
from sandbox_client.transport.arguments import checks_arguments

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from sandbox_client.lifecycle.durations import Duration

_EXPIRY_SECONDS: Final = 5.0
"""Seconds to wait until the operator has taken over a new expiry."""


@checks_arguments
class AsyncCluster:
    """The sessions of one namespace of a cluster. Open it with `await AsyncCluster.open()`.

    Its methods read and change SandboxSessions. To run code in one, use `AsyncSandbox.connect`.

    Every method raises Unauthenticated if the account lacks a permission, and SandboxUnavailable if the API server does
    not respond.
    """

    def __init__(self, sessions: SessionApi) -> None:
        self._sessions = sessions

    @property
    def namespace(self) -> str:
        """The namespace."""
        return self._sessions.namespace

    @classmethod
    async def open(
        cls, namespace: str | None = None, *, kubeconfig: str | None = None, kube_context: str | None = None
    ) -> Self:
        """Read the kubeconfig, or this pod's service account. Nothing is asked of the API server yet.

        Args:
            namespace: The namespace; that of the kubeconfig, or of this pod, if None.
            kubeconfig: Path of a kubeconfig; the usual one if None.
            kube_context: Context of the kubeconfig; the current one if None.

        Raises:
            SandboxUnavailable: There is no kubeconfig and no service account.
        """
        return cls(await SessionApi.open(ClusterOptions(namespace, kubeconfig, kube_context)))

    async def close(self) -> None:
        """Close the connections to the API server."""
        self._sessions.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, type_: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def list(self, labels: Mapping[str, str] | None = None) -> list[SessionInfo]:
        """Return the sessions of the namespace.

        Args:
            labels: Only sessions that have all of these labels; all sessions if None.
        """
        return [read_session_info(session) for session in await self._sessions.list(labels)]

    async def get(self, name: str) -> SessionInfo:
        """Return one session.

        Raises:
            NotFound: There is no session of that name.
        """
        return read_session_info(await self._sessions.get(name))

    @with_options(SessionOptions, SESSION_DEFAULTS)
    async def create(
        self,
        name: str | None = None,
        *,
        wait: bool = True,
        timeout: float = 120.0,  # noqa: ASYNC109 - it ends a watch
        on_phase: Callable[[str], object] | None = None,
        **options: Unpack[SessionOptions],
    ) -> SessionInfo:
        """Create a session.

        Args:
            name: The new session's name; a random one if None.
            wait: Wait until the session is Ready.
            timeout: Seconds to wait at most.
            on_phase: Called with each phase and problem while waiting.
            **options: See SessionOptions.

        Raises:
            Conflict: There is a session of that name already.
            InvalidArgument: An argument is wrong, or `spec` sets the same field.
            SessionFailed: The session did not become Ready. It is kept; the message has its conditions.
        """
        session = await self._sessions.create(make_request(name, complete(options, SESSION_DEFAULTS)))
        if wait:
            name = str(session["metadata"]["name"])
            session = await self._sessions.wait_ready(name, timeout=timeout, on_phase=on_phase or ignore, since=session)
        return read_session_info(session)

    async def delete(self, name: str) -> None:
        """Delete a session. Its stored workspace stays.

        Raises:
            NotFound: There is no session of that name.
        """
        await self._sessions.delete(name)

    async def suspend(
        self,
        name: str,
        *,
        wait: bool = True,
        timeout: float = 120.0,  # noqa: ASYNC109 - it ends a watch
        on_phase: Callable[[str], object] | None = None,
    ) -> SessionInfo:
        """Save a session's files and delete its pod.

        Args:
            name: The session's name.
            wait: Wait until the session is Suspended.
            timeout: Seconds to wait at most.
            on_phase: Called with each phase and problem while waiting.

        Raises:
            NotFound: There is no session of that name.
            SessionFailed: It was not Suspended in time. The operator continues to try.
        """
        session = await self._sessions.suspend(name)
        if wait:
            session = await self._await_phase(name, "Suspended", session, timeout, on_phase)
        return read_session_info(session)

    async def resume(
        self,
        name: str,
        *,
        expires: Duration | dt.datetime | None = None,
        wait: bool = True,
        timeout: float = 120.0,  # noqa: ASYNC109 - it ends a watch
        on_phase: Callable[[str], object] | None = None,
    ) -> SessionInfo:
        """Start a suspended session again, with its files.

        Args:
            name: The session's name.
            expires: The time at which the session ends, or a duration from now. It keeps the previous one if None.
            wait: Wait until the session is Ready.
            timeout: Seconds to wait at most.
            on_phase: Called with each phase and problem while waiting.

        Raises:
            NotFound: There is no session of that name.
            SessionFailed: It did not become Ready; the message has its conditions.
        """
        spec: dict[str, Any] = {"suspended": False}
        if expires is not None:
            _, now = await self._sessions.get_with_time(name)
            spec["lifecycle"] = {"expiresAt": format_time(deadline_of(expires, now))}
        session = await self._sessions.patch(name, spec)
        if wait:
            session = await self._await_phase(name, "Ready", session, timeout, on_phase)
        return read_session_info(session)

    async def set_timeout(self, name: str, expires: Duration | dt.datetime | None) -> dt.datetime | None:
        """Move the time at which a session ends: `spec.lifecycle.expiresAt`.

        Args:
            name: The session's name.
            expires: The time, or a duration from now. None removes it, so that only the other bounds apply.

        Returns:
            When the session ends. None if nothing ends it, or if that is not known without a pod.

        Raises:
            NotFound: There is no session of that name.
            FailedPrecondition: The session's maximum lifetime, or its template's, ends it earlier.
        """
        session, now = await self._sessions.get_with_time(name)
        deadline = None if expires is None else deadline_of(expires, now)
        if deadline is not None:
            check_bound(session, deadline)
        spec = {"lifecycle": {"expiresAt": format_time(deadline) if deadline else None}}
        session = await self._sessions.patch(name, spec)
        waiting: Any = {"timeout": _EXPIRY_SECONDS, "on_phase": ignore, "since": session}
        session = await self._sessions.wait_for(name, is_observed, **waiting)
        if deadline is not None:
            check_bound(session, deadline)
        return (effective_expiry(session) if is_observed(session) else None) or deadline

    async def workspaces(
        self,
        store: str,
        *,
        endpoint_url: str | None = None,
        region: str | None = None,
        path_style: bool | None = None,
    ) -> AsyncStoredWorkspaces:
        """Open the stored workspaces of this namespace, with the caller's own credentials for the store.

        These are found as by every AWS tool: environment variables, a profile, or a role. The operator's own are not
        used.

        Args:
            store: `s3://BUCKET/PREFIX`, with the prefix of the chart's `storage.prefix`.
            endpoint_url: Address of an S3-compatible store; AWS if None.
            region: The bucket's region; that of the environment if None.
            path_style: Whether the bucket is a part of the URL's path. If None, it is if there is an `endpoint_url`.

        Raises:
            InvalidArgument: The store's name is wrong.
            SessionFailed: The package botocore is missing.
        """
        places: Any = {"endpoint_url": endpoint_url, "region": region, "path_style": path_style}
        objects = await asyncio.to_thread(open_objects, store, **places)

        async def users() -> dict[str, str]:
            return {workspace_of(each): f"session {each['metadata']['name']}" for each in await self._sessions.list()}

        return AsyncStoredWorkspaces(objects, self.namespace, users)

    async def _await_phase(
        self,
        name: str,
        phase: str,
        since: dict[str, Any],
        timeout: float,  # noqa: ASYNC109 - it ends a watch
        on_phase: Callable[[str], object] | None,
    ) -> dict[str, Any]:
        """Wait for a phase. The status may still be the one from before the change."""

        def is_done(session: Mapping[str, Any]) -> bool:
            now = (session.get("status") or {}).get("phase")
            return is_observed(session) and now in (phase, "Failed")

        waiting: Any = {"timeout": timeout, "on_phase": on_phase or ignore, "since": since}
        if phase == "Ready":
            return await self._sessions.wait_ready(name, **waiting)
        session = await self._sessions.wait_for(name, is_done, **waiting)
        if (session.get("status") or {}).get("phase") != phase:
            message = f"session {name} was not {phase} within {timeout:g} s: {describe_failure(session)}"
            raise SessionFailed(message, reason="NOT_READY")
        return session


class ClusterControl(SessionControl):
    """Control of one session of a cluster."""

    def __init__(self, sessions: SessionApi, name: str) -> None:
        self._cluster, self._name = AsyncCluster(sessions), name

    async def info(self) -> SessionInfo:
        """Return the session's state."""
        return await self._cluster.get(self._name)

    async def suspend(self, timeout: float) -> None:  # noqa: ASYNC109 - it ends a watch
        """Suspend the session, and wait until it is suspended."""
        await self._cluster.suspend(self._name, timeout=timeout)

    async def resume(self, expires: Duration | dt.datetime | None, timeout: float) -> None:  # noqa: ASYNC109 - same
        """Resume the session, and wait until it is Ready."""
        await self._cluster.resume(self._name, expires=expires, timeout=timeout)

    async def set_timeout(self, expires: Duration | dt.datetime | None) -> dt.datetime | None:
        """Move the time at which the session ends, and return it."""
        return await self._cluster.set_timeout(self._name, expires)

    async def delete(self) -> None:
        """Delete the session."""
        await self._cluster.delete(self._name)


def make_request(name: str | None, options: SessionOptions, *, is_ephemeral: bool = False) -> SessionRequest:
    """Return the request for a session with these options, all of which must be there.

    Raises:
        InvalidArgument: One is wrong. The message begins with its name, because a create has a dozen of them.
    """
    given: dict[str, Any] = {key: options[key] for key in SESSION_DEFAULTS if options[key] is not None}  # type: ignore[literal-required]
    request = SessionRequest(name, **given, is_ephemeral=is_ephemeral)
    try:
        request.to_object("unnamed" if name is None else name)
    except InvalidArgument as error:
        raise InvalidArgument(f"{error.field}: {error.message}", reason=error.reason, field=error.field) from None
    return request
