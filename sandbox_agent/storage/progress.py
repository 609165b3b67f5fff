"""Measures and reports the progress of pushes and restores."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

from sandbox_proto.v1 import workspace_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

_REPORT_INTERVAL: Final = 0.25
"""Seconds between two reports."""
_T = TypeVar("_T")


class ProgressMeter:
    """Progress of one push or restore."""

    def __init__(self) -> None:
        self.progress = workspace_pb2.Progress()

    def expect(self, files: int, size: int) -> None:
        """Set the total number of files and bytes, and start from zero."""
        self.progress.Clear()
        self.progress.files_total = files
        self.progress.bytes_total = size

    def add(self, size: int, files: int = 1) -> None:
        """Add finished files and bytes."""
        self.progress.files_done += files
        self.progress.bytes_done += size

    async def watch(self, task: asyncio.Task[_T]) -> AsyncIterator[workspace_pb2.Progress]:
        """Yield the progress of a running task: at the start, after each change, and at the end."""
        last: workspace_pb2.Progress | None = None
        while not task.done():
            if self.progress != last:
                last = workspace_pb2.Progress()
                last.CopyFrom(self.progress)
                yield last
            await asyncio.wait([task], timeout=_REPORT_INTERVAL)
        if self.progress != last and not task.cancelled() and task.exception() is None:
            yield self.progress


async def with_progress(
    task: asyncio.Task[_T], meter: ProgressMeter
) -> AsyncGenerator[workspace_pb2.Progress | _T, None]:
    """Yield a task's progress, then its result. A consumer that stops early cancels the task and waits for its end."""
    try:
        async for progress in meter.watch(task):
            yield progress
        yield await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
