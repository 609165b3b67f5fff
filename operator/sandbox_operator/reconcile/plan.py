"""What to do about a session: a pure function of what was observed, the time, and a few settings.

Rules are small functions, tried in the order in which they are written down in `plan_session`. Each returns a Plan.
Nothing here remembers anything: after a crash the same observation gives the same plan.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from sandbox_operator.api import naming
from sandbox_operator.api.models import EndAction
from sandbox_operator.api.values import format_time
from sandbox_operator.errors import Blocked
from sandbox_operator.reconcile import model
from sandbox_operator.reconcile.model import Plan
from sandbox_operator.reconcile.rules import check_env, choose_egress, choose_resources
from sandbox_operator.reconcile.status import Standing, build_status, endpoint_of, ready_since

if TYPE_CHECKING:
    from sandbox_operator.reconcile.model import Action, Observation, PodView


@dataclass(frozen=True, slots=True)
class Timing:
    """Times that plans are made with."""

    start_timeout: timedelta = timedelta(minutes=5)
    agent_retry: timedelta = timedelta(milliseconds=100)
    bind_retry: timedelta = timedelta(seconds=15)
    push_retry: timedelta = timedelta(seconds=30)
    recreate_after: timedelta = timedelta(seconds=10)
    """Age of a pod that ended by itself before it is replaced: one that ends at once is not made all the time."""
    force_after: timedelta = timedelta(seconds=30)
    """After the time a deletion may take; its node is then lost. Two writers are kept apart by the storage."""
    claim_retry: timedelta = timedelta(seconds=10)


DEFAULT_TIMING: Final = Timing()


def plan_session(observation: Observation, now: datetime, timing: Timing = DEFAULT_TIMING) -> Plan:
    """What to do now, what the status is then, and when to look again at the latest."""
    if observation.session.metadata.deletion_timestamp:
        return _say(observation, now, Standing("Terminating", "Terminating"))
    try:
        if observation.is_pod_foreign:
            name = naming.pod_name(observation.session)
            raise Blocked("PodNameTaken", f"pod {name} is not this session's")  # noqa: TRY301 - one way out
        plan = _plan_alive(observation, now, timing)
    except Blocked as blocked:
        plan = plan_blocked(observation, blocked, now)
    return _with_ttl(observation, plan, now)


def plan_blocked(observation: Observation, blocked: Blocked, now: datetime) -> Plan:
    """The plan for a session that cannot go on for now."""
    waiting = "Pending" if observation.pod is None else "Starting"
    phase = "Failed" if blocked.failed else "Suspending" if observation.session.spec.suspended else waiting
    standing = Standing(phase, blocked.reason, str(blocked))
    return _say(observation, now, standing, at=now + timedelta(seconds=blocked.retry_after))


def _plan_alive(observation: Observation, now: datetime, timing: Timing) -> Plan:
    session, pod = observation.session, observation.pod
    if pod is None:
        return _plan_suspended(observation, now) if session.spec.suspended else _plan_new_pod(observation, now, timing)
    if pod.deleted:
        return _plan_pod_ending(observation, pod, now, timing)
    if pod.has_ended:
        return _plan_pod_lost(observation, pod, now, timing)
    if session.spec.suspended:
        return _plan_suspend(observation, pod, now, timing)
    expires = pod.created + session.spec.lifecycle.max_lifetime
    if now >= expires:
        return _plan_end(observation, pod, session.spec.lifecycle.on_expiry, "Expired", now)
    return _plan_serving(observation, pod, expires, now, timing)


def _plan_suspended(observation: Observation, now: datetime) -> Plan:
    reason = suspended_by(observation)
    message = "set spec.suspended to false to go on"
    return _say(observation, now, Standing("Suspended", reason, message))


def _plan_new_pod(observation: Observation, now: datetime, timing: Timing) -> Plan:
    session, template = observation.session, observation.template
    if template is None:
        raise _missing_template(observation)
    egress, resources = choose_egress(session, template), choose_resources(session, template)
    check_env(session, template)
    if holder := observation.workspace_holder:
        message = f"session {holder} works on workspace {session.workspace_name}"
        raise Blocked("WorkspaceInUse", message, retry_after=timing.claim_retry.total_seconds())
    actions: list[Action] = [
        model.ApplyNetworkPolicy(egress),
        model.CreateTlsSecret(),
        model.CreatePod(egress, resources),
    ]
    if observation.had_pod:
        actions.append(model.EmitEvent("PodReplaced", "the pod is gone; another one takes its place", warning=True))
    return _say(observation, now, Standing("Starting", "Creating"), *actions)


def _plan_pod_ending(observation: Observation, pod: PodView, now: datetime, timing: Timing) -> Plan:
    suspended = observation.session.spec.suspended
    standing = Standing("Suspending", "Suspending") if suspended else Standing("Starting", "PodEnding")
    overdue = (pod.deleted or now) + timing.force_after
    if now < overdue:
        return _say(observation, now, standing, at=overdue)
    return _say(observation, now, standing, model.DeletePod(pod.name, pod.uid, force=True), at=now + timing.force_after)


def _plan_pod_lost(observation: Observation, pod: PodView, now: datetime, timing: Timing) -> Plan:
    phase = "Suspending" if observation.session.spec.suspended else "Starting"
    standing = Standing(phase, "PodLost", pod.end)
    not_before = pod.created + timing.recreate_after
    if now < not_before:
        return _say(observation, now, standing, at=not_before)
    event = model.EmitEvent("PodLost", f"pod {pod.name} ended: {pod.end or 'no reason given'}", warning=True)
    return _say(observation, now, standing, model.DeletePod(pod.name, pod.uid), event)


def _plan_suspend(observation: Observation, pod: PodView, now: datetime, timing: Timing) -> Plan:
    """Drain, and delete the pod only once that is durable; a pod in which nothing can have happened goes at once."""
    agent, standing = observation.agent, Standing("Suspending", "Suspending")
    delete = model.DeletePod(pod.name, pod.uid)
    if not pod.has_started or (agent and agent.state == "BLANK" and not pod.agent_restarts):
        return _say(observation, now, standing, delete)
    if agent is None:
        standing = Standing("Suspending", "AgentUnreachable", observation.agent_problem)
        return _say(observation, now, standing, at=now + timedelta(seconds=1))
    if agent.state == "BLANK":
        return _bind(observation, pod, now, timing, standing)
    if agent.session_uid != observation.session.metadata.uid or agent.restore == "FAILED":
        return _say(observation, now, standing, delete)
    return _drain_then(observation, pod, now, timing, standing, (delete,))


def _plan_end(observation: Observation, pod: PodView, action: EndAction, reason: str, now: datetime) -> Plan:
    """The session's time is over: suspend it as a user would, or save what can be saved and delete it."""
    message = REASON_MESSAGES[reason]
    event = model.EmitEvent(reason, message)
    if action is EndAction.SUSPEND:
        standing = Standing("Suspending", "Suspending", message)
        return _say(observation, now, standing, model.SuspendSession(reason), event)
    agent, drain = observation.agent, observation.drain
    standing = Standing("Terminating", "Terminating", message)
    is_ours = agent is not None and agent.session_uid == observation.session.metadata.uid
    gave_up = drain is not None and drain.pod_uid == pod.uid and drain.error
    if not is_ours or gave_up or (agent and agent.restore == "FAILED"):
        return _say(observation, now, standing, event, model.DeleteSession())
    return _drain_then(observation, pod, now, DEFAULT_TIMING, standing, (event, model.DeleteSession()))


