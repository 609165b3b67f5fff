"""Bounds how long the agent waits for the sandbox, so that a hanging sandbox blocks no push, restore or Bind."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from sandbox_link.protocol import Data, OperationError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from sandbox_link.protocol import Call, Event

REQUEST_TIMEOUT: Final = 120.0
"""Seconds without an answer or a next item, after which the sandbox counts as hanging."""
HASH_TIMEOUT: Final = 1_800.0
"""Seconds for the digest of a large file, which the sandbox reports only when it is complete."""
_HASH_QUEUE: Final = 600.0
"""Seconds that a digest may wait for those of other files."""
_MIN_HASH_RATE: Final = 4 << 20
_MIN_RATE: Final = 64 << 10
"""Bytes per second below which a transfer uses up its time."""
_MIN_FILES: Final = 100
"""Files per second below which a scan uses up its time."""
FINISH_TIMEOUT: Final = 10.0
"""Seconds that a cancelled operation may take to end."""


@contextlib.asynccontextmanager
async def time_limit(seconds: float | None = None) -> AsyncIterator[None]:
    """Limit how long the body may take: REQUEST_TIMEOUT by default.

    Raises:
        OperationError: UNAVAILABLE, RUNTIME_UNAVAILABLE: it took longer.
    """
    try:
        async with asyncio.timeout(REQUEST_TIMEOUT if seconds is None else seconds):
            yield
    except TimeoutError as error:
        message = "the sandbox's runtime stopped responding: it may be overloaded. Try again"
        raise OperationError("UNAVAILABLE", "RUNTIME_UNAVAILABLE", message) from error


class Pace:
    """Time that an operation may still wait for the sandbox. Work that it does gives time back; an answer does not.

    Without it, an item now and then would keep an operation alive for ever. Time in which the client or the store is
    slow does not count.

    Args:
        seconds: The time at the start, and the most that there ever is: REQUEST_TIMEOUT by default.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self._most = self._left = REQUEST_TIMEOUT if seconds is None else seconds

    @contextlib.asynccontextmanager
    async def waiting(self) -> AsyncIterator[None]:
        """Wait for the sandbox in the body.

        Raises:
            OperationError: UNAVAILABLE, RUNTIME_UNAVAILABLE: the time is over.
        """
        clock = asyncio.get_running_loop().time
        start = clock()
        async with time_limit(self._left):
            yield
        self._left -= clock() - start

    def note_moved(self, count: int) -> None:
        """Note that bytes have moved."""
        self._give(count / _MIN_RATE)

    def note_found(self, count: int) -> None:
        """Note that the sandbox has listed files that it had not listed before."""
        self._give(count / _MIN_FILES)

    async def items(self, call: Call) -> AsyncGenerator[Data | Event, None]:
        """Yield a call's items, and note the bytes of its output."""
        iterator = aiter(call)
        while True:
            try:
                async with self.waiting():
                    item = await anext(iterator)
            except StopAsyncIteration:
                return
            if isinstance(item, Data):
                self.note_moved(len(item.data))
            yield item

    def _give(self, seconds: float) -> None:
        self._left = min(self._left + seconds, self._most)


def hash_seconds(size: int) -> float:
    """Return how long the sandbox may take for the digest of a file with this many bytes."""
    return min(_HASH_QUEUE + size / _MIN_HASH_RATE, HASH_TIMEOUT)


async def cancel_call(call: Call) -> None:
    """Cancel a call and wait for its end, FINISH_TIMEOUT at most, so that it does not continue in the background."""
    with contextlib.suppress(OperationError, TimeoutError):
        async with asyncio.timeout(FINISH_TIMEOUT):
            await call.cancel()
            async for _ in call:
                pass
