"""Many transfers at a time within bounds of memory, and how far they are."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sandbox_agent.storage.backends.object_store import PART_SIZE, TRANSFERS
from sandbox_proto.v1 import workspace_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Iterable

MEMORY: Final = 64 << 20
"""Bytes that all transfers of a push or restore hold at a time, about."""
_LARGEST_SHARE: Final = 3 * PART_SIZE
"""What a large upload holds: two parts on their way and one that is being filled."""
_INTERVAL: Final = 0.25
"""Seconds between two reports of progress."""
_T = TypeVar("_T")


@contextlib.asynccontextmanager
async def beside(work: Coroutine[Any, Any, _T]) -> AsyncIterator[asyncio.Task[_T]]:
    """Something that goes on beside the block. Whatever ends the block ends it, and waits for its end."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def for_each(items: Iterable[_T], work: Callable[[_T], Awaitable[None]]) -> None:
    """Do `work` for every item, TRANSFERS at a time. The first error stops all and is raised."""
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


class Memory:
    """Shares of MEMORY; a transfer waits for its own."""

    def __init__(self) -> None:
        self._free = MEMORY
        self._changed = asyncio.Condition()

    @contextlib.asynccontextmanager
    async def share(self, size: int) -> AsyncIterator[None]:
        """What a transfer of `size` bytes needs."""
        wanted = min(size, _LARGEST_SHARE)
        async with self._changed:
            await self._changed.wait_for(lambda: self._free >= wanted)
            self._free -= wanted
        try:
            yield
        finally:
            async with self._changed:
                self._free += wanted
                self._changed.notify_all()


class Meter:
    """How far a push or restore is."""

    def __init__(self) -> None:
        self.progress = workspace_pb2.Progress()

    def expect(self, files: int, size: int) -> None:
        """So much is to be done in all, and nothing of it is done."""
        self.progress.Clear()
        self.progress.files_total = files
        self.progress.bytes_total = size

    def add(self, size: int, files: int = 1) -> None:
        """So much more is done."""
        self.progress.files_done += files
        self.progress.bytes_done += size

    async def watch(self, task: asyncio.Task[_T]) -> AsyncIterator[workspace_pb2.Progress]:
        """Progress while a task runs: a report at the start, then whenever there is something new, and at the end."""
        last: workspace_pb2.Progress | None = None
        while not task.done():
            if self.progress != last:
                last = workspace_pb2.Progress()
                last.CopyFrom(self.progress)
                yield last
            await asyncio.wait([task], timeout=_INTERVAL)
        if self.progress != last and not task.cancelled() and task.exception() is None:
            yield self.progress


async def attended(task: asyncio.Task[_T], meter: Meter) -> AsyncGenerator[workspace_pb2.Progress | _T, None]:
    """Progress while a task runs, then its result. Whoever stops listening stops the task, and waits for its end."""
    try:
        async for progress in meter.watch(task):
            yield progress
        yield await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
