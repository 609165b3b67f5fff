"""What to do about a session: a pure function of what was observed, the time, and a few settings.

Rules are small functions, tried in the order in which they are written down in `plan_session`. Each returns a Plan.
Nothing here remembers anything: after a crash the same observation gives the same plan.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sandbox_operator.api import naming
from sandbox_operator.api.models import EndAction
from sandbox_operator.api.values import format_time
from sandbox_operator.errors import Blocked
from sandbox_operator.session import model
from sandbox_operator.session.admission import check_env, choose_egress, choose_resources, default_resources
from sandbox_operator.session.plan.end import (
    plan_end,
    plan_pod_ending,
    plan_pod_lost,
    plan_suspend,
    suspended_by,
    with_ttl,
)
from sandbox_operator.session.plan.renewal import with_renewal
from sandbox_operator.session.plan.steps import DEFAULT_TIMING, Timing, access, bind, missing_template, say
from sandbox_operator.session.status import Standing, endpoint_of

if TYPE_CHECKING:
    from sandbox_operator.session.model import Action, Observation, Plan, PodView


def plan_session(observation: Observation, now: datetime, timing: Timing = DEFAULT_TIMING) -> Plan:
    """What to do now, what the status is then, and when to look again at the latest."""
    if observation.session.metadata.deletion_timestamp:
        return say(observation, now, Standing("Terminating", "Terminating"))
    try:
        plan = _plan_alive(observation, now, timing)
    except Blocked as blocked:
        plan = plan_blocked(observation, blocked, now)
    extra = tuple(model.DeletePod(pod.name, pod.uid) for pod in observation.extra_pods)
    plan = with_renewal(observation, replace(plan, actions=(*extra, *plan.actions)), now, timing.credentials)
    return with_ttl(observation, plan, now)


def plan_blocked(observation: Observation, blocked: Blocked, now: datetime) -> Plan:
    """The plan for a session that cannot go on for now."""
    waiting = "Pending" if observation.pod is None else "Starting"
    phase = "Failed" if blocked.failed else "Suspending" if observation.session.spec.suspended else waiting
    standing = Standing(phase, blocked.reason, str(blocked))
    return say(observation, now, standing, at=now + timedelta(seconds=blocked.retry_after))


def _plan_alive(observation: Observation, now: datetime, timing: Timing) -> Plan:
    session, pod = observation.session, observation.pod
    if pod is None:
        return _plan_suspended(observation, now) if session.spec.suspended else _plan_new_pod(observation, now, timing)
    if pod.deleted:
        return plan_pod_ending(observation, pod, now, timing)
    if pod.has_ended:
        return plan_pod_lost(observation, pod, now, timing)
    if session.spec.suspended:
        return plan_suspend(observation, pod, now, timing)
    expires = pod.created + session.spec.lifecycle.max_lifetime
    if now >= expires:
        return plan_end(observation, pod, session.spec.lifecycle.on_expiry, "Expired", now)
    return _plan_serving(observation, pod, expires, now, timing)


def _plan_suspended(observation: Observation, now: datetime) -> Plan:
    reason = suspended_by(observation)
    message = "set spec.suspended to false to go on"
    return say(observation, now, Standing("Suspended", reason, message))


def _plan_new_pod(observation: Observation, now: datetime, timing: Timing) -> Plan:
    session, template = observation.session, observation.template
    if template is None:
        raise missing_template(observation)
    egress, resources = choose_egress(session, template), choose_resources(session, template)
    check_env(session, template)
    if holder := observation.workspace_holder:
        message = f"session {holder} works on workspace {session.workspace_name}"
        raise Blocked("WorkspaceInUse", message, retry_after=timing.claim_retry.total_seconds())
    actions: list[Action] = [model.ApplyNetworkPolicy(egress)]
    if observation.warm_pods and resources == default_resources(template):
        actions.append(model.ClaimPod(egress, observation.pod_hash))
    elif observation.is_pod_foreign:
        raise Blocked("PodNameTaken", f"pod {naming.pod_name(session)} is not this session's")
    else:
        actions += [model.CreateTlsSecret(), model.CreatePod(egress, resources)]
    if observation.had_pod:
        actions.append(model.EmitEvent("PodReplaced", "the pod is gone; another one takes its place", warning=True))
    return say(observation, now, Standing("Starting", "Creating"), *actions)


def _plan_serving(  # noqa: PLR0911 - one return a state of the agent
    observation: Observation, pod: PodView, expires: datetime, now: datetime, timing: Timing
) -> Plan:
    agent = observation.agent
    if not pod.is_agent_running or not pod.ip:
        return _plan_starting(observation, pod, now, timing)
    if agent is None:
        # A container that does not start is the cause of what the agent says, which has no runtime to speak to.
        connecting = "AgentUnreachable" if has_served(observation) else "Connecting"
        standing = Standing("Starting", *(pod.problem or (connecting, observation.agent_problem)))
        return _with_start_deadline(observation, pod, standing, now, timing)
    if agent.state == "BLANK":
        return bind(observation, pod, now, timing, Standing("Starting", "Binding"))
    lifecycle = observation.session.spec.lifecycle
    # Also where it is drained by now: that was the first half of deleting it.
    is_ours = agent.session_uid == observation.session.metadata.uid
    is_used = agent.restore == "RUNNING"
    if is_ours and not is_used and lifecycle.on_idle is EndAction.DELETE and now >= idle_at(observation, pod, now):
        return plan_end(observation, pod, EndAction.DELETE, "Idle", now)
    if not is_ours or agent.state == "DRAINED":
        event = model.EmitEvent("PodReplaced", "the agent serves no more; another pod takes its place")
        delete = model.DeletePod(pod.name, pod.uid)
        return say(observation, now, Standing("Starting", "PodEnding"), delete, event)
    if agent.state == "DRAINING":
        return say(observation, now, Standing("Suspending", "Suspending"), at=now + timedelta(seconds=1))
    if agent.restore == "FAILED":
        standing = Standing("Starting", "RestoreFailed", agent.restore_error)
        return bind(observation, pod, now, timing, standing)
    if agent.restore != "DONE":
        return say(observation, now, Standing("Starting", "Restoring"), at=now + timing.agent_retry)
    return _plan_ready(observation, pod, expires, now)


def _plan_ready(observation: Observation, pod: PodView, expires: datetime, now: datetime) -> Plan:
    session = observation.session
    idle = idle_at(observation, pod, now)
    if now >= idle:
        return plan_end(observation, pod, session.spec.lifecycle.on_idle, "Idle", now)
    actions: tuple[Action, ...] = ()
    if session.status.get("endpoint") != endpoint_of(pod.ip):
        # No Event: the status tells it, and it would be one write in four of a warm start.
        actions = (access(observation, pod),)
    return say(observation, now, Standing("Ready", "Ready"), *actions, at=min(expires, idle))


def idle_at(observation: Observation, pod: PodView, now: datetime) -> datetime:
    """When the session is idle if nothing uses it from now on.

    An agent tells how long it has been idle. Of one that tells only since when, a clock ahead of ours counts as now.
    """
    agent, timeout = observation.agent, observation.session.spec.lifecycle.idle_timeout
    if agent is None or timeout is None:
        return datetime.max.replace(tzinfo=UTC)
    used = now - agent.idle if agent.idle is not None else min(agent.last_active or pod.created, now)
    since = max(pod.created, used)
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
        return say(observation, now, standing, at=now + timedelta(seconds=1))
    if now < deadline:
        return say(observation, now, standing, at=min(retry, deadline) if retry else deadline)
    reason = standing.reason if pod.problem else "StartTimeout"
    message = f"not started in {timing.start_timeout.total_seconds():.0f} s. {standing.message}".strip()
    return say(observation, now, Standing("Failed", reason, message), at=now + timedelta(seconds=5))


def has_served(observation: Observation) -> bool:
    """Whether this very pod was ready before."""
    status, pod = observation.session.status, observation.pod
    return pod is not None and bool(status.get("startup")) and status.get("startedAt") == format_time(pod.created)
