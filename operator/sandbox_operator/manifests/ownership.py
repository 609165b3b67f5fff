"""Owner references. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_operator.api.models import Metadata
    from sandbox_operator.kube.resources import Resource


def owner_reference(kind: Resource, owner: Metadata) -> dict[str, Any]:
    """Build the reference that makes the garbage collector remove an object with its owner.

    It has no blockOwnerDeletion: setting that requires permission to update the owner's finalizers.
    """
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
    }


def controller_uid(raw: Mapping[str, Any]) -> str:
    """Return the uid of an object's controlling owner, or ""."""
    for reference in (raw.get("metadata") or {}).get("ownerReferences") or []:
        if reference.get("controller"):
            return str(reference.get("uid") or "")
    return ""
