"""Computes a session's status from an observation. Only times are carried over from the old status. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sandbox_operator.api import naming
from sandbox_operator.api.values import format_time, parse_time
from sandbox_operator.session.admission import choose_lifetime

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sandbox_operator.agent.model import AgentView
    from sandbox_operator.session.model import Observation, PodState

REASONS: Final = {
    "Ready": "The session takes calls.",
    "Creating": "The pod is being created.",
    "Starting": "The pod's containers are starting.",
    "Connecting": "The containers are running, but the agent does not answer yet.",
    "Binding": "The agent is being given its session.",
    "Restoring": "The workspace is being restored from object storage.",
    "RestoreFailed": "The workspace could not be restored. The operator retries; no call runs on an empty workspace.",
    "AgentUnreachable": "The agent did not answer. The operator retries.",
    "PodEnding": "The previous pod has to end before the next one starts.",
    "PodLost": "The pod ended by itself (evicted, failed). Another pod replaces it.",
    "PodNameTaken": "A pod of another owner has the name of this session's pod. Delete that pod.",
    "SecretNameTaken": "A Secret of another owner has the name of this session's Secret. Delete that Secret.",
    "Unschedulable": "The pod fits on no node.",
    "ImagePullFailed": "An image cannot be pulled.",
    "ContainerFailed": "A container does not start, or keeps crashing.",
    "StartTimeout": "The pod did not start in time. It is kept and may still start.",
    "PodRefused": "The API server refused the pod (quota, admission policy).",
    "TemplateNotFound": "The namespace has no SandboxTemplate of this name.",
    "TemplateInvalid": "The SandboxTemplate has an invalid value.",
    "EgressNotAllowed": "The session asks for wider egress than its template allows.",
    "ResourcesNotAllowed": "The session asks for resources that its template does not allow.",
    "EnvNotAllowed": "The session asks for an environment variable or Secret that its template does not allow.",
    "SecretKeyNotFound": "A Secret or key that the session's environment refers to does not exist.",
    "StorageCredentialsMissing": "The operator has no credentials for object storage.",
    "RoleNotAssumed": "The token service issued no storage credentials for the workspace.",
    "RenewalFailed": "Storage credentials could not be renewed. The operator retries.",
    "BindFailed": "The agent refused the session.",
    "InvalidSpec": "The session has an invalid value.",
    "IdleTimeoutUnreachable": "The idle timeout is not shorter than the maximum lifetime, so it never takes effect.",
    "LifetimeCapped": "The session asks for a longer lifetime than its template allows, and gets what is allowed.",
    "NamespaceLimitReached": "The administrator's limits for the namespace leave no room. The session waits for it.",
    "WorkspaceInUse": "Another session is using the same workspace.",
    "Suspending": "Work is being stopped and files are being saved, then the pod is deleted.",
    "PushFailed": "Files could not be saved. The pod stays, and the operator retries.",
    "FilesNotSaved": "Some files cannot be stored, and `status.workspace.unsaved` names them. The others are saved.",
    "NoStorage": "The session has no object storage, so its files end with its pod.",
    "EndDeadlineExceeded": "The end took longer than the template allows. The pod was deleted with unsaved changes.",
    "Suspended": "The session was suspended by its user.",
    "Idle": "The session was suspended because it was unused for its idle timeout.",
    "Expired": (
        "The session was suspended because it reached its maximum lifetime, or its `expiresAt`. After that time it"
        " resumes only with a later one."
    ),
    "Terminating": "The session is being deleted.",
    "Scheduled": "The pod has a node.",
    "Pending": "The pod has no node yet.",
    "NoPod": "The session has no pod.",
    "Bound": "The agent serves this session.",
    "NotBound": "The agent does not serve this session yet.",
    "Restored": "The saved workspace was restored, or the workspace is new.",
    "Synced": "All files are saved.",
    "Unsaved": "Some files differ from their saved state.",
    "NotSynced": "The state of the workspace is not known yet.",
}
"""Every reason of a condition, and its meaning."""

_ENDING: Final = frozenset({"Suspending", "Terminating"})
_ACTIVITY_STEP: Final = timedelta(seconds=60)
"""Step of `lastActiveAt`. A busy session then does not write its status all the time."""
_MAX_MESSAGE: Final = 1000
"""Characters of a condition's message."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A session's phase, and the reason and message of its condition Ready."""

    phase: str
    reason: str
    message: str = ""

    @property
    def is_ready(self) -> bool:
        """True if the session takes calls."""
        return self.phase == "Ready"


def build_status(observation: Observation, condition: Condition, now: datetime) -> dict[str, Any]:
    """Return the complete status of a session in this condition."""
    session, pod, agent = observation.session, observation.pod, observation.agent
    old = session.status
    is_bound = agent is not None and agent.state != "BLANK" and agent.session_uid == session.metadata.uid
    reporter = _reporting_agent(observation, is_bound=is_bound)
    status: dict[str, Any] = {
        "observedGeneration": session.metadata.generation,
        "phase": condition.phase,
        "conditions": _conditions(observation, condition, now, is_bound=is_bound),
        "accessSecretName": old.get("accessSecretName"),
        "workspace": _workspace(reporter) if reporter else old.get("workspace"),
        "lastActiveAt": _last_active(observation) if is_bound else old.get("lastActiveAt"),
        "expiresAt": format_time(session.spec.lifecycle.expires_at),
    }
    if condition.phase in _ENDING:
        status["endingSince"] = format_time(min(ending_since(old) or now, now))
    if condition.phase == "Suspended":
        status["suspendedAt"] = format_time(min(suspended_since(old) or now, now))
    if pod is not None:
        status |= {
            "podName": pod.name,
            "podUid": pod.uid,
            "startedAt": format_time(pod.created),
            "expiresAt": format_time(expiry_of(observation, pod)),
            "startup": _startup(observation, condition, now),
        }
    if condition.is_ready and pod is not None:
        status["endpoint"] = endpoint_of(pod.ip)
        status["accessSecretName"] = naming.access_secret_name(session.metadata.name)
    return {key: value for key, value in status.items() if value is not None}


def expiry_of(observation: Observation, pod: PodState) -> datetime:
    """Return when the session expires: at its `expiresAt`, or with the lifetime of its pod if that is earlier."""
    session, status = observation.session, observation.session.status
    end = pod.created + choose_lifetime(session, observation.template)
    is_unknown = observation.template is None or observation.spec_problem
    if is_unknown and status.get("startedAt") == format_time(pod.created):
        # A session whose template or spec cannot be read does not outlive the bound that it had before.
        end = min(end, parse_time(status.get("expiresAt")) or end)
    return min(end, session.spec.lifecycle.expires_at or end)


def ending_since(status: Mapping[str, Any]) -> datetime | None:
    """Return when the session began to end, or None if its status does not say so."""
    return parse_time(status.get("endingSince")) if status.get("phase") in _ENDING else None


def suspended_since(status: Mapping[str, Any]) -> datetime | None:
    """Return when the session was suspended, or None if its status does not say so."""
    return parse_time(status.get("suspendedAt")) if status.get("phase") == "Suspended" else None


def endpoint_of(ip: str) -> str:
    """Return the agent's address for clients, given its pod's IP."""
    return f"[{ip}]:{naming.GRPC_PORT}" if ":" in ip else f"{ip}:{naming.GRPC_PORT}"


def ready_since(status: Mapping[str, Any]) -> datetime | None:
    """Return when the condition Ready last changed, or None if the status does not contain it."""
    for condition in status.get("conditions") or []:
        if isinstance(condition, dict) and condition.get("type") == "Ready":
            return parse_time(condition.get("lastTransitionTime"))
    return None


def build_patch(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the merge patch that turns `old` into `new`. It is empty if they are equal."""
    patch: dict[str, Any] = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            if inner := build_patch(before, value):
                patch[key] = inner
        elif before != value:
            patch[key] = value
    return patch


