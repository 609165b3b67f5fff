"""Runs the calls of clients. A client that cancels a request means it; one that goes away does not."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from sandbox_client.models.workspace_status import Progress
    from sandbox_client.tools import SandboxTools, ToolResult

    SendProgress = Callable[[float, float | None, str], Awaitable[object]]


class Calls:
    """The calls of a server's clients.

    Args:
        tools: The tools that they call.

    Attributes:
        tools: The same.
        is_closing: True once the server ends, or its only client has disconnected. Until then, the `mcp` package
            cancels a call only because its client asked for it.
    """

    def __init__(self, tools: SandboxTools) -> None:
        self.tools = tools
        self.is_closing = False
        self._tasks: set[asyncio.Task[ToolResult]] = set()

    async def run(
        self,
        name: str,
        arguments: Mapping[str, Any] | None,
        send_progress: SendProgress | None,
        *,
        may_cancel: bool = True,
    ) -> ToolResult:
        """Call a tool.

        Args:
            name: The tool.
            arguments: What the model gave.
            send_progress: Sends the files done, their total and a message. None if the client wants no progress.
            may_cancel: Whether a cancellation is a wish of the client. Otherwise the call runs to its end.
        """
        task = asyncio.create_task(self._call(name, arguments, send_progress))
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if may_cancel and not self.is_closing:
                # In its own task, where the interrupt of the cell is not cancelled as well.
                task.cancel()
            raise

    def _forget(self, task: asyncio.Task[ToolResult]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            # The result of a call whose client went away is of no use, and neither is its error.
            task.exception()

    async def _call(
        self, name: str, arguments: Mapping[str, Any] | None, send_progress: SendProgress | None
    ) -> ToolResult:
        if send_progress is None:
            return await self.tools.call(name, arguments)
        async with _follow(send_progress) as report:
            return await self.tools.call(name, arguments, on_progress=report)


@contextlib.asynccontextmanager
async def _follow(send_progress: SendProgress) -> AsyncIterator[Callable[[Progress], None]]:
    """Yield a callback for progress, and send its latest value to the client while the call runs."""
    changed = asyncio.Event()
    latest: Progress | None = None
    reported = -1

    def report(progress: Progress) -> None:
        nonlocal latest
        latest = progress
        changed.set()

    async def send() -> None:
        nonlocal reported
        # The protocol requires increasing progress.
        if latest is not None and latest.files_done > reported:
            reported = latest.files_done
            message = f"{latest.bytes_done} of {latest.bytes_total} bytes"
            await send_progress(reported, latest.files_total or None, message)

    async def follow() -> None:
        while True:
            await changed.wait()
            changed.clear()
            await send()

    follower = asyncio.create_task(follow())
    try:
        yield report
        await send()
    finally:
        follower.cancel()
        await asyncio.gather(follower, return_exceptions=True)
