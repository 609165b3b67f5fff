"""Steps that several rules share: a plan that only sets the status, binding the agent, draining it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sandbox_operator.api import naming
from sandbox_operator.errors import Blocked
from sandbox_operator.session import model
from sandbox_operator.session.admission import check_env, choose_egress
from sandbox_operator.session.model import Plan
from sandbox_operator.session.plan.stop import end_deadline, stop_time
from sandbox_operator.session.status import Condition, build_status, endpoint_of, expiry_of

if TYPE_CHECKING:
    from datetime import datetime

    from sandbox_operator.session.model import Action, Observation, PodState
    from sandbox_operator.session.plan.renewal import CredentialTiming


@dataclass(frozen=True, slots=True)
class Timing:
    """Timeouts and retry intervals of plans."""

    start_timeout: timedelta = timedelta(minutes=5)
    agent_retry: timedelta = timedelta(milliseconds=100)
    bind_retry: timedelta = timedelta(seconds=15)
    rebind_after: timedelta = timedelta(seconds=5)
    push_retry: timedelta = timedelta(seconds=30)
    recreate_after: timedelta = timedelta(seconds=10)
    """Minimum age of a pod that ended by itself before it is replaced. This limits the rate if pods end immediately."""
    force_after: timedelta = timedelta(seconds=30)
    """Time after a deletion's grace period at which the node counts as lost. The storage keeps two writers apart."""
    claim_retry: timedelta = timedelta(seconds=10)
    unnamed_ttl: timedelta | None = None
    """Time after which a session with a generated name is deleted if it is not used any more. None if it never is."""
    credentials: CredentialTiming | None = None
    """None if storage credentials do not expire."""


DEFAULT_TIMING: Final = Timing()
_MAX_BINDS: Final = 5
"""Binds of one session in ten seconds, after which it waits."""


def with_status(
    observation: Observation, now: datetime, condition: Condition, *actions: Action, at: datetime | None = None
) -> Plan:
    """Return a plan with this condition in its status. `at` is the time of the next reconcile."""
    return Plan(actions, build_status(observation, condition, now), at)


def bind(observation: Observation, pod: PodState, now: datetime, timing: Timing, condition: Condition) -> Plan:
    """Plan to bind the agent, after making the access Secret: Bind contains a hash of the Secret's token."""
    session, template = observation.session, observation.template
    since = observation.seconds_since_bind
    if condition.reason == "RestoreFailed" and since is not None and since < timing.bind_retry.total_seconds():
        wait = timing.bind_retry - timedelta(seconds=since)
        return with_status(observation, now, condition, at=now + wait)
    if observation.recent_binds >= _MAX_BINDS:
        # It was bound each time, and is blank again: it keeps restarting, or lies.
        return with_status(observation, now, condition, at=now + timing.rebind_after)
    if template is None:
        raise missing_template(observation)
    check_env(session, template)
    lifetime = (expiry_of(observation, pod) - now).total_seconds()
    bind = model.BindAgent(choose_egress(session, template), max(1.0, lifetime), pod.memory_bytes)
    return with_status(observation, now, condition, access_secret(observation, pod), bind)


def access_secret(observation: Observation, pod: PodState) -> model.EnsureAccessSecret:
    """Return the action that makes the access Secret, through which clients reach the pod."""
    namespace = observation.session.metadata.namespace
    return model.EnsureAccessSecret(endpoint_of(pod.ip), naming.server_name(pod.name, namespace), pod.name)


def missing_template(observation: Observation) -> Blocked:
    """Return the error for a session whose template does not exist or is invalid."""
    name = observation.template_name
    if observation.template_problem:
        return Blocked("TemplateInvalid", f"SandboxTemplate {name}: {observation.template_problem}", retry_after=60)
    message = f"spec.templateRef.name: there is no SandboxTemplate {name} in this namespace"
    return Blocked("TemplateNotFound", message, retry_after=60)


def drain_then(
    observation: Observation,
    pod: PodState,
    now: datetime,
    timing: Timing,
    condition: Condition,
    then: tuple[Action, ...],
    *,
    require_all: bool = False,
) -> Plan:
    """Plan to drain the agent, and to take the actions `then` once its push is durable.

    With `require_all`, the drain fails if a file could not be saved.
    """
    agent, drain = observation.agent, observation.drain
    if agent and agent.state == "DRAINED":
        return with_status(observation, now, condition, *then)
    if drain and drain.pod_uid == pod.uid:
        if drain.is_running:
            return with_status(observation, now, condition)
        # An agent that reports success, and is not drained, gets no other call at once either.
        retry = (drain.ended or now) + timing.push_retry
        if now < retry:
            failed = Condition(condition.phase, drain.reason, drain.error) if drain.error else condition
            return with_status(observation, now, failed, at=retry)
    seconds = min(end_deadline(observation), stop_time(observation, pod) - now).total_seconds()
    return with_status(observation, now, condition, model.DrainAgent(pod.uid, max(1.0, seconds), require_all))
