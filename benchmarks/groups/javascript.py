"""Short JavaScript and TypeScript cells, beside the echo floor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks.measuring import Measure, within_floor

if TYPE_CHECKING:
    from benchmarks.lab import Lab

CELLS: Final = {
    "javascript": "let x = 1; console.log(x)",
    "typescript": "let y: number = 1; console.log(y)",
}


def build(lab: Lab) -> list[Measure]:
    """From the call to its completion at the client, in milliseconds."""
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

    return [measure(language, code) for language, code in CELLS.items()]
