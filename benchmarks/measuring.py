"""A measure, its samples and whether they reach the goal. Pure: no clock, no I/O.

A sample is one number in the measure's unit; what counts is the median (p50) of each side. `ours` is a session of ours,
`peer` a Jupyter kernel, `floor` bare gRPC that does nothing.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

Sample = Callable[[], float]
"""Takes one sample; what is prepared and checked around it is not in the number."""
SIDES: Final = ("ours", "peer", "floor")


@dataclass(frozen=True, slots=True)
class Goal:
    """What must be reached.

    Attributes:
        ratio_of: `peer / ours` or `ours / floor`; "" compares ours itself, in the unit.
        at_least: Whether the number must be at least `must`; else at most.
        must: The number.
        moonshot: The number we would be proud of; None: none was named.
    """

    ratio_of: str
    at_least: bool
    must: float
    moonshot: float | None = None

    def ratio(self, medians: Mapping[str, float]) -> float:
        """The number that `must` is compared with; NaN where a side is missing."""
        if not self.ratio_of:
            return medians["ours"]
        above, below = (medians.get(side, math.nan) for side in self.ratio_of.split(" / "))
        return above / below if below else math.nan

    def is_reached(self, ratio: float, aim: float | None) -> bool | None:
        """Whether a ratio reaches an aim; None where it cannot be told."""
        if aim is None or math.isnan(ratio):
            return None
        return ratio >= aim if self.at_least else ratio <= aim

    def text(self, aim: float | None) -> str:
        """An aim in words."""
        return "" if aim is None else f"{'>=' if self.at_least else '<='} {aim:g}"


def faster_than_peer(must: float, moonshot: float | None = None) -> Goal:
    """So many times faster than the peer."""
    return Goal("peer / ours", at_least=True, must=must, moonshot=moonshot)


def within_floor(must: float, moonshot: float | None = None) -> Goal:
    """At most so many times the floor."""
    return Goal("ours / floor", at_least=False, must=must, moonshot=moonshot)


def share_of_floor(must: float, moonshot: float | None = None) -> Goal:
    """At least this share of the floor's throughput."""
    return Goal("ours / floor", at_least=True, must=must, moonshot=moonshot)


def at_most(must: float, moonshot: float | None = None) -> Goal:
    """At most so much, in the unit."""
    return Goal("", at_least=False, must=must, moonshot=moonshot)


@dataclass(frozen=True, slots=True)
class Measure:
    """One thing to measure, on up to three sides that are sampled in turns.

    Attributes:
        name: What is measured.
        unit: Of every sample.
        sides: `ours`, and of `peer` and `floor` what there is.
        goals: Each becomes a row.
        rounds: Samples a side; the peer may have fewer (`peer_rounds`).
        quick_rounds: The same with `--quick`.
        warmup: Samples a side that are thrown away before.
        before: Called before each round, for what both sides need.
    """

    name: str
    unit: str
    sides: Mapping[str, Sample]
    goals: Sequence[Goal]
    rounds: int
    quick_rounds: int
    peer_rounds: int | None = None
    warmup: int = 0
    before: Callable[[], None] = field(default=lambda: None)


@dataclass(frozen=True, slots=True)
class Row:
    """What was found, for one goal."""

    measure: str
    unit: str
    ours: float
    peer: float | None
    floor: float | None
    ratio: float | None
    ratio_of: str
    must: str
    met: bool | None
    moonshot: str
    moonshot_met: bool | None
    n: Mapping[str, int]
    p50: Mapping[str, float]
    p99: Mapping[str, float]
    machine: str

    def as_json(self) -> dict[str, Any]:
        """For results/interpreter.json; see docs/performance.md."""
        return {name: _rounded(getattr(self, name)) for name in self.__slots__}


def judge(measure: Measure, samples: Mapping[str, Sequence[float]], machine: str) -> list[Row]:
    """A row for each goal; sides without samples are left out."""
    taken = {side: sorted(samples[side]) for side in SIDES if samples.get(side)}
    medians = {side: statistics.median(values) for side, values in taken.items()}
    if "ours" not in medians:
        return []
    return [_row(measure, goal, taken, medians, machine) for goal in measure.goals]


def _row(
    measure: Measure, goal: Goal, taken: Mapping[str, Sequence[float]], medians: Mapping[str, float], machine: str
) -> Row:
    ratio = goal.ratio(medians)
    return Row(
        measure=measure.name,
        unit=measure.unit,
        ours=medians["ours"],
        peer=medians.get("peer"),
        floor=medians.get("floor"),
        ratio=None if math.isnan(ratio) or not goal.ratio_of else ratio,
        ratio_of=goal.ratio_of,
        must=goal.text(goal.must),
        met=goal.is_reached(ratio, goal.must),
        moonshot=goal.text(goal.moonshot),
        moonshot_met=goal.is_reached(ratio, goal.moonshot),
        n={side: len(values) for side, values in taken.items()},
        p50=medians,
        p99={side: percentile(values, 99) for side, values in taken.items()},
        machine=machine,
    )


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile of sorted values, so that it is always one that was measured."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _rounded(item) for name, item in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value
