"""Derives synchronous methods from asynchronous ones, with the same signature and docstring.

Most methods run their namesake on a loop thread. Those that need only a connection run on the calling thread instead,
over a DirectConnection.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar

from sandbox_client.sync.direct import run_direct

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
    from types import TracebackType

    from sandbox_client.execution import CodeRunner
    from sandbox_client.sync.loop_thread import LoopThread

P = ParamSpec("P")
T = TypeVar("T")
CoreT = TypeVar("CoreT")
ProxyT = TypeVar("ProxyT")


class SyncProxy(Generic[CoreT]):
    """A synchronous proxy for an asynchronous object."""

    def __init__(self, core: CoreT, loop: LoopThread) -> None:
        self._core = core
        self._loop = loop


class OwningProxy(SyncProxy[CoreT]):
    """A proxy that owns its loop and closes it. Use it as a context manager, or call `close`.

    It is also closed when it becomes garbage, together with the proxies that it made.
    """

    def __init__(self, core: CoreT, loop: LoopThread) -> None:
        super().__init__(core, loop)
        closing: Any = core
        loop.close_when_garbage(closing.close)

    def close(self) -> None:
        """Close the asynchronous object and stop the loop. Idempotent."""
        if self._loop.is_closed:
            return
        core: Any = self._core
        try:
            self._loop.run(core.close())
        finally:
            self._loop.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, type_: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class DirectProxy(Protocol):
    """A proxy that can also run code on the calling thread."""

    @property
    def _runner(self) -> CodeRunner:
        """Runs code and commands over a DirectConnection."""


def blocking(
    method: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[SyncProxy[Any], P], T]:
    """Derive from an async method."""

    @functools.wraps(method)
    def call(self: SyncProxy[Any], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._loop.run(method(self._core, *args, **kwargs))

    return call


def blocking_iterator(
    method: Callable[Concatenate[Any, P], AsyncGenerator[T, None]],
) -> Callable[Concatenate[SyncProxy[Any], P], Iterator[T]]:
    """Derive from an async generator."""

    @functools.wraps(method)
    def call(self: SyncProxy[Any], /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        # Closing the sandbox has closed its generators.
        yield from _iterate(method(self._core, *args, **kwargs), self._loop.run, lambda: not self._loop.is_closed)

    return call


def blocking_proxy(
    proxy: Callable[[CoreT, LoopThread], ProxyT], method: Callable[Concatenate[Any, P], Coroutine[Any, Any, CoreT]]
) -> Callable[Concatenate[SyncProxy[Any], P], ProxyT]:
    """Derive from an async method that returns an object for which there is a proxy."""

    @functools.wraps(method)
    def call(self: SyncProxy[Any], /, *args: P.args, **kwargs: P.kwargs) -> ProxyT:
        return proxy(self._loop.run(method(self._core, *args, **kwargs)), self._loop)

    return call


def direct(
    method: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[DirectProxy, P], T]:
    """Derive from an async method of CodeRunner. It runs on the calling thread."""

    @functools.wraps(method)
    def call(self: DirectProxy, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return run_direct(method(self._runner, *args, **kwargs))

    return call


def direct_iterator(
    method: Callable[Concatenate[Any, P], AsyncGenerator[T, None]],
) -> Callable[Concatenate[DirectProxy, P], Iterator[T]]:
    """Derive from an async generator of CodeRunner. It runs on the calling thread."""

    @functools.wraps(method)
    def call(self: DirectProxy, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        yield from _iterate(method(self._runner, *args, **kwargs), run_direct, lambda: True)

    return call


def _iterate(
    items: AsyncGenerator[T, None], run: Callable[[Coroutine[Any, Any, Any]], Any], may_close: Callable[[], bool]
) -> Iterator[T]:
    """Yield the items. If the caller stops early, close the generator, unless `may_close` says that it is closed."""
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
