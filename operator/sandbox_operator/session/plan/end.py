"""Plans the end of a session's pod: suspended, expired, idle, or lost. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sandbox_operator.agent.model import NO_STORAGE
from sandbox_operator.api.session_spec import EndAction
from sandbox_operator.api.values import format_duration
from sandbox_operator.manifests.pod import TERMINATION_GRACE
from sandbox_operator.session import model
from sandbox_operator.session.plan.deadlines import describe_end
from sandbox_operator.session.plan.steps import DEFAULT_TIMING, Timing, bind, drain_then, with_status
from sandbox_operator.session.plan.stop import end_deadline, lives_on, stays_with_unsaved
from sandbox_operator.session.status import Condition

if TYPE_CHECKING:
    from datetime import datetime

    from sandbox_operator.session.model import Observation, Plan, PodState


_MAX_NAME: Final = 100
"""Characters of the name and reason of a file in an Event, which has room for nine of them."""
_POD_ENDING: Final = Condition("Starting", "PodEnding")


def plan_overdue(observation: Observation, pod: PodState, now: datetime) -> Plan:
    """Plan for a session whose end has taken too long: its pod is deleted, whatever has been saved.

    The pod's containers stop the code first. The agent then has some seconds for a last push of what no longer changes.
    """
    session = observation.session
    problem = observation.agent_problem or (observation.drain.error if observation.drain else "")
    limit = format_duration(end_deadline(observation))
    message = f"the session's end took longer than the template's lifecycle.endDeadline ({limit})"
    message += f": {problem}" if problem else ""
    event = model.EmitEvent("EndDeadlineExceeded", f"{message}; unsaved changes may be lost", warning=True)
    actions: tuple[model.Action, ...] = (model.DeletePod(pod.name, pod.uid), event)
    phase = "Suspending"
    if not session.spec.suspended and session.spec.lifecycle.on_expiry is EndAction.DELETE:
        phase, actions = "Terminating", (*actions, model.DeleteSession())
    elif not session.spec.suspended:
        actions = (*actions, model.SuspendSession("Expired"))
    return with_status(observation, now, Condition(phase, "EndDeadlineExceeded", message), *actions)


def plan_deleted(observation: Observation, now: datetime, timing: Timing) -> Plan:
    """Plan for a session that is being deleted, but is kept by a finalizer: its pod ends now."""
    pod, condition = observation.pod, Condition("Terminating", "Terminating")
    if pod is None:
        return with_status(observation, now, condition)
    if pod.deleted:
        return plan_pod_ending(observation, pod, now, timing)
    return with_status(observation, now, condition, model.DeletePod(pod.name, pod.uid))


def plan_pod_ending(observation: Observation, pod: PodState, now: datetime, timing: Timing) -> Plan:
    """Plan to wait for a pod's deletion, and to force it if it takes too long: the pod's node may be lost."""
    condition = Condition("Suspending", "Suspending") if observation.session.spec.suspended else _POD_ENDING
    if observation.session.metadata.deletion_timestamp:
        condition = Condition("Terminating", "Terminating")
    if lives_on(pod, now):
        shorter = model.DeletePod(pod.name, pod.uid, grace=TERMINATION_GRACE)
        return with_status(observation, now, condition, shorter, at=now + timing.force_after)
    ends = pod.deleted or now
    if observation.shortened is not None:
        # The API server counts the shorter grace period from the first request, the kubelet from ours.
        ends = max(ends, observation.shortened + timedelta(seconds=TERMINATION_GRACE))
    overdue = ends + timing.force_after
    if now < overdue:
        return with_status(observation, now, condition, at=overdue)
    return with_status(
        observation, now, condition, model.DeletePod(pod.name, pod.uid, grace=0), at=now + timing.force_after
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
    last: tuple[model.Action, ...] = (delete,)
    if agent.unsaved:
        what = f"{agent.unsaved_count} files were not saved: {'; '.join(name[:_MAX_NAME] for name in agent.unsaved)}"
        last = (model.EmitEvent("FilesNotSaved", f"the session is suspended, but {what}", warning=True), delete)
    elif not agent.has_storage:
        last = (model.EmitEvent("NoStorage", f"the session is suspended: {NO_STORAGE}", warning=True), delete)
    return drain_then(observation, pod, now, timing, condition, last, require_all=stays_with_unsaved(observation))


def plan_end(observation: Observation, pod: PodState, action: EndAction, reason: str, now: datetime) -> Plan:
    """Plan the end of an idle or expired session: suspend it, or save what can be saved and delete it."""
    message = describe_end(observation, reason, now)
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
