"""A level-triggered queue: a key is worked on by one worker at a time, and once more if it was added meanwhile.

A key whose work raises comes back after an exponential backoff; a key may also be added for later, which is how
deadlines are kept (the loop's timers are the heap). Nothing a key's work does can stop another key's.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from typing import TYPE_CHECKING, Final

from sandbox_operator.errors import NotLeadingError, OperatorError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_LOG: Final = logging.getLogger(__name__)
_FIRST_BACKOFF: Final = 0.1
_LAST_BACKOFF: Final = 30.0
_NOT_LEADING: Final = 1.0
Key = tuple[str, str, str]
"""Plural of the kind, namespace, name."""


class WorkQueue:
    """Runs `work(key)` for keys that were added."""

    def __init__(self, work: Callable[[Key], Awaitable[None]], workers: int) -> None:
        self._work, self._count = work, workers
        self._ready: asyncio.Queue[Key] = asyncio.Queue()
        self._waiting: dict[Key, float] = {}
        self._busy: set[Key] = set()
        self._again: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}
        self._workers: list[asyncio.Task[None]] = []

    def __len__(self) -> int:
        """Keys that wait for a worker."""
        return len(self._waiting) + len(self._again)

    @property
    def load(self) -> int:
        """Keys that wait for a worker or are worked on."""
        return len(self) + len(self._busy)

    @property
    def oldest(self) -> float:
        """Seconds that the key has waited which waits longest."""
        return time.monotonic() - next(iter(self._waiting.values())) if self._waiting else 0.0

    def start(self) -> None:
        """Start the workers; what was added before is worked on now."""
        if not self._workers:
            self._workers = [asyncio.create_task(self._run(), name=f"worker-{n}") for n in range(self._count)]

    async def stop(self, grace: float = 0.0) -> None:
        """Stop the workers, giving what is under way `grace` seconds; drop all keys."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._waiting.clear()
        self._again.clear()
        self._failures.clear()
        self._ready = asyncio.Queue()
        deadline = asyncio.get_running_loop().time() + grace
        while self._busy and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110 - at the end only
            await asyncio.sleep(0.02)
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        self._busy.clear()

    def add(self, key: Key) -> None:
        """Work on a key soon."""
        if key in self._busy:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting[key] = time.monotonic()
            self._ready.put_nowait(key)

    def cover(self, key: Key) -> None:
        """The look that a key's work takes now sees all that the key was added for until now."""
        self._again.discard(key)

    def add_after(self, key: Key, seconds: float) -> None:
        """Work on a key in a while; an earlier time that was set before stays."""
        loop = asyncio.get_running_loop()
        when = loop.time() + max(0.0, seconds)
        old = self._timers.get(key)
        if old is not None:
            if old.when() <= when:
                return
            old.cancel()
        self._timers[key] = loop.call_at(when, self._due, key)

    def forget(self, key: Key) -> None:
        """Drop a key's timer and failures; its object is gone."""
        self._failures.pop(key, None)
        if timer := self._timers.pop(key, None):
            timer.cancel()

    def _due(self, key: Key) -> None:
        self._timers.pop(key, None)
        self.add(key)

    async def _run(self) -> None:
        while True:
            key = await self._ready.get()
            self._waiting.pop(key, None)
            self._busy.add(key)
            try:
                await self._work(key)
                self._failures.pop(key, None)
            except NotLeadingError:
                # The lease may only have been renewed late; where it is lost, the queue is stopped.
                _LOG.info("not leading, work waits", extra={"key": "/".join(key)})
                self.add_after(key, _NOT_LEADING)
            except Exception as error:  # noqa: BLE001 - one bad object must never stop the others
                self._retry(key, error)
            finally:
                self._busy.discard(key)
                if key in self._again:
                    self._again.discard(key)
                    self.add(key)

    def _retry(self, key: Key, error: Exception) -> None:
        failures = self._failures.get(key, 0) + 1
        self._failures[key] = failures
        seconds = min(_LAST_BACKOFF, _FIRST_BACKOFF * 2 ** min(failures - 1, 16)) * random.uniform(0.75, 1.25)  # noqa: S311
        expected = isinstance(error, OperatorError)
        _LOG.log(
            logging.WARNING if expected else logging.ERROR,
            "reconcile failed, again in %.1f s: %s",
            seconds,
            error if expected else repr(error),
            exc_info=None if expected else error,
            extra={"key": "/".join(key)},
        )
        self.add_after(key, seconds)
