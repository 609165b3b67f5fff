"""Measures short cells, where the cost of the call itself dominates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks.measuring import Measure, faster_than_peer, within_floor

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.lab import Lab

SHORT: Final = "x=1;print(x)"
STATEMENTS: Final = "\n".join(f"v{number} = {number} * 2" for number in range(200))


def build(lab: Lab) -> list[Measure]:
    """Build the measures: milliseconds from the call to its completion at the client."""
    session, kernel, bare = lab.session, lab.kernel, lab.bare

    def measure(name: str, ours: Callable[[], float], floor: Callable[[], float]) -> Measure:
        return Measure(
            name=name,
            unit="ms",
            sides={"ours": ours, "peer": lambda: kernel.timed(SHORT), "floor": floor},
            goals=[faster_than_peer(5, 8), within_floor(2, 1.25)],
            rounds=500,
            quick_rounds=100,
            warmup=20,
        )

    return [
        measure(f"execute {SHORT}", lambda: session.timed(SHORT), bare.echo),
        measure(f"execute {SHORT}, asyncio client", lambda: session.timed_async(SHORT), bare.echo_async),
        Measure(
            name="cell of 200 statements",
            unit="ms",
            sides={
                "ours": lambda: session.timed(STATEMENTS),
                "peer": lambda: kernel.timed(STATEMENTS),
            },
            goals=[faster_than_peer(4, 8)],
            rounds=200,
            quick_rounds=40,
            warmup=10,
        ),
    ]
