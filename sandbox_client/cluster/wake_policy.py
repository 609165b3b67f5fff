"""Decides what has become of a session, for a client that was connected to one of its pods. Pure: no I/O."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from sandbox_client.transport.endpoint import PodLife

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_client.errors import SandboxError


class SessionFate(Enum):
    """The fate of a session, seen from a client that was connected to one of its pods."""

    OVER = "over"
    """It failed and has another pod or none, or another session has its name."""
    ENDING = "ending"
    """It failed or is being deleted, still with the same pod. Calls that run in the pod may still finish."""
    SUSPENDED = "suspended"
    """It is suspended, or about to be."""
    MOVED = "moved"
    """It has another pod, or will have one: another client resumed it, or its pod was lost."""
    UNCHANGED = "unchanged"
    """It is in the same pod."""


def life_of(session: Mapping[str, Any]) -> PodLife:
    """Return a session's current pod. Its name is "" if the session has no pod.

    Args:
        session: The custom resource.
    """
    status = session.get("status", {})
    uid = session.get("metadata", {}).get("uid", "")
    return PodLife(uid, status.get("podName", ""), status.get("startedAt", ""))


def fate_of(session: Mapping[str, Any], previous: PodLife) -> SessionFate:
    """Return what has become of a session.

    Args:
        session: The custom resource.
        previous: The pod that the client was connected to.
    """
    metadata, now = session.get("metadata", {}), life_of(session)
    phase = session.get("status", {}).get("phase")
    if now.session_uid != previous.session_uid or (phase == "Failed" and now != previous):
        return SessionFate.OVER
    # A session is also Failed if its spec was made invalid while it ran.
    if phase == "Failed" or metadata.get("deletionTimestamp") or phase == "Terminating":
        return SessionFate.ENDING
    if session.get("spec", {}).get("suspended"):
        return SessionFate.SUSPENDED
    return SessionFate.UNCHANGED if now == previous else SessionFate.MOVED


def is_draining(error: SandboxError | None) -> bool:
    """Return whether an agent's error says that its pod accepts no more work."""
    return error is not None and error.reason == "DRAINING"
