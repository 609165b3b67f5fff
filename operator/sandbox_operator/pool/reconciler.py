"""Reconciles one warm pool: observe, plan, create and delete pods in batches, write the status once.

No pod is created twice. The API server's response is in the store before the next plan is made. A creation whose
response was lost is tried again under the same name.
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
from sandbox_operator.manifests.needs import need_of
from sandbox_operator.pool.available_pods import is_blank
from sandbox_operator.pool.plan import PoolObservation, plan_blocked, plan_pool
from sandbox_operator.session.admission import default_resources
from sandbox_operator.session.status import build_patch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sandbox_operator.api.models import Template
    from sandbox_operator.kube.client import KubeApi
    from sandbox_operator.pool.available_pods import AvailablePods
    from sandbox_operator.pool.plan import BlankPod, PoolPlan
    from sandbox_operator.pool.pod_factory import BlankPodFactory
    from sandbox_operator.pool.pods import PoolPods
    from sandbox_operator.pool.replenish import ReplenishPolicy
    from sandbox_operator.session.template_cache import FoundTemplate, TemplateCache
    from sandbox_operator.watch.scheduling import Scheduling
    from sandbox_operator.watch.store import Store
    from sandbox_operator.watch.usage import NamespaceUsage
    from sandbox_operator.watch.work_queue import Key

_MAX_BATCH: Final = 16
"""Creations or deletions at a time. Batches begin with one and double, so that a quota refuses few."""
_MAX_BATCH_DURING_CLAIMS: Final = 2
"""The same while sessions are claiming pods."""
_MAX_CREATIONS: Final = 256
"""Creations in one reconcile. Then the status is written and the pool is planned again."""


class PoolReconciler:
    """Keeps pools filled."""

    def __init__(
        self,
        api: KubeApi,
        store: Store,
        templates: TemplateCache,
        available_pods: AvailablePods,
        pool_pods: PoolPods,
        replenish: ReplenishPolicy,
        pod_factory: BlankPodFactory,
        scheduling: Scheduling,
        usage: NamespaceUsage,
    ) -> None:
        self._api, self._store, self._templates, self._available_pods = api, store, templates, available_pods
        self._pool_pods, self._replenish = pool_pods, replenish
        self._pod_factory, self._requeue = pod_factory, scheduling.requeue
        self._yield_to_sessions, self._clock = scheduling.yield_to_sessions, scheduling.clock
        self._usage = usage
        self._expected: dict[Key, set[str]] = {}

    async def reconcile(self, key: Key) -> None:
        """Reconcile one pool. If the pool was deleted, the garbage collector deletes its blank pods."""
        raw = self._store.get(POOLS, (key[1], key[2]))
        if raw is None or raw["metadata"].get("deletionTimestamp"):
            self._expected.pop(key, None)
            self._replenish.forget(key)
            return
        try:
            pool = parse(Pool, raw)
        except SpecError as error:
            pool = parse(Pool, {"metadata": raw["metadata"], "status": raw.get("status") or {}})
            plan = plan_blocked(self._observe(key, pool, None), "InvalidSpec", str(error), self._clock())
            await self._finish(key, pool, plan)
            return
        found = self._templates.find(key[1], pool.spec.template_ref.name)
        try:
            # First: a pod that is signed now is one that need not be created.
            await self._pod_factory.delete_unproven(pool)
            observation, plan = self._plan(key, pool, found)
            has_changed = await self._apply(key, observation, found, plan)
        except Blocked as blocked:
            plan = plan_blocked(self._observe(key, pool, found), blocked.reason, str(blocked), self._clock())
        else:
            if has_changed:
                _, plan = self._plan(key, pool, found)
            if plan.create:
                self._requeue(key, 0.0)
        await self._finish(key, pool, plan)

    def _plan(self, key: Key, pool: Pool, found: FoundTemplate) -> tuple[PoolObservation, PoolPlan]:
        """Plan the pool. Postpones creations that have to wait for sessions, and requeues the pool for them."""
        observation = self._observe(key, pool, found)
        plan = plan_pool(observation, self._clock())
        if plan.create and (
            wait := self._replenish.seconds_to_wait(key, wanted=pool.spec.replicas, ready=observation.ready)
        ):
            self._requeue(key, wait)
            return observation, replace(plan, create=0)
        if found.template is not None:
            self._replenish.note_filled(key)
        return observation, plan

    def _observe(self, key: Key, pool: Pool, found: FoundTemplate | None) -> PoolObservation:
        pods = self._pool_pods.of(pool)
        if expected := self._expected.get(key, set()):
            expected -= {pod.name for pod in pods}
        return PoolObservation(
            pool=pool,
            pods=pods,
            held=self._available_pods.held,
            pod_hash=found.pod_hash if found else "",
            template_problem=found.problem if found else "",
            expected=len(expected),
        )

    async def _apply(self, key: Key, observation: PoolObservation, found: FoundTemplate, plan: PoolPlan) -> bool:
        """Carry out a plan. Returns whether it had anything to do."""
        pool = observation.pool
        await self._in_batches(key, [partial(self._delete, pool, name) for name in plan.delete])
        if found.template is None:
            return bool(plan.delete)
        for pod in observation.pods:
            if not pod.is_ready and observation.is_free(pod):
                await self._certify(pool, pod)
        expected = self._expected.setdefault(key, set())
        count, prefix = min(plan.create, _MAX_CREATIONS), pool.metadata.name
        names = sorted(expected) + [naming.pool_pod_name(prefix, secrets.token_hex(5)) for _ in range(count)]
        template = found.template
        names = self._limit(key, template, names)
        if names:
            await self._pod_factory.prepare(template)
        await self._in_batches(key, [partial(self._create, key, pool, template, name) for name in names])
        return bool(plan.delete or names)

    def _limit(self, key: Key, template: Template, names: list[str]) -> list[str]:
        """Return the pods for which the namespace has room.

        Raises:
            Blocked: It has none.
        """
        room, limit = self._usage.find_room(key, need_of(default_resources(template), is_blank=True))
        if names and not room:
            raise Blocked("NamespaceLimitReached", limit)
        return names[:room]

    async def _certify(self, pool: Pool, pod: BlankPod) -> None:
        """Create a starting pod's certificate, in case the operator crashed after it had created the pod."""
        raw = self._store.get(PODS, (pool.metadata.namespace, pod.name))
        if raw is not None and raw["metadata"]["uid"] == pod.uid:
            await self._pod_factory.ensure_certificate(raw)

    async def _create(self, key: Key, pool: Pool, template: Template, name: str) -> None:
        own, need = (PODS.plural, key[1], name), need_of(default_resources(template), is_blank=True)
        if not self._usage.find_room(own, need)[0]:
            # Sessions have taken the room meanwhile. The next plan says so.
            return
        # The pod is expected until the outcome of the call is known. If it stays unknown, so does the expectation.
        self._expected[key].add(name)
        self._usage.reserve(own, need)
        try:
            await self._pod_factory.create(pool, template, name)
        except Blocked:
            self._expected[key].discard(name)
            raise
        finally:
            self._usage.release(own)
        self._expected[key].discard(name)

    async def _delete(self, pool: Pool, name: str) -> None:
        """Delete a blank pod, unless a session has claimed it since the plan, or is about to."""
        raw = self._store.get(PODS, (pool.metadata.namespace, name))
        if raw is not None and is_blank(raw) and not self._available_pods.is_held(raw):
            await self._pod_factory.delete(raw)

    async def _in_batches(self, key: Key, calls: list[Callable[[], Awaitable[None]]]) -> None:
        """Run calls in batches that double in size up to a limit. Raises the first error after its batch has ended."""
        size = 1
        while calls:
            batch, calls = calls[:size], calls[size:]
            results = await asyncio.gather(*(call() for call in batch), return_exceptions=True)
            for result in results:
                if isinstance(result, BaseException):
                    raise result
            size = min(2 * size, _MAX_BATCH if self._replenish.is_lull(key) else _MAX_BATCH_DURING_CLAIMS)
            if calls:
                await self._yield_to_sessions()

    async def _finish(self, key: Key, pool: Pool, plan: PoolPlan) -> None:
        patch = build_patch(pool.status, plan.status)
        if patch:
            body = {"metadata": {"uid": pool.metadata.uid}, "status": patch}
            try:
                answer = await self._api.patch(POOLS, key[1], key[2], body, subresource="status")
            except NotFoundError:
                return
            self._store.put(POOLS, answer)
            if answer["metadata"].get("generation", pool.metadata.generation) != pool.metadata.generation:
                # The user has changed the pool meanwhile. The store has that version now: its event tells nothing new.
                self._requeue(key, 0.0)
        if plan.requeue_at:
            self._requeue(key, max(0.0, (plan.requeue_at - self._clock()).total_seconds()))
