"""The state of a session, as the SandboxSession or a local session reports it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A session, as it was when it was read.

    Attributes:
        name: The session's name.
        namespace: Its namespace; "" for a local session.
        phase: `Pending`, `Starting`, `Ready`, `Suspending`, `Suspended`, `Failed` or `Terminating`; "" if the operator
            has not seen the session yet.
        reason: The reason of the condition Ready, such as `Restoring` or `TemplateNotFound`; "" if there is none.
        message: What the condition Ready adds for people.
        template: The SandboxTemplate's name.
        workspace: Name of the workspace in object storage.
        egress: The egress that the session asked for: `none`, `allowlist` or `public`; "" for the template's.
        labels: The Kubernetes labels.
        pod: Name of the pod; "" if there is none.
        is_suspended: Whether the session is suspended, or is to be.
        created_at: Time of the creation.
        started_at: Time at which the current pod was created or claimed.
        last_active_at: Time of the last use, to the minute.
        expires_at: Time at which the session ends, as far as the operator has computed it.
        resource: The whole custom resource, for fields that are not here. Empty for a local session.
    """

    name: str
    namespace: str = ""
    phase: str = ""
    reason: str = ""
    message: str = ""
    template: str = ""
    workspace: str = ""
    egress: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    pod: str = ""
    is_suspended: bool = False
    created_at: dt.datetime | None = None
    started_at: dt.datetime | None = None
    last_active_at: dt.datetime | None = None
    expires_at: dt.datetime | None = None
    resource: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def is_ready(self) -> bool:
        """True if the session takes calls."""
        return self.phase == "Ready"


def read_session_info(session: Mapping[str, Any]) -> SessionInfo:
    """Return the state of a session.

    Args:
        session: The custom resource.
    """
    metadata, spec, status = (session.get(part) or {} for part in ("metadata", "spec", "status"))
    ready = ready_condition(session)
    name = str(metadata.get("name", ""))
    return SessionInfo(
        name=name,
        namespace=str(metadata.get("namespace", "")),
        phase=str(status.get("phase") or ""),
        reason=str(ready.get("reason") or ""),
        message=str(ready.get("message") or ""),
        template=str((spec.get("templateRef") or {}).get("name") or ""),
        workspace=workspace_of(session),
        egress=str(spec.get("egress") or "").lower(),
        labels=dict(metadata.get("labels") or {}),
        pod=str(status.get("podName") or ""),
        is_suspended=bool(spec.get("suspended")),
        created_at=parse_time(metadata.get("creationTimestamp")),
        started_at=parse_time(status.get("startedAt")),
        last_active_at=parse_time(status.get("lastActiveAt")),
        expires_at=parse_time(status.get("expiresAt")),
        resource=session,
    )


def ready_condition(session: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a session's condition Ready. Empty if it has none."""
    conditions = (session.get("status") or {}).get("conditions") or ()
    return next((each for each in conditions if each.get("type") == "Ready"), {})


def workspace_of(session: Mapping[str, Any]) -> str:
    """Return the name of a session's workspace, which defaults to the session's own name."""
    given = ((session.get("spec") or {}).get("workspace") or {}).get("name")
    return str(given or (session.get("metadata") or {}).get("name", ""))


def parse_time(value: object) -> dt.datetime | None:
    """Parse an RFC 3339 time of the API. Returns None if the value is not one."""
    if not isinstance(value, str):
        return None
    try:
        moment = dt.datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def format_time(moment: dt.datetime) -> str:
    """Format a time as the API does: UTC, whole seconds."""
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
