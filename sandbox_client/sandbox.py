"""The asynchronous sandbox: one session with its code, commands, files, workspace, contexts and processes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, Final, Self, Unpack

from sandbox_client.contexts import AsyncContexts
from sandbox_client.errors import InvalidArgument, NotFound, SandboxError
from sandbox_client.execution import CodeRunner
from sandbox_client.files import AsyncFiles
from sandbox_client.gateway.place import find_gateway
from sandbox_client.lifecycle.control import ControlledSession, LocalControl, SessionControl
from sandbox_client.lifecycle.options import CREATE_DEFAULTS, CreateOptions, SessionOptions
from sandbox_client.local.address import local_name
from sandbox_client.local.named_session import NamedLocalSession
from sandbox_client.models.saved_variables import describe_wake
from sandbox_client.options import (
    CONNECT_DEFAULTS,
    LOCAL_DEFAULTS,
    ConnectOptions,
    LocalOptions,
    complete,
    ignore,
    with_options,
)
from sandbox_client.processes import AsyncProcesses
from sandbox_client.transport.arguments import checks_arguments
from sandbox_client.transport.connection import Connection
from sandbox_client.workspace import AsyncWorkspace

if TYPE_CHECKING:
    import os
    from collections.abc import Awaitable, Callable, Mapping
    from types import TracebackType

    from sandbox_client.cluster.sessions import SessionApi
    from sandbox_client.lifecycle.session_info import SessionInfo
    from sandbox_client.transport.endpoint import Endpoint
    from sandbox_client.transport.waker import BaseWaker

_log: Final = logging.getLogger(__name__)


@checks_arguments
class AsyncSandbox(CodeRunner, ControlledSession, NamedLocalSession):
    """One session: an isolated place that runs code and keeps its variables and files.

    Create it with `await AsyncSandbox.local()`, `.connect(name)` or `.create()`, and use it as an async context
    manager.

    Attributes:
        files: Files of the workspace.
        workspace: The workspace in object storage.
        contexts: Interpreters in addition to the default ones.
        processes: Background processes.
        name: The session's name.
        notice: A message for the caller if the session was suspended: what was kept and what was lost; "" if there is
            nothing to say. A call that resumes the session sets it before it returns.
        waker: Resumes the session when a call finds it suspended; None if nothing does.
        is_ephemeral: Whether `close` also deletes the session from the cluster.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        name: str = "",
        resources: contextlib.AsyncExitStack | None = None,
        notice: str = "",
        waker: BaseWaker | None = None,
        control: SessionControl | None = None,
        is_ephemeral: bool = False,
    ) -> None:
        self.name = name
        self.notice = notice
        self.waker = waker
        self.is_ephemeral = is_ephemeral
        self._control = control or SessionControl()
        self._resources = resources or contextlib.AsyncExitStack()
        if waker is not None:
            waker.on_notice = self._set_notice
            self._resources.push_async_callback(waker.close)
        connection = Connection(endpoint, revive=waker.revive if waker is not None else None)
        super().__init__(connection)
        self._resources.push_async_callback(connection.close)
        self.files = AsyncFiles(connection)
        self.workspace = AsyncWorkspace(connection)
        self.contexts = AsyncContexts(connection)
        self.processes = AsyncProcesses(connection)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}, {self.endpoint.address}>"

    @property
    def endpoint(self) -> Endpoint:
        """The agent's address, and the means to trust it."""
        return self._connection.endpoint

    @classmethod
    @with_options(LocalOptions, LOCAL_DEFAULTS)
    async def local(
        cls,
        workspace: str | os.PathLike[str] | None = None,
        store: str | os.PathLike[str] | None = None,
        **options: Unpack[LocalOptions],
    ) -> Self:
        """Start a session on this machine, without a cluster. It ends with `close`, or with this process.

        Code runs as the calling user: use a local session only for code that you trust.

        Args:
            workspace: The folder that the code works in; a temporary one if None.
            store: The folder that replaces object storage; a temporary one if None.
            **options: See LocalOptions.

        Raises:
            SessionFailed: The [local] extra is missing, or a process did not start; the message has the end of its log.
            InvalidArgument: An option is wrong; `field` names it.
        """
        from sandbox_client.local.session import start_local  # noqa: PLC0415 - only for local sessions

        chosen = complete(options, LOCAL_DEFAULTS)
        endpoint, resources = await start_local(workspace, store, chosen)
        control = LocalControl(chosen["name"], chosen["egress"])
        sandbox = cls(endpoint, name=chosen["name"], resources=resources, control=control)
        if chosen["keep_variables"] and (variables := await sandbox.contexts.kept_variables()) is not None:
            sandbox.notice = describe_wake(variables)
        return sandbox

    @classmethod
    @with_options(ConnectOptions, CONNECT_DEFAULTS)
    async def connect(cls, name: str, *, wake: bool = True, **options: Unpack[ConnectOptions]) -> Self:
        """Connect to a session of the cluster: directly from inside the cluster, otherwise through a port-forward.

        `local/NAME` is a session on this machine that `create_local` or `sandbox create --local` created.

        A suspended session is resumed first; `notice` then says what was kept and what was lost. If the session is
        suspended later, the next call resumes it. A call that was running at that moment is not repeated automatically,
        because it may have started.

        Args:
            name: The SandboxSession's name, or `local/NAME`.
            wake: Resume a suspended session, now or in a later call. Otherwise it is an error: SessionFailed now,
                FailedPrecondition or SandboxUnavailable later.
            **options: See ConnectOptions.

        Raises:
            NotFound: There is no such session.
            SessionFailed: The session is not Ready; the message has its conditions.
        """
        chosen = complete(options, CONNECT_DEFAULTS)
        if (local := local_name(name)) is not None:
            from sandbox_client.local.named.connect import connect_local  # noqa: PLC0415 - only for local sessions
            from sandbox_client.local.named.control import NamedControl  # noqa: PLC0415 - same

            endpoint, waker, notice = await connect_local(local, wakes=wake, options=chosen)
            return cls(endpoint, name=name, notice=notice, waker=waker, control=NamedControl(local))
        if (place := find_gateway(chosen)) is not None:
            from sandbox_client.gateway.session import connect  # noqa: PLC0415 - only for a gateway

            endpoint, router, control, notice = await connect(place, name, wake=wake, options=chosen)
            return cls(endpoint, name=name, notice=notice, waker=router, control=control)
        from sandbox_client.cluster.wake import Waker  # noqa: PLC0415 - the kubernetes package is slow to import

        waiting: Any = {"timeout": chosen["timeout"], "on_phase": chosen["on_phase"] or ignore}
        sessions = await _open_sessions(chosen)
        if not wake:
            from sandbox_client.cluster.client import ClusterControl  # noqa: PLC0415 - same

            endpoint, resources = await sessions.connect(name)
            return cls(endpoint, name=name, resources=resources, control=ClusterControl(sessions, name))
        was_suspended = await sessions.wake(name, **waiting)
        cluster_waker = await Waker.open(sessions, name, **waiting)
        sandbox = cls(cluster_waker.endpoint, name=name, waker=cluster_waker, control=cluster_waker.control)
        if was_suspended:
            await note_wake(sandbox)
        return sandbox

    @classmethod
    @with_options(CreateOptions, CREATE_DEFAULTS, SessionOptions, ConnectOptions)
    async def create(cls, name: str | None = None, **options: Unpack[CreateOptions]) -> Self:
        """Create a session in the cluster, wait until it is Ready, and connect.

        Args:
            name: The new session's name. If None, it gets a random one, and is ephemeral.
            **options: See CreateOptions.

        Raises:
            Conflict: There is a session of that name already.
            InvalidArgument: An argument is wrong, or `spec` sets the same field; `field` names it.
            SessionFailed: The session did not become Ready, or has a problem with which waiting does not help. The
                message has its conditions. A session that is not ephemeral is kept.
        """
        if local_name(name) is not None:
            raise InvalidArgument(f"{name} is not a session of a cluster: create it with create_local", field="name")
        chosen = complete(options, CREATE_DEFAULTS)
        is_ephemeral = name is None if chosen["ephemeral"] is None else chosen["ephemeral"]
        if (place := find_gateway(chosen)) is not None:
            from sandbox_client.gateway.session import create  # noqa: PLC0415 - only for a gateway

            name, (endpoint, router, control, notice) = await create(place, name, chosen, is_ephemeral=is_ephemeral)
            gateway_facts: Any = {"notice": notice, "waker": router, "control": control}
            return cls(endpoint, name=name, is_ephemeral=is_ephemeral, **gateway_facts)
        from sandbox_client.cluster.client import make_request  # noqa: PLC0415 - the kubernetes package is slow
        from sandbox_client.cluster.start_policy import describe_limits  # noqa: PLC0415 - same
        from sandbox_client.cluster.wake import Waker  # noqa: PLC0415 - same

        waiting: Any = {"timeout": chosen["timeout"], "on_phase": chosen["on_phase"] or ignore}
        sessions = await _open_sessions(chosen)
        creation = asyncio.ensure_future(sessions.create(make_request(name, chosen, is_ephemeral=is_ephemeral)))
        try:
            created = await asyncio.shield(creation)
            name = str(created["metadata"]["name"])
            session = await sessions.wait_ready(name, since=created, **waiting)
            waker = await Waker.open(sessions, name, session, **waiting)
        except BaseException:
            if is_ephemeral:
                await _undo(creation, sessions)
            raise
        facts: Any = {"notice": describe_limits(session), "is_ephemeral": is_ephemeral}
        return cls(waker.endpoint, name=name, waker=waker, control=waker.control, **facts)

    @classmethod
    async def list(
        cls,
        labels: Mapping[str, str] | None = None,
        *,
        namespace: str | None = None,
        kubeconfig: str | None = None,
        kube_context: str | None = None,
        gateway: str | None = None,
        api_key: str | None = None,
    ) -> list[SessionInfo]:
        """Return the sessions of a namespace. `AsyncCluster` does more with sessions that it does not connect to.

        Args:
            labels: Only sessions that have all of these labels; all sessions if None.
            namespace: The namespace; that of the kubeconfig, or of this pod, if None.
            kubeconfig: Path of a kubeconfig; the usual one if None.
            kube_context: Context of the kubeconfig; the current one if None.
            gateway: Address of a gateway instead of a cluster, as for `connect`.
            api_key: The gateway's API key.

        Raises:
            SandboxUnavailable: No cluster is configured, or the API server does not respond.
        """
        options = {"namespace": namespace, "kubeconfig": kubeconfig, "kube_context": kube_context}
        if (place := find_gateway({**options, "gateway": gateway, "api_key": api_key})) is not None:
            from sandbox_client.gateway.session import list_sessions  # noqa: PLC0415 - only for a gateway

            return await list_sessions(place, labels)
        from sandbox_client.cluster.client import AsyncCluster  # noqa: PLC0415 - the kubernetes package is slow

        async with await AsyncCluster.open(namespace, kubeconfig=kubeconfig, kube_context=kube_context) as cluster:
            return await cluster.list(labels)

    async def delete(self) -> None:
        """Delete the session, and close this sandbox. The stored workspace stays.

        Raises:
            SandboxError: The session could not be deleted; the sandbox is closed in any case.
        """
        self.is_ephemeral = False
        try:
            with contextlib.suppress(NotFound):
                await self._control.delete()
        finally:
            await self.close()

    async def close(self) -> None:
        """Close the connection. This ends a local session, and deletes an ephemeral one. Other sessions continue.

        An ephemeral session that could not be deleted is logged as a warning.
        """
        if self.is_ephemeral:
            self.is_ephemeral = False
            await _delete_quietly(lambda _name: self._control.delete(), self.name)
        await self._resources.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, type_: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def _set_notice(self, notice: str) -> None:
        self.notice = notice


