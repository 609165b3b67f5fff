"""Decides when a warm pool replaces claimed pods. Starting sessions have priority.

Creating a blank pod costs the API server, the scheduler and a node far more than claiming one. Replacements that were
created at once would slow down the next sessions. So a pool waits until no session is starting, unless it runs low.
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
class ReplenishTiming:
    """Limits on how long a pool may lack pods."""

    lull: float = 1.0
    """Seconds without a claim after which the pool is filled."""
    max_wait: float = 30.0
    """Seconds after the first missing pod at which the pool is filled despite claims."""
    reserve_seconds: float = 5.0
    """The pool is filled at once if it has no more pods than were claimed in this time."""
    reserve_starts: float = 2.0
    """The same, for the time that a pod takes to start, multiplied by this factor. The longer time counts."""
    min_share: float = 0.25
    """The pool is also filled at once if no more than this share of the wanted pods is ready."""


DEFAULT_TIMING: Final = ReplenishTiming()


@dataclass(slots=True)
class _Pool:
    claims: deque[float] = field(default_factory=deque)
    """Times of the recent claims."""
    short_since: float | None = None
    """Time of the first claim whose pod was not replaced yet. None if the pool lacks no pods."""
    start_seconds: float = 0.0
    """Time that the pool's pods take to start: a slower start counts fully, a faster one by half."""


class ReplenishPolicy:
    """Decides for each pool when to fill it, from its recent claims and the time that its pods take to start."""

    def __init__(
        self, store: Store, timing: ReplenishTiming = DEFAULT_TIMING, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._timing, self._clock = timing, clock
        self._pools: dict[Key, _Pool] = {}
        self._starting: dict[str, float] = {}
        """Time at which a pod was first seen starting, by its uid."""
        store.pod_listeners.append(self._note)

    def seconds_to_wait(self, key: Key, *, wanted: int, ready: int) -> float:
        """Return the seconds until a pool that lacks pods should be filled; 0 to fill it now."""
        pool, timing, now = self._pools.get(key), self._timing, self._clock()
        if pool is None:
            return 0.0
        self._forget_old_claims(pool, now)
        if not pool.claims or ready <= max(wanted * timing.min_share, len(pool.claims)):
            return 0.0
        latest = now if pool.short_since is None else pool.short_since + timing.max_wait
        return max(0.0, min(pool.claims[-1] + timing.lull, latest) - now)

    def is_lull(self, key: Key) -> bool:
        """Return whether no session has claimed a pod of a pool recently."""
        pool = self._pools.get(key)
        return pool is None or not pool.claims or self._clock() >= pool.claims[-1] + self._timing.lull

    def note_filled(self, key: Key) -> None:
        """Record that a pool has all its pods, or that the missing ones are being created."""
        if key in self._pools:
            self._pools[key].short_since = None

    def forget(self, key: Key) -> None:
        """Forget a deleted pool."""
        self._pools.pop(key, None)

    def _forget_old_claims(self, pool: _Pool, now: float) -> None:
        window = max(self._timing.reserve_seconds, self._timing.reserve_starts * pool.start_seconds)
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
            pool.start_seconds = max(seconds, (pool.start_seconds + seconds) / 2)

    def _note_claim(self, raw: Mapping[str, Any]) -> None:
        now, pool = self._clock(), self._pool_of(raw)
        self._starting.pop(raw["metadata"]["uid"], None)
        self._forget_old_claims(pool, now)
        pool.claims.append(now)
        if pool.short_since is None:
            pool.short_since = now

    def _pool_of(self, raw: Mapping[str, Any]) -> _Pool:
        labels = raw["metadata"].get("labels") or {}
        return self._pools.setdefault((POOLS.plural, name_of(raw)[0], str(labels.get(naming.POOL))), _Pool())
