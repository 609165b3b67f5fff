"""How a session's pod ends, and the session with it: suspended, expired, idle, lost. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sandbox_operator.api import naming
from sandbox_operator.api.models import EndAction
from sandbox_operator.session import model
from sandbox_operator.session.plan.steps import DEFAULT_TIMING, Timing, bind, drain_then, say
from sandbox_operator.session.status import Standing, ready_since

if TYPE_CHECKING:
    from datetime import datetime

    from sandbox_operator.session.model import Observation, Plan, PodView


def plan_pod_ending(observation: Observation, pod: PodView, now: datetime, timing: Timing) -> Plan:
    """Wait for a pod that is being deleted, but not for ever: its node may be lost."""
    suspended = observation.session.spec.suspended
    standing = Standing("Suspending", "Suspending") if suspended else Standing("Starting", "PodEnding")
    overdue = (pod.deleted or now) + timing.force_after
    if now < overdue:
        return say(observation, now, standing, at=overdue)
    return say(observation, now, standing, model.DeletePod(pod.name, pod.uid, force=True), at=now + timing.force_after)


def plan_pod_lost(observation: Observation, pod: PodView, now: datetime, timing: Timing) -> Plan:
    """Delete a pod that ended by itself, so that another one can take its place."""
    phase = "Suspending" if observation.session.spec.suspended else "Starting"
    standing = Standing(phase, "PodLost", pod.end)
    not_before = pod.created + timing.recreate_after
    if now < not_before:
        return say(observation, now, standing, at=not_before)
    event = model.EmitEvent("PodLost", f"pod {pod.name} ended: {pod.end or 'no reason given'}", warning=True)
    return say(observation, now, standing, model.DeletePod(pod.name, pod.uid), event)


def plan_suspend(observation: Observation, pod: PodView, now: datetime, timing: Timing) -> Plan:
    """Drain, and delete the pod only once that is durable; a pod in which nothing can have happened goes at once."""
    agent, standing = observation.agent, Standing("Suspending", "Suspending")
    delete = model.DeletePod(pod.name, pod.uid)
    if not pod.has_started or (agent and agent.state == "BLANK" and not pod.agent_restarts):
        return say(observation, now, standing, delete)
    if agent is None:
        standing = Standing("Suspending", "AgentUnreachable", observation.agent_problem)
        return say(observation, now, standing, at=now + timedelta(seconds=1))
    if agent.state == "BLANK":
        return bind(observation, pod, now, timing, standing)
    if agent.session_uid != observation.session.metadata.uid or agent.restore == "FAILED":
        return say(observation, now, standing, delete)
    return drain_then(observation, pod, now, timing, standing, (delete,))


def plan_end(observation: Observation, pod: PodView, action: EndAction, reason: str, now: datetime) -> Plan:
    """The session's time is over: suspend it as a user would, or save what can be saved and delete it."""
    message = REASON_MESSAGES[reason]
    event = model.EmitEvent(reason, message)
    if action is EndAction.SUSPEND:
        standing = Standing("Suspending", "Suspending", message)
        return say(observation, now, standing, model.SuspendSession(reason), event)
    agent, drain = observation.agent, observation.drain
    standing = Standing("Terminating", "Terminating", message)
    is_ours = agent is not None and agent.session_uid == observation.session.metadata.uid
    gave_up = drain is not None and drain.pod_uid == pod.uid and drain.error
    if not is_ours or gave_up or (agent and agent.restore == "FAILED"):
        return say(observation, now, standing, event, model.DeleteSession())
    return drain_then(observation, pod, now, DEFAULT_TIMING, standing, (event, model.DeleteSession()))


REASON_MESSAGES: Final = {
    "Expired": "the maximum lifetime is over",
    "Idle": "nothing used the session for its idle timeout",
}


def suspended_by(observation: Observation) -> str:
    """Why a suspended session is: Idle or Expired where the operator did it and the spec is the same since."""
    metadata = observation.session.metadata
    reason, _, generation = metadata.annotations.get(naming.SUSPENDED_BY, "").partition("/")
    return reason if reason in REASON_MESSAGES and generation == str(metadata.generation) else "Suspended"


def with_ttl(observation: Observation, plan: Plan, now: datetime) -> Plan:
    """Delete what is finished (Failed, or suspended at the end of its lifetime) after its time to live."""
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
