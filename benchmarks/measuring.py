"""Defines measures and goals, and compares samples with the goals. Pure: no clock, no I/O.

A sample is one number in the measure's unit. Goals apply to the median (p50) of each side. The sides are `ours`, a
session of this project, `peer`, a Jupyter kernel, and `floor`, bare gRPC that does nothing.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

Sample = Callable[[], float]
"""Takes one sample. The number excludes preparation and checks."""
SIDES: Final = ("ours", "peer", "floor")
_DEVIATIONS: Final = 1.96
"""Standard deviations on each side of the mean that contain 95 % of a normal distribution."""


@dataclass(frozen=True, slots=True)
class Goal:
    """A goal of a measure.

    Attributes:
        ratio_of: The ratio to compare: `peer / ours` or `ours / floor`. If "", the value of ours is compared.
        at_least: True if the number must be at least `must`; False if at most.
        must: The required number.
        moonshot: The number that we would be proud of, if there is one.
    """

    ratio_of: str
    at_least: bool
    must: float
    moonshot: float | None = None

    def ratio(self, medians: Mapping[str, float]) -> float:
        """Return the number that is compared with `must`. NaN if a side is missing."""
        if not self.ratio_of:
            return medians["ours"]
        above, below = (medians.get(side, math.nan) for side in self.ratio_of.split(" / "))
        return above / below if below else math.nan

    def is_reached(self, ratio: float, aim: float | None) -> bool | None:
        """Return whether a ratio reaches an aim. Returns None if either is unknown."""
        if aim is None or math.isnan(ratio):
            return None
        return ratio >= aim if self.at_least else ratio <= aim

    def text(self, aim: float | None) -> str:
        """Format an aim for the table."""
        return "" if aim is None else f"{'>=' if self.at_least else '<='} {aim:g}"


def faster_than_peer(must: float, moonshot: float | None = None) -> Goal:
    """Return the goal of being this many times faster than the peer."""
    return Goal("peer / ours", at_least=True, must=must, moonshot=moonshot)


def within_floor(must: float, moonshot: float | None = None) -> Goal:
    """Return the goal of taking at most this many times the floor's time."""
    return Goal("ours / floor", at_least=False, must=must, moonshot=moonshot)


def share_of_floor(must: float, moonshot: float | None = None) -> Goal:
    """Return the goal of reaching at least this share of the floor's throughput."""
    return Goal("ours / floor", at_least=True, must=must, moonshot=moonshot)


def at_most(must: float, moonshot: float | None = None) -> Goal:
    """Return the goal of at most this value, in the measure's unit."""
    return Goal("", at_least=False, must=must, moonshot=moonshot)


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure, on up to three sides that are sampled in turns.

    Attributes:
        name: Its name in the table.
        unit: The unit of every sample.
        sides: `ours`, and `peer` and `floor` if they exist for this measure.
        goals: The goals. Each becomes a row.
        rounds: Samples per side.
        quick_rounds: Samples per side with `--quick`.
        peer_rounds: Maximum number of samples of the peer, if it is lower.
        warmup: Samples per side that are taken first and discarded.
        before: Called before each round, to prepare both sides.
        is_paired: Whether the ratio is the median of the ratios of ours and the floor within a round, which the
            machine's load changes least. It then has an interval, and a goal within the interval is neither met nor
            missed.
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
    is_paired: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """The result for one goal."""

    measure: str
    unit: str
    ours: float
    peer: float | None
    floor: float | None
    ratio: float | None
    interval: tuple[float, float] | None
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
        """Return the row for results/interpreter.json. docs/performance.md describes its fields."""
        return {name: _rounded(getattr(self, name)) for name in self.__slots__}


def judge(measure: Measure, samples: Mapping[str, Sequence[float]], machine: str) -> list[Row]:
    """Return a row for each goal. Sides without samples are left out."""
    taken = {side: sorted(samples[side]) for side in SIDES if samples.get(side)}
    if "ours" not in taken:
        return []
    ratios = sorted(ours / floor for ours, floor in zip(samples["ours"], samples.get("floor", ()), strict=False))
    return [_row(measure, goal, taken, ratios if measure.is_paired else (), machine) for goal in measure.goals]


def _row(
    measure: Measure, goal: Goal, taken: Mapping[str, Sequence[float]], ratios: Sequence[float], machine: str
) -> Row:
    medians = {side: statistics.median(values) for side, values in taken.items()}
    ratio = statistics.median(ratios) if ratios else goal.ratio(medians)
    interval = interval_of_median(ratios) if ratios else None

    def reached(aim: float | None) -> bool | None:
        verdicts = {goal.is_reached(each, aim) for each in interval or (ratio,)}
        return verdicts.pop() if len(verdicts) == 1 else None

    return Row(
        measure=measure.name,
        unit=measure.unit,
        ours=medians["ours"],
        peer=medians.get("peer"),
        floor=medians.get("floor"),
        ratio=None if math.isnan(ratio) or not goal.ratio_of else ratio,
        interval=interval,
        ratio_of=goal.ratio_of,
        must=goal.text(goal.must),
        met=reached(goal.must),
        moonshot=goal.text(goal.moonshot),
        moonshot_met=reached(goal.moonshot),
        n={side: len(values) for side, values in taken.items()},
        p50=medians,
        p99={side: percentile(values, 99) for side, values in taken.items()},
        machine=machine,
    )


def interval_of_median(ordered: Sequence[float]) -> tuple[float, float]:
    """Return the interval of 95 % of the median of sorted values, whatever their distribution: two measured values."""
    half = _DEVIATIONS * math.sqrt(len(ordered)) / 2
    middle = (len(ordered) - 1) / 2
    return ordered[max(0, math.floor(middle - half))], ordered[min(len(ordered) - 1, math.ceil(middle + half))]


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the nearest-rank percentile of sorted values, which is always a measured value."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def _rounded(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_rounded(item) for item in value]
    if isinstance(value, Mapping):
        return {name: _rounded(item) for name, item in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value
