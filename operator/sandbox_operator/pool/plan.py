"""What to do about a warm pool, and what it says of itself: a pure function of what was observed and the time.

Blank pods only: a pod that a session has claimed is not the pool's any more.
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
    "Ready": "As many blank pods as asked for can be claimed.",
    "Filling": "Blank pods start, or wait for a lull in which no session does.",
    "TemplateNotFound": "There is no such SandboxTemplate in the namespace; the pods there are stay as they are.",
    "TemplateInvalid": "The SandboxTemplate has a wrong value; the pods there are stay as they are.",
    "PodRefused": "The API server refused a pod (quota, admission policy).",
    "Unschedulable": "No node takes the pods.",
    "ImagePullFailed": "An image cannot be had.",
    "ContainerFailed": "A container does not start, or ends again and again.",
    "InvalidSpec": "The pool has a wrong value.",
}
"""Every reason of a pool's condition Ready, and what it means."""

_MAX_MESSAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class PoolTiming:
    """Times that pools are planned with."""

    max_age: timedelta = timedelta(days=1)
    """Of a blank pod. Its certificate has to outlive it and the longest session."""
    retry: timedelta = timedelta(seconds=15)
    recreate_after: timedelta = timedelta(seconds=10)
    """Age of a pod that ended by itself before it is replaced: one that ends at once is not made all the time."""


DEFAULT_TIMING: Final = PoolTiming()


@dataclass(frozen=True, slots=True)
class BlankPod:
    """A pool's pod as the API server shows it."""

    name: str
    uid: str
    created: datetime
    pod_hash: str
    is_ready: bool = False
    has_ended: bool = False
    problem: tuple[str, str] | None = None
    """Reason and message of what keeps it from starting."""


@dataclass(frozen=True, slots=True)
class PoolObservation:
    """All that a pool's plan is made from."""

    pool: Pool
    pods: tuple[BlankPod, ...] = ()
    """Without those that are being deleted."""
    held: AbstractSet[str] = frozenset()
    """Uids of pods that a session is about to claim, or that are about to be deleted; other pools' too."""
    pod_hash: str = ""
    """Of a pod made from the template now; empty where there is no template."""
    template_problem: str = ""
    expected: int = 0
    """Pods whose creation has an unknown outcome: they may be there, and not be seen yet."""

    def is_free(self, pod: BlankPod) -> bool:
        """Whether nobody is about to claim or to delete a pod."""
        return pod.uid not in self.held

    @property
    def ready(self) -> int:
        """Pods that a session can claim now."""
        return sum(pod.is_ready and self.is_free(pod) and pod.pod_hash == self.pod_hash for pod in self.pods)


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """What to do, and the pool's status."""

    create: int = 0
    """Pods to create, those expected not counted."""
    delete: tuple[str, ...] = ()
    """Names of pods to delete, in this order."""
    status: Mapping[str, Any] = field(default_factory=dict)
    requeue_at: datetime | None = None


def plan_pool(observation: PoolObservation, now: datetime, timing: PoolTiming = DEFAULT_TIMING) -> PoolPlan:
    """What to do now."""
    if not observation.pod_hash:
        return _plan_without_template(observation, now, timing)
    ended = [pod for pod in observation.pods if pod.has_ended]
    alive = [pod for pod in observation.pods if not pod.has_ended]
    current = [pod for pod in alive if pod.pod_hash == observation.pod_hash]
    stale = [pod for pod in alive if pod.pod_hash != observation.pod_hash and observation.is_free(pod)]
    wanted = observation.pool.spec.replicas
    surplus = len(current) + observation.expected - wanted
    delete = [*_overdue(ended, now, timing), *sorted(stale, key=lambda pod: pod.created)]
    free = [pod for pod in current if observation.is_free(pod)]
    delete += _choose_surplus(free, surplus) if surplus > 0 else _choose_aged(current, free, wanted, now, timing)
    return PoolPlan(
        create=max(0, -surplus - len([pod for pod in ended if pod not in delete])),
        delete=tuple(pod.name for pod in delete),
        status=build_status(observation, *_standing(observation, current), now),
        requeue_at=_look_again_at(alive, ended, now, timing),
    )


def plan_refused(observation: PoolObservation, reason: str, message: str, now: datetime) -> PoolPlan:
    """The plan for a pool that cannot go on for now."""
    status = build_status(observation, reason, message, now)
    return PoolPlan(status=status, requeue_at=now + DEFAULT_TIMING.retry)


def _plan_without_template(observation: PoolObservation, now: datetime, timing: PoolTiming) -> PoolPlan:
    """Nothing is made or deleted: a template that is replaced is gone for a moment. But a pool may shrink."""
    name = observation.pool.spec.template_ref.name
    reason, message = "TemplateNotFound", f"spec.templateRef.name: there is no SandboxTemplate {name} in this namespace"
    if observation.template_problem:
        reason, message = "TemplateInvalid", f"SandboxTemplate {name}: {observation.template_problem}"
    free = [pod for pod in observation.pods if observation.is_free(pod)]
    surplus = _choose_surplus(free, len(observation.pods) - observation.pool.spec.replicas)
    status = build_status(observation, reason, message, now)
    return PoolPlan(delete=tuple(pod.name for pod in surplus), status=status, requeue_at=now + 4 * timing.retry)


def _overdue(ended: list[BlankPod], now: datetime, timing: PoolTiming) -> list[BlankPod]:
    return [pod for pod in ended if now >= pod.created + timing.recreate_after]


def _choose_surplus(free: list[BlankPod], count: int) -> list[BlankPod]:
    """What a session would miss least first: pods that are not ready, then the youngest."""
    return sorted(free, key=lambda pod: (pod.is_ready, -pod.created.timestamp(), pod.name))[: max(0, count)]


def _choose_aged(
    current: list[BlankPod], free: list[BlankPod], wanted: int, now: datetime, timing: PoolTiming
) -> list[BlankPod]:
    """The oldest pod that is too old, one at a time and only while all the others are ready."""
    born_before = now - timing.max_age
    aged = [pod for pod in free if pod.created <= born_before]
    if not aged or sum(pod.is_ready for pod in current) < wanted:
        return []
    return [min(aged, key=lambda pod: pod.created)]


def _look_again_at(alive: list[BlankPod], ended: list[BlankPod], now: datetime, timing: PoolTiming) -> datetime | None:
    times = [min(pod.created for pod in alive) + timing.max_age] if alive else []
    times += [pod.created + timing.recreate_after for pod in ended]
    return max(now + timedelta(seconds=1), min(times)) if times else None


def _standing(observation: PoolObservation, current: list[BlankPod]) -> tuple[str, str]:
    ready, wanted = sum(pod.is_ready for pod in current), observation.pool.spec.replicas
    if ready >= wanted:
        return "Ready", ""
    for pod in current:
        if pod.problem and not pod.is_ready:
            return pod.problem
    return "Filling", ""


def build_status(observation: PoolObservation, reason: str, message: str, now: datetime) -> dict[str, Any]:
    """The pool's whole status."""
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
