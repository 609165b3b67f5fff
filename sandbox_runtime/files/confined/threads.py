"""Blocking file work off the event loop, in threads of its own so that slow disks do not hold up interpreters.

A thread cannot be stopped: whoever is cancelled waits for the call under way, so that no descriptor is closed under it.
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


class Stopped(Exception):  # noqa: N818 - not an error: how a thread leaves work that nobody waits for
    """The operation was cancelled while a thread worked on it."""


class StopFlag:
    """Tells a long-running thread that its operation was cancelled."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Ask the thread to end."""
        self._event.set()

    def check(self) -> None:
        """Called by the thread now and then.

        Raises:
            Stopped: It shall end.
        """
        if self._event.is_set():
            raise Stopped


class Threads:
    """A pool for blocking calls."""

    def __init__(self) -> None:
        self._pool = concurrent.futures.ThreadPoolExecutor(_THREADS, thread_name_prefix="files")

    def submit(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> asyncio.Future[_T]:
        """Start a call; its future must be awaited through `settle`."""
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._pool, functools.partial(function, *args, **kwargs))

    async def run(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Call it in a thread. When cancelled, wait for the thread first."""
        return await settle(self.submit(function, *args, **kwargs))

    async def run_stoppable(self, function: Callable[[StopFlag], _T]) -> _T:
        """Call it in a thread with a flag that is set when this is cancelled."""
        flag = StopFlag()
        future = self.submit(function, flag)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            flag.set()
            await wait_for_end(future)
            raise


async def settle(future: asyncio.Future[_T]) -> _T:
    """The future's result; when cancelled, its end is awaited before the cancellation goes on."""
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await wait_for_end(future)
        raise


async def wait_for_end(future: asyncio.Future[Any]) -> None:
    """Wait for the end, whatever it is and however often this is cancelled."""
    while not future.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([future])
    if not future.cancelled():
        future.exception()
