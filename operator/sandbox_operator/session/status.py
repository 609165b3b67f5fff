"""The status of a session, computed anew each time from what was observed; only times are carried over. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sandbox_operator.api import naming
from sandbox_operator.api.values import format_time, parse_time

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sandbox_operator.agent.client import AgentView
    from sandbox_operator.api.models import Session
    from sandbox_operator.session.model import Observation

REASONS: Final = {
    "Ready": "The session takes calls.",
    "Creating": "The pod was asked for.",
    "Starting": "The pod's containers start.",
    "Connecting": "The containers run and the agent does not answer yet.",
    "Binding": "The agent is given its session.",
    "Restoring": "The workspace comes back from object storage.",
    "RestoreFailed": "The workspace could not be read; it is tried again, and no call runs on an empty workspace.",
    "AgentUnreachable": "The agent did not answer; it is asked again.",
    "PodEnding": "The last pod has to be gone before the next one starts.",
    "PodLost": "The pod ended by itself (evicted, failed); another one takes its place.",
    "PodNameTaken": "A pod that is not this session's has its name; delete that pod.",
    "SecretNameTaken": "A Secret that is not this session's has its name; delete that Secret.",
    "Unschedulable": "No node takes the pod.",
    "ImagePullFailed": "An image cannot be had.",
    "ContainerFailed": "A container does not start, or ends again and again.",
    "StartTimeout": "The pod did not start in time; it is kept and may still start.",
    "PodRefused": "The API server refused the pod (quota, admission policy).",
    "TemplateNotFound": "There is no such SandboxTemplate in the namespace.",
    "TemplateInvalid": "The SandboxTemplate has a wrong value.",
    "EgressNotAllowed": "The session asks for wider egress than its template allows.",
    "ResourcesNotAllowed": "The session asks for resources its template does not allow.",
    "EnvNotAllowed": "The session asks for an environment variable or Secret its template does not allow.",
    "SecretKeyNotFound": "A Secret or key that the session's environment refers to is not there.",
    "StorageCredentialsMissing": "The operator has no credentials for object storage.",
    "RoleNotAssumed": "The token service gave no storage credentials for the workspace.",
    "RenewalFailed": "Storage credentials were not renewed; it is tried again.",
    "BindFailed": "The agent refused the session.",
    "InvalidSpec": "The session has a wrong value.",
    "IdleTimeoutUnreachable": "The idle timeout is not shorter than the maximum lifetime, which therefore ends first.",
    "WorkspaceInUse": "Another session works on the same workspace.",
    "Suspending": "Work ends, files are saved, then the pod goes.",
    "PushFailed": "Files could not be saved; the pod stays and it is tried again.",
    "Suspended": "The session was suspended by its user.",
    "Idle": "The session was suspended because nothing used it for its idle timeout.",
    "Expired": "The session was suspended because its maximum lifetime was over.",
    "Terminating": "The session is being deleted.",
    "Scheduled": "The pod has a node.",
    "Pending": "The pod has no node yet.",
    "NoPod": "There is no pod.",
    "Bound": "The agent serves this session.",
    "NotBound": "The agent does not serve this session yet.",
    "Restored": "The workspace is as it was saved, or new.",
    "Synced": "All files are saved.",
    "Unsaved": "Files differ from what is saved.",
    "NotSynced": "Nothing is known of the workspace yet.",
}
"""Every reason of a condition, and what it means."""

_ACTIVITY_STEP: Final = timedelta(seconds=60)
"""`lastActiveAt` moves in steps, so that a busy session does not write its status all the time."""
_MAX_MESSAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a session stands: its phase, and why it is (not) ready."""

    phase: str
    reason: str
    message: str = ""

    @property
    def is_ready(self) -> bool:
        """Whether calls are taken."""
        return self.phase == "Ready"


def build_status(observation: Observation, standing: Standing, now: datetime) -> dict[str, Any]:
    """The whole status."""
    session, pod, agent = observation.session, observation.pod, observation.agent
    old = session.status
    is_bound = agent is not None and agent.state != "BLANK" and agent.session_uid == session.metadata.uid
    teller = _find_teller(observation, is_bound=is_bound)
    status: dict[str, Any] = {
        "observedGeneration": session.metadata.generation,
        "phase": standing.phase,
        "conditions": _conditions(observation, standing, now, is_bound=is_bound),
        "accessSecretName": old.get("accessSecretName"),
        "workspace": _workspace(teller) if teller else old.get("workspace"),
        "lastActiveAt": _last_active(observation) if is_bound else old.get("lastActiveAt"),
    }
    if pod is not None:
        status |= {
            "podName": pod.name,
            "startedAt": format_time(pod.created),
            "expiresAt": format_time(pod.created + session.spec.lifecycle.max_lifetime),
            "startup": _startup(observation, standing, now),
        }
    if standing.is_ready and pod is not None:
        status["endpoint"] = endpoint_of(pod.ip)
        status["accessSecretName"] = naming.access_secret_name(session.metadata.name)
    return {key: value for key, value in status.items() if value is not None}


def endpoint_of(ip: str) -> str:
    """The agent's address for clients."""
    return f"[{ip}]:{naming.GRPC_PORT}" if ":" in ip else f"{ip}:{naming.GRPC_PORT}"


