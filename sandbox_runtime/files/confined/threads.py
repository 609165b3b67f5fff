"""Runs blocking file operations in threads of their own, so that a slow disk does not delay interpreters.

A thread cannot be stopped. A cancelled operation waits for its thread, so that no descriptor is closed while in use.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import threading
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_P = ParamSpec("_P")
_T = TypeVar("_T")
_THREADS: Final = 8


class Stopped(Exception):  # noqa: N818 - not an error: a thread raises it to leave cancelled work
    """The operation was cancelled while a thread worked on it."""


class StopFlag:
    """Signals a long-running thread that its operation was cancelled."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Ask the thread to stop."""
        self._event.set()

    def check(self) -> None:
        """Check the flag. The thread calls this regularly.

        Raises:
            Stopped: The thread must stop.
        """
        if self._event.is_set():
            raise Stopped


class Threads:
    """A pool for blocking calls."""

    def __init__(self) -> None:
        self._pool = concurrent.futures.ThreadPoolExecutor(_THREADS, thread_name_prefix="files")

    def submit(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> asyncio.Future[_T]:
        """Start a call in a thread. Await its future with `finish`."""
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._pool, functools.partial(function, *args, **kwargs))

    async def run(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Call a function in a thread. If cancelled, wait for the thread first."""
        return await finish(self.submit(function, *args, **kwargs))

    async def run_stoppable(self, function: Callable[[StopFlag], _T]) -> _T:
        """Call a function in a thread, with a flag that is set if this coroutine is cancelled."""
        flag = StopFlag()
        future = self.submit(function, flag)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            flag.set()
            await wait_for_end(future)
            raise


async def finish(future: asyncio.Future[_T]) -> _T:
    """Return the future's result. If cancelled, wait for the future before the cancellation goes on."""
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await wait_for_end(future)
        raise


async def wait_for_end(future: asyncio.Future[Any]) -> None:
    """Wait until the future is done, whatever its outcome and however often this is cancelled."""
    while not future.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([future])
    if not future.cancelled():
        future.exception()
