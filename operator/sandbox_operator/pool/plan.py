"""Decides which blank pods a warm pool creates and deletes, and its status, from an observation and the time. Pure.

Only blank pods count: a pod that a session has claimed no longer belongs to the pool.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sandbox_operator.api import naming
from sandbox_operator.api.values import format_time

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    from sandbox_operator.api.models import Pool

REASONS: Final = {
    "Ready": "Sessions can claim as many blank pods as the pool asks for.",
    "Filling": "Blank pods are starting, or will be created once no sessions are starting.",
    "TemplateNotFound": "The namespace has no such SandboxTemplate. Existing pods are kept.",
    "TemplateInvalid": "The SandboxTemplate has an invalid value. Existing pods are kept.",
    "PodRefused": "The API server refused a pod (quota, admission policy).",
    "NamespaceLimitReached": "The administrator's limits for the namespace leave no room for further pods.",
    "Unschedulable": "No node can run the pods.",
    "ImagePullFailed": "An image cannot be pulled.",
    "ContainerFailed": "A container does not start, or keeps exiting.",
    "InvalidSpec": "The pool has an invalid value.",
}
"""Every reason of a pool's condition Ready, and its meaning."""

_MAX_MESSAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class PoolTiming:
    """Ages and intervals that pool plans use."""

    max_age: timedelta = timedelta(days=1)
    """Age at which a blank pod is replaced. Its certificate must outlive this age and the longest session."""
    retry: timedelta = timedelta(seconds=15)
    """Pause after a refusal of the API server."""
    recreate_after: timedelta = timedelta(seconds=10)
    """Minimum age of a pod that ended before it is replaced. This limits the rate if pods end immediately."""


DEFAULT_TIMING: Final = PoolTiming()


@dataclass(frozen=True, slots=True)
class BlankPod:
    """A blank pod of a pool, as last seen."""

    name: str
    uid: str
    created: datetime
    pod_hash: str
    is_ready: bool = False
    has_ended: bool = False
    problem: tuple[str, str] | None = None
    """Reason and message, if something keeps the pod from starting."""


@dataclass(frozen=True, slots=True)
class PoolObservation:
    """Everything that a pool's plan depends on, except the time."""

    pool: Pool
    pods: tuple[BlankPod, ...] = ()
    """The pool's blank pods, without those that are being deleted."""
    held: AbstractSet[str] = frozenset()
    """Uids of pods that are about to be claimed or deleted. Includes pods of other pools."""
    pod_hash: str = ""
    """Hash of a pod made from the template now. Empty if there is no template."""
    template_problem: str = ""
    expected: int = 0
    """Number of pods whose creation has an unknown outcome. They may exist without having been seen."""

    def is_free(self, pod: BlankPod) -> bool:
        """Return whether a pod is neither about to be claimed nor about to be deleted."""
        return pod.uid not in self.held

    @property
    def ready(self) -> int:
        """Return the number of pods that a session can claim now."""
        return sum(pod.is_ready and self.is_free(pod) and pod.pod_hash == self.pod_hash for pod in self.pods)


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """The pods to create and delete, and the pool's status."""

    create: int = 0
    """Number of pods to create, in addition to the expected ones."""
    delete: tuple[str, ...] = ()
    """Names of pods to delete, in this order."""
    status: Mapping[str, Any] = field(default_factory=dict)
    requeue_at: datetime | None = None


def plan_pool(observation: PoolObservation, now: datetime, timing: PoolTiming = DEFAULT_TIMING) -> PoolPlan:
    """Plan the next creations and deletions."""
    if not observation.pod_hash:
        return _plan_without_template(observation, now, timing)
    ended = [pod for pod in observation.pods if pod.has_ended]
    alive = [pod for pod in observation.pods if not pod.has_ended]
    current = [pod for pod in alive if pod.pod_hash == observation.pod_hash]
    stale = [pod for pod in alive if pod.pod_hash != observation.pod_hash and observation.is_free(pod)]
    wanted = observation.pool.spec.replicas
    surplus = len(current) + observation.expected - wanted
    delete = [*_choose_ended(ended, now, timing), *sorted(stale, key=lambda pod: pod.created)]
    free = [pod for pod in current if observation.is_free(pod)]
    delete += _choose_surplus(free, surplus) if surplus > 0 else _choose_aged(current, free, wanted, now, timing)
    return PoolPlan(
        create=max(0, -surplus - len([pod for pod in ended if pod not in delete])),
        delete=tuple(pod.name for pod in delete),
        status=build_status(observation, *_condition(observation, current), now),
        requeue_at=_next_check(alive, ended, now, timing),
    )


