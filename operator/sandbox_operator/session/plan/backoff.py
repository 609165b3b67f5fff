"""Decides when a step that was refused is tried again. Pure.

Every event of a session makes a new plan, and a tenant can cause events at will. So a plan whose steps were refused is
not carried out again before its time, however often it is made, and that time grows. A change of what it depends on
ends the wait.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sandbox_operator.errors import Blocked

if TYPE_CHECKING:
    from datetime import datetime

    from sandbox_operator.session.model import Observation, Plan

_MIN_GROWING: Final = 1.0
"""Seconds. A shorter wait does not grow: it is for a part that is just starting."""
_MAX_WAIT: Final = 30.0
_MAX_WAIT_FAILED: Final = 300.0
"""The longest wait in seconds if nothing has to be changed, and if the session, template or Secret has to be."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A plan that could not be carried out."""

    blocked: Blocked
    basis: tuple[object, ...]
    until: datetime
    count: int = 1

    def is_waiting(self, observation: Observation, plan: Plan, now: datetime) -> bool:
        """Return True if the plan is the one that was refused, and its time has not come."""
        return now < self.until and self.basis == _basis(observation, plan)

    def as_blocked(self, now: datetime) -> Blocked:
        """Return the refusal for a status, with the rest of the wait."""
        wait = max(0.0, (self.until - now).total_seconds())
        return Blocked(self.blocked.reason, str(self.blocked), failed=self.blocked.failed, retry_after=wait)


def refuse(before: Refusal | None, blocked: Blocked, observation: Observation, plan: Plan, now: datetime) -> Refusal:
    """Return the refusal of a plan, which waits longer if an equal one was refused before."""
    basis = _basis(observation, plan)
    count = before.count + 1 if before is not None and before.basis == basis else 1
    return Refusal(blocked, basis, now + timedelta(seconds=_wait(blocked, count)), count)


def _wait(blocked: Blocked, count: int) -> float:
    if blocked.retry_after < _MIN_GROWING:
        return blocked.retry_after
    longest = max(blocked.retry_after, _MAX_WAIT_FAILED if blocked.failed else _MAX_WAIT)
    return min(longest, blocked.retry_after * 2.0 ** min(count - 1, 16))


def _basis(observation: Observation, plan: Plan) -> tuple[object, ...]:
    """Return what a refusal depends on: the steps, the session, its template, and its pod's containers."""
    pod, template = observation.pod, observation.template
    return (
        tuple(type(action) for action in plan.actions),
        observation.session.metadata.generation,
        template.metadata.resource_version if template else None,
        (pod.uid, pod.agent_restarts) if pod else None,
    )