def _conditions(
    observation: Observation, condition: Condition, now: datetime, *, is_bound: bool
) -> list[dict[str, Any]]:
    wanted = [
        ("Ready", str(condition.is_ready), condition.reason, condition.message),
        ("Scheduled", *_scheduled(observation)),
        ("Bound", *_bound(observation, is_bound=is_bound)),
        ("WorkspaceRestored", *_restored(observation, is_bound=is_bound)),
        ("WorkspaceSynced", *(_given_up(condition) or _synced(observation, is_bound=is_bound))),
    ]
    if credentials := _storage_credentials(observation):
        wanted.append(("StorageCredentials", *credentials))
    if lifecycle := _lifecycle_effective(observation):
        wanted.append(("LifecycleEffective", *lifecycle))
    before = {c["type"]: c for c in observation.session.status.get("conditions") or [] if "type" in c}
    return [
        {
            "type": type_,
            "status": state,
            "reason": reason,
            "message": message[:_MAX_MESSAGE],
            "observedGeneration": observation.session.metadata.generation,
            "lastTransitionTime": format_time(_changed_at(before.get(type_, {}), state, now)),
        }
        for type_, state, reason, message in wanted
    ]


def _changed_at(before: Mapping[str, Any], state: str, now: datetime) -> datetime:
    """Return when a condition last changed. A time in the future was forged, or written by a clock that was ahead."""
    since = parse_time(before.get("lastTransitionTime")) if before.get("status") == state else None
    return min(since or now, now)


def _scheduled(observation: Observation) -> tuple[str, str, str]:
    pod = observation.pod
    if pod is None:
        return "False", "NoPod", ""
    if pod.is_scheduled:
        return "True", "Scheduled", ""
    if pod.problem and pod.problem[0] == "Unschedulable":
        return "False", *pod.problem
    return "False", "Pending", ""


