"""Plans when a session's storage credentials are renewed: at half their lifetime, or earlier if the agent asks. Pure.

Nothing is stored: agents report when their credentials expire, so an operator that has just started knows it too.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sandbox_operator.session import model

if TYPE_CHECKING:
    from datetime import datetime

    from sandbox_operator.session.model import Observation, Plan

_JITTER: Final = 0.1
"""Maximum fraction by which a renewal comes earlier or later. It is constant per session, so that sessions that started
together drift apart."""
_MIN_RETRY: Final = 5.0
_MAX_RETRY: Final = 60.0
"""Seconds between two attempts for one session."""


@dataclass(frozen=True, slots=True)
class CredentialTiming:
    """The lifetime of credentials, and the age at which they are renewed."""

    lifetime: timedelta
    renew_after: timedelta


def with_renewal(observation: Observation, plan: Plan, now: datetime, timing: CredentialTiming | None) -> Plan:
    """Return the plan, extended by a renewal if one is due.

    Args:
        observation: The observation from which the plan was made.
        plan: The plan without a renewal.
        now: The current time.
        timing: None if credentials do not expire. They are then renewed only if storage refuses them.
    """
    due = _find_due(observation, now, timing)
    if due is None or any(isinstance(action, _MAKES_RENEWAL_UNNECESSARY) for action in plan.actions):
        return plan
    renewal, pod = observation.renewal, observation.pod
    if pod is None or (renewal is not None and renewal.is_running):
        return plan
    if renewal is not None and renewal.error and not _is_reported(observation):
        message = f"storage credentials could not be renewed: {renewal.error}; {_describe_expiry(observation)}"
        event = model.EmitEvent("CredentialsNotRenewed", message, warning=True)
        plan = replace(plan, actions=(*plan.actions, event))
    if now < due:
        return replace(plan, requeue_at=min(due, plan.requeue_at) if plan.requeue_at else due)
    return replace(plan, actions=(*plan.actions, model.RenewCredentials(pod.uid)))


_MAKES_RENEWAL_UNNECESSARY: Final = (model.BindAgent, model.DeletePod, model.DeleteSession)
"""Bind delivers new credentials too, and a session or pod that ends needs none."""


def _find_due(observation: Observation, now: datetime, timing: CredentialTiming | None) -> datetime | None:
    """Return when to renew next, or None if there is nothing to renew."""
    agent, renewal = observation.agent, observation.renewal
    if agent is None or agent.session_uid != observation.session.metadata.uid or agent.restore == "FAILED":
        return None
    if agent.state not in {"BOUND", "DRAINING"} or not observation.has_storage:
        return None
    uid = observation.session.metadata.uid
    due: datetime | None = None
    if agent.needs_credentials:
        due = now
    elif timing is not None:
        age = timing.renew_after * _jitter(uid)
        if agent.credentials_expire_at is not None:
            due = agent.credentials_expire_at - timing.lifetime + age
        else:
            # Bound with credentials that do not expire, before the settings changed.
            due = renewal.ended + age if renewal and renewal.ended and not renewal.error else now
    elif agent.credentials_expire_at is not None:
        due = now
    has_failed = agent.needs_credentials or (renewal is not None and renewal.error)
    if due is None or renewal is None or renewal.ended is None or not has_failed:
        return due
    pause = min(_MAX_RETRY, _MIN_RETRY * 2**renewal.failures) * _jitter(uid)
    return max(due, renewal.ended + timedelta(seconds=pause))


def _jitter(uid: str) -> float:
    return 1 - _JITTER + 2 * _JITTER * zlib.crc32(uid.encode()) / 0xFFFFFFFF


def _is_reported(observation: Observation) -> bool:
    conditions = observation.session.status.get("conditions") or []
    return any(condition.get("type") == "StorageCredentials" for condition in conditions)


def _describe_expiry(observation: Observation) -> str:
    end = observation.agent.credentials_expire_at if observation.agent else None
    return f"the current ones expire at {end:%Y-%m-%dT%H:%M:%SZ}" if end else "the current ones have no known expiry"
