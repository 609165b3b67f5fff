"""Measures short JavaScript and TypeScript cells, compared with a bare echo, and a type check."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from benchmarks.measuring import Measure, at_most, within_floor
from sandbox_client import FailedPrecondition

if TYPE_CHECKING:
    from benchmarks.lab import Lab
    from benchmarks.sides.session import Session

CELLS: Final = {
    "javascript": "let x = 1; console.log(x)",
    "typescript": "let y: number = 1; console.log(y)",
}
CHECKED: Final = "\n".join(
    [
        "interface Row { name: string; value: number }",
        "const rows: Row[] = [{name: 'a', value: 1}, {name: 'b', value: 2}]",
        *(f"const total{n} = rows.map((row) => row.value * {n}).reduce((a, b) => a + b, 0)" for n in range(17)),
        "const wrong: string = total0",
    ]
)
"""A cell of 20 lines with one error."""


def build(lab: Lab) -> list[Measure]:
    """Build the measures: milliseconds from the call to its completion at the client."""
    session, bare = lab.session, lab.bare

    def measure(language: str, code: str) -> Measure:
        return Measure(
            name=f"execute {code}",
            unit="ms",
            sides={"ours": lambda: session.timed(code, language), "floor": bare.echo},
            goals=[within_floor(2.5, 1.5)],
            rounds=300,
            quick_rounds=60,
            warmup=20,
        )

    return [*(measure(language, code) for language, code in CELLS.items()), *_type_check(session)]


def _type_check(session: Session) -> list[Measure]:
    try:
        session.sandbox.check_types(CHECKED)
    except FailedPrecondition:
        # This environment has no type checker.
        return []
    return [
        Measure(
            name="type check of 20 lines, warm",
            unit="ms",
            sides={"ours": lambda: _check(session)},
            goals=[at_most(50)],
            rounds=50,
            quick_rounds=10,
            warmup=3,
        )
    ]


def _check(session: Session) -> float:
    start = time.perf_counter()
    found = session.sandbox.check_types(CHECKED)
    elapsed = (time.perf_counter() - start) * 1e3
    if len(found) != 1:
        raise RuntimeError(f"found {len(found)} type errors instead of one")
    return elapsed
