"""Keeps a stream of answers alive: signs of life, a time limit, and an end when the client has gone."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.errors import DeadlineExceeded

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine

_END: Final = object()
_AHEAD: Final = 16
"""Messages that are read ahead of the client."""
_tasks: Final[set[asyncio.Task[Any]]] = set()


def run_in_background(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Start a task that continues when the request that started it is cancelled."""
    task = asyncio.create_task(work)
    _tasks.add(task)
    task.add_done_callback(_forget)
    return task


async def paced(
    source: AsyncGenerator[Any, None], *, idle: Any, idle_seconds: float, seconds: float | None = None
) -> AsyncGenerator[Any, None]:
    """Yield the messages of a source, and a sign of life when there is none for some time.

    The source runs in a task of its own. If the caller stops, the task is cancelled.

    Args:
        source: The messages.
        idle: The sign of life.
        idle_seconds: Seconds without a message.
        seconds: Seconds until the end of the stream, or None for no limit.

    Raises:
        DeadlineExceeded: The time is over.
    """
    queue: asyncio.Queue[Any] = asyncio.Queue(_AHEAD)
    deadline = None if seconds is None else time.monotonic() + seconds
    pump = run_in_background(_pump(source, queue))
    try:
        while True:
            left = idle_seconds if deadline is None else min(idle_seconds, deadline - time.monotonic())
            try:
                async with asyncio.timeout(max(left, 0)):
                    message = await queue.get()
            except TimeoutError:
                if deadline is not None and time.monotonic() >= deadline:
                    raise DeadlineExceeded("the stream's time is over", reason="DEADLINE_EXCEEDED") from None
                yield idle
                continue
            if message is _END:
                pump.result()
                return
            yield message
    finally:
        pump.cancel()


async def _pump(source: AsyncGenerator[Any, None], queue: asyncio.Queue[Any]) -> None:
    try:
        async with contextlib.aclosing(source):
            async for message in source:
                await queue.put(message)
    except Exception:
        await queue.put(_END)
        raise
    await queue.put(_END)


def _forget(task: asyncio.Task[Any]) -> None:
    _tasks.discard(task)
    # The caller who wanted the result has it already, or has gone.
    if not task.cancelled():
        task.exception()
