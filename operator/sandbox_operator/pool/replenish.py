"""When a pool is filled up again: sessions go first.

Making a blank pod costs the API server, the scheduler and a node far more than claiming one. Made at once, the
successor of each claimed pod falls on the sessions that come next. So a pool waits for a lull, unless it runs out.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sandbox_operator.api import naming
from sandbox_operator.kube.resources import POOLS
from sandbox_operator.pool.available_pods import is_blank, is_ready
from sandbox_operator.watch.store import name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sandbox_operator.watch.store import Store
    from sandbox_operator.watch.work_queue import Key


@dataclass(frozen=True, slots=True)
class RefillTiming:
    """How long a pool may stay short."""

    lull: float = 1.0
    """Seconds without a claim after which it is filled up."""
    longest: float = 30.0
    """Seconds after its first missing pod when it is filled up, claims or not."""
    reserve: float = 5.0
    """It is filled up at once where no more is left than was claimed in so many seconds,"""
    starts: float = 2.0
    """or in so many times that a pod takes to start,"""
    least: float = 0.25
    """or no more than this share of what is wanted."""


DEFAULT_TIMING: Final = RefillTiming()


@dataclass(slots=True)
class _Pool:
    claims: deque[float] = field(default_factory=deque)
    """When, of the last seconds."""
    short_since: float | None = None
    """When the first pod was taken that has no successor yet; None: all have."""
    start: float = 0.0
    """How long its pods took to start; a slower one counts at once, a faster one by half."""


class Refill:
    """Remembers when the pods of each pool were claimed, and how long they took to start."""

    def __init__(
        self, store: Store, timing: RefillTiming = DEFAULT_TIMING, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._timing, self._clock = timing, clock
        self._pools: dict[Key, _Pool] = {}
        self._starting: dict[str, float] = {}
        """Since when, by the pod's uid."""
        store.pod_listeners.append(self._note)

    def seconds_to_wait(self, key: Key, *, wanted: int, ready: int) -> float:
        """Until a pool that is short of pods is filled up; 0: now."""
        pool, timing, now = self._pools.get(key), self._timing, self._clock()
        if pool is None:
            return 0.0
        self._forget_old(pool, now)
        if not pool.claims or ready <= max(wanted * timing.least, len(pool.claims)):
            return 0.0
        latest = now if pool.short_since is None else pool.short_since + timing.longest
        return max(0.0, min(pool.claims[-1] + timing.lull, latest) - now)

    def is_lull(self, key: Key) -> bool:
        """Whether no session takes pods of a pool right now."""
        pool = self._pools.get(key)
        return pool is None or not pool.claims or self._clock() >= pool.claims[-1] + self._timing.lull

    def note_filled(self, key: Key) -> None:
        """A pool has all its pods, or those that it lacks are being made."""
        if key in self._pools:
            self._pools[key].short_since = None

    def forget(self, key: Key) -> None:
        """A pool is gone."""
        self._pools.pop(key, None)

    def _forget_old(self, pool: _Pool, now: float) -> None:
        window = max(self._timing.reserve, self._timing.starts * pool.start)
        while pool.claims and pool.claims[0] <= now - window:
            pool.claims.popleft()

    def _note(self, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> None:
        if new is None:
            self._starting.pop((old or {}).get("metadata", {}).get("uid", ""), None)
        elif is_blank(new):
            self._note_start(new)
        elif old is not None and is_blank(old):
            self._note_claim(old)

    def _note_start(self, raw: Mapping[str, Any]) -> None:
        uid, now = raw["metadata"]["uid"], self._clock()
        if not is_ready(raw):
            self._starting.setdefault(uid, now)
        elif uid in self._starting:
            pool, seconds = self._pool_of(raw), now - self._starting.pop(uid)
            pool.start = max(seconds, (pool.start + seconds) / 2)

    def _note_claim(self, raw: Mapping[str, Any]) -> None:
        now, pool = self._clock(), self._pool_of(raw)
        self._starting.pop(raw["metadata"]["uid"], None)
        self._forget_old(pool, now)
        pool.claims.append(now)
        if pool.short_since is None:
            pool.short_since = now

    def _pool_of(self, raw: Mapping[str, Any]) -> _Pool:
        labels = raw["metadata"].get("labels") or {}
        return self._pools.setdefault((POOLS.plural, name_of(raw)[0], str(labels.get(naming.POOL))), _Pool())
