"""Bounds how long the agent waits for the sandbox, so that a hanging sandbox blocks no push, restore or Bind."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from sandbox_link.protocol import Data, OperationError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from sandbox_link.protocol import Call, Event

REQUEST_TIMEOUT: Final = 120.0
"""Seconds without an answer or a next item, after which the sandbox counts as hanging."""
HASH_TIMEOUT: Final = 1_800.0
"""Seconds for the digest of a file, which the sandbox reports only when it is complete."""
_MIN_RATE: Final = 64 << 10
"""Bytes per second below which a transfer uses up its time."""
FINISH_TIMEOUT: Final = 10.0
"""Seconds that a cancelled operation may take to end."""


def read_items(call: Call, seconds: float | None = None) -> AsyncGenerator[Data | Event, None]:
    """Yield a call's items. The timeout applies to each item, not to the whole call: REQUEST_TIMEOUT by default.

    Raises:
        OperationError: UNAVAILABLE, RUNTIME_UNAVAILABLE: no item came in time.
    """
    return _each_item(call, lambda: time_limit(seconds))


async def _each_item(
    call: Call, waiting: Callable[[], AbstractAsyncContextManager[None]]
) -> AsyncGenerator[Data | Event, None]:
    """Yield a call's items. The wait for each of them is inside the context manager."""
    iterator = aiter(call)
    while True:
        try:
            async with waiting():
                item = await anext(iterator)
        except StopAsyncIteration:
            return
        yield item


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
    """Time that a transfer may still wait for the sandbox. Bytes that move give time back, at _MIN_RATE.

    Without it, a byte now and then would keep a transfer alive for ever. Time in which the client or the store is slow
    does not count.
    """

    def __init__(self) -> None:
        self._left = REQUEST_TIMEOUT

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
        self._left = min(self._left + count / _MIN_RATE, REQUEST_TIMEOUT)

    async def items(self, call: Call) -> AsyncGenerator[Data | Event, None]:
        """Yield a call's items."""
        async for item in _each_item(call, self.waiting):
            if isinstance(item, Data):
                self.note_moved(len(item.data))
            yield item


async def cancel_call(call: Call) -> None:
    """Cancel a call and wait for its end, FINISH_TIMEOUT at most, so that it does not continue in the background."""
    with contextlib.suppress(OperationError, TimeoutError):
        async with asyncio.timeout(FINISH_TIMEOUT):
            await call.cancel()
            async for _ in call:
                pass
