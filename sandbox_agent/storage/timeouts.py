"""How long a push or restore waits for a sandbox that gives no sign: one that hangs must not hold it up for ever."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from sandbox_link.protocol import OperationError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from sandbox_link.protocol import Call, Data, Event

PATIENCE: Final = 120.0
"""Seconds without any sign of an operation after which the sandbox counts as hanging."""
HASH_PATIENCE: Final = 1_800.0
"""The same for a digest, which gives no sign before its end."""
_END_PATIENCE: Final = 10.0
"""Seconds for the end of an operation that was cancelled."""


async def items(call: Call) -> AsyncGenerator[Data | Event, None]:
    """What a call brings, as long as it goes on bringing something."""
    items = aiter(call)
    while True:
        try:
            async with patient():
                item = await anext(items)
        except StopAsyncIteration:
            return
        yield item


@contextlib.asynccontextmanager
async def patient(seconds: float | None = None) -> AsyncIterator[None]:
    """Bounds what the body waits for; PATIENCE by default.

    Raises:
        OperationError: UNAVAILABLE, RUNTIME_UNAVAILABLE: it took longer.
    """
    try:
        async with asyncio.timeout(PATIENCE if seconds is None else seconds):
            yield
    except TimeoutError as error:
        message = "the sandbox does not go on with its files: it may be overloaded or stopped"
        raise OperationError("UNAVAILABLE", "RUNTIME_UNAVAILABLE", message) from error


async def give_up(call: Call) -> None:
    """Cancel a call and wait for its end, so that nothing of it goes on; not for ever."""
    with contextlib.suppress(OperationError, TimeoutError):
        async with asyncio.timeout(_END_PATIENCE):
            await call.cancel()
            async for _ in call:
                pass
