"""Decides when a failed call may be repeated elsewhere, and what became of its session. Pure: no I/O.

No call ever runs twice. A call is repeated only if it certainly was not started. That is certain if there was no
connection to send it by. It is also certain if the agent refused it for a reason that it checks before all work.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.errors import FailedPrecondition

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_client.errors import SandboxError

_REFUSALS: Final = frozenset({"DRAINING", "LIFETIME_EXPIRED", "NOT_BOUND"})
"""Reasons with which an agent refuses a call before it starts any work."""


@dataclass(frozen=True, slots=True)
class PodLife:
    """One pod of one session.

    Attributes:
        session_uid: The session's uid. Its name may be reused by another session.
        pod: The pod's name. A resumed session's next pod may have the same name.
        started_at: The pod's creation time, as in the session's status.
    """

    session_uid: str = ""
    pod: str = ""
    started_at: str = ""


class SessionFate(Enum):
    """The fate of a session, seen from a client that was connected to one of its pods."""

    OVER = "over"
    """It failed and has another pod or none, or another session has its name."""
    ENDING = "ending"
    """It failed or is being deleted, still with the same pod. Calls that run in the pod may still finish."""
    SUSPENDED = "suspended"
    """It is suspended, or about to be."""
    MOVED = "moved"
    """It has another pod, or will have one: another client woke it, or its pod was lost."""
    UNCHANGED = "unchanged"
    """It is in the same pod."""


def life_of(session: Mapping[str, Any]) -> PodLife:
    """Return a session's present pod. Its name is "" if the session has no pod.

    Args:
        session: The custom resource.
    """
    status = session.get("status", {})
    uid = session.get("metadata", {}).get("uid", "")
    return PodLife(uid, status.get("podName", ""), status.get("startedAt", ""))


def fate_of(session: Mapping[str, Any], held: PodLife) -> SessionFate:
    """Return what became of a session.

    Args:
        session: The custom resource.
        held: The pod that the client was connected to.
    """
    metadata, now = session.get("metadata", {}), life_of(session)
    phase = session.get("status", {}).get("phase")
    if now.session_uid != held.session_uid or (phase == "Failed" and now != held):
        return SessionFate.OVER
    # A session is also Failed if its spec was made invalid while it ran.
    if phase == "Failed" or metadata.get("deletionTimestamp") or phase == "Terminating":
        return SessionFate.ENDING
    if session.get("spec", {}).get("suspended"):
        return SessionFate.SUSPENDED
    return SessionFate.UNCHANGED if now == held else SessionFate.MOVED


def is_unstarted(error: SandboxError) -> bool:
    """Return whether an agent's error proves that no work of the call was started."""
    return isinstance(error, FailedPrecondition) and error.reason in _REFUSALS


def is_draining(error: SandboxError | None) -> bool:
    """Return whether an agent's error says that its pod accepts no more work."""
    return error is not None and error.reason == "DRAINING"
