"""Reads the state of a session's pod, and its agent's address, from the pod's raw object. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from sandbox_operator.agent.model import AgentAddress
from sandbox_operator.api import naming
from sandbox_operator.api.quantities import parse_quantity
from sandbox_operator.api.values import parse_time
from sandbox_operator.session.model import PodState

if TYPE_CHECKING:
    from collections.abc import Mapping

_IMAGE_PROBLEMS: Final = {
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
}
_CONTAINER_PROBLEMS: Final = {
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "PostStartHookError",
}


def read_pod_state(raw: Mapping[str, Any]) -> PodState:
    """Return the state of a pod."""
    metadata, status = raw["metadata"], raw.get("status") or {}
    containers = [c for c in status.get("containerStatuses") or [] if isinstance(c, dict)]
    agent = next((c for c in containers if c.get("name") == "agent"), {})
    claimed = parse_time((metadata.get("annotations") or {}).get(naming.CLAIMED_AT))
    return PodState(
        name=metadata["name"],
        uid=metadata["uid"],
        created=claimed or parse_time(metadata.get("creationTimestamp")) or datetime.now(UTC),
        made=parse_time(metadata.get("creationTimestamp")),
        deleted=parse_time(metadata.get("deletionTimestamp")),
        ip=str(status.get("podIP") or ""),
        phase=str(status.get("phase") or "Pending"),
        is_agent_running="running" in (agent.get("state") or {}),
        has_started=any(_has_started(c) for c in containers),
        agent_restarts=int(agent.get("restartCount") or 0),
        is_scheduled=bool((raw.get("spec") or {}).get("nodeName")),
        problem=_find_problem(status, containers),
        end=_describe_end(status),
        is_from_pool=naming.POOL in (metadata.get("labels") or {}),
        memory_bytes=_read_memory(raw.get("spec") or {}),
    )


def address_of(namespace: str, pod: PodState) -> AgentAddress | None:
    """Return the address of a pod's agent, or None if the agent is not running."""
    if pod.deleted or pod.has_ended or not pod.ip or not pod.is_agent_running:
        return None
    host = f"[{pod.ip}]" if ":" in pod.ip else pod.ip
    return AgentAddress(f"{host}:{naming.CONTROL_PORT}", naming.server_name(pod.name, namespace))


def _read_memory(spec: Mapping[str, Any]) -> int:
    """Return the sandbox container's memory limit in bytes, or 0. The pod's template may have changed since."""
    containers = [c for c in spec.get("containers") or [] if isinstance(c, dict)]
    sandbox = next((c for c in containers if c.get("name") == "sandbox"), {})
    limit = ((sandbox.get("resources") or {}).get("limits") or {}).get("memory")
    try:
        return int(parse_quantity(str(limit))) if limit else 0
    except ValueError:
        # We never write such a value, but an admission webhook may have.
        return 0


def _has_started(container: Mapping[str, Any]) -> bool:
    states = {*(container.get("state") or {}), *(container.get("lastState") or {})}
    return bool(states & {"running", "terminated"}) or bool(container.get("restartCount"))


def _find_problem(status: Mapping[str, Any], containers: list[dict[str, Any]]) -> tuple[str, str] | None:
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "Unschedulable":
            return "Unschedulable", str(condition.get("message") or "")
    for container in containers:
        waiting = (container.get("state") or {}).get("waiting") or {}
        reason = waiting.get("reason")
        if reason in _IMAGE_PROBLEMS | _CONTAINER_PROBLEMS:
            problem = "ImagePullFailed" if reason in _IMAGE_PROBLEMS else "ContainerFailed"
            # The kubelet alternates between two reasons and counts its back-off: its message changes all the time.
            return problem, f"container {container['name']}: image {container.get('image', '')}: {_stable(reason)}"
    return None


def _stable(reason: str) -> str:
    return "cannot be pulled" if reason in {"ErrImagePull", "ImagePullBackOff"} else reason


def _describe_end(status: Mapping[str, Any]) -> str:
    return ": ".join(str(status[key]) for key in ("reason", "message") if status.get(key))