REASON_MESSAGES: Final = {
    "Expired": "the maximum lifetime is over",
    "Idle": "nothing used the session for its idle timeout",
}


def _drain_then(
    observation: Observation, pod: PodView, now: datetime, timing: Timing, standing: Standing, then: tuple[Action, ...]
) -> Plan:
    agent, drain = observation.agent, observation.drain
    if agent and agent.state == "DRAINED":
        return _say(observation, now, standing, *then)
    if drain and drain.pod_uid == pod.uid:
        if drain.is_running:
            return _say(observation, now, standing)
        retry = (drain.ended or now) + timing.push_retry
        if drain.error and now < retry:
            return _say(observation, now, Standing(standing.phase, "PushFailed", drain.error), at=retry)
    return _say(observation, now, standing, model.DrainAgent(pod.uid))


def _plan_serving(  # noqa: PLR0911 - one return a state of the agent
    observation: Observation, pod: PodView, expires: datetime, now: datetime, timing: Timing
) -> Plan:
    agent = observation.agent
    if not pod.is_agent_running or not pod.ip:
        return _plan_starting(observation, pod, now, timing)
    if agent is None:
        reason = "AgentUnreachable" if has_served(observation) else "Connecting"
        standing = Standing("Starting", reason, observation.agent_problem)
        return _with_start_deadline(observation, pod, standing, now, timing)
    if agent.state == "BLANK":
        return _bind(observation, pod, now, timing, Standing("Starting", "Binding"))
    lifecycle = observation.session.spec.lifecycle
    # Also where it is drained by now: that was the first half of deleting it.
    is_ours = agent.session_uid == observation.session.metadata.uid
    if is_ours and lifecycle.on_idle is EndAction.DELETE and now >= idle_at(observation, pod, now):
        return _plan_end(observation, pod, EndAction.DELETE, "Idle", now)
    if not is_ours or agent.state == "DRAINED":
        event = model.EmitEvent("PodReplaced", "the agent serves no more; another pod takes its place")
        delete = model.DeletePod(pod.name, pod.uid)
        return _say(observation, now, Standing("Starting", "PodEnding"), delete, event)
    if agent.state == "DRAINING":
        return _say(observation, now, Standing("Suspending", "Suspending"), at=now + timedelta(seconds=1))
    if agent.restore == "FAILED":
        standing = Standing("Starting", "RestoreFailed", agent.restore_error)
        return _bind(observation, pod, now, timing, standing)
    if agent.restore != "DONE":
        return _say(observation, now, Standing("Starting", "Restoring"), at=now + timing.agent_retry)
    return _plan_ready(observation, pod, expires, now)


