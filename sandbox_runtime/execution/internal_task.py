"""Collects the output of a task that the runtime itself has an interpreter run, such as saving variables."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sandbox_link.frames import Stream

if TYPE_CHECKING:
    from collections.abc import Callable


class TaskSink:
    """An `ExecutionSink` that keeps the BODY of the output, up to a limit.

    Args:
        number: Channel number of the operation that the task belongs to. No cell has it.
        limit: Bytes to keep. The rest is dropped.

    Attributes:
        body: The bytes received.
        ended: The result, as in a cell's CLOSE.
    """

    is_blocked = False

    def __init__(self, number: int, limit: int) -> None:
        self.number = number
        self.body = bytearray()
        self.on_writable: Callable[[], None] | None = None
        self.ended: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._limit = limit

    def write(self, stream: Stream, data: bytes | bytearray | memoryview) -> None:
        """Keep BODY, and drop text that is printed meanwhile."""
        if stream is Stream.BODY:
            self.body += memoryview(data)[: self._limit - len(self.body)]

    def send_event(self, _value: dict[str, Any]) -> None:
        """Drop the event: events are for clients."""

    def finish(self, result: dict[str, Any]) -> None:
        """Keep the result."""
        if not self.ended.done():
            self.ended.set_result(result)
