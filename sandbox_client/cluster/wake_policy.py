"""Decides where a session stands, for a client that was connected to one of its pods. Pure: no I/O."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from sandbox_client.transport.endpoint import PodLife

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_client.errors import SandboxError


class Standing(Enum):
    """Where a session stands, as seen by someone who was connected to one of its pods."""

    OVER = "over"
    """It failed and has another pod or none, or is another one of the same name."""
    ENDING = "ending"
    """It failed, or is being deleted, with the same pod: what runs in it may still be told to its end."""
    ASLEEP = "asleep"
    """It is suspended, or is about to be."""
    ELSEWHERE = "elsewhere"
    """It goes on in another pod, or will: somebody else woke it, or its pod was lost."""
    SAME = "same"
    """It is in the same pod."""


def life_of(session: Mapping[str, Any]) -> PodLife:
    """The pod that a session is in now; one without a name where it has none.

    Args:
        session: The custom resource.
    """
    status = session.get("status", {})
    uid = session.get("metadata", {}).get("uid", "")
    return PodLife(uid, status.get("podName", ""), status.get("startedAt", ""))


def judge(session: Mapping[str, Any], held: PodLife) -> Standing:
    """Where a session stands.

    Args:
        session: The custom resource.
        held: The pod that was connected to.
    """
    metadata, now = session.get("metadata", {}), life_of(session)
    phase = session.get("status", {}).get("phase")
    if now.session_uid != held.session_uid or (phase == "Failed" and now != held):
        return Standing.OVER
    # A session is Failed, too, whose spec was made invalid while it ran.
    if phase == "Failed" or metadata.get("deletionTimestamp") or phase == "Terminating":
        return Standing.ENDING
    if session.get("spec", {}).get("suspended"):
        return Standing.ASLEEP
    return Standing.SAME if now == held else Standing.ELSEWHERE


def is_ending(error: SandboxError | None) -> bool:
    """Whether an agent's answer says that its pod takes no work any more."""
    return error is not None and error.reason == "DRAINING"