def _plan_ready(observation: Observation, pod: PodView, expires: datetime, now: datetime) -> Plan:
    session = observation.session
    idle = idle_at(observation, pod, now)
    if now >= idle:
        return _plan_end(observation, pod, session.spec.lifecycle.on_idle, "Idle", now)
    actions: tuple[Action, ...] = ()
    if session.status.get("endpoint") != endpoint_of(pod.ip):
        actions = (_access(observation, pod), model.EmitEvent("Ready", f"pod {pod.name} serves the session"))
    return _say(observation, now, Standing("Ready", "Ready"), *actions, at=min(expires, idle))


def idle_at(observation: Observation, pod: PodView, now: datetime) -> datetime:
    """When the session is idle if nothing uses it from now on. An agent's clock that is ahead of ours counts as now."""
    agent, timeout = observation.agent, observation.session.spec.lifecycle.idle_timeout
    if agent is None or timeout is None:
        return datetime.max.replace(tzinfo=UTC)
    since = max(pod.created, min(agent.last_active or pod.created, now))
    return (now if agent.running else since) + timeout


def _plan_starting(observation: Observation, pod: PodView, now: datetime, timing: Timing) -> Plan:
    reason, message = pod.problem or ("Starting", "")
    return _with_start_deadline(observation, pod, Standing("Starting", reason, message), now, timing)


def _with_start_deadline(
    observation: Observation, pod: PodView, standing: Standing, now: datetime, timing: Timing
) -> Plan:
    """A pod that never served within its time makes the session Failed. It is kept: an image may still come."""
    deadline = pod.created + timing.start_timeout
    retry = now + timing.agent_retry if pod.is_agent_running else None
    if has_served(observation):
        return _say(observation, now, standing, at=now + timedelta(seconds=1))
    if now < deadline:
        return _say(observation, now, standing, at=min(retry, deadline) if retry else deadline)
    reason = standing.reason if pod.problem else "StartTimeout"
    message = f"not started in {timing.start_timeout.total_seconds():.0f} s. {standing.message}".strip()
    return _say(observation, now, Standing("Failed", reason, message), at=now + timedelta(seconds=5))


def _bind(observation: Observation, pod: PodView, now: datetime, timing: Timing, standing: Standing) -> Plan:
    session, template = observation.session, observation.template
    since = observation.seconds_since_bind
    if standing.reason == "RestoreFailed" and since is not None and since < timing.bind_retry.total_seconds():
        wait = timing.bind_retry - timedelta(seconds=since)
        return _say(observation, now, standing, at=now + wait)
    if template is None:
        raise _missing_template(observation)
    check_env(session, template)
    lifetime = (pod.created + session.spec.lifecycle.max_lifetime - now).total_seconds()
    bind = model.BindAgent(choose_egress(session, template), max(1.0, lifetime))
    return _say(observation, now, standing, _access(observation, pod), bind)


def _access(observation: Observation, pod: PodView) -> model.EnsureAccessSecret:
    namespace = observation.session.metadata.namespace
    return model.EnsureAccessSecret(endpoint_of(pod.ip), naming.server_name(pod.name, namespace), pod.name)


def _missing_template(observation: Observation) -> Blocked:
    name = observation.session.spec.template_ref.name
    if observation.template_problem:
        return Blocked("TemplateInvalid", f"SandboxTemplate {name}: {observation.template_problem}", retry_after=60)
    message = f"spec.templateRef.name: there is no SandboxTemplate {name} in this namespace"
    return Blocked("TemplateNotFound", message, retry_after=60)


def suspended_by(observation: Observation) -> str:
    """Why a suspended session is: Idle or Expired where the operator did it and the spec is the same since."""
    metadata = observation.session.metadata
    reason, _, generation = metadata.annotations.get(naming.SUSPENDED_BY, "").partition("/")
    return reason if reason in REASON_MESSAGES and generation == str(metadata.generation) else "Suspended"


def has_served(observation: Observation) -> bool:
    """Whether this very pod was ready before."""
    status, pod = observation.session.status, observation.pod
    return pod is not None and bool(status.get("startup")) and status.get("startedAt") == format_time(pod.created)


def _with_ttl(observation: Observation, plan: Plan, now: datetime) -> Plan:
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


def _say(
    observation: Observation, now: datetime, standing: Standing, *actions: Action, at: datetime | None = None
) -> Plan:
    return Plan(actions, build_status(observation, standing, now), at)
