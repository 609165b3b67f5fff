"""A Kubernetes Event about a session. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sandbox_operator.api.values import format_time
from sandbox_operator.kube.resources import SESSIONS

if TYPE_CHECKING:
    from datetime import datetime

    from sandbox_operator.api.models import Session

_MAX_MESSAGE: Final = 1000


def build_event(session: Session, reason: str, message: str, *, warning: bool, now: datetime) -> dict[str, Any]:
    """Build the Event. The API server generates its name."""
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{session.metadata.name[:200]}.", "namespace": session.metadata.namespace},
        "involvedObject": {
            "apiVersion": SESSIONS.api_version,
            "kind": SESSIONS.kind,
            "name": session.metadata.name,
            "namespace": session.metadata.namespace,
            "uid": session.metadata.uid,
        },
        "type": "Warning" if warning else "Normal",
        "reason": reason,
        "message": message[:_MAX_MESSAGE],
        "source": {"component": "sandbox-operator"},
        "firstTimestamp": format_time(now),
        "lastTimestamp": format_time(now),
        "count": 1,
    }
