"""Saving without being asked: what the runtime notices is pushed in the background, soon and not too often.

A push comes once nothing happened for `quiet` seconds, and at the latest `longest` seconds after the first change, so
the lag is bounded by that and the push's own duration while storage works. While it does not, pushes are tried again
ever more rarely; nothing is lost meanwhile, and the workspace's status tells. Where changes cannot be watched, the
workspace is looked through from time to time.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandbox_link.protocol import Event, OperationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from sandbox_link.protocol import Runtime

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds."""

    quiet: float = 0.5
    longest: float = 5.0
    first_retry: float = 1.0
    last_retry: float = 30.0
    poll: float = 10.0
    """Between two pushes where changes cannot be watched."""


@dataclass(frozen=True, slots=True)
class Syncing:
    """What OnChange works with.

    Attributes:
        runtime: Notices changes.
        exclude: Globs of what is not saved, and so not noticed.
        ready: Returns once the workspace is restored: nothing is saved before.
        push: Saves everything; True where all of it is saved now, or must wait for somebody to settle a conflict.
        pace: How often.
    """

    runtime: Runtime
    exclude: Sequence[str]
    ready: Callable[[], Awaitable[object]]
    push: Callable[[], Awaitable[bool]]
    pace: Pace = Pace()


class OnChange:
    """The background task of one workspace.

    Attributes:
        pushes: How many pushes ended well.
        failures: How many did not.
    """

    def __init__(self, syncing: Syncing, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.pushes = 0
        self.failures = 0
        self._syncing = syncing
        self._monotonic = monotonic
        self._changed = asyncio.Event()
        self._first: float | None = None
        self._saving: float | None = None
        self._last = 0.0
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def lag(self) -> float:
        """Seconds since the first change that is not saved yet; 0 where there is none."""
        oldest = self._first if self._saving is None else self._saving
        return 0.0 if oldest is None else max(self._monotonic() - oldest, 0.0)

    def start(self) -> None:
        """Go on in the background until `stop`. Idempotent."""
        if not self._tasks:
            # Not a part of the trace of the call that started it, which ends long before.
            self._tasks = [
                asyncio.create_task(work, context=contextvars.Context())
                for work in (self._watch(), self._push_changes())
            ]

    async def stop(self) -> None:
        """Stop; a push under way is broken off before it commits, or has committed. Idempotent."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def note_change(self) -> None:
        """Something changed."""
        self._last = self._monotonic()
        if self._first is None:
            self._first = self._last
        self._changed.set()

    async def _watch(self) -> None:
        await self._syncing.ready()
        pause = self._syncing.pace.first_retry
        while True:
            # Whatever happened while nobody watched: a push finds it.
            try:
                if await self._follow():
                    pause = self._syncing.pace.first_retry
            except OperationError as error:
                _log.warning("changes are not watched", extra={"reason": error.reason, "error": error.message})
                if error.code in {"FAILED_PRECONDITION", "RESOURCE_EXHAUSTED", "UNIMPLEMENTED"}:
                    pause = self._syncing.pace.poll
            self.note_change()
            await asyncio.sleep(pause)
            pause = min(pause * 2, self._syncing.pace.last_retry)

    async def _follow(self) -> bool:
        """Note changes while the runtime tells them; whether it did."""
        call = await self._syncing.runtime.open("workspace.watch", {"exclude": list(self._syncing.exclude)})
        has_watched = False
        try:
            await call.end()
            async for item in call:
                if isinstance(item, Event):
                    has_watched = True
                    self.note_change()
        except BaseException:
            with contextlib.suppress(Exception):
                await call.cancel()
            raise
        return has_watched

    async def _push_changes(self) -> None:
        await self._syncing.ready()
        pause = 0.0
        while True:
            await self._changed.wait()
            await self._settle()
            await asyncio.sleep(pause)
            self._changed.clear()
            self._saving, self._first = self._first, None
            is_saved = await self._push()
            saving, self._saving = self._saving, None
            if is_saved:
                pause = 0.0
                continue
            self._first = saving
            self._changed.set()
            pause = min(max(2 * pause, self._syncing.pace.first_retry), self._syncing.pace.last_retry)

    async def _settle(self) -> None:
        """Until a burst of changes is over, or has lasted long enough."""
        pace = self._syncing.pace
        while True:
            now = self._monotonic()
            first = now if self._first is None else self._first
            left = min(self._last + pace.quiet, first + pace.longest) - now
            if left <= 0:
                return
            await asyncio.sleep(left)

    async def _push(self) -> bool:
        try:
            is_saved = await self._syncing.push()
        except OperationError as error:
            _log.warning("changes could not be saved", extra={"reason": error.reason, "error": error.message})
            is_saved = False
        except Exception:  # noqa: BLE001 - a defect of ours must not end the saving; it is logged with its place
            _log.exception("changes could not be saved")
            is_saved = False
        self.pushes += is_saved
        self.failures += not is_saved
        return is_saved
