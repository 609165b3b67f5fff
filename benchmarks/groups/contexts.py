"""Measures a new interpreter, up to its first result."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from benchmarks.measuring import Measure, at_most, faster_than_peer
from benchmarks.sides.jupyter import Kernel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.lab import Lab
    from benchmarks.measuring import Goal, Sample
    from benchmarks.sides.session import Session

IMPORTS: Final = "import numpy, pandas\nimport matplotlib.pyplot as plt\nnumpy.arange(3).sum()"
STANDBY_SECONDS: Final = 1.5
"""Seconds after which a new standby is ready. The runtime waits a quarter of a second, then forks or starts Node."""


def build(lab: Lab) -> list[Measure]:
    """Build the measures: milliseconds from the request for an interpreter to the first cell's completion."""
    session = lab.session

    def measure(name: str, sides: Mapping[str, Sample], goal: Goal) -> Measure:
        return Measure(
            name=name,
            unit="ms",
            sides=sides,
            goals=[goal],
            rounds=20,
            quick_rounds=4,
            peer_rounds=5,
            before=lambda: time.sleep(STANDBY_SECONDS),
        )

    return [
        measure(
            "new Python context to numpy, pandas, pyplot imported",
            {"ours": lambda: new_context(session, "python", IMPORTS), "peer": new_kernel},
            faster_than_peer(200, 1000),
        ),
        measure(
            "the same, the standby taken by another",
            {"ours": lambda: second_context(session, "python", IMPORTS)},
            at_most(50),
        ),
        measure(
            "new JavaScript context to its first result",
            {"ours": lambda: new_context(session, "javascript", "1 + 1")},
            at_most(20),
        ),
    ]


def new_context(session: Session, language: str, code: str) -> float:
    """Return the milliseconds for creating a context and running a cell in it."""
    start = time.perf_counter()
    context = session.sandbox.contexts.create(language)
    session.execute(code, language, context.id)
    elapsed = (time.perf_counter() - start) * 1e3
    session.sandbox.contexts.delete(context.id)
    return elapsed


def second_context(session: Session, language: str, code: str) -> float:
    """Do the same as `new_context`, after another context has taken the standby."""
    first = session.sandbox.contexts.create(language)
    try:
        return new_context(session, language, code)
    finally:
        session.sandbox.contexts.delete(first.id)


def new_kernel() -> float:
    """Return the milliseconds for starting a kernel and running the imports in it."""
    start = time.perf_counter()
    with Kernel() as kernel:
        kernel.execute(IMPORTS)
        return (time.perf_counter() - start) * 1e3
