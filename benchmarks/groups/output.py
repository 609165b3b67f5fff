"""Measures large output that must arrive complete and in order."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from benchmarks.measuring import Measure, faster_than_peer

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.lab import Lab
    from benchmarks.measuring import Goal

PRINTS: Final = 100_000
BYTES: Final = 50_000_000
MANY: Final = f"for i in range({PRINTS}): print(i)"
ONE: Final = f"print('x' * {BYTES})"


def build(lab: Lab) -> list[Measure]:
    """Build the measures: milliseconds until all output has arrived."""
    session, kernel = lab.session, lab.kernel
    lines = "".join(f"{number}\n" for number in range(PRINTS))
    block = "x" * BYTES + "\n"

    def measure(name: str, code: str, expected: str, goal: Goal) -> Measure:
        sides = {
            "ours": _checked(lambda: session.execute(code).stdout, expected),
            "peer": _checked(lambda: kernel.execute(code)[0], expected),
        }
        return Measure(name, "ms", sides, [goal], rounds=10, quick_rounds=3, warmup=1)

    return [
        measure("100,000 prints", MANY, lines, faster_than_peer(8, 20)),
        measure("one print of 50 MB", ONE, block, faster_than_peer(2.5, 6)),
    ]


def _checked(run: Callable[[], str], expected: str) -> Callable[[], float]:
    def sample() -> float:
        start = time.perf_counter()
        output = run()
        elapsed = (time.perf_counter() - start) * 1e3
        if output != expected:
            raise RuntimeError(f"{len(output)} characters arrived instead of the {len(expected)} that were printed")
        return elapsed

    return sample
