"""The sessions' queue with all that works on it; starts and pauses with the leadership."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from sandbox_operator.reconcile.apply import Applier
from sandbox_operator.reconcile.binding import Binder
from sandbox_operator.reconcile.drains import Drains
from sandbox_operator.reconcile.observe import Observer, find_session
from sandbox_operator.reconcile.plan import Timing
from sandbox_operator.reconcile.reconciler import Reconciler
from sandbox_operator.work_queue import WorkQueue

if TYPE_CHECKING:
    from sandbox_operator.agent_client import Agents
    from sandbox_operator.certificates import Authority
    from sandbox_operator.credentials import CredentialSource
    from sandbox_operator.event_recorder import EventRecorder
    from sandbox_operator.kube.client import KubeApi
    from sandbox_operator.metrics import Metrics
    from sandbox_operator.settings import Settings
    from sandbox_operator.store import Store
    from sandbox_operator.work_queue import Key


class SessionController:
    """Reconciles sessions while this replica leads."""

    def __init__(
        self,
        api: KubeApi,
        agents: Agents,
        store: Store,
        settings: Settings,
        authority: Authority,
        credentials: CredentialSource,
        recorder: EventRecorder,
        metrics: Metrics,
    ) -> None:
        self._store, self._metrics = store, metrics
        self._queue = WorkQueue(self._work, settings.workers)
        self._drains = Drains(self._queue.add)
        binder = Binder(api, settings, credentials, authority.pem)
        observer = Observer(store, agents, self._drains, settings)
        applier = Applier(api, agents, store, settings, authority, binder, self._drains, recorder)
        timing = Timing(start_timeout=timedelta(seconds=settings.start_timeout))
        self.reconciler = Reconciler(api, store, observer, applier, timing, self._queue.add_after, metrics)
        self._pausing: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """Sessions that wait for a worker."""
        return len(self._queue)

    def enqueue(self, key: Key) -> None:
        """Look at a session soon."""
        self._queue.add(key)

    def start(self) -> None:
        """Begin to work."""
        self._queue.start()

    def pause(self) -> None:
        """Stop working at once: the lease is lost. What is under way fails at the gate."""
        self._pausing = asyncio.create_task(self.stop(0.0), name="pause")

    async def stop(self, grace: float) -> None:
        """Stop working, giving what is under way some seconds."""
        await self._queue.stop(grace)
        await self._drains.stop()

    async def _work(self, key: Key) -> None:
        started, result = time.perf_counter(), "error"
        try:
            await self.reconciler.reconcile(key)
            result = "ok"
        finally:
            self._metrics.reconcile_seconds.labels(result).observe(time.perf_counter() - started)
            if find_session(self._store, key) is None:
                self._queue.forget(key)
                self._drains.forget(key)
