"""What a look at many sessions and pools shows: rows, their order, and a sum, from Kubernetes objects. Pure: no I/O."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

PHASES: Final = ("Failed", "Terminating", "Suspending", "Pending", "Starting", "Ready", "Suspended")
"""In the order of how soon somebody may want to look at them."""
SORTS: Final = ("phase", "name", "age", "idle", "cpu", "memory")
_UNSEEN: Final = "Unseen"
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


@dataclass(frozen=True, slots=True)
class Usage:
    """What a pod uses now. CPU in cores, memory in bytes."""

    cpu: float
    memory: int


@dataclass(frozen=True, slots=True)
class Listing:
    """What was read of a cluster, as the API server gave it.

    Attributes:
        sessions: SandboxSessions.
        pools: SandboxWarmPools.
        pods: Pods of sessions.
        usage: By namespace and pod name; empty where nothing measures it.
        notes: What could not be read, and why, a sentence each.
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
        phase: Its phase; `Unseen` where no operator has seen it.
        reason: Why it is not Ready; "" where it is.
        age: Seconds since it was created.
        start: `Warm` or `Cold`; "" before its first start.
        start_ms: Milliseconds that the start of its pod took.
        idle: Seconds since its last use, give or take a minute; None: it was never used.
        cpu: Cores; None: not known.
        memory: Bytes; None: not known.
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
    """One warm pool: blank pods that are ready, that there are, and that are wanted."""

    namespace: str
    name: str
    template: str
    ready: int
    there: int
    wanted: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Overview:
    """All of it, sorted."""

    sessions: tuple[SessionRow, ...]
    pools: tuple[PoolRow, ...]
    notes: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """One line."""
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


def build_overview(listing: Listing, now: datetime, sort: str = "phase") -> Overview:
    """Rows from objects.

    Args:
        listing: The objects.
        now: Aware.
        sort: One of SORTS; those with most first, where it is a number.
    """
    nodes = {_key(pod): pod.get("spec", {}).get("nodeName", "") for pod in listing.pods}
    rows = [_session_row(session, nodes, listing.usage or {}, now) for session in listing.sessions]
    rows.sort(key=lambda row: (_rank(row, sort), row.namespace, row.name))
    pools = sorted(map(_pool_row, listing.pools), key=lambda row: (row.namespace, row.name))
    return Overview(tuple(rows), tuple(pools), listing.notes)


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
    """Of the condition Ready, where it is not True."""
    for condition in status.get("conditions", []):
        if condition.get("type") == "Ready" and condition.get("status") != "True":
            return str(condition.get("reason", ""))
    return ""


def _rank(row: SessionRow, sort: str) -> float:
    if sort == "phase":
        return PHASES.index(row.phase) if row.phase in PHASES else -1
    # What is not known is last.
    known = {"age": row.age, "idle": row.idle, "cpu": row.cpu, "memory": row.memory}.get(sort)
    return 0 if sort == "name" else -(known if known is not None else -1)


def _since(moment: str | None, now: datetime) -> float | None:
    """Seconds since a time of Kubernetes'; the clocks of two machines differ, so never less than 0."""
    return max(0.0, (now - datetime.fromisoformat(moment)).total_seconds()) if moment else None


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def format_age(seconds: float) -> str:
    """As kubectl has it, in one unit: `59s`, `3m`, `5h`, `12d`."""
    for unit, letter in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "m")):
        if seconds >= unit:
            return f"{int(seconds // unit)}{letter}"
    return f"{int(seconds)}s"


def format_cores(cores: float) -> str:
    """Thousandths of a core: `250m`."""
    return f"{round(cores * 1000)}m"


def format_bytes(size: float) -> str:
    """In MiB, or GiB from one on."""
    return f"{size / (1 << 30):.1f}Gi" if size >= 1 << 30 else f"{round(size / (1 << 20))}Mi"