def _bound(observation: Observation, *, is_bound: bool) -> tuple[str, str, str]:
    if is_bound:
        return "True", "Bound", ""
    if observation.agent_problem and observation.pod is not None:
        return "Unknown", "AgentUnreachable", ""
    return "False", "NotBound", ""


def _restored(observation: Observation, *, is_bound: bool) -> tuple[str, str, str]:
    agent = observation.agent
    if agent is None or not is_bound:
        return "Unknown", "NotBound", ""
    if agent.restore == "DONE":
        return "True", "Restored", agent.restore_error
    if agent.restore == "FAILED":
        return "False", "RestoreFailed", agent.restore_error
    return "False", "Restoring", ""


def _reporting_agent(observation: Observation, *, is_bound: bool) -> AgentView | None:
    """Return the agent if it reports the state of its workspace. It does not while it is restoring it."""
    agent = observation.agent
    return agent if agent is not None and is_bound and agent.restore != "RUNNING" else None


def _given_up(condition: Condition) -> tuple[str, str, str] | None:
    return ("False", condition.reason, condition.message) if condition.reason == "EndDeadlineExceeded" else None


def _synced(observation: Observation, *, is_bound: bool) -> tuple[str, str, str]:
    agent, drain = _reporting_agent(observation, is_bound=is_bound), observation.drain
    if drain and drain.error:
        return "False", drain.reason, drain.error
    if agent is not None:
        return agent.describe_saving()
    pod = observation.pod
    # A pod that was deleted pushed first, or pushes while it ends. It may be seen to end before it is gone.
    if pod is not None and pod.has_ended and not pod.deleted:
        return "False", "PodLost", "changes that were not saved before the pod ended are lost"
    for condition in observation.session.status.get("conditions") or []:
        if condition.get("type") == "WorkspaceSynced" and condition.get("status") in {"True", "False"}:
            return condition["status"], str(condition.get("reason") or "Unsaved"), str(condition.get("message") or "")
    return "Unknown", "NotSynced", ""


def _storage_credentials(observation: Observation) -> tuple[str, str, str] | None:
    """Return the condition while renewals fail, else None. It is equal at each retry, so that retries write nothing."""
    agent, renewal = observation.agent, observation.renewal
    if renewal is None or not renewal.error:
        return None
    end = format_time(agent.credentials_expire_at) if agent else None
    return (
        "False",
        "RenewalFailed",
        f"{renewal.error}; the current credentials expire at {end}" if end else renewal.error,
    )


def _lifecycle_effective(observation: Observation) -> tuple[str, str, str] | None:
    """Return the condition if a part of the lifecycle does not take effect as written, else None."""
    lifecycle = observation.session.spec.lifecycle
    lifetime = choose_lifetime(observation.session, observation.template)
    found = []
    if lifecycle.max_lifetime and lifecycle.max_lifetime > lifetime:
        message = (
            f"spec.lifecycle.maxLifetime is {_seconds(lifecycle.max_lifetime)}, but SandboxTemplate "
            f"{observation.template_name} allows {_seconds(lifetime)}, which applies"
        )
        found.append(("LifetimeCapped", message))
    if lifecycle.idle_timeout and lifecycle.idle_timeout >= lifetime:
        message = (
            f"spec.lifecycle.idleTimeout ({_seconds(lifecycle.idle_timeout)}) must be shorter than maxLifetime "
            f"({_seconds(lifetime)}) to take effect: onExpiry ({lifecycle.on_expiry.value}) always "
            f"comes first, so onIdle ({lifecycle.on_idle.value}) never happens"
        )
        found.append(("IdleTimeoutUnreachable", message))
    return ("False", found[0][0], "; ".join(message for _, message in found)) if found else None


def _seconds(duration: timedelta) -> str:
    return f"{duration.total_seconds():g} s"


def _workspace(agent: AgentView) -> dict[str, Any]:
    fields = {
        "generation": agent.generation,
        "files": agent.files,
        "bytes": agent.bytes,
        "syncedAt": format_time(agent.synced_at),
        "dirty": agent.dirty,
        "unsaved": list(agent.unsaved) or None,
    }
    return {key: value for key, value in fields.items() if value is not None}


def _last_active(observation: Observation) -> str | None:
    agent, old = observation.agent, observation.session.status.get("lastActiveAt")
    seen, before = agent.last_active if agent else None, parse_time(old)
    if seen is None or (before is not None and abs(seen - before) < _ACTIVITY_STEP):
        return old
    return format_time(seen)


def _startup(observation: Observation, condition: Condition, now: datetime) -> dict[str, Any] | None:
    pod, old = observation.pod, observation.session.status
    if pod is None:
        return None
    known = old.get("startup") if old.get("startedAt") == format_time(pod.created) else None
    if known or not condition.is_ready:
        return known if isinstance(known, dict) else None
    seconds = observation.start_seconds
    if seconds is None:
        seconds = max(0.0, (now - pod.created).total_seconds())
    return {"source": "Warm" if pod.is_from_pool else "Cold", "milliseconds": round(seconds * 1000)}
