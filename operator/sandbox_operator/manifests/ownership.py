"""Who owns an object. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sandbox_operator.kube.resources import SESSIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_operator.api.models import Session


def owner_reference(session: Session) -> dict[str, Any]:
    """Makes the garbage collector remove an object with its session.

    Without blockOwnerDeletion: setting it needs the right to update the session's finalizers.
    """
    return {
        "apiVersion": SESSIONS.api_version,
        "kind": SESSIONS.kind,
        "name": session.metadata.name,
        "uid": session.metadata.uid,
        "controller": True,
    }


def controller_uid(raw: Mapping[str, Any]) -> str:
    """The uid of an object's controlling owner, or ""."""
    for reference in (raw.get("metadata") or {}).get("ownerReferences") or []:
        if reference.get("controller"):
            return str(reference.get("uid") or "")
    return ""
