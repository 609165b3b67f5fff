"""Bounds how long the agent waits for the sandbox, so that a hanging sandbox blocks no push, restore or Bind."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from sandbox_link.protocol import OperationError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from sandbox_link.protocol import Call, Data, Event

REQUEST_TIMEOUT: Final = 120.0
"""Seconds without an answer or a next item, after which the sandbox counts as hanging."""
HASH_TIMEOUT: Final = 1_800.0
"""Seconds for the digest of a file, which the sandbox reports only when it is complete."""
FINISH_TIMEOUT: Final = 10.0
"""Seconds that a cancelled operation may take to end."""


async def read_items(call: Call) -> AsyncGenerator[Data | Event, None]:
    """Yield a call's items. The timeout applies to each item, not to the whole call.

    Raises:
        OperationError: UNAVAILABLE, RUNTIME_UNAVAILABLE: no item came in time.
    """
    iterator = aiter(call)
    while True:
        try:
            async with time_limit():
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


async def cancel_call(call: Call) -> None:
    """Cancel a call and wait for its end, FINISH_TIMEOUT at most, so that it does not continue in the background."""
    with contextlib.suppress(OperationError, TimeoutError):
        async with asyncio.timeout(FINISH_TIMEOUT):
            await call.cancel()
            async for _ in call:
                pass
