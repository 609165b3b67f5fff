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
_MIN_HASH_RATE: Final = 4 << 20
"""Bytes per second below which digests use up their time."""
_MIN_DIGESTS: Final = 10
"""The same for the number of digests per second."""
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
        raise _stopped_responding() from error


def _stopped_responding() -> OperationError:
    message = "the sandbox's runtime stopped responding: it may be overloaded. Try again"
    return OperationError("UNAVAILABLE", "RUNTIME_UNAVAILABLE", message)


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


class DigestTime:
    """Time that the sandbox may still take for digests. All that it computes at the same time share it.

    The sandbox computes a few at once, so that one may wait for others. So each digest that it is asked for adds the
    time that its bytes may take, and each that it answers a little more. While it is asked for none, the time returns.
    """

    def __init__(self) -> None:
        self._left = REQUEST_TIMEOUT
        self._settled = 0.0
        self._running: dict[asyncio.Timeout, tuple[float, float]] = {}
        """The latest end of each digest, and the seconds that its bytes may take."""

    @contextlib.asynccontextmanager
    async def waiting(self, size: int) -> AsyncIterator[None]:
        """Wait in the body for the digest of a file with this many bytes.

        Raises:
            OperationError: UNAVAILABLE, RUNTIME_UNAVAILABLE: the time is over.
        """
        own = min(size / _MIN_HASH_RATE, HASH_TIMEOUT)
        try:
            async with asyncio.timeout(None) as limit:
                self._give(0.0)
                self._running[limit] = self._settled + HASH_TIMEOUT, own
                self._give(own)
                try:
                    yield
                    self._give(1 / _MIN_DIGESTS)
                finally:
                    self._give(0.0)
                    del self._running[limit]
        except TimeoutError as error:
            raise _stopped_responding() from error

    def _give(self, seconds: float) -> None:
        """Count the time that has passed, add some seconds, and move the end of all digests."""
        now = asyncio.get_running_loop().time()
        passed, self._settled = now - self._settled, now
        most = REQUEST_TIMEOUT + sum(own for _, own in self._running.values())
        self._left = min(most, self._left + seconds + (-passed if self._running else passed))
        for limit, latest in ((each, latest) for each, (latest, _) in self._running.items() if not each.expired()):
            limit.reschedule(min(latest, now + max(0.0, self._left)))


async def cancel_call(call: Call) -> None:
    """Cancel a call and wait for its end, FINISH_TIMEOUT at most, so that it does not continue in the background."""
    with contextlib.suppress(OperationError, TimeoutError):
        async with asyncio.timeout(FINISH_TIMEOUT):
            await call.cancel()
            async for _ in call:
                pass
