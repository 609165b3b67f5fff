"""Decides when Python's garbage collector runs: while no session waits.

A full collection stops everything, for 30 to 160 ms with a few hundred pods. Python starts it in the middle of whatever
allocates most, which is the start of sessions. Objects that exist after the first list, mostly modules, are therefore
never scanned again. Later objects get a full collection once a minute, while no session waits. Young objects are
collected as usual, in larger batches.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_THRESHOLDS: Final = (5_000, 10, 1_000_000)
"""Arguments of `gc.set_threshold`. The third is never reached, so Python itself starts no full collection."""
_INTERVAL: Final = 60.0
"""Seconds between two full collections."""
_MAX_DELAY: Final = 300.0
"""Seconds for which waiting sessions may delay a full collection."""
_POLL_INTERVAL: Final = 0.5


@contextlib.contextmanager
def frozen_startup_objects() -> Iterator[None]:
    """Collect once, then exclude all existing objects from collections while the context lasts."""
    usual = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()


async def collect_when_idle(is_busy: Callable[[], bool]) -> None:
    """Run a full collection regularly, while `is_busy` returns False, until cancelled."""
    while True:
        await asyncio.sleep(_INTERVAL)
        latest = time.monotonic() + _MAX_DELAY
        while is_busy() and time.monotonic() < latest:  # noqa: ASYNC110 - polling costs less than events
            await asyncio.sleep(_POLL_INTERVAL)
        gc.collect()
