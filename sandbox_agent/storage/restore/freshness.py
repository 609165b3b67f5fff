"""Before a call: is what others put into storage here? One look at storage serves all calls that came before it began.

The promise is that what was stored before a call began is in the sandbox when it runs. A storage that fails breaks no
call: it is waited for a short while, told in the log and in the workspace's status, and then left alone for a while.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

PATIENCE: Final = 5.0
"""Seconds that a call waits for a look. Files that were found are waited for as long as they take."""
REST: Final = 10.0
"""Seconds without looking after one that failed."""
COSTLY_SHARE: Final = 4.0
"""A costly look is good for so many times its own duration."""
LONGEST: Final = 10.0
"""Seconds that a look is good for at most, unless the session was bound otherwise."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Looking:
    """What Freshness needs.

    Attributes:
        is_quiet: Surely nothing changed in storage since the last look; costs nothing.
        look: Looks; whether that was costly, and whether there is something to bring.
        bring: Brings it.
        failed: Told what went wrong.
        interval: Seconds that a look is good for; 0: every call looks.
    """

    is_quiet: Callable[[], bool]
    look: Callable[[], Awaitable[tuple[bool, bool]]]
    bring: Callable[[], Awaitable[None]]
    failed: Callable[[Exception], None]
    interval: float = 0.0


class Freshness:
    """Decides which call looks, and lets the others share its look."""

    def __init__(self, looking: Looking, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._looking = looking
        self._monotonic = monotonic
        self._asked = 1
        self._answered = 0
        self._good_until = 0.0
        self._task: asyncio.Task[None] | None = None
        self._began = 0.0
        self._is_bringing = False

    def is_fresh(self) -> bool:
        """Whether a call that begins now may go on at once; else it calls `freshen` next."""
        if not self._looking.is_quiet():
            self._asked += 1
        return self._asked == self._answered or self._monotonic() < self._good_until

    async def freshen(self) -> None:
        """Have what was stored by now in the sandbox. Never fails; a caller that goes away disturbs nobody."""
        ticket = self._asked
        while self._answered < ticket and self._monotonic() >= self._good_until:
            if self._task is None or self._task.done():
                self._began = self._monotonic()
                self._task = asyncio.create_task(self._run())
            left = None if self._is_bringing else self._began + PATIENCE - self._monotonic()
            if left is not None and left <= 0:
                return
            await asyncio.wait({self._task}, timeout=left)

    async def close(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        ticket, began = self._asked, self._monotonic()
        try:
            is_costly, is_news = await self._looking.look()
            took = self._monotonic() - began
            if is_news:
                self._is_bringing = True
                await self._looking.bring()
        except Exception as error:  # noqa: BLE001 - no call fails for it; a defect of ours is logged with its place
            _log.warning("what others stored could not be looked for", exc_info=error)
            self._looking.failed(error)
            self._good_until = self._monotonic() + REST
            return
        finally:
            self._is_bringing = False
        self._answered = ticket
        good = self._looking.interval
        if is_costly:
            good = max(good, min(COSTLY_SHARE * took, LONGEST))
        self._good_until = began + took + good if good else 0.0
