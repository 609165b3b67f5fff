"""Builds the rows, order and summary of `sandbox top` from Kubernetes objects. Pure: no I/O."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

PHASES: Final = ("Failed", "Terminating", "Suspending", "Pending", "Starting", "Ready", "Suspended")
"""Phases, the most urgent first."""
SORTS: Final = ("phase", "name", "age", "idle", "cpu", "memory")
"""Sort orders of the sessions."""
_UNSEEN: Final = "Unseen"
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


@dataclass(frozen=True, slots=True)
class Usage:
    """The current usage of a pod. CPU in cores, memory in bytes."""

    cpu: float
    memory: int


@dataclass(frozen=True, slots=True)
class ClusterObjects:
    """The objects that were read from a cluster, as the API server returned them.

    Attributes:
        sessions: SandboxSessions.
        pools: SandboxWarmPools.
        pods: Pods of sessions.
        usage: Usage by namespace and pod name. Empty if nothing measures it.
        notes: One sentence for each kind that could not be read, with the reason.
    """

    sessions: tuple[Mapping[str, Any], ...]
    pools: tuple[Mapping[str, Any], ...] = ()
    pods: tuple[Mapping[str, Any], ...] = ()
    usage: Mapping[tuple[str, str], Usage] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SessionRow:
    """One session.

    Attributes:
        phase: Its phase, or `Unseen` if no operator has seen it.
        reason: The reason why it is not Ready. "" if it is Ready.
        age: Seconds since its creation.
        start: `Warm` or `Cold`. "" before its first start.
        start_ms: Duration of its pod's start in milliseconds.
        idle: Seconds since its last use, give or take a minute. None if it was never used.
        cpu: Cores in use. None if unknown.
        memory: Bytes in use. None if unknown.
    """

    namespace: str
    name: str
    phase: str
    reason: str = ""
    template: str = ""
    node: str = ""
    pod: str = ""
    age: float = 0
    start: str = ""
    start_ms: int | None = None
    idle: float | None = None
    cpu: float | None = None
    memory: int | None = None


@dataclass(frozen=True, slots=True)
class PoolRow:
    """One warm pool, with the numbers of blank pods that are ready, that exist (`there`), and that are wanted."""

    namespace: str
    name: str
    template: str
    ready: int
    there: int
    wanted: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ClusterTable:
    """All rows, sorted, and the notes about kinds that could not be read."""

    sessions: tuple[SessionRow, ...]
    pools: tuple[PoolRow, ...]
    notes: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """One line with counts and total usage."""
        phases = Counter(row.phase for row in self.sessions)
        counts = ", ".join(f"{phases[phase]} {phase}" for phase in (*PHASES, _UNSEEN) if phases[phase])
        parts = [_counted(len(self.sessions), "session") + (f" ({counts})" if counts else "")]
        if self.pools:
            ready, wanted = (sum(getattr(pool, field) for pool in self.pools) for field in ("ready", "wanted"))
            parts.append(f"{_counted(len(self.pools), 'pool')} ({ready} of {wanted} blank pods ready)")
        if any(row.cpu is not None for row in self.sessions):
            cpu, memory = sum(row.cpu or 0 for row in self.sessions), sum(row.memory or 0 for row in self.sessions)
            parts.append(f"{format_cores(cpu)} CPU, {format_bytes(memory)} memory")
        return "; ".join(parts)


def build_table(objects: ClusterObjects, now: datetime, sort: str = "phase") -> ClusterTable:
    """Build the table of a cluster's objects.

    Args:
        objects: The objects.
        now: The current time, with a time zone.
        sort: One of SORTS. Numbers are sorted in descending order.
    """
    nodes = {_key(pod): pod.get("spec", {}).get("nodeName", "") for pod in objects.pods}
    rows = [_session_row(session, nodes, objects.usage or {}, now) for session in objects.sessions]
    rows.sort(key=lambda row: (_rank(row, sort), row.namespace, row.name))
    pools = sorted(map(_pool_row, objects.pools), key=lambda row: (row.namespace, row.name))
    return ClusterTable(tuple(rows), tuple(pools), objects.notes)


def _session_row(
    session: Mapping[str, Any],
    nodes: Mapping[tuple[str, str], str],
    usage: Mapping[tuple[str, str], Usage],
    now: datetime,
) -> SessionRow:
    (namespace, name), status = _key(session), session.get("status", {})
    pod, startup = status.get("podName", ""), status.get("startup", {})
    used = usage.get((namespace, pod))
    phase = status.get("phase") or _UNSEEN
    return SessionRow(
        namespace=namespace,
        name=name,
        phase=phase,
        reason="" if phase == "Ready" else _reason(status),
        template=session.get("spec", {}).get("templateRef", {}).get("name", ""),
        node=nodes.get((namespace, pod), ""),
        pod=pod,
        age=_since(session["metadata"].get("creationTimestamp"), now) or 0,
        start=startup.get("source", ""),
        start_ms=startup.get("milliseconds"),
        idle=_since(status.get("lastActiveAt"), now),
        cpu=used.cpu if used else None,
        memory=used.memory if used else None,
    )


def _pool_row(pool: Mapping[str, Any]) -> PoolRow:
    (namespace, name), spec, status = _key(pool), pool.get("spec", {}), pool.get("status", {})
    ready, wanted = status.get("readyReplicas", 0), spec.get("replicas", 0)
    return PoolRow(
        namespace=namespace,
        name=name,
        template=spec.get("templateRef", {}).get("name", ""),
        ready=ready,
        there=status.get("replicas", 0),
        wanted=wanted,
        reason="" if ready >= wanted else _reason(status),
    )


def _key(item: Mapping[str, Any]) -> tuple[str, str]:
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]


def _reason(status: Mapping[str, Any]) -> str:
    """Return the reason of the Ready condition if it is not True, else ""."""
    for condition in status.get("conditions", []):
        if condition.get("type") == "Ready" and condition.get("status") != "True":
            return str(condition.get("reason", ""))
    return ""


def _rank(row: SessionRow, sort: str) -> float:
    if sort == "phase":
        return PHASES.index(row.phase) if row.phase in PHASES else -1
    # Unknown values come last.
    known = {"age": row.age, "idle": row.idle, "cpu": row.cpu, "memory": row.memory}.get(sort)
    return 0 if sort == "name" else -(known if known is not None else -1)


def _since(moment: str | None, now: datetime) -> float | None:
    """Return the seconds since a Kubernetes timestamp. At least 0, because the clocks of two machines may differ."""
    return max(0.0, (now - datetime.fromisoformat(moment)).total_seconds()) if moment else None


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def format_age(seconds: float) -> str:
    """Format a duration in one unit, like kubectl: `59s`, `3m`, `5h`, `12d`."""
    for unit, letter in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "m")):
        if seconds >= unit:
            return f"{int(seconds // unit)}{letter}"
    return f"{int(seconds)}s"


def format_cores(cores: float) -> str:
    """Format cores in thousandths: `250m`."""
    return f"{round(cores * 1000)}m"


def format_bytes(size: float) -> str:
    """Format bytes in MiB, or in GiB if there is at least one."""
    return f"{size / (1 << 30):.1f}Gi" if size >= 1 << 30 else f"{round(size / (1 << 20))}Mi"
