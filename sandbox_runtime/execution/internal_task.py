"""What the runtime itself has an interpreter do, in its turn and under its time limit as a cell: no client sees it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sandbox_link.frames import Stream
from sandbox_runtime.execution.execution import Execution

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox_runtime.execution.context import Context


class TaskChannel:
    """Stands where a cell has its channel of the link: keeps the body of the output, up to a limit.

    Attributes:
        number: Of the operation that the task is for; no cell has it.
        body: What came. Beyond the limit nothing is taken.
    """

    is_blocked = False

    def __init__(self, number: int, limit: int) -> None:
        self.number = number
        self.body = bytearray()
        self.on_writable: Callable[[], None] | None = None
        self.ended: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._limit = limit

    def write(self, stream: Stream, data: bytes | bytearray | memoryview) -> None:
        """Take output; what is printed meanwhile is nobody's."""
        if stream is Stream.BODY:
            self.body += memoryview(data)[: self._limit - len(self.body)]

    def send_event(self, _value: dict[str, Any]) -> None:
        """Nothing: events are for clients."""

    def finish(self, result: dict[str, Any]) -> None:
        """The task ended."""
        if not self.ended.done():
            self.ended.set_result(result)


async def run_task(
    context: Context, channel: TaskChannel, task: dict[str, Any], content: bytes, seconds: float
) -> dict[str, Any]:
    """Have a context's interpreter do something; how that ended: what a cell's CLOSE has.

    Args:
        context: Where. It is not busy.
        channel: Takes what the interpreter sends.
        task: Its `op`, and what that needs.
        content: What goes with it.
        seconds: Its time limit. Then it is interrupted, and killed if that does not help.
    """
    context.submit(Execution(channel, context.language, content, seconds, 0, task=task))
    return await channel.ended