async def note_wake(sandbox: AsyncSandbox) -> None:
    """Set a sandbox's `notice` after its session was resumed."""
    sandbox.notice = describe_wake(None)
    # The connection is usable even if the agent cannot say which variables it kept.
    with contextlib.suppress(SandboxError):
        sandbox.notice = describe_wake(await sandbox.contexts.kept_variables())


async def _undo(creation: asyncio.Future[dict[str, Any]], sessions: SessionApi) -> None:
    """Delete a session whose create failed or was cancelled. The request may still be on its way."""
    with contextlib.suppress(SandboxError):
        created = await creation
        await _delete_quietly(sessions.delete, str(created["metadata"]["name"]))


async def _delete_quietly(delete: Callable[[str], Awaitable[object]], name: str) -> None:
    """Delete an ephemeral session. A failure must not hide the result of the work, or its error."""
    try:
        await delete(name)
    except NotFound:
        pass
    except SandboxError as error:
        _log.warning("the ephemeral session %s was not deleted: %s", name, error)


async def _open_sessions(options: ConnectOptions) -> SessionApi:
    from sandbox_client.cluster.sessions import ClusterOptions, SessionApi  # noqa: PLC0415 - slow to import

    place = (options["namespace"], options["kubeconfig"], options["kube_context"], options["in_cluster"])
    return await SessionApi.open(ClusterOptions(*place))
