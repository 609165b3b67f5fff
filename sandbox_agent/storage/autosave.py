"""Saves changes automatically: pushes in the background when the runtime reports changes, soon but not too often.

A push starts once nothing has changed for `quiet` seconds, and at the latest `max_delay` seconds after the first
change. While storage works, `max_delay` and the duration of pushes bound the lag. While storage fails, pushes are
retried with growing pauses. Nothing is lost meanwhile, and the workspace's status shows the error. If changes cannot
be watched, a push runs every `poll` seconds and finds them.
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
class AutoSavePolicy:
    """Timing of automatic pushes. All values are seconds."""

    quiet: float = 0.5
    """Time without a change before a push."""
    max_delay: float = 5.0
    """Time from the first change to the push, even if changes continue."""
    min_retry: float = 1.0
    max_retry: float = 30.0
    """Pauses after failures. Each is twice as long as the last."""
    poll: float = 10.0
    """Time between two pushes if changes cannot be watched."""


class PendingChanges:
    """The changes that are not saved yet: only their times.

    Attributes:
        noticed: Set while there are changes that no push has begun to save.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self.noticed = asyncio.Event()
        self._monotonic = monotonic
        self._first: float | None = None
        self._saving: float | None = None
        self._last = 0.0

    @property
    def lag(self) -> float:
        """Seconds since the first change that is not saved; 0 if all are saved."""
        oldest = self._first if self._saving is None else self._saving
        return 0.0 if oldest is None else max(self._monotonic() - oldest, 0.0)

    def note(self) -> None:
        """Note that something changed."""
        self._last = self._monotonic()
        if self._first is None:
            self._first = self._last
        self.noticed.set()

    def seconds_until_push(self, policy: AutoSavePolicy) -> float:
        """Return how long to wait until a burst of changes is over, or has lasted long enough."""
        now = self._monotonic()
        first = now if self._first is None else self._first
        return min(self._last + policy.quiet, first + policy.max_delay) - now

    def begin_push(self) -> None:
        """Count all changes so far as being saved."""
        self.noticed.clear()
        self._saving, self._first = self._first, None

    def end_push(self, *, is_saved: bool) -> None:
        """Forget the changes that were being saved, or keep them if the push failed."""
        saving, self._saving = self._saving, None
        if not is_saved:
            self._first = saving
            self.noticed.set()


class AutoSave:
    """The background task that saves one workspace's changes.

    Args:
        runtime: Reports changes.
        exclude: Patterns of files that are not saved, and so not watched.
        ready: Returns once the workspace is restored. Nothing is saved before.
        push: Saves everything. Returns False if it should be retried. A conflict, which only a user can resolve, is no
            reason to retry.
        policy: When to push.
        monotonic: The clock.

    Attributes:
        pushes: Number of successful pushes.
        failures: Number of failed pushes.
    """

    def __init__(
        self,
        runtime: Runtime,
        exclude: Sequence[str],
        ready: Callable[[], Awaitable[object]],
        push: Callable[[], Awaitable[bool]],
        policy: AutoSavePolicy,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.pushes = 0
        self.failures = 0
        self._runtime = runtime
        self._exclude = exclude
        self._ready = ready
        self._push = push
        self._policy = policy
        self._pending = PendingChanges(monotonic)
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def lag(self) -> float:
        """Seconds since the first change that is not saved; 0 if all are saved."""
        return self._pending.lag

    def start(self) -> None:
        """Run in the background until `stop`. Idempotent."""
        if not self._tasks:
            # In an empty context, because the trace of the call that starts it ends long before these tasks.
            self._tasks = [
                asyncio.create_task(work, context=contextvars.Context())
                for work in (self._watch(), self._push_changes())
            ]

    async def stop(self) -> None:
        """Stop, and cancel a running push: it either has committed or never will. Idempotent."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def note_change(self) -> None:
        """Note that something changed."""
        self._pending.note()

    async def _watch(self) -> None:
        await self._ready()
        pause = self._policy.min_retry
        while True:
            try:
                if await self._follow_changes():
                    pause = self._policy.min_retry
            except OperationError as error:
                _log.warning("cannot watch for changes", extra={"reason": error.reason, "error": error.message})
                if error.code in {"FAILED_PRECONDITION", "RESOURCE_EXHAUSTED", "UNIMPLEMENTED"}:
                    pause = self._policy.poll
            # A push finds what changed while nothing was watched.
            self.note_change()
            await asyncio.sleep(pause)
            pause = min(pause * 2, self._policy.max_retry)

    async def _follow_changes(self) -> bool:
        """Note changes while the runtime reports them. Return whether it reported any event."""
        call = await self._runtime.open("workspace.watch", {"exclude": list(self._exclude)})
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
        await self._ready()
        pause = 0.0
        while True:
            await self._pending.noticed.wait()
            await self._wait_until_quiet()
            await asyncio.sleep(pause)
            self._pending.begin_push()
            is_saved = await self._try_push()
            self._pending.end_push(is_saved=is_saved)
            pause = 0.0 if is_saved else min(max(2 * pause, self._policy.min_retry), self._policy.max_retry)

    async def _wait_until_quiet(self) -> None:
        """Wait until a burst of changes is over, or has lasted long enough."""
        while True:
            left = self._pending.seconds_until_push(self._policy)
            if left <= 0:
                return
            await asyncio.sleep(left)

    async def _try_push(self) -> bool:
        try:
            is_saved = await self._push()
        except OperationError as error:
            _log.warning("could not save changes", extra={"reason": error.reason, "error": error.message})
            is_saved = False
        except Exception:  # noqa: BLE001 - a defect must not end the saving; it is logged with its traceback
            _log.exception("could not save changes")
            is_saved = False
        self.pushes += is_saved
        self.failures += not is_saved
        return is_saved
