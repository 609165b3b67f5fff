"""Runs many transfers at a time, within limits for memory and threads."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable

TRANSFERS: Final = 16
"""Largest number of parallel requests."""
PART_SIZE: Final = 16 << 20
"""Bytes in one part of a large upload."""
MAX_TRANSFER_BYTES: Final = 64 << 20
"""Bytes that all transfers of a push or restore hold in memory at a time, approximately."""
_MAX_SHARE: Final = 3 * PART_SIZE
"""Bytes that a large upload holds: two parts being sent and one being filled."""
_T = TypeVar("_T")


@contextlib.asynccontextmanager
async def run_alongside(work: Coroutine[Any, Any, _T]) -> AsyncIterator[asyncio.Task[_T]]:
    """Run a coroutine as a task alongside the block. When the block ends, cancel the task and wait for its end."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def for_each(items: Iterable[_T], work: Callable[[_T], Awaitable[None]]) -> None:
    """Call `work` for every item, TRANSFERS at a time. The first error stops all calls and is raised."""
    waiting = iter(items)

    async def worker() -> None:
        for item in waiting:
            await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(TRANSFERS):
                group.create_task(worker())
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


class ByteBudget:
    """Memory that transfers share. A transfer waits until enough is free."""

    def __init__(self) -> None:
        self._free = MAX_TRANSFER_BYTES
        self._changed = asyncio.Condition()

    @contextlib.asynccontextmanager
    async def reserve(self, size: int) -> AsyncIterator[None]:
        """Reserve memory for a transfer of `size` bytes while the block runs."""
        wanted = min(size, _MAX_SHARE)
        async with self._changed:
            await self._changed.wait_for(lambda: self._free >= wanted)
            self._free -= wanted
        try:
            yield
        finally:
            async with self._changed:
                self._free += wanted
                self._changed.notify_all()


class BoundedThreads:
    """A pool with one thread for each concurrent transfer. A cancelled task leaves no running thread behind."""

    def __init__(self, name: str, count: int = TRANSFERS) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=name)

    async def run(self, function: Callable[[], _T]) -> _T:
        """Call a function in a thread.

        A thread cannot be stopped, so a cancellation is raised only when the function has ended. A late write of an
        abandoned push therefore never overlaps the next push.
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
