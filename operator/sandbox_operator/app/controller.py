"""Runs the work queues of sessions and pools while this replica leads."""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sandbox_operator.app.assembly import build_reconcilers
from sandbox_operator.errors import ApiError, NotLeadingError
from sandbox_operator.kube.resources import POOLS
from sandbox_operator.session.observe import find_session
from sandbox_operator.session.plan.renewal import CredentialTiming
from sandbox_operator.session.plan.steps import Timing
from sandbox_operator.watch.scheduling import Scheduling
from sandbox_operator.watch.work_queue import WorkQueue

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox_operator.app.assembly import Dependencies
    from sandbox_operator.settings import Settings
    from sandbox_operator.watch.work_queue import Key

_POOL_WORKERS: Final = 4
_POOL_DELAY: Final = 0.2
"""Seconds for which a pool's changes are collected. A burst of claims then costs one reconcile and one status write."""
_ORPHAN_INTERVAL: Final = 30.0
"""Seconds between two looks for pods without an owner."""
_YIELD_SECONDS: Final = 0.02
_MAX_YIELDS: Final = 10


class Controller:
    """The queues, their workers and the reconcilers behind them."""

    def __init__(self, dependencies: Dependencies) -> None:
        settings = dependencies.settings
        self._store, self._metrics = dependencies.store, dependencies.metrics
        self._sessions = WorkQueue(self._work, settings.workers)
        self._pools = WorkQueue(self._work_on_pool, _POOL_WORKERS)
        scheduling = Scheduling(self._sessions.add, self._requeue, self._sessions.acknowledge, self._yield_to_sessions)
        timing = Timing(
            start_timeout=timedelta(seconds=settings.start_timeout),
            unnamed_ttl=timedelta(seconds=settings.unnamed_ttl) if settings.unnamed_ttl else None,
            credentials=_time_credentials(settings),
        )
        self._reconcilers = build_reconcilers(dependencies, scheduling, timing)
        self._transition: asyncio.Task[None] | None = None
        self._reaping: asyncio.Task[None] | None = None

    @property
    def is_busy(self) -> bool:
        """True if a session waits for a worker or is being worked on."""
        return self._sessions.load > 0

    def enqueue(self, key: Key) -> None:
        """Reconcile a session or a pool soon."""
        if key[0] == POOLS.plural:
            self._pools.add_after(key, _POOL_DELAY)
        else:
            self._sessions.add(key)

    def start(self, enqueue_all: Callable[[], None]) -> None:
        """Put every key on the queues and start working, as soon as a pause in progress has ended."""
        self._transition = asyncio.create_task(self._start(self._transition, enqueue_all), name="start")

    def pause(self) -> None:
        """Stop working at once, because the lease is lost. Writes that are still attempted are refused."""
        self._transition = asyncio.create_task(self._pause(self._transition), name="pause")

    async def _start(self, before: asyncio.Task[None] | None, enqueue_all: Callable[[], None]) -> None:
        if before is not None:
            await asyncio.wait({before})
        self._reconcilers.sessions.reset()
        enqueue_all()
        self._sessions.start()
        self._pools.start()
        self._reaping = asyncio.create_task(self._reap_orphans(), name="orphans")

    async def _pause(self, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait({before})
        await self.stop(0.0)

    async def stop(self, grace: float) -> None:
        """Stop working. Running work gets `grace` seconds to finish."""
        if self._reaping is not None:
            self._reaping.cancel()
        await asyncio.gather(self._sessions.stop(grace), self._pools.stop(grace))
        await asyncio.gather(self._reconcilers.drains.stop(), self._reconcilers.renewals.stop())
        self._reconcilers.sessions.reset()

    async def _reap_orphans(self) -> None:
        while True:
            await asyncio.sleep(_ORPHAN_INTERVAL)
            with contextlib.suppress(ApiError, NotLeadingError):
                await self._reconcilers.orphans.sweep()

    def refresh_metrics(self) -> None:
        """Update the gauges."""
        self._metrics.queue_depth.set(len(self._sessions))
        self._metrics.queue_age.set(self._sessions.oldest)
        self._metrics.show_warm_pods(self._reconcilers.available_pods.counts())

    def _requeue(self, key: Key, seconds: float) -> None:
        (self._pools if key[0] == POOLS.plural else self._sessions).add_after(key, seconds)

    async def _yield_to_sessions(self) -> None:
        for _ in range(_MAX_YIELDS):
            if not self._sessions.load:
                return
            await asyncio.sleep(_YIELD_SECONDS)

    async def _work(self, key: Key) -> None:
        started, result = time.perf_counter(), "error"
        try:
            await self._reconcilers.sessions.reconcile(key)
            result = "ok"
        finally:
            self._metrics.reconcile_seconds.labels(result).observe(time.perf_counter() - started)
            if find_session(self._store, key) is None:
                self._sessions.forget(key)
                self._reconcilers.drains.forget(key)
                self._reconcilers.renewals.forget(key)

    async def _work_on_pool(self, key: Key) -> None:
        await self._reconcilers.pools.reconcile(key)
        if self._store.get(POOLS, (key[1], key[2])) is None:
            self._pools.forget(key)


def _time_credentials(settings: Settings) -> CredentialTiming | None:
    if settings.storage_credentials == "static":
        return None
    lifetime = settings.storage_sts_duration
    return CredentialTiming(
        timedelta(seconds=lifetime), timedelta(seconds=settings.storage_sts_renew_seconds or lifetime / 2)
    )
