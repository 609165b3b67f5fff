"""When Python looks for reference cycles: where nobody waits.

A full look stops everything for a time that grows with what there is, 30 to 160 ms with some hundred pods, and Python
takes it in the middle of whatever allocates most: the start of sessions. What is here from the beginning is mostly
modules and the first list; it is not looked at again. Of what came later full looks are taken once a minute, while no
session waits. Young objects are looked at as usual, in larger portions.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_YOUNG: Final = (5_000, 10, 1_000_000)
"""Allocations between two looks at the youngest objects, and how many of these there are to one at the next older
ones. The third number is never reached: full looks are ours."""
_PAUSE: Final = 60.0
_LONGEST: Final = 300.0
"""Seconds for which sessions may put a full look off."""
_RETRY: Final = 0.5


@contextlib.contextmanager
def spare_what_is_here() -> Iterator[None]:
    """Look once, and then no more at what is here now, as long as the context lasts."""
    usual = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_YOUNG)
    try:
        yield
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()


async def collect_in_pauses(is_busy: Callable[[], bool]) -> None:
    """Take full looks, until cancelled."""
    while True:
        await asyncio.sleep(_PAUSE)
        latest = time.monotonic() + _LONGEST
        while is_busy() and time.monotonic() < latest:  # noqa: ASYNC110 - a look now and then costs less than events
            await asyncio.sleep(_RETRY)
        gc.collect()
