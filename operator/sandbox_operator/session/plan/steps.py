"""Steps that more than one rule takes: saying where a session stands, binding its agent, draining it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sandbox_operator.api import naming
from sandbox_operator.errors import Blocked
from sandbox_operator.session import model
from sandbox_operator.session.admission import check_env, choose_egress
from sandbox_operator.session.model import Plan
from sandbox_operator.session.status import Standing, build_status, endpoint_of

if TYPE_CHECKING:
    from datetime import datetime

    from sandbox_operator.session.model import Action, Observation, PodView
    from sandbox_operator.session.plan.renewal import CredentialTiming


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
    credentials: CredentialTiming | None = None
    """None: storage credentials have no end."""


DEFAULT_TIMING: Final = Timing()


def say(
    observation: Observation, now: datetime, standing: Standing, *actions: Action, at: datetime | None = None
) -> Plan:
    """A plan whose status says where the session stands."""
    return Plan(actions, build_status(observation, standing, now), at)


def bind(observation: Observation, pod: PodView, now: datetime, timing: Timing, standing: Standing) -> Plan:
    """Give the agent its session; first the access Secret, whose token the agent learns."""
    session, template = observation.session, observation.template
    since = observation.seconds_since_bind
    if standing.reason == "RestoreFailed" and since is not None and since < timing.bind_retry.total_seconds():
        wait = timing.bind_retry - timedelta(seconds=since)
        return say(observation, now, standing, at=now + wait)
    if template is None:
        raise missing_template(observation)
    check_env(session, template)
    lifetime = (pod.created + session.spec.lifecycle.max_lifetime - now).total_seconds()
    bind = model.BindAgent(choose_egress(session, template), max(1.0, lifetime), pod.memory_bytes)
    return say(observation, now, standing, access(observation, pod), bind)


def access(observation: Observation, pod: PodView) -> model.EnsureAccessSecret:
    """What tells clients how to reach the pod."""
    namespace = observation.session.metadata.namespace
    return model.EnsureAccessSecret(endpoint_of(pod.ip), naming.server_name(pod.name, namespace), pod.name)


def missing_template(observation: Observation) -> Blocked:
    """Why there is no template."""
    name = observation.session.spec.template_ref.name
    if observation.template_problem:
        return Blocked("TemplateInvalid", f"SandboxTemplate {name}: {observation.template_problem}", retry_after=60)
    message = f"spec.templateRef.name: there is no SandboxTemplate {name} in this namespace"
    return Blocked("TemplateNotFound", message, retry_after=60)


def drain_then(
    observation: Observation, pod: PodView, now: datetime, timing: Timing, standing: Standing, then: tuple[Action, ...]
) -> Plan:
    """Drain the agent; `then` only once that is durable."""
    agent, drain = observation.agent, observation.drain
    if agent and agent.state == "DRAINED":
        return say(observation, now, standing, *then)
    if drain and drain.pod_uid == pod.uid:
        if drain.is_running:
            return say(observation, now, standing)
        retry = (drain.ended or now) + timing.push_retry
        if drain.error and now < retry:
            return say(observation, now, Standing(standing.phase, "PushFailed", drain.error), at=retry)
    return say(observation, now, standing, model.DrainAgent(pod.uid))
