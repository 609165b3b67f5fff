"""Plans the end of a session's pod: suspended, expired, idle, or lost. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sandbox_operator.api import naming
from sandbox_operator.api.models import EndAction
from sandbox_operator.session import model
from sandbox_operator.session.plan.steps import DEFAULT_TIMING, Timing, bind, drain_then, with_status
from sandbox_operator.session.status import Condition, ready_since

if TYPE_CHECKING:
    from datetime import datetime

    from sandbox_operator.session.model import Observation, Plan, PodState


def plan_pod_ending(observation: Observation, pod: PodState, now: datetime, timing: Timing) -> Plan:
    """Plan to wait for a pod's deletion, and to force it if it takes too long: the pod's node may be lost."""
    suspended = observation.session.spec.suspended
    condition = Condition("Suspending", "Suspending") if suspended else Condition("Starting", "PodEnding")
    overdue = (pod.deleted or now) + timing.force_after
    if now < overdue:
        return with_status(observation, now, condition, at=overdue)
    return with_status(
        observation, now, condition, model.DeletePod(pod.name, pod.uid, force=True), at=now + timing.force_after
    )


def plan_pod_lost(observation: Observation, pod: PodState, now: datetime, timing: Timing) -> Plan:
    """Plan to delete a pod that ended by itself, so that another one can replace it."""
    phase = "Suspending" if observation.session.spec.suspended else "Starting"
    condition = Condition(phase, "PodLost", pod.end)
    not_before = pod.created + timing.recreate_after
    if now < not_before:
        return with_status(observation, now, condition, at=not_before)
    event = model.EmitEvent("PodLost", f"pod {pod.name} ended by itself: {pod.end or 'no reason given'}", warning=True)
    return with_status(observation, now, condition, model.DeletePod(pod.name, pod.uid), event)


def plan_suspend(observation: Observation, pod: PodState, now: datetime, timing: Timing) -> Plan:
    """Plan to drain the agent and then delete the pod. A pod that was never used is deleted at once."""
    agent, condition = observation.agent, Condition("Suspending", "Suspending")
    delete = model.DeletePod(pod.name, pod.uid)
    if not pod.has_started or (agent and agent.state == "BLANK" and not pod.agent_restarts):
        return with_status(observation, now, condition, delete)
    if agent is None:
        condition = Condition("Suspending", "AgentUnreachable", observation.agent_problem)
        return with_status(observation, now, condition, at=now + timedelta(seconds=1))
    if agent.state == "BLANK":
        return bind(observation, pod, now, timing, condition)
    if agent.session_uid != observation.session.metadata.uid or agent.restore == "FAILED":
        return with_status(observation, now, condition, delete)
    return drain_then(observation, pod, now, timing, condition, (delete,))


def plan_end(observation: Observation, pod: PodState, action: EndAction, reason: str, now: datetime) -> Plan:
    """Plan the end of an idle or expired session: suspend it, or save what can be saved and delete it."""
    message = REASON_MESSAGES[reason]
    event = model.EmitEvent(reason, message)
    if action is EndAction.SUSPEND:
        condition = Condition("Suspending", "Suspending", message)
        return with_status(observation, now, condition, model.SuspendSession(reason), event)
    agent, drain = observation.agent, observation.drain
    condition = Condition("Terminating", "Terminating", message)
    is_ours = agent is not None and agent.session_uid == observation.session.metadata.uid
    gave_up = drain is not None and drain.pod_uid == pod.uid and drain.error
    if not is_ours or gave_up or (agent and agent.restore == "FAILED"):
        return with_status(observation, now, condition, event, model.DeleteSession())
    return drain_then(observation, pod, now, DEFAULT_TIMING, condition, (event, model.DeleteSession()))


REASON_MESSAGES: Final = {
    "Expired": "the session reached its maximum lifetime",
    "Idle": "the session was unused for its idle timeout",
}


def suspended_by(observation: Observation) -> str:
    """Return why a session is suspended: "Idle" or "Expired" if the operator did it, else "Suspended".

    A later change of the spec counts as the user's own decision.
    """
    metadata = observation.session.metadata
    reason, _, generation = metadata.annotations.get(naming.SUSPENDED_BY, "").partition("/")
    return reason if reason in REASON_MESSAGES and generation == str(metadata.generation) else "Suspended"


def with_ttl(observation: Observation, plan: Plan, now: datetime) -> Plan:
    """Return the plan, extended to delete a finished session (Failed, or expired) after its time to live."""
    ttl = observation.session.spec.lifecycle.ttl_after_finished
    phase, before = plan.status.get("phase"), observation.session.status
    expired = phase == "Suspended" and suspended_by(observation) == "Expired"
    if ttl is None or not (phase == "Failed" or expired):
        return plan
    since = ready_since(before) if before.get("phase") == phase else now
    due = (since or now) + ttl
    if now >= due:
        return replace(plan, actions=(*plan.actions, model.DeleteSession()))
    return replace(plan, requeue_at=min(due, plan.requeue_at) if plan.requeue_at else due)
