"""The synchronous classes of the SDK. derive.py makes each method from its asynchronous namesake."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from sandbox_client.contexts import AsyncContexts
from sandbox_client.execution import CodeRunner
from sandbox_client.files import AsyncFiles
from sandbox_client.processes import AsyncProcess, AsyncProcesses
from sandbox_client.sandbox import AsyncSandbox
from sandbox_client.sync.derive import (
    OwningProxy,
    SyncProxy,
    blocking,
    blocking_iterator,
    blocking_proxy,
    direct,
    direct_iterator,
)
from sandbox_client.sync.direct import DirectConnection, run_direct
from sandbox_client.sync.loop_thread import LoopThread
from sandbox_client.workspace import AsyncWorkspace

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from sandbox_client.errors import SandboxError
    from sandbox_client.transport.endpoint import Endpoint

P = ParamSpec("P")
T = TypeVar("T")


def opening(
    method: Callable[P, Coroutine[Any, Any, AsyncSandbox]],
) -> Callable[Concatenate[type[Sandbox], P], Sandbox]:
    """Derive from a classmethod that returns an AsyncSandbox."""

    # A bound method has lost its first parameter, and `classmethod` removes one more.
    @functools.wraps(getattr(method, "__func__", method))
    def call(cls: type[Sandbox], /, *args: P.args, **kwargs: P.kwargs) -> Sandbox:
        loop = LoopThread()
        try:
            return cls(loop.run(method(*args, **kwargs)), loop)
        except BaseException:
            loop.stop()
            raise

    return call


def alone(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[Concatenate[type[Any], P], T]:
    """Derive from a classmethod that needs no sandbox. Each call has a loop of its own."""

    @functools.wraps(getattr(method, "__func__", method))
    def call(cls: type[Any], /, *args: P.args, **kwargs: P.kwargs) -> T:  # noqa: ARG001 - `classmethod` passes it
        loop = LoopThread()
        try:
            return loop.run(method(*args, **kwargs))
        finally:
            loop.stop()

    return call


class Files(SyncProxy[AsyncFiles]):
    """Files of one sandbox. Paths are relative to the workspace root, or absolute."""

    read = blocking(AsyncFiles.read)
    read_text = blocking(AsyncFiles.read_text)
    stream = blocking_iterator(AsyncFiles.stream)
    write = blocking(AsyncFiles.write)
    write_stream = blocking(AsyncFiles.write_stream)
    upload = blocking(AsyncFiles.upload)
    download = blocking(AsyncFiles.download)
    upload_tree = blocking(AsyncFiles.upload_tree)
    download_tree = blocking(AsyncFiles.download_tree)
    find = blocking(AsyncFiles.find)
    grep = blocking(AsyncFiles.grep)
    watch = blocking_iterator(AsyncFiles.watch)
    list = blocking(AsyncFiles.list)
    stat = blocking(AsyncFiles.stat)
    exists = blocking(AsyncFiles.exists)
    remove = blocking(AsyncFiles.remove)
    move = blocking(AsyncFiles.move)
    make_directory = blocking(AsyncFiles.make_directory)
    home = blocking(AsyncFiles.home)


class Workspace(SyncProxy[AsyncWorkspace]):
    """Object storage of one sandbox. Stored paths look like `code-interpreter/chart.png`."""

    push = blocking(AsyncWorkspace.push)
    restore = blocking(AsyncWorkspace.restore)
    status = blocking(AsyncWorkspace.status)
    list = blocking(AsyncWorkspace.list)
    read = blocking(AsyncWorkspace.read)
    stream = blocking_iterator(AsyncWorkspace.stream)


class Contexts(SyncProxy[AsyncContexts]):
    """Interpreters of one sandbox. The default ones are called `python`, `javascript` and `typescript`."""

    create = blocking(AsyncContexts.create)
    list = blocking(AsyncContexts.list)
    kept_variables = blocking(AsyncContexts.kept_variables)
    interrupt = blocking(AsyncContexts.interrupt)
    restart = blocking(AsyncContexts.restart)
    delete = blocking(AsyncContexts.delete)


class Process(SyncProxy[AsyncProcess]):
    """A background process. It keeps running when this client exits, and `processes.get(id)` finds it again."""

    info = blocking(AsyncProcess.info)
    output = blocking_iterator(AsyncProcess.output)
    wait = blocking(AsyncProcess.wait)
    send_input = blocking(AsyncProcess.send_input)
    signal = blocking(AsyncProcess.signal)
    kill = blocking(AsyncProcess.kill)
    resize = blocking(AsyncProcess.resize)

    def __repr__(self) -> str:
        return f"<Process {self.id}, pid {self.pid}: {self.command}>"

    @property
    def id(self) -> str:
        """The agent's id for the process."""
        return self._core.id

    @property
    def pid(self) -> int:
        """The process id inside the sandbox."""
        return self._core.pid

    @property
    def command(self) -> str:
        """The shell line, or the arguments quoted for a shell."""
        return self._core.command


