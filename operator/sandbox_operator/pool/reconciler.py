"""The loop for one warm pool: observe, plan, create and delete in batches, write the status once.

Nothing is created twice. The API server's answer is in the store before the next plan; a creation whose answer was
lost is tried again under the same name.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from sandbox_operator.api import naming
from sandbox_operator.api.models import Pool, parse
from sandbox_operator.errors import Blocked, NotFoundError, SpecError
from sandbox_operator.kube.resources import PODS, POOLS
from sandbox_operator.pool.available_pods import is_blank
from sandbox_operator.pool.plan import PoolObservation, plan_pool, plan_refused
from sandbox_operator.session.status import build_patch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sandbox_operator.api.models import Template
    from sandbox_operator.kube.client import KubeApi
    from sandbox_operator.pool.available_pods import WarmPods
    from sandbox_operator.pool.plan import BlankPod, PoolPlan
    from sandbox_operator.pool.pod_factory import BlankPods
    from sandbox_operator.pool.pods import PoolPods
    from sandbox_operator.pool.replenish import Refill
    from sandbox_operator.session.template_cache import FoundTemplate, TemplateCache
    from sandbox_operator.watch.scheduling import Scheduling
    from sandbox_operator.watch.store import Store
    from sandbox_operator.watch.work_queue import Key

_LARGEST_BATCH: Final = 16
"""Creations or deletions at a time. A batch begins with one and doubles, so that a quota is not run into 16 times."""
_BESIDE_SESSIONS: Final = 2
"""The same while sessions are taking pods."""
_MOST_AT_ONCE: Final = 256
"""Creations in one reconcile: after them the status is told, and another look is taken."""


class PoolReconciler:
    """Keeps pools filled."""

    def __init__(
        self,
        api: KubeApi,
        store: Store,
        templates: TemplateCache,
        warm_pods: WarmPods,
        pool_pods: PoolPods,
        refill: Refill,
        blank_pods: BlankPods,
        scheduling: Scheduling,
    ) -> None:
        self._api, self._store, self._templates, self._warm_pods = api, store, templates, warm_pods
        self._pool_pods, self._refill = pool_pods, refill
        self._blank_pods, self._requeue = blank_pods, scheduling.requeue
        self._pause, self._clock = scheduling.pause, scheduling.clock
        self._expected: dict[Key, set[str]] = {}

    async def reconcile(self, key: Key) -> None:
        """One pool; nothing where it is gone: its blank pods are collected with it."""
        raw = self._store.get(POOLS, (key[1], key[2]))
        if raw is None or raw["metadata"].get("deletionTimestamp"):
            self._expected.pop(key, None)
            self._refill.forget(key)
            return
        try:
            pool = parse(Pool, raw)
        except SpecError as error:
            pool = parse(Pool, {"metadata": raw["metadata"], "status": raw.get("status") or {}})
            plan = plan_refused(self._observe(key, pool, None), "InvalidSpec", str(error), self._clock())
            await self._finish(key, pool, plan)
            return
        found = self._templates.find(key[1], pool.spec.template_ref.name)
        observation, plan = self._plan(key, pool, found)
        try:
            has_changed = await self._apply(key, observation, found, plan)
        except Blocked as blocked:
            plan = plan_refused(self._observe(key, pool, found), blocked.reason, str(blocked), self._clock())
        else:
            if has_changed:
                _, plan = self._plan(key, pool, found)
            if plan.create:
                self._requeue(key, 0.0)
        await self._finish(key, pool, plan)

    def _plan(self, key: Key, pool: Pool, found: FoundTemplate) -> tuple[PoolObservation, PoolPlan]:
        """What to do now; a refill that has to wait is none, and brings the pool back."""
        observation = self._observe(key, pool, found)
        plan = plan_pool(observation, self._clock())
        if plan.create and (
            wait := self._refill.seconds_to_wait(key, wanted=pool.spec.replicas, ready=observation.ready)
        ):
            self._requeue(key, wait)
            return observation, replace(plan, create=0)
        if found.template is not None:
            self._refill.note_filled(key)
        return observation, plan

    def _observe(self, key: Key, pool: Pool, found: FoundTemplate | None) -> PoolObservation:
        pods = self._pool_pods.of(pool)
        if expected := self._expected.get(key, set()):
            expected -= {pod.name for pod in pods}
        return PoolObservation(
            pool=pool,
            pods=pods,
            held=self._warm_pods.held,
            pod_hash=found.pod_hash if found else "",
            template_problem=found.problem if found else "",
            expected=len(expected),
        )

    async def _apply(self, key: Key, observation: PoolObservation, found: FoundTemplate, plan: PoolPlan) -> bool:
        """Carry out a plan; whether there was anything to do."""
        pool = observation.pool
        await self._in_batches(key, [partial(self._delete, pool, name) for name in plan.delete])
        if found.template is None:
            return bool(plan.delete)
        for pod in observation.pods:
            if not pod.is_ready and observation.is_free(pod):
                await self._certify(pool, pod)
        expected = self._expected.setdefault(key, set())
        count, prefix = min(plan.create, _MOST_AT_ONCE), pool.metadata.name
        names = sorted(expected) + [naming.pool_pod_name(prefix, secrets.token_hex(5)) for _ in range(count)]
        template = found.template
        if names:
            await self._blank_pods.prepare(template)
        await self._in_batches(key, [partial(self._create, key, pool, template, name) for name in names])
        return bool(plan.delete or names)

    async def _certify(self, pool: Pool, pod: BlankPod) -> None:
        """Make the certificate of a pod that starts, should a crash have come between the two."""
        raw = self._store.get(PODS, (pool.metadata.namespace, pod.name))
        if raw is not None and raw["metadata"]["uid"] == pod.uid:
            await self._blank_pods.ensure_certificate(raw)

    async def _create(self, key: Key, pool: Pool, template: Template, name: str) -> None:
        # Expected from before the call until its outcome is known; an unknown one leaves it expected.
        self._expected[key].add(name)
        try:
            await self._blank_pods.create(pool, template, name)
        except Blocked:
            self._expected[key].discard(name)
            raise
        self._expected[key].discard(name)

    async def _delete(self, pool: Pool, name: str) -> None:
        """Delete a blank pod, unless a session has claimed it since the plan, or is about to."""
        raw = self._store.get(PODS, (pool.metadata.namespace, name))
        if raw is not None and is_blank(raw) and not self._warm_pods.is_held(raw):
            await self._blank_pods.delete(raw)

    async def _in_batches(self, key: Key, calls: list[Callable[[], Awaitable[None]]]) -> None:
        """Run calls in batches that double up to their most; the first error ends it, after its batch."""
        size = 1
        while calls:
            batch, calls = calls[:size], calls[size:]
            results = await asyncio.gather(*(call() for call in batch), return_exceptions=True)
            for result in results:
                if isinstance(result, BaseException):
                    raise result
            size = min(2 * size, _LARGEST_BATCH if self._refill.is_lull(key) else _BESIDE_SESSIONS)
            if calls:
                await self._pause()

    async def _finish(self, key: Key, pool: Pool, plan: PoolPlan) -> None:
        patch = build_patch(pool.status, plan.status)
        if patch:
            body = {"metadata": {"uid": pool.metadata.uid}, "status": patch}
            try:
                self._store.put(POOLS, await self._api.patch(POOLS, key[1], key[2], body, subresource="status"))
            except NotFoundError:
                return
        if plan.requeue_at:
            self._requeue(key, max(0.0, (plan.requeue_at - self._clock()).total_seconds()))
