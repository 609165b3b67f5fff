"""Bounds the sessions that each caller starts at a time, so that one caller cannot take all threads that wait."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sandbox_client.errors import ResourceExhausted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sandbox_gateway.backend import Caller

MAX_STARTS: Final = 32


@dataclass(slots=True)
class _Queue:
    free: asyncio.Semaphore
    users: int = 0


class Starts:
    """The starts and resumes in progress. For one event loop.

    Args:
        limit: Those of one caller at a time. Further ones wait.
        seconds: Seconds that they wait at most.
    """

    def __init__(self, limit: int = MAX_STARTS, seconds: float = 120.0) -> None:
        self._limit = limit
        self._seconds = seconds
        self._queues: dict[tuple[str, str], _Queue] = {}

    @contextlib.asynccontextmanager
    async def slot(self, caller: Caller) -> AsyncIterator[None]:
        """Wait until the caller may start one more session. It counts until the end of the `async with`.

        Raises:
            ResourceExhausted: That took too long.
        """
        key = (caller.namespace, caller.name)
        queue = self._queues.setdefault(key, _Queue(asyncio.Semaphore(self._limit)))
        queue.users += 1
        try:
            try:
                async with asyncio.timeout(self._seconds):
                    await queue.free.acquire()
            except TimeoutError:
                message = f"{self._limit} sessions of this key start now: try again when they run"
                raise ResourceExhausted(message, reason="TOO_MANY_REQUESTS") from None
            try:
                yield
            finally:
                queue.free.release()
        finally:
            queue.users -= 1
            if not queue.users:
                del self._queues[key]
