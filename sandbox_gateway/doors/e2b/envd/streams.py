"""Keeps a stream of answers alive: signs of life, a time limit, and an end when the client or its right has gone."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.errors import DeadlineExceeded
from sandbox_gateway.background import run_in_background

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

_END: Final = object()
_NOTHING: Final = object()
_CHECK_SECONDS: Final = 30.0
_AHEAD: Final = 16
"""Messages that are read ahead of the client."""


async def paced(
    source: AsyncGenerator[Any, None],
    *,
    idle: Any,
    idle_seconds: float,
    check: Callable[[], Awaitable[None]],
    seconds: float | None = None,
    check_seconds: float = _CHECK_SECONDS,
) -> AsyncGenerator[Any, None]:
    """Yield the messages of a source, and a sign of life when there is none for some time.

    The source runs in a task of its own. If the caller stops, the task is cancelled.

    Args:
        source: The messages.
        idle: The sign of life.
        idle_seconds: Seconds without a message.
        check: Checks now and then that the client may still have the stream. Its error ends the stream.
        seconds: Seconds until the end of the stream, or None for no limit.
        check_seconds: Seconds between two checks.

    Raises:
        DeadlineExceeded: The time is over.
    """
    queue: asyncio.Queue[Any] = asyncio.Queue(_AHEAD)
    now = time.monotonic()
    deadline = math.inf if seconds is None else now + seconds
    idle_at, check_at = now + idle_seconds, now + check_seconds
    pump = run_in_background(_pump(source, queue))
    try:
        while True:
            message = _NOTHING
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(min(idle_at, check_at, deadline) - now, 0)):
                    message = await queue.get()
            now = time.monotonic()
            if message is _END:
                pump.result()
                return
            if message is _NOTHING and now >= deadline:
                raise DeadlineExceeded("the stream's time is over", reason="DEADLINE_EXCEEDED")
            if now >= check_at:
                await check()
                check_at = time.monotonic() + check_seconds
            if message is not _NOTHING:
                yield message
            elif now >= idle_at:
                yield idle
            else:
                continue
            now = time.monotonic()
            idle_at = now + idle_seconds
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
