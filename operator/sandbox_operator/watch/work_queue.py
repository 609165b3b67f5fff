"""A level-triggered work queue. One worker at a time works on a key, and again if the key was added meanwhile.

A key whose work raises comes back after an exponential backoff. A key can also be added for later, which is how
deadlines are kept. An error in one key's work never stops the work on another. Namespaces take turns, and
none gets all workers.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from typing import TYPE_CHECKING, Final

from sandbox_operator.errors import NotLeadingError, OperatorError
from sandbox_operator.watch.turns import Key as Key  # noqa: PLC0414 - the queue's users know it from here
from sandbox_operator.watch.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_LOG: Final = logging.getLogger(__name__)
_MIN_BACKOFF: Final = 0.1
_MAX_BACKOFF: Final = 30.0
_NOT_LEADING_RETRY: Final = 1.0
"""Seconds. All three are delays before a key's work is tried again."""
_RESERVED: Final = 4
"""One worker of so many is not for the namespace that has all the others."""


class WorkQueue:
    """Runs `work(key)` for each added key, in a fixed number of worker tasks."""

    def __init__(self, work: Callable[[Key], Awaitable[None]], workers: int) -> None:
        self._work, self._count = work, workers
        self._turns = Turns(workers - workers // _RESERVED)
        self._waiting: dict[Key, float] = {}
        self._busy: set[Key] = set()
        self._again: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}
        self._workers: list[asyncio.Task[None]] = []

    def __len__(self) -> int:
        """Return the number of keys that wait for a worker."""
        return len(self._waiting) + len(self._again)

    @property
    def load(self) -> int:
        """The number of keys that wait for a worker or are being worked on."""
        return len(self) + len(self._busy)

    @property
    def oldest(self) -> float:
        """Seconds that the longest-waiting key has waited; 0 if no key waits."""
        return time.monotonic() - next(iter(self._waiting.values())) if self._waiting else 0.0

    def start(self) -> None:
        """Start the workers, which begin with the keys that were added before."""
        if not self._workers:
            self._workers = [asyncio.create_task(self._run(), name=f"worker-{n}") for n in range(self._count)]

    async def stop(self, grace: float = 0.0) -> None:
        """Drop all keys and stop the workers. Running work gets `grace` seconds to finish."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._waiting.clear()
        self._again.clear()
        self._failures.clear()
        self._turns.clear()
        deadline = asyncio.get_running_loop().time() + grace
        while self._busy and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110 - only when the process stops
            await asyncio.sleep(0.02)
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        self._busy.clear()

    def add(self, key: Key) -> None:
        """Work on a key soon. If it is being worked on, work on it once more."""
        if key in self._busy:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting[key] = time.monotonic()
            self._turns.put(key)

    def acknowledge(self, key: Key) -> None:
        """Cancel the repetition of a key that is being worked on.

        Its work calls this before it reads the key's state, and so sees every change that the key was added for.
        """
        self._again.discard(key)

    def add_after(self, key: Key, seconds: float) -> None:
        """Work on a key after some seconds. An earlier time that is already set stays."""
        loop = asyncio.get_running_loop()
        when = loop.time() + max(0.0, seconds)
        old = self._timers.get(key)
        if old is not None:
            if old.when() <= when:
                return
            old.cancel()
        self._timers[key] = loop.call_at(when, self._due, key)

    def forget(self, key: Key) -> None:
        """Drop the timer and failure count of a key whose object was deleted."""
        self._failures.pop(key, None)
        if timer := self._timers.pop(key, None):
            timer.cancel()

    def _due(self, key: Key) -> None:
        self._timers.pop(key, None)
        self.add(key)

    async def _run(self) -> None:
        while True:
            key = await self._turns.take()
            self._waiting.pop(key, None)
            self._busy.add(key)
            try:
                await self._work(key)
                self._failures.pop(key, None)
            except NotLeadingError:
                # Perhaps the lease is only being renewed late. If it is lost, the queue will be stopped.
                _LOG.info("not the leader at the moment, will retry", extra={"key": "/".join(key)})
                self.add_after(key, _NOT_LEADING_RETRY)
            except Exception as error:  # noqa: BLE001 - one bad object must not stop the others
                self._retry(key, error)
            finally:
                self._busy.discard(key)
                self._turns.end(key)
                if key in self._again:
                    self._again.discard(key)
                    self.add(key)

    def _retry(self, key: Key, error: Exception) -> None:
        failures = self._failures.get(key, 0) + 1
        self._failures[key] = failures
        seconds = min(_MAX_BACKOFF, _MIN_BACKOFF * 2 ** min(failures - 1, 16)) * random.uniform(0.75, 1.25)  # noqa: S311
        expected = isinstance(error, OperatorError)
        _LOG.log(
            logging.WARNING if expected else logging.ERROR,
            "reconcile failed, will retry in %.1f s: %s",
            seconds,
            error if expected else repr(error),
            exc_info=None if expected else error,
            extra={"key": "/".join(key)},
        )
        self.add_after(key, seconds)
