"""The sync face of the SDK, derived from the async one: each method runs its namesake on a loop thread.

Nothing is written twice: `blocking` and `iterating` take a method of the async class and keep its signature and
docstring.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Self, TypeVar

from sandbox_client.contexts import AsyncContexts
from sandbox_client.files import AsyncFiles
from sandbox_client.processes import AsyncProcess, AsyncProcesses
from sandbox_client.sandbox import AsyncSandbox, twin_over
from sandbox_client.sync.direct import StraightConnection, run_straight
from sandbox_client.workspace import AsyncWorkspace

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
    from types import TracebackType

    from sandbox_client.errors import SandboxError
    from sandbox_client.transport.endpoint import Endpoint

P = ParamSpec("P")
T = TypeVar("T")
CoreT = TypeVar("CoreT")


class LoopThread:
    """An event loop on its own daemon thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sandbox-client", daemon=True)
        self._thread.start()

    @property
    def is_closed(self) -> bool:
        """Whether it was stopped."""
        return self._loop.is_closed()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end. Ctrl-C stops waiting, cancels it, and is raised here.

        Raises:
            RuntimeError: Called from a callback, which runs on the loop itself: that would wait forever.
        """
        if threading.current_thread() is self._thread or self._loop.is_closed():
            coroutine.close()
            why = "the sandbox is closed" if self._loop.is_closed() else "use AsyncSandbox inside callbacks"
            raise RuntimeError(f"this call cannot be made here: {why}")
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> None:
        """Cancel what still runs and end the thread. Idempotent."""
        if self._loop.is_closed():
            return
        self.run(self._cancel_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    @staticmethod
    async def _cancel_all() -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Face(Generic[CoreT]):
    """An async object, seen from a thread that waits."""

    def __init__(self, core: CoreT, loop: LoopThread) -> None:
        self._core = core
        self._loop = loop


def blocking(
    method: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Face[Any], P], T]:
    """The sync namesake of an async method."""

    @functools.wraps(method)
    def call(self: Face[Any], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._loop.run(method(self._core, *args, **kwargs))

    return call


def iterating(
    method: Callable[Concatenate[Any, P], AsyncGenerator[T, None]],
) -> Callable[Concatenate[Face[Any], P], Iterator[T]]:
    """The sync namesake of an async generator."""

    @functools.wraps(method)
    def call(self: Face[Any], /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        # Whoever closed the sandbox closed what was under way with it.
        yield from _each(method(self._core, *args, **kwargs), self._loop.run, lambda: not self._loop.is_closed)

    return call


def straight(
    method: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Sandbox, P], T]:
    """As `blocking`, on the calling thread: for methods that need the connection only."""

    @functools.wraps(method)
    def call(self: Sandbox, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return run_straight(method(self.twin, *args, **kwargs))

    return call


def iterating_straight(
    method: Callable[Concatenate[Any, P], AsyncGenerator[T, None]],
) -> Callable[Concatenate[Sandbox, P], Iterator[T]]:
    """As `iterating`, on the calling thread: for methods that need the connection only."""

    @functools.wraps(method)
    def call(self: Sandbox, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        yield from _each(method(self.twin, *args, **kwargs), run_straight, lambda: True)

    return call


def facing(
    method: Callable[Concatenate[Any, P], Coroutine[Any, Any, AsyncProcess]],
) -> Callable[Concatenate[Face[Any], P], Process]:
    """The sync namesake of an async method that gives a process."""

    @functools.wraps(method)
    def call(self: Face[Any], /, *args: P.args, **kwargs: P.kwargs) -> Process:
        return Process(self._loop.run(method(self._core, *args, **kwargs)), self._loop)

    return call


def opening(
    method: Callable[P, Coroutine[Any, Any, AsyncSandbox]],
) -> Callable[Concatenate[type[Sandbox], P], Sandbox]:
    """The sync namesake of a classmethod that makes an AsyncSandbox."""

    # A bound method has lost its first parameter, which `classmethod` takes off once more.
    @functools.wraps(getattr(method, "__func__", method))
    def call(cls: type[Sandbox], /, *args: P.args, **kwargs: P.kwargs) -> Sandbox:
        loop = LoopThread()
        try:
            return cls(loop.run(method(*args, **kwargs)), loop)
        except BaseException:
            loop.stop()
            raise

    return call


def _each(
    items: AsyncGenerator[T, None], run: Callable[[Coroutine[Any, Any, Any]], Any], may_close: Callable[[], bool]
) -> Iterator[T]:
    """The items, each awaited by `run`; where the iteration is left and `may_close`, the generator is closed."""
    try:
        while True:
            try:
                item: T = run(_next(items))
            except StopAsyncIteration:
                return
            yield item
    finally:
        if may_close():
            run(_close(items))


async def _next(items: AsyncGenerator[T, None]) -> T:
    return await anext(items)


async def _close(items: AsyncGenerator[Any, None]) -> None:
    await items.aclose()


class Files(Face[AsyncFiles]):
    """Files of one sandbox. Paths are relative to the workspace root."""

    read = blocking(AsyncFiles.read)
    read_text = blocking(AsyncFiles.read_text)
    stream = iterating(AsyncFiles.stream)
    write = blocking(AsyncFiles.write)
    upload = blocking(AsyncFiles.upload)
    download = blocking(AsyncFiles.download)
    upload_tree = blocking(AsyncFiles.upload_tree)
    download_tree = blocking(AsyncFiles.download_tree)
    find = blocking(AsyncFiles.find)
    grep = blocking(AsyncFiles.grep)
    watch = iterating(AsyncFiles.watch)
    list = blocking(AsyncFiles.list)
    stat = blocking(AsyncFiles.stat)
    exists = blocking(AsyncFiles.exists)
    remove = blocking(AsyncFiles.remove)
    move = blocking(AsyncFiles.move)
    make_directory = blocking(AsyncFiles.make_directory)


class Workspace(Face[AsyncWorkspace]):
    """Object storage of one sandbox."""

    push = blocking(AsyncWorkspace.push)
    restore = blocking(AsyncWorkspace.restore)
    status = blocking(AsyncWorkspace.status)
    list = blocking(AsyncWorkspace.list)
    read = blocking(AsyncWorkspace.read)
    stream = iterating(AsyncWorkspace.stream)


class Contexts(Face[AsyncContexts]):
    """Interpreters of one sandbox."""

    create = blocking(AsyncContexts.create)
    list = blocking(AsyncContexts.list)
    kept_variables = blocking(AsyncContexts.kept_variables)
    interrupt = blocking(AsyncContexts.interrupt)
    restart = blocking(AsyncContexts.restart)
    delete = blocking(AsyncContexts.delete)


class Process(Face[AsyncProcess]):
    """A background process. It goes on when this client goes away; `processes.get(id)` finds it again."""

    info = blocking(AsyncProcess.info)
    output = iterating(AsyncProcess.output)
    wait = blocking(AsyncProcess.wait)
    send_input = blocking(AsyncProcess.send_input)
    signal = blocking(AsyncProcess.signal)
    kill = blocking(AsyncProcess.kill)
    resize = blocking(AsyncProcess.resize)

    @property
    def id(self) -> str:
        """The agent's id of it."""
        return self._core.id

    @property
    def pid(self) -> int:
        """The process id inside the sandbox."""
        return self._core.pid

    @property
    def command(self) -> str:
        """What it was started with, as text."""
        return self._core.command


