"""Bounds the bytes of requests that the agent holds in memory at a time.

A request is there in up to three copies until its call ends: as bytes, as a message, and as what the runtime gets. gRPC
reads a whole request before it calls the method, so the number of requests that are read at a time is bounded too.
Streams of requests are bounded by gRPC's flow control.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Final

from sandbox_link.protocol import OperationError

READERS: Final = 8
"""Requests that are read at a time. Each takes up to 4 MiB."""
MOST: Final = 32 << 20
"""Bytes of the requests of all running calls. With all their copies the agent needed ten times as much."""
SMALL: Final = 64 << 10
"""Bytes of a request that is always taken, so that an interrupt comes through."""
WAIT: Final = 20.0
"""Seconds that a call may wait for the others' requests to be read."""


class RequestBudget:
    """The requests of one server. Its methods run in the task that gRPC has for the call.

    Args:
        most: Bytes of all requests. A single one is always taken.
        readers: How many requests are read at a time.
    """

    def __init__(self, most: int = MOST, readers: int = READERS) -> None:
        self._most = most
        self._free = readers
        self._waiting: deque[asyncio.Future[None]] = deque()
        # By call: the bytes of its request, or None while it is read.
        self._calls: dict[asyncio.Task[Any], int | None] = {}
        self._used = 0

    def may_read_now(self) -> bool:
        """Return whether this call's request may be read at once, and count it as one that is read."""
        if self._free <= 0:
            return False
        self._free -= 1
        self._begin()
        return True

    async def wait_to_read(self) -> None:
        """Wait until this call's request may be read.

        Raises:
            OperationError: RESOURCE_EXHAUSTED, TOO_MANY_CALLS: the others take too long.
        """
        if self.may_read_now():
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(WAIT):
                await turn
        except TimeoutError:
            self._pass_on(turn)
            message = "too many other requests are being read: send fewer at a time"
            raise OperationError("RESOURCE_EXHAUSTED", "TOO_MANY_CALLS", message) from None
        except asyncio.CancelledError:
            self._pass_on(turn)
            raise
        self._begin()

    def take(self, size: int) -> bool:
        """Count this call's request, which was read, until the call ends. Return False if there is no room for it."""
        task = asyncio.current_task()
        if task is None or self._calls.get(task, 0) is not None:  # another message of a stream
            return True
        self._calls[task] = 0
        self._free_reader()
        if size > SMALL and self._used and self._used + size > self._most:
            return False
        self._calls[task] = size
        self._used += size
        return True

    def refusal(self) -> OperationError:
        """Return the error of a call whose request has no room."""
        message = (
            f"the requests of the running calls have {self._used >> 20} MiB, and {self._most >> 20} MiB is the agent's "
            "limit: try again when some have ended, or write large data to a file"
        )
        return OperationError("RESOURCE_EXHAUSTED", "TOO_MANY_CALLS", message)

    def _begin(self) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._calls[task] = None
            task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[Any]) -> None:
        size = self._calls.pop(task)
        if size is None:
            self._free_reader()
        else:
            self._used -= size

    def _free_reader(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _pass_on(self, turn: asyncio.Future[None]) -> None:
        # It may have got its turn in the same moment.
        if turn.done() and not turn.cancelled():
            self._free_reader()