class Processes(SyncProxy[AsyncProcesses]):
    """Background processes of one sandbox."""

    start = blocking_proxy(Process, AsyncProcesses.start)
    get = blocking_proxy(Process, AsyncProcesses.get)
    list = blocking(AsyncProcesses.list)
    signal = blocking(AsyncProcesses.signal)


class Sandbox(OwningProxy[AsyncSandbox]):
    """One session: an isolated place that runs code and keeps its variables and files.

    Create it with `Sandbox.local()`, `Sandbox.connect(name)` or `Sandbox.create()`, and use it as a context manager.
    Callbacks of code and commands run on the calling thread. Any number of threads may use one Sandbox.

    Attributes:
        files: Files of the workspace.
        workspace: The workspace in object storage.
        contexts: Interpreters in addition to the default ones.
        processes: Background processes.
    """

    def __init__(self, core: AsyncSandbox, loop: LoopThread) -> None:
        super().__init__(core, loop)
        self._direct = DirectConnection(core.endpoint, revive=None if core.waker is None else self._revive)
        self._direct_runner = CodeRunner(self._direct)
        self.files = Files(core.files, loop)
        self.workspace = Workspace(core.workspace, loop)
        self.contexts = Contexts(core.contexts, loop)
        self.processes = Processes(core.processes, loop)

    local = classmethod(opening(AsyncSandbox.local))
    create_local = classmethod(opening(AsyncSandbox.create_local))
    connect = classmethod(opening(AsyncSandbox.connect))
    create = classmethod(opening(AsyncSandbox.create))
    list = classmethod(alone(AsyncSandbox.list))
    info = blocking(AsyncSandbox.info)
    suspend = blocking(AsyncSandbox.suspend)
    resume = blocking(AsyncSandbox.resume)
    set_timeout = blocking(AsyncSandbox.set_timeout)
    run_code = direct(AsyncSandbox.run_code)
    check_types = direct(AsyncSandbox.check_types)
    execute = direct_iterator(AsyncSandbox.execute)
    run = direct(AsyncSandbox.run)
    stream_command = direct_iterator(AsyncSandbox.stream_command)

    def __repr__(self) -> str:
        return f"<Sandbox {self.name!r}, {'closed' if self._loop.is_closed else self._core.endpoint.address}>"

    @property
    def name(self) -> str:
        """The session's name."""
        return self._core.name

    @property
    def endpoint(self) -> Endpoint:
        """The agent's address, and the means to trust it."""
        return self._core.endpoint

    @property
    def notice(self) -> str:
        """A message for the caller if the session was suspended: what was kept and what was lost; "" if nothing."""
        return self._core.notice

    @property
    def _runner(self) -> CodeRunner:
        if self._loop.is_closed:
            raise RuntimeError("the sandbox is closed: open another one")
        return self._direct_runner

    async def _revive(self, previous: Endpoint, error: SandboxError | None) -> Endpoint | None:
        waker = self._core.waker
        return None if waker is None else self._loop.run(waker.revive(previous, error))

    def delete(self) -> None:
        """Delete the session, and close this sandbox. The stored workspace stays.

        Raises:
            SandboxError: The session could not be deleted; the sandbox is closed in any case.
        """
        try:
            self._loop.run(self._core.delete())
        finally:
            self.close()

    def close(self) -> None:
        """Close the connection. This ends a local session, and deletes an ephemeral one. Idempotent."""
        if not self._loop.is_closed:
            run_direct(self._direct.close())
        super().close()