def ready_since(status: Mapping[str, Any]) -> datetime | None:
    """When the condition Ready last changed."""
    for condition in status.get("conditions") or []:
        if isinstance(condition, dict) and condition.get("type") == "Ready":
            return parse_time(condition.get("lastTransitionTime"))
    return None


def build_patch(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The merge patch that makes `old` into `new`; empty where they are the same."""
    patch: dict[str, Any] = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            if inner := build_patch(before, value):
                patch[key] = inner
        elif before != value:
            patch[key] = value
    return patch


def _conditions(observation: Observation, standing: Standing, now: datetime, *, is_bound: bool) -> list[dict[str, Any]]:
    wanted = [
        ("Ready", str(standing.is_ready), standing.reason, standing.message),
        ("Scheduled", *_scheduled(observation)),
        ("Bound", *_bound(observation, is_bound=is_bound)),
        ("WorkspaceRestored", *_restored(observation, is_bound=is_bound)),
        ("WorkspaceSynced", *_synced(observation, is_bound=is_bound)),
    ]
    if renewal := _renewal(observation):
        wanted.append(("StorageCredentials", *renewal))
    if contradiction := _contradiction(observation.session):
        wanted.append(("LifecycleEffective", *contradiction))
    before = {c["type"]: c for c in observation.session.status.get("conditions") or [] if "type" in c}
    return [
        {
            "type": type_,
            "status": state,
            "reason": reason,
            "message": message[:_MAX_MESSAGE],
            "observedGeneration": observation.session.metadata.generation,
            "lastTransitionTime": before[type_]["lastTransitionTime"]
            if before.get(type_, {}).get("status") == state and before[type_].get("lastTransitionTime")
            else format_time(now),
        }
        for type_, state, reason, message in wanted
    ]


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


def _find_teller(observation: Observation, *, is_bound: bool) -> AgentView | None:
    """The agent, where it says something of its workspace: while it restores that, it does not."""
    agent = observation.agent
    return agent if agent is not None and is_bound and agent.restore != "RUNNING" else None


def _synced(observation: Observation, *, is_bound: bool) -> tuple[str, str, str]:
    agent, drain = _find_teller(observation, is_bound=is_bound), observation.drain
    if drain and drain.error:
        return "False", "PushFailed", drain.error
    if agent is not None:
        if agent.workspace_error and agent.dirty:
            return "False", "PushFailed", agent.workspace_error
        return ("False", "Unsaved", "") if agent.dirty else ("True", "Synced", "")
    if observation.pod is not None and observation.pod.has_ended:
        return "False", "PodLost", "files that were not saved before the pod ended are lost"
    for condition in observation.session.status.get("conditions") or []:
        if condition.get("type") == "WorkspaceSynced" and condition.get("status") in {"True", "False"}:
            return condition["status"], str(condition.get("reason") or "Unsaved"), str(condition.get("message") or "")
    return "Unknown", "NotSynced", ""


def _renewal(observation: Observation) -> tuple[str, str, str] | None:
    """Told only while it fails, and the same at each try, so that renewals write nothing."""
    agent, renewal = observation.agent, observation.renewal
    if renewal is None or not renewal.error:
        return None
    end = format_time(agent.credentials_expire_at) if agent else None
    return "False", "RenewalFailed", f"{renewal.error}; those of now end at {end}" if end else renewal.error


def _contradiction(session: Session) -> tuple[str, str, str] | None:
    """Told only where a part of the lifecycle can never come to pass."""
    lifecycle = session.spec.lifecycle
    if lifecycle.idle_timeout is None or lifecycle.idle_timeout < lifecycle.max_lifetime:
        return None
    message = (
        f"spec.lifecycle.idleTimeout ({lifecycle.idle_timeout.total_seconds():g} s) is never over before maxLifetime "
        f"({lifecycle.max_lifetime.total_seconds():g} s): onExpiry ({lifecycle.on_expiry.value}) happens, and onIdle "
        f"({lifecycle.on_idle.value}) does not"
    )
    return "False", "IdleTimeoutUnreachable", message


def _workspace(agent: AgentView) -> dict[str, Any]:
    fields = {
        "generation": agent.generation,
        "files": agent.files,
        "bytes": agent.bytes,
        "syncedAt": format_time(agent.synced_at),
        "dirty": agent.dirty,
    }
    return {key: value for key, value in fields.items() if value is not None}


def _last_active(observation: Observation) -> str | None:
    agent, old = observation.agent, observation.session.status.get("lastActiveAt")
    seen, before = agent.last_active if agent else None, parse_time(old)
    if seen is None or (before is not None and abs(seen - before) < _ACTIVITY_STEP):
        return old
    return format_time(seen)


def _startup(observation: Observation, standing: Standing, now: datetime) -> dict[str, Any] | None:
    pod, old = observation.pod, observation.session.status
    if pod is None:
        return None
    known = old.get("startup") if old.get("startedAt") == format_time(pod.created) else None
    if known or not standing.is_ready:
        return known if isinstance(known, dict) else None
    seconds = observation.start_seconds
    if seconds is None:
        seconds = max(0.0, (now - pod.created).total_seconds())
    return {"source": "Warm" if pod.is_from_pool else "Cold", "milliseconds": round(seconds * 1000)}