def plan_blocked(observation: PoolObservation, reason: str, message: str, now: datetime) -> PoolPlan:
    """Plan a retry for a pool that cannot continue now."""
    status = build_status(observation, reason, message, now)
    return PoolPlan(status=status, requeue_at=now + DEFAULT_TIMING.retry)


def _plan_without_template(observation: PoolObservation, now: datetime, timing: PoolTiming) -> PoolPlan:
    """Plan for a pool without a template: keep its pods, but let it shrink.

    A template that is being replaced is missing only for a moment.
    """
    name = observation.pool.spec.template_ref.name
    reason, message = "TemplateNotFound", f"spec.templateRef.name: there is no SandboxTemplate {name} in this namespace"
    if observation.template_problem:
        reason, message = "TemplateInvalid", f"SandboxTemplate {name}: {observation.template_problem}"
    free = [pod for pod in observation.pods if observation.is_free(pod)]
    surplus = _choose_surplus(free, len(observation.pods) - observation.pool.spec.replicas)
    status = build_status(observation, reason, message, now)
    return PoolPlan(delete=tuple(pod.name for pod in surplus), status=status, requeue_at=now + 4 * timing.retry)


def _choose_ended(ended: list[BlankPod], now: datetime, timing: PoolTiming) -> list[BlankPod]:
    return [pod for pod in ended if now >= pod.created + timing.recreate_after]


def _choose_surplus(free: list[BlankPod], count: int) -> list[BlankPod]:
    """Choose the pods that sessions would miss least: those that are not ready, then the youngest."""
    return sorted(free, key=lambda pod: (pod.is_ready, -pod.created.timestamp(), pod.name))[: max(0, count)]


def _choose_aged(
    current: list[BlankPod], free: list[BlankPod], wanted: int, now: datetime, timing: PoolTiming
) -> list[BlankPod]:
    """Choose the oldest pod that is too old: one at a time, and only while the pool is fully ready."""
    aged = [pod for pod in free if pod.created <= now - timing.max_age]
    if not aged or sum(pod.is_ready for pod in current) < wanted:
        return []
    return [min(aged, key=lambda pod: pod.created)]


def _next_check(alive: list[BlankPod], ended: list[BlankPod], now: datetime, timing: PoolTiming) -> datetime | None:
    times = [min(pod.created for pod in alive) + timing.max_age] if alive else []
    times += [pod.created + timing.recreate_after for pod in ended]
    return max(now + timedelta(seconds=1), min(times)) if times else None


def _condition(observation: PoolObservation, current: list[BlankPod]) -> tuple[str, str]:
    ready, wanted = sum(pod.is_ready for pod in current), observation.pool.spec.replicas
    if ready >= wanted:
        return "Ready", ""
    for pod in current:
        if pod.problem and not pod.is_ready:
            return pod.problem
    return "Filling", ""


def build_status(observation: PoolObservation, reason: str, message: str, now: datetime) -> dict[str, Any]:
    """Build the pool's complete status."""
    pool = observation.pool
    state = str(reason == "Ready")
    before: Mapping[str, Any] = next((c for c in pool.status.get("conditions") or [] if c.get("type") == "Ready"), {})
    since = before.get("lastTransitionTime") if before.get("status") == state else None
    return {
        "observedGeneration": pool.metadata.generation,
        "replicas": len(observation.pods),
        "readyReplicas": observation.ready,
        "selector": naming.pool_selector(pool.metadata.name),
        "conditions": [
            {
                "type": "Ready",
                "status": state,
                "reason": reason,
                "message": message[:_MAX_MESSAGE],
                "observedGeneration": pool.metadata.generation,
                "lastTransitionTime": since or format_time(now),
            }
        ],
    }
