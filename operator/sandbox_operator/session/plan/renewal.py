"""When a session's storage credentials are renewed: at half their life, sooner where the agent needs others. Pure.

Nothing is written down anywhere: the agent tells when its credentials end, so that an operator that has just started
knows as much as the one before it.
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

_SPREAD: Final = 0.1
"""Renewals come this part earlier or later, each session's always the same: those that started together drift apart."""
_FIRST_PAUSE: Final = 5.0
_LONGEST_PAUSE: Final = 60.0
"""Seconds between two tries for one session."""


@dataclass(frozen=True, slots=True)
class CredentialTiming:
    """How long credentials live, and at which age they are replaced."""

    lifetime: timedelta
    renew_after: timedelta


def with_renewal(observation: Observation, plan: Plan, now: datetime, timing: CredentialTiming | None) -> Plan:
    """The plan, and a renewal in it where one is due.

    Args:
        observation: What the plan was made of.
        plan: What happens to the session otherwise.
        now: The time.
        timing: None: credentials have no end, and are replaced only where the store refuses them.
    """
    due = _find_due(observation, now, timing)
    if due is None or any(isinstance(action, _BRINGS_OR_ENDS) for action in plan.actions):
        return plan
    renewal, pod = observation.renewal, observation.pod
    if pod is None or (renewal is not None and renewal.is_running):
        return plan
    if renewal is not None and renewal.error and not _is_told(observation):
        message = f"storage credentials were not renewed: {renewal.error}; {_describe_end(observation)}"
        event = model.EmitEvent("CredentialsNotRenewed", message, warning=True)
        plan = replace(plan, actions=(*plan.actions, event))
    if now < due:
        return replace(plan, requeue_at=min(due, plan.requeue_at) if plan.requeue_at else due)
    return replace(plan, actions=(*plan.actions, model.RenewCredentials(pod.uid)))


_BRINGS_OR_ENDS: Final = (model.BindAgent, model.DeletePod, model.DeleteSession)
"""Bind brings credentials, too; what ends needs none."""


def _find_due(observation: Observation, now: datetime, timing: CredentialTiming | None) -> datetime | None:
    """When to renew next; None: there is nothing to renew."""
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
        age = timing.renew_after * _spread(uid)
        if agent.credentials_expire_at is not None:
            due = agent.credentials_expire_at - timing.lifetime + age
        else:
            # Bound with credentials that have no end, before the settings said otherwise.
            due = renewal.ended + age if renewal and renewal.ended and not renewal.error else now
    elif agent.credentials_expire_at is not None:
        due = now
    is_stubborn = agent.needs_credentials or (renewal is not None and renewal.error)
    if due is None or renewal is None or renewal.ended is None or not is_stubborn:
        return due
    pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**renewal.failures) * _spread(uid)
    return max(due, renewal.ended + timedelta(seconds=pause))


def _spread(uid: str) -> float:
    return 1 - _SPREAD + 2 * _SPREAD * zlib.crc32(uid.encode()) / 0xFFFFFFFF


def _is_told(observation: Observation) -> bool:
    conditions = observation.session.status.get("conditions") or []
    return any(condition.get("type") == "StorageCredentials" for condition in conditions)


def _describe_end(observation: Observation) -> str:
    end = observation.agent.credentials_expire_at if observation.agent else None
    return f"those of now end at {end:%Y-%m-%dT%H:%M:%SZ}" if end else "those of now have no end that is known"
