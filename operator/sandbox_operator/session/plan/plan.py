"""Plans what to do about a session: a pure function of an observation, the time, and a few settings.

Rules are small functions that each return a Plan, tried in the order in which `plan_session` lists them. Nothing is
remembered between calls: after a crash, the same observation gives the same plan.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from sandbox_operator.api import naming
from sandbox_operator.api.session_spec import EndAction
from sandbox_operator.api.values import format_time
from sandbox_operator.errors import Blocked
from sandbox_operator.manifests.pod import TERMINATION_GRACE
from sandbox_operator.session import model
from sandbox_operator.session.admission import check_env, choose_egress, choose_resources, default_resources
from sandbox_operator.session.plan.deadlines import (
    by,
    is_past_expiry,
    plan_expired,
    plan_suspended,
    with_agent_deadline,
    with_ttl,
)
from sandbox_operator.session.plan.end import (
    plan_deleted,
    plan_end,
    plan_overdue,
    plan_pod_ending,
    plan_pod_lost,
    plan_suspend,
)
from sandbox_operator.session.plan.renewal import with_renewal
from sandbox_operator.session.plan.steps import (
    DEFAULT_TIMING,
    Timing,
    access_secret,
    bind,
    missing_template,
    with_status,
)
from sandbox_operator.session.plan.stop import lives_on, stop_time, with_known_start
from sandbox_operator.session.status import Condition, endpoint_of, expiry_of, ready_since

if TYPE_CHECKING:
    from sandbox_operator.session.model import Action, Observation, Plan, PodState


_MIN_WAIT: Final = timedelta(seconds=5)
_MAX_WAIT: Final = timedelta(seconds=60)
"""Shortest and longest time until a session that exceeds a limit of its namespace is tried again. The end of a pod in
its namespace wakes it earlier."""


def plan_session(observation: Observation, now: datetime, timing: Timing = DEFAULT_TIMING) -> Plan:
    """Return the actions to take now, the status after them, and the time of the next reconcile."""
    observation = with_known_start(observation, now)
    if observation.session.metadata.deletion_timestamp:
        return plan_deleted(observation, now, timing)
    try:
        plan = _plan_alive(observation, now, timing)
    except Blocked as blocked:
        plan = plan_blocked(observation, blocked, now)
    extra, unproven = [pod for pod in observation.extra_pods if lives_on(pod, now)], _unproven(observation, now)
    others = (*_adopt(observation), *(model.DeletePod(pod.name, pod.uid, grace=TERMINATION_GRACE) for pod in extra))
    others += tuple(action for pod in unproven for action in _refuse_pod(observation, pod))
    # If one of the others fails, those after it are not carried out. It must not keep the session's pod alive.
    ends = any(isinstance(action, model.DeletePod) for action in plan.actions)
    actions = (*plan.actions, *others) if ends else (*others, *plan.actions)
    plan = with_renewal(observation, replace(plan, actions=actions), now, timing.credentials)
    plan = with_agent_deadline(observation, plan, now)
    if unproven:
        plan = by(plan, now)
    if observation.pod is not None and not observation.pod.deleted:
        plan = by(plan, max(now, stop_time(observation, observation.pod)))
    return with_ttl(observation, plan, now, timing.unnamed_ttl)


def _adopt(observation: Observation) -> tuple[Action, ...]:
    pod = observation.pod
    return (model.AdoptPod(pod.name, pod.uid),) if pod is not None and observation.is_unsigned else ()


def _unproven(observation: Observation, now: datetime) -> list[PodState]:
    return [pod for pod in observation.unproven_pods if lives_on(pod, now)]


def _refuse_pod(observation: Observation, pod: PodState) -> tuple[Action, ...]:
    message = (
        f"pod {pod.name} claims to be the session's, but is not signed: the operator did not create it, or stopped"
        " before it could sign it, or its agent's image was changed since"
    )
    # One that never served has nothing to save. It may be the operator's own, from before a crash. The start waits for
    # its end.
    has_served = observation.session.status.get("podUid") == pod.uid
    return model.DeletePod(pod.name, pod.uid, grace=TERMINATION_GRACE if has_served else 0), model.EmitEvent(
        "ForeignPod", f"{message}; it is deleted", warning=True
    )


def plan_blocked(observation: Observation, blocked: Blocked, now: datetime) -> Plan:
    """Return the plan for a session that cannot continue for now."""
    waiting = "Pending" if observation.pod is None else "Starting"
    phase = "Failed" if blocked.failed else "Suspending" if observation.session.spec.suspended else waiting
    condition = Condition(phase, blocked.reason, str(blocked))
    return with_status(observation, now, condition, at=now + timedelta(seconds=blocked.retry_after))


def plan_invalid(observation: Observation, now: datetime, timing: Timing = DEFAULT_TIMING) -> Plan:
    """Plan for a session whose spec cannot be read, so that the defaults stand in for it: its pod ends in time."""
    observation = with_known_start(observation, now)
    pod = observation.pod
    if observation.session.metadata.deletion_timestamp:
        return plan_deleted(observation, now, timing)
    blocked = Blocked("InvalidSpec", observation.spec_problem, failed=True, retry_after=300)
    plan = plan_blocked(observation, blocked, now)
    if pod is None:
        return plan
    if pod.deleted:
        ending = plan_pod_ending(observation, pod, now, timing)
        return replace(plan, actions=ending.actions, requeue_at=ending.requeue_at)
    if now < stop_time(observation, pod):
        return by(plan, stop_time(observation, pod))
    actions = [
        each for each in plan_overdue(observation, pod, now).actions if not isinstance(each, model.SuspendSession)
    ]
    return replace(plan, actions=tuple(actions))


def _plan_alive(observation: Observation, now: datetime, timing: Timing) -> Plan:  # noqa: PLR0911 - one per state of the pod
    session, pod = observation.session, observation.pod
    if pod is None:
        return _plan_without_pod(observation, now, timing)
    if pod.deleted:
        return plan_pod_ending(observation, pod, now, timing)
    if pod.has_ended:
        return plan_pod_lost(observation, pod, now, timing)
    if now >= stop_time(observation, pod):
        return plan_overdue(observation, pod, now)
    if session.spec.suspended:
        return plan_suspend(observation, pod, now, timing)
    expires = expiry_of(observation, pod)
    if now >= expires:
        return plan_end(observation, pod, session.spec.lifecycle.on_expiry, "Expired", now)
    return _plan_serving(observation, pod, expires, now, timing)


def _plan_without_pod(observation: Observation, now: datetime, timing: Timing) -> Plan:
    if is_past_expiry(observation, now):
        return plan_expired(observation, now)
    if observation.session.spec.suspended:
        return plan_suspended(observation, now)
    return _plan_new_pod(observation, now, timing)


def _plan_new_pod(observation: Observation, now: datetime, timing: Timing) -> Plan:
    session, template = observation.session, observation.template
    if template is None:
        raise missing_template(observation)
    egress, resources = choose_egress(session, template), choose_resources(session, template)
    check_env(session, template)
    if holder := observation.workspace_holder:
        message = f"session {holder} is using workspace {session.workspace_name}"
        # Its end wakes this one. Who waits long looks rarely: a tenant decides how many sessions wait.
        wait = max(timing.claim_retry, min(_waited(observation, "WorkspaceInUse", now), _MAX_WAIT))
        raise Blocked("WorkspaceInUse", message, retry_after=wait.total_seconds())
    if observation.limit_exceeded:
        return _plan_over_limit(observation, now)
    actions: list[Action] = [model.ApplyNetworkPolicy(egress)]
    if observation.warm_pods and resources == default_resources(template):
        actions.append(model.ClaimPod(egress, observation.pod_hash))
    elif observation.is_pod_foreign:
        raise Blocked("PodNameTaken", f"pod {naming.pod_name(session)} belongs to another owner")
    else:
        actions += [model.CreateTlsSecret(), model.CreatePod(egress, resources)]
    if observation.had_pod:
        actions.append(model.EmitEvent("PodReplaced", "the pod was deleted and is being replaced", warning=True))
    return with_status(observation, now, Condition("Starting", "Creating"), *actions)


def _plan_over_limit(observation: Observation, now: datetime) -> Plan:
    """Plan to wait for room in the namespace: first shortly, then each time as long as the session has waited."""
    message = f"{observation.limit_exceeded}; the session starts when another one has ended"
    condition = Condition("Pending", "NamespaceLimitReached", message)
    is_new = not _has_reason(observation, condition.reason)
    actions = (model.EmitEvent("NamespaceLimitReached", message, warning=True),) if is_new else ()
    waited = now - (observation.waits_since or now)
    return with_status(observation, now, condition, *actions, at=now + min(max(waited, _MIN_WAIT), _MAX_WAIT))


def _has_reason(observation: Observation, reason: str) -> bool:
    return any(each.get("reason") == reason for each in observation.session.status.get("conditions") or [])


def _waited(observation: Observation, reason: str, now: datetime) -> timedelta:
    """Return for how long a session has waited for this reason."""
    since = ready_since(observation.session.status) if _has_reason(observation, reason) else None
    return now - min(now, since or now)


def _plan_serving(  # noqa: PLR0911 - one return per state of the agent
    observation: Observation, pod: PodState, expires: datetime, now: datetime, timing: Timing
) -> Plan:
    agent = observation.agent
    if not pod.is_agent_running or not pod.ip:
        return _plan_starting(observation, pod, now, timing)
    if agent is None:
        # If a container does not start, report that: the agent has no runtime to connect to, which is only a symptom.
        connecting = "AgentUnreachable" if has_served(observation) else "Connecting"
        condition = Condition("Starting", *(pod.problem or (connecting, observation.agent_problem)))
        return _with_start_deadline(observation, pod, condition, now, timing)
    if agent.state == "BLANK":
        if pod.problem:
            # Bind needs the other container, too.
            return _with_start_deadline(observation, pod, Condition("Starting", *pod.problem), now, timing)
        return bind(observation, pod, now, timing, Condition("Starting", "Binding"))
    lifecycle = observation.session.spec.lifecycle
    # This also applies to a drained agent: draining is the first step of deleting the session.
    is_ours = agent.session_uid == observation.session.metadata.uid
    is_restoring = agent.restore == "RUNNING"
    if is_ours and not is_restoring and lifecycle.on_idle is EndAction.DELETE and now >= idle_at(observation, pod, now):
        return plan_end(observation, pod, EndAction.DELETE, "Idle", now)
    if not is_ours or agent.state == "DRAINED":
        event = model.EmitEvent("PodReplaced", "the agent no longer serves the session, so the pod is being replaced")
        delete = model.DeletePod(pod.name, pod.uid)
        return with_status(observation, now, Condition("Starting", "PodEnding"), delete, event)
    if agent.state == "DRAINING":
        return with_status(observation, now, Condition("Suspending", "Suspending"), at=now + timedelta(seconds=1))
    if agent.restore == "FAILED":
        condition = Condition("Starting", "RestoreFailed", agent.restore_error)
        return bind(observation, pod, now, timing, condition)
    if agent.restore != "DONE":
        return with_status(observation, now, Condition("Starting", "Restoring"), at=now + timing.agent_retry)
    return _plan_ready(observation, pod, expires, now)


def _plan_ready(observation: Observation, pod: PodState, expires: datetime, now: datetime) -> Plan:
    session = observation.session
    idle = idle_at(observation, pod, now)
    if now >= idle:
        return plan_end(observation, pod, session.spec.lifecycle.on_idle, "Idle", now)
    actions: tuple[Action, ...] = ()
    if session.status.get("endpoint") != endpoint_of(pod.ip):
        # No Event: the status shows it, and an Event would be one of four writes of a warm start.
        actions = (access_secret(observation, pod),)
    return with_status(observation, now, Condition("Ready", "Ready"), *actions, at=min(expires, idle))


def idle_at(observation: Observation, pod: PodState, now: datetime) -> datetime:
    """Return when the session becomes idle if nothing uses it from now on.

    An agent reports for how long it has been idle. An older agent reports only since when, by its own clock, which may
    be ahead.
    """
    agent, timeout = observation.agent, observation.session.spec.lifecycle.idle_timeout
    if agent is None or timeout is None:
        return datetime.max.replace(tzinfo=UTC)
    used = now - agent.idle if agent.idle is not None else min(agent.last_active or pod.created, now)
    since = max(pod.created, used)
    return (now if agent.running else since) + timeout


def _plan_starting(observation: Observation, pod: PodState, now: datetime, timing: Timing) -> Plan:
    reason, message = pod.problem or ("Starting", "")
    return _with_start_deadline(observation, pod, Condition("Starting", reason, message), now, timing)


def _with_start_deadline(
    observation: Observation, pod: PodState, condition: Condition, now: datetime, timing: Timing
) -> Plan:
    """Plan to wait, and mark the session as Failed after its start timeout. The pod is kept: it may still start."""
    deadline = pod.created + timing.start_timeout
    retry = now + timing.agent_retry if pod.is_agent_running else None
    if has_served(observation):
        return with_status(observation, now, condition, at=now + timedelta(seconds=1))
    if now < deadline:
        return with_status(observation, now, condition, at=min(retry, deadline) if retry else deadline)
    reason = condition.reason if pod.problem else "StartTimeout"
    message = f"the pod did not start within {timing.start_timeout.total_seconds():.0f} s. {condition.message}".strip()
    return with_status(observation, now, Condition("Failed", reason, message), at=now + timedelta(seconds=5))


def has_served(observation: Observation) -> bool:
    """Return True if the session was ready in this same pod before."""
    status, pod = observation.session.status, observation.pod
    return pod is not None and bool(status.get("startup")) and status.get("startedAt") == format_time(pod.created)
