"""Measures what filters and limits cost a short call.

The sides are this project's alone: `ours` has the defence, `floor` is the same call without it. Single calls take
turns. Their CPU time decides, since it varies far less than their time on a machine that others use too.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from benchmarks.groups.execute import SHORT
from benchmarks.measuring import Measure, Sample, within_floor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.lab import Lab
    from benchmarks.sides.session import Session

INSTANCES: Final = 3
"""Sessions of each kind. Two of one kind differ too, which the first measures show."""


def build(lab: Lab) -> list[Measure]:
    """Build the measures, in milliseconds."""
    plain = [lab.open_session() for _ in range(INSTANCES)]
    others = [lab.open_session() for _ in range(INSTANCES)]
    filtered = [lab.open_session(egress="none") for _ in range(INSTANCES)]
    unlimited = [lab.open_session(agent_module="benchmarks.sides.unlimited_agent") for _ in range(INSTANCES)]
    kinds = {
        "nothing in addition": (others, plain),
        "the filter of system calls": (filtered, plain),
        "the limits of the agent's ports": (plain, unlimited),
    }
    measures = [
        paired(f"CPU of a short call with {name}", used(ours), used(floor), 3500)
        for name, (ours, floor) in kinds.items()
    ]
    del kinds["nothing in addition"]
    return measures + [
        paired(f"a short call with {name}", timed(ours), timed(floor), 800) for name, (ours, floor) in kinds.items()
    ]


def paired(name: str, ours: Sample, floor: Sample, rounds: int) -> Measure:
    """Return the measure of calls with and without something."""
    return Measure(
        name=name,
        unit="ms",
        sides={"ours": ours, "floor": floor},
        goals=[within_floor(1.02)],
        rounds=rounds,
        quick_rounds=200,
        warmup=50 * INSTANCES,
        is_paired=True,
    )


def timed(sessions: Sequence[Session]) -> Sample:
    """Return a sample of one call, of each session in turn."""
    turns = itertools.cycle(sessions)
    return lambda: next(turns).timed(SHORT)


def used(sessions: Sequence[Session]) -> Sample:
    """Return a sample of the CPU time of a call in the session's own processes, of each session in turn."""
    turns = itertools.cycle(sessions)

    def sample() -> float:
        session = next(turns)
        before = session.cpu_milliseconds()
        session.timed(SHORT)
        return session.cpu_milliseconds() - before

    return sample
