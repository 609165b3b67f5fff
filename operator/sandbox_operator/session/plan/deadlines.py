"""Plans what happens at a session's deadlines: the agent's own one, expiry without a pod, and times to live. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sandbox_operator.api import naming
from sandbox_operator.api.session_spec import EndAction
from sandbox_operator.api.values import format_duration, format_time
from sandbox_operator.session import model
from sandbox_operator.session.plan.steps import with_status
from sandbox_operator.session.status import Condition, expiry_of, ready_since, suspended_since

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sandbox_operator.session.model import Observation, Plan

_MAX_DIFFERENCE: Final = timedelta(seconds=2)
"""Difference between the agent's deadline and the session's that is left alone. An agent's answer takes some time."""
_CHECK_AFTER: Final = timedelta(seconds=2)
"""Time after which the agent is asked whether its deadline has moved. If not, it is moved again."""
_ENDS: Final = (model.BindAgent, model.DeletePod, model.SuspendSession, model.DeleteSession)
"""Actions that make moving the agent's deadline unnecessary. Bind sets it too."""

REASON_MESSAGES: Final = {
    "Expired": "the session reached its maximum lifetime",
    "Idle": "the session was unused for its idle timeout",
}


def describe_end(observation: Observation, reason: str, now: datetime) -> str:
    """Return the message for a session that ends because it is idle or expired."""
    end = observation.session.spec.lifecycle.expires_at
    if reason == "Expired" and end and now >= end:
        return f"the session reached spec.lifecycle.expiresAt, {format_time(end)}"
    return REASON_MESSAGES[reason]


def suspended_by(observation: Observation) -> str:
    """Return why a session is suspended: "Idle" or "Expired" if the operator did it, else "Suspended".

    A later change of the spec counts as the user's own decision.
    """
    metadata = observation.session.metadata
    reason, _, generation = metadata.annotations.get(naming.SUSPENDED_BY, "").partition("/")
    return reason if reason in REASON_MESSAGES and generation == str(metadata.generation) else "Suspended"


def is_past_expiry(observation: Observation, now: datetime) -> bool:
    """Return whether the session's `expiresAt` has passed. Such a session gets no pod."""
    end = observation.session.spec.lifecycle.expires_at
    return end is not None and now >= end


def plan_expired(observation: Observation, now: datetime) -> Plan:
    """Plan for a session without a pod whose `expiresAt` has passed: it stays suspended, or is deleted."""
    spec, message = observation.session.spec, describe_end(observation, "Expired", now)
    if spec.lifecycle.on_expiry is EndAction.DELETE:
        event = model.EmitEvent("Expired", message)
        condition = Condition("Terminating", "Terminating", message)
        return with_status(observation, now, condition, event, model.DeleteSession())
    advice = "to resume it, set a later spec.lifecycle.expiresAt and set spec.suspended to false"
    condition = Condition("Suspended", "Expired", f"{message}; {advice}")
    if spec.suspended:
        return with_status(observation, now, condition)
    event = model.EmitEvent("Expired", f"{message}; {advice}", warning=True)
    return with_status(observation, now, condition, model.SuspendSession("Expired"), event)


def plan_suspended(observation: Observation, now: datetime) -> Plan:
    """Plan for a suspended session that has no pod any more."""
    condition = Condition("Suspended", suspended_by(observation), "set spec.suspended to false to resume the session")
    return with_status(observation, now, condition, at=observation.session.spec.lifecycle.expires_at)


def with_agent_deadline(observation: Observation, plan: Plan, now: datetime) -> Plan:
    """Return the plan, extended to move the agent's deadline if the session's has moved.

    The agent keeps the deadline by itself while the operator is away.
    """
    session, pod, agent = observation.session, observation.pod, observation.agent
    if pod is None or agent is None or agent.remaining_lifetime is None or agent.state != "BOUND":
        return plan
    remaining = expiry_of(observation, pod) - now
    is_ending = session.spec.suspended or remaining <= timedelta() or any(isinstance(a, _ENDS) for a in plan.actions)
    if is_ending or agent.session_uid != session.metadata.uid:
        return plan
    if abs(remaining - agent.remaining_lifetime) <= _MAX_DIFFERENCE:
        return plan
    action = model.SetLifetime(remaining.total_seconds())
    return replace(by(plan, now + _CHECK_AFTER), actions=(*plan.actions, action))


def with_ttl(observation: Observation, plan: Plan, now: datetime, unnamed_ttl: timedelta | None) -> Plan:
    """Return the plan, extended to delete a session that is not used any more after its time to live.

    Args:
        observation: The observation from which the plan was made.
        plan: The plan so far. Its status decides which times to live apply.
        now: The current time.
        unnamed_ttl: Time to live of sessions with a generated name, unless they set `ttlAfterSuspended`.
    """
    due, message = min(_times_to_live(observation, plan, now, unnamed_ttl), default=(None, ""))
    if due is None or any(isinstance(action, model.DeleteSession) for action in plan.actions):
        return plan
    if now >= due:
        event = model.EmitEvent("TimeToLiveEnded", f"the session is deleted, because {message}")
        return replace(plan, actions=(*plan.actions, event, model.DeleteSession()))
    return by(plan, due)


def _times_to_live(
    observation: Observation, plan: Plan, now: datetime, unnamed_ttl: timedelta | None
) -> Iterator[tuple[datetime, str]]:
    """Yield each time at which the session has to be deleted, with the reason."""
    session, before, phase = observation.session, observation.session.status, plan.status.get("phase")
    lifecycle = session.spec.lifecycle
    unnamed_ttl = unnamed_ttl if session.metadata.generate_name else None
    # A time that was forged may be in the future.
    since = min(now, (ready_since(before) if before.get("phase") == phase else None) or now)
    if phase == "Suspended":
        since = min(now, suspended_since(before) or now)
        if ttl := lifecycle.ttl_after_suspended:
            yield since + ttl, f"it was suspended for {format_duration(ttl)} (spec.lifecycle.ttlAfterSuspended)"
        elif unnamed_ttl:
            yield since + unnamed_ttl, f"it was suspended for {format_duration(unnamed_ttl)} and has a generated name"
        end = lifecycle.expires_at
        is_past = end is not None and now >= end
        if lifecycle.ttl_after_finished and (is_past or suspended_by(observation) == "Expired"):
            expired = max(since, end) if end is not None and is_past else since
            ttl = lifecycle.ttl_after_finished
            yield expired + ttl, f"it expired {format_duration(ttl)} ago (spec.lifecycle.ttlAfterFinished)"
    if phase == "Failed" and (ttl := lifecycle.ttl_after_finished):
        yield since + ttl, f"it failed {format_duration(ttl)} ago (spec.lifecycle.ttlAfterFinished)"
    if phase in {"Failed", "Pending"} and unnamed_ttl:
        yield since + unnamed_ttl, f"it did not start for {format_duration(unnamed_ttl)} and has a generated name"


def by(plan: Plan, moment: datetime) -> Plan:
    """Return the plan with the next reconcile at this time, or earlier."""
    return replace(plan, requeue_at=min(moment, plan.requeue_at) if plan.requeue_at else moment)