class Processes(Face[AsyncProcesses]):
    """Background processes of one sandbox."""

    start = facing(AsyncProcesses.start)
    get = facing(AsyncProcesses.get)
    list = blocking(AsyncProcesses.list)
    signal = blocking(AsyncProcesses.signal)


class Sandbox(Face[AsyncSandbox]):
    """One session: an isolated place that runs code and keeps its variables and files.

    Make it with `Sandbox.local()`, `Sandbox.connect(name)` or `Sandbox.create()`, and use it as a context
    manager. Callbacks run on the calling thread; any number of threads may use one Sandbox.

    Attributes:
        files: Files of the workspace.
        workspace: The workspace in object storage.
        contexts: Interpreters beside the default ones.
        processes: Background processes.
    """

    def __init__(self, core: AsyncSandbox, loop: LoopThread) -> None:
        super().__init__(core, loop)
        self._straight = StraightConnection(core.endpoint, revive=None if core.waker is None else self._revive)
        self._twin = twin_over(core, self._straight)
        self.files = Files(core.files, loop)
        self.workspace = Workspace(core.workspace, loop)
        self.contexts = Contexts(core.contexts, loop)
        self.processes = Processes(core.processes, loop)

    local = classmethod(opening(AsyncSandbox.local))
    connect = classmethod(opening(AsyncSandbox.connect))
    create = classmethod(opening(AsyncSandbox.create))
    run_code = straight(AsyncSandbox.run_code)
    check_types = straight(AsyncSandbox.check_types)
    execute = iterating_straight(AsyncSandbox.execute)
    run = straight(AsyncSandbox.run)
    stream_command = iterating_straight(AsyncSandbox.stream_command)

    @property
    def twin(self) -> AsyncSandbox:
        """The session over the connection that needs no loop; for `straight` and `iterating_straight`.

        Raises:
            RuntimeError: The sandbox is closed.
        """
        if self._loop.is_closed:
            raise RuntimeError("this call cannot be made here: the sandbox is closed")
        return self._twin

    @property
    def name(self) -> str:
        """The session's name."""
        return self._core.name

    @property
    def notice(self) -> str:
        """What its caller must know: that it slept, and what that has lost; "" for nothing. As AsyncSandbox's."""
        return self._core.notice

    def _revive(self, held: Endpoint, error: SandboxError | None) -> Endpoint | None:
        waker = self._core.waker
        return None if waker is None else self._loop.run(waker.revive(held, error))

    def close(self) -> None:
        """End the connection, and a local session with it; one of the cluster goes on. Idempotent."""
        if self._loop.is_closed:
            return
        try:
            self._straight.close()
            self._loop.run(self._core.close())
        finally:
            self._loop.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, type_: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
