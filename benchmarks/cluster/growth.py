"""Measures the operator's restart and idle load with ever more idle sessions, and makes a table and a picture."""

from __future__ import annotations

import asyncio
import time
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Final

import matplotlib as mpl

from benchmarks.cluster import load, ready_made
from benchmarks.cluster.control_plane import REPOSITORY
from benchmarks.cluster.operating import COLLECTION, NAMESPACE, set_pool, start_agents, wait

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.cluster.control_plane import ControlPlane
    from benchmarks.cluster.operating import Operator
    from benchmarks.cluster.report import Report

SIZES: Final = (10, 100, 1000, 5000)
QUICK_SIZES: Final = (10, 100)
PICTURE: Final = REPOSITORY / "docs/growth.svg"
_WARMUP_SECONDS: Final = 20.0
"""Seconds in which a restarted operator lists four times."""
_IDLE_SECONDS: Final = 90.0
_WARM: Final = 5


@dataclass(frozen=True, slots=True)
class Size:
    """The results with one number of idle sessions."""

    sessions: int
    restart_seconds: float
    restart_cpu_seconds: float
    new_session_ms: float
    idle_cpu_percent: float
    rss_mib: float


def measure(plane: ControlPlane, operator: Operator, report: Report, *, is_quick: bool) -> None:
    """Measure each size in turn, on the same control plane. Only the last one has goals."""
    template = plane.call("GET", f"{COLLECTION}/sandboxtemplates/default")
    sizes, bound = QUICK_SIZES if is_quick else SIZES, dict[str, str]()
    found: list[Size] = []
    for size in sizes:
        set_pool(plane.api, _WARM)
        operator.stop()
        bound |= asyncio.run(ready_made.create(plane.server, template, size, already=len(bound)))
        plane.stop("agents")
        start_agents(plane, bound)
        found.append(_measure_size(operator, plane, size, 10.0 if is_quick else _IDLE_SECONDS))
        _report(report, found[-1], has_goals=size == SIZES[-1])
    print(build_markdown(found), flush=True)
    if not is_quick:
        draw(found, PICTURE)


def build_markdown(found: Sequence[Size]) -> str:
    """Return the table for docs/performance.md."""
    names = ("sessions", "restart to reconciled, s", "of that CPU, s", "a new session amid it, ms")
    head = f"| {' | '.join((*names, 'CPU at rest, % of a core', 'memory, MiB'))} |"
    lines = ["| " + " | ".join(f"{value:g}" for value in astuple(size)) + " |" for size in found]
    return "\n".join([head, "|---" * 6 + "|", *lines])


def draw(found: Sequence[Size], path: Path) -> None:
    """Draw three curves over the number of sessions in one picture."""
    mpl.use("agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - the backend has to be chosen first

    numbers = [size.sessions for size in found]
    figure, axes = plt.subplots(1, 3, figsize=(10, 3))
    curves = (
        ("memory, MiB", [size.rss_mib for size in found], 250.0),
        ("restart to reconciled, s", [size.restart_seconds for size in found], 30.0),
        ("CPU at rest, % of a core", [size.idle_cpu_percent for size in found], 5.0),
    )
    for axis, (name, values, goal) in zip(axes, curves, strict=True):
        axis.plot(numbers, values, marker="o")
        axis.axhline(goal, linestyle="--", color="grey", linewidth=0.8)
        axis.set(title=name, xlabel="idle sessions", xlim=(0, None), ylim=(0, goal * 1.1))
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _measure_size(operator: Operator, plane: ControlPlane, size: int, idle_seconds: float) -> Size:
    began = time.monotonic()
    operator.start()
    amid = asyncio.run(load.run(plane.api, NAMESPACE, f"amid{size}", 1, 1, 60))
    wait(lambda: (operator.metric("sandbox_operator_reconcile_seconds_count") or 0) >= size, "reconciled", 300, 0.1)
    wait(lambda: operator.metric("sandbox_operator_queue_depth") == 0, "the queue is empty", 300, 0.1)
    seconds, spent = time.monotonic() - began, operator.cpu_seconds()
    plane.call("DELETE", f"{COLLECTION}/sandboxsessions/amid{size}-00000")
    time.sleep(_WARMUP_SECONDS)
    before = operator.cpu_seconds()
    time.sleep(idle_seconds)
    share = (operator.cpu_seconds() - before) / idle_seconds * 100
    return Size(
        size, round(seconds, 1), round(spent, 1), amid.quantile(0.5), round(share, 1), round(operator.rss_mib())
    )


def _report(report: Report, size: Size, *, has_goals: bool) -> None:
    what, goals = f"{size.sessions} idle sessions", (30, 1000, 5, 250) if has_goals else (None,) * 4
    report.add(f"restart with {what}: process start to all reconciled", "s", size.restart_seconds, goals[0])
    report.add(f"restart with {what}: operator CPU until then", "s", size.restart_cpu_seconds)
    report.add(f"restart with {what}: one new session, create to Ready", "ms", size.new_session_ms, goals[1])
    report.add(f"{what}: operator CPU", "% of a core", size.idle_cpu_percent, goals[2])
    report.add(f"{what}: operator RSS", "MiB", size.rss_mib, goals[3])
