"""Measures the CPU time and context switches of each process that a short call passes through."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil
from rich.table import Table

from benchmarks.groups.execute import SHORT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.lab import Lab

_CALLS: Final = 2000
_QUICK_CALLS: Final = 300
_WARMUP: Final = 100
_MIN_CPU: Final = 0.01
"""Milliseconds of CPU per call. A process that uses less does not count as a hop."""
_SHORT_JAVASCRIPT: Final = "let x = 1; console.log(x)"
# The first match counts: Node's command has a path in sandbox_runtime, too.
_NAMES: Final = {
    "sandbox_agent serve": "agent",
    "sandbox_runtime.interpreters.zygote": "interpreter",
    "bin/node": "interpreter (Node)",
    "sandbox_runtime": "supervisor",
    "benchmarks.sides.bare_server": "echo server",
}


@dataclass(frozen=True, slots=True)
class Hop:
    """The cost of a call in one process.

    Attributes:
        process: The process's role.
        cpu: Milliseconds of CPU per call, of all threads.
        switches: Context switches per call, of all threads.
    """

    process: str
    cpu: float
    switches: float


def profile(lab: Lab) -> dict[str, list[Hop]]:
    """Measure the hops of an echo of bare gRPC, and of a short cell in Python and in JavaScript."""
    session, bare = lab.session, lab.bare
    calls: Mapping[str, Callable[[], object]] = {
        "unary echo": bare.echo,
        SHORT: lambda: session.timed(SHORT),
        _SHORT_JAVASCRIPT: lambda: session.timed(_SHORT_JAVASCRIPT, "javascript"),
    }
    number = _QUICK_CALLS if lab.is_quick else _CALLS
    return {name: _hops(call, number) for name, call in calls.items()}


def build_hops_table(hops: Mapping[str, list[Hop]]) -> Table:
    """Build a table with a line for each process and a total for each call."""
    table = Table(title="where a short call's time goes", title_justify="left")
    table.add_column("call")
    table.add_column("process")
    table.add_column("CPU, ms", justify="right")
    table.add_column("context switches", justify="right")
    for call, parts in hops.items():
        for hop in parts:
            table.add_row(call, hop.process, f"{hop.cpu:.2f}", f"{hop.switches:.1f}")
        table.add_row(call, "together", f"{sum(h.cpu for h in parts):.2f}", f"{sum(h.switches for h in parts):.1f}")
        table.add_section()
    return table


def _hops(call: Callable[[], object], number: int) -> list[Hop]:
    for _ in range(_WARMUP):
        call()
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    before = {process: _spent(process.pid) for process in processes}
    for _ in range(number):
        call()
    found = []
    for process, (cpu, switches) in before.items():
        cpu_after, switches_after = _spent(process.pid)
        hop = Hop(_name(process), (cpu_after - cpu) / number / 1e6, (switches_after - switches) / number)
        # With less than one switch per call, the process works on its own, such as a zygote on its imports.
        if hop.cpu >= _MIN_CPU and hop.switches >= 1:
            found.append(hop)
    return found


def _spent(pid: int) -> tuple[int, int]:
    """Return nanoseconds of CPU and context switches of a process so far, of all threads. Zeros if it has ended."""
    cpu = switches = 0
    for task in Path(f"/proc/{pid}/task").glob("*"):
        try:
            cpu += int((task / "schedstat").read_text().split()[0])
            lines = (task / "status").read_text().splitlines()
        except (OSError, IndexError):
            continue
        switches += sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)
    return cpu, switches


def _name(process: psutil.Process) -> str:
    if process.pid == psutil.Process().pid:
        return "client"
    command = " ".join(process.cmdline())
    return next((name for part, name in _NAMES.items() if part in command), process.name())
