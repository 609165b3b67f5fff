"""The asynchronous sandbox: one session with its code, commands, files, workspace, contexts and processes."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, Unpack

from sandbox_client.contexts import AsyncContexts
from sandbox_client.errors import InvalidArgument, SandboxError
from sandbox_client.execution import CodeRunner
from sandbox_client.files import AsyncFiles
from sandbox_client.local.address import check_local_name, local_name
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
from sandbox_client.transport.connection import Connection
from sandbox_client.workspace import AsyncWorkspace

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from types import TracebackType

    from sandbox_client.cluster.sessions import Cluster
    from sandbox_client.cluster.wake import Waker
    from sandbox_client.local.named.waker import LocalWaker
    from sandbox_client.transport.endpoint import Endpoint


class AsyncSandbox(CodeRunner):
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
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        name: str = "",
        resources: contextlib.AsyncExitStack | None = None,
        notice: str = "",
        waker: Waker | LocalWaker | None = None,
    ) -> None:
        self.name = name
        self.notice = notice
        self.waker = waker
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
        sandbox = cls(endpoint, name=chosen["name"], resources=resources)
        if chosen["keep_variables"] and (variables := await sandbox.contexts.kept_variables()) is not None:
            sandbox.notice = describe_wake(variables)
        return sandbox

    @classmethod
    # An option of `local` is called `name`, too. Here it is the session's.
    async def create_local(  # type: ignore[misc]
        cls,
        name: str,
        workspace: str | os.PathLike[str] | None = None,
        store: str | os.PathLike[str] | None = None,
        *,
        idle_timeout: float | str = "4h",
        lifetime: float | str = "24h",
        on_idle: Literal["suspend", "delete"] = "suspend",
        **options: Unpack[LocalOptions],
    ) -> Self:
        """Create a session on this machine that outlives this program, and connect to it.

        `connect("local/NAME")` and `sandbox run --session local/NAME` use it later. `sandbox delete local/NAME` ends
        it.

        Code runs as the calling user: use a local session only for code that you trust.

        Args:
            name: The new session's name, `NAME` or `local/NAME`.
            workspace: The folder that the code works in. If None, it is kept with the session and deleted with it.
            store: The folder for pushed files, which outlive the session. Default: `~/.local/share/sandbox/store`.
            idle_timeout: Time without use until `on_idle` happens: seconds, or text such as `15m`; 28 days at most.
            lifetime: Time from each start until the session is suspended, in the same form.
            on_idle: `suspend` saves the session and ends its processes; the next `connect` or call resumes it. `delete`
                ends and removes it.
            **options: The options of `local` except `name`: the workspace in the store has the session's name.

        Raises:
            Conflict: There is a session of that name already.
            SessionFailed: The [local] extra is missing, or a process did not start; the message has the end of its log.
            InvalidArgument: An option is wrong; `field` names it.
        """
        from sandbox_client.local.named.connect import create_and_connect  # noqa: PLC0415 - only for local sessions
        from sandbox_client.local.named.operations import LocalRequest  # noqa: PLC0415 - same

        chosen: Any = complete(options, LOCAL_DEFAULTS)
        workspace, store = (None if path is None else Path(path) for path in (workspace, store))
        request = LocalRequest(check_local_name(name), workspace, store, idle_timeout, lifetime, on_idle)
        endpoint, waker = await create_and_connect(request, chosen)
        return cls(endpoint, name=f"local/{request.name}", waker=waker)

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

            endpoint, waker, notice = await connect_local(local, wakes=wake, options=chosen)
            return cls(endpoint, name=name, notice=notice, waker=waker)
        from sandbox_client.cluster.wake import Waker  # noqa: PLC0415 - the kubernetes package is slow to import

        waiting: Any = {"timeout": chosen["timeout"], "on_phase": chosen["on_phase"] or ignore}
        cluster = await _open_cluster(chosen)
        if not wake:
            endpoint, resources = await cluster.connect(name)
            return cls(endpoint, name=name, resources=resources)
        was_suspended = await cluster.wake(name, **waiting)
        cluster_waker = await Waker.open(cluster, name, **waiting)
        sandbox = cls(cluster_waker.endpoint, name=name, waker=cluster_waker)
        if was_suspended:
            await note_wake(sandbox)
        return sandbox

    @classmethod
    @with_options(ConnectOptions, CONNECT_DEFAULTS)
    async def create(
        cls,
        name: str | None = None,
        *,
        template: str = "default",
        env: Mapping[str, str] | None = None,
        spec: Mapping[str, Any] | None = None,
        **options: Unpack[ConnectOptions],
    ) -> Self:
        """Create a session in the cluster, wait until it is Ready, and connect.

        Args:
            name: The new session's name; a random one if None.
            template: The SandboxTemplate's name.
            env: Environment variables of cells and commands.
            spec: Further fields of the SandboxSession's spec, such as `{"lifecycle": {"idleTimeout": "1h"}}`.
            **options: See ConnectOptions.

        Raises:
            Conflict: There is a session of that name already.
            SessionFailed: The session did not become Ready; the message has its conditions.
        """
        from sandbox_client.cluster.sessions import SessionRequest  # noqa: PLC0415 - the kubernetes package is slow
        from sandbox_client.cluster.wake import Waker  # noqa: PLC0415 - same

        if local_name(name) is not None:
            raise InvalidArgument(f"{name} is not a session of a cluster: create it with create_local", field="name")
        chosen = complete(options, CONNECT_DEFAULTS)
        waiting: Any = {"timeout": chosen["timeout"], "on_phase": chosen["on_phase"] or ignore}
        cluster = await _open_cluster(chosen)
        created = await cluster.create(SessionRequest(name, template, dict(env or {}), dict(spec or {})))
        name = str(created["metadata"]["name"])
        session = await cluster.wait_ready(name, since=created, **waiting)
        waker = await Waker.open(cluster, name, session, **waiting)
        return cls(waker.endpoint, name=name, waker=waker)

    async def close(self) -> None:
        """Close the connection. This ends a local session; a session of the cluster continues."""
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


async def _open_cluster(options: ConnectOptions) -> Cluster:
    from sandbox_client.cluster.sessions import Cluster, ClusterOptions  # noqa: PLC0415 - slow to import

    place = (options["namespace"], options["kubeconfig"], options["kube_context"], options["in_cluster"])
    return await Cluster.open(ClusterOptions(*place))
