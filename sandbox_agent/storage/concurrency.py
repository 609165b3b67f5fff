"""Blocking calls in a bounded pool of threads, which a cancelled task does not leave running behind its back."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from sandbox_agent.storage.backends.object_store import TRANSFERS

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")


class BoundedThreads:
    """A pool of as many threads as there are transfers at a time."""

    def __init__(self, name: str, count: int = TRANSFERS) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=name)

    async def run(self, function: Callable[[], _T]) -> _T:
        """Call it in a thread.

        A thread cannot be stopped: the cancellation is raised when it has ended, so that no late write of an abandoned
        push meets the next one.
        """
        future = asyncio.get_running_loop().run_in_executor(self._pool, function)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            while not future.done():
                await _wait_uncancelled(future)
            if not future.cancelled():
                future.exception()
            raise

    async def close(self) -> None:
        """Wait for the threads to end."""
        await asyncio.get_running_loop().run_in_executor(None, self._pool.shutdown)


async def _wait_uncancelled(future: asyncio.Future[_T]) -> None:
    try:
        await asyncio.wait([future])
    except asyncio.CancelledError:
        return
