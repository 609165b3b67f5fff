"""Memory of the agent, and of one more context."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from benchmarks.lab import Lab
from benchmarks.measuring import Measure, at_most

if TYPE_CHECKING:
    import psutil

    from benchmarks.sides.session import Session

CONTEXTS: Final = 4
_MIB: Final = 1 << 20


def build(lab: Lab) -> list[Measure]:
    """MiB: resident memory of a new session's agent, and what is private to the process of a used Python context."""
    return [
        Measure(
            name="agent, idle after Bind",
            unit="MiB",
            sides={"ours": idle_agent},
            goals=[at_most(50, 25)],
            rounds=1,
            quick_rounds=1,
        ),
        Measure(
            name="one more Python context, idle, private",
            unit="MiB",
            sides={"ours": lambda: one_context(lab.session)},
            goals=[at_most(5, 2)],
            rounds=CONTEXTS,
            quick_rounds=CONTEXTS,
        ),
    ]


def idle_agent() -> float:
    """Resident memory of the agent of a session that has run nothing but its warm-up."""
    with Lab(is_quick=True) as fresh:
        return float(fresh.session.agent().memory_info().rss) / _MIB


def one_context(session: Session) -> float:
    """Private memory of a context's process that has run one cell."""
    context = session.sandbox.contexts.create("python")
    pid = int(session.execute("import os; print(os.getpid())", context=context.id).stdout)
    found: psutil.Process = next(process for process in session.processes() if process.pid == pid)
    private = float(found.memory_full_info().uss) / _MIB
    session.sandbox.contexts.delete(context.id)
    if pid == os.getpid():
        raise RuntimeError("the context runs in this process")
    return private
