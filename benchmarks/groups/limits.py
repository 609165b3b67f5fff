"""Measures what defences cost: filters and limits on a short call, and a flood of connections on a neighbour.

The sides are this project's alone: `ours` has the defence or the attack, `floor` is the same call without it.
"""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Final

from benchmarks.groups.execute import SHORT
from benchmarks.measuring import Measure, Sample, percentile, within_floor
from benchmarks.sides.flood import Flood

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.lab import Lab
    from benchmarks.sides.session import Session

CONNECTIONS: Final = 20_000
CALM_SECONDS: Final = 20.0
"""Time of a sample without the flood: as long as one with it, which catches as many of the machine's other bursts."""
INSTANCES: Final = 3
"""Sessions of each kind. Two sessions of one kind differ by some percent."""


def build(lab: Lab) -> list[Measure]:
    """Build the measures, in milliseconds. The p99 of a neighbour is that of its calls while connections are opened."""
    plain = [lab.open_session() for _ in range(INSTANCES)]
    filtered = [lab.open_session(egress="none") for _ in range(INSTANCES)]
    unlimited = [lab.open_session(agent_module="benchmarks.sides.unlimited_agent") for _ in range(INSTANCES)]
    attacked, neighbour = plain[0], filtered[0]
    ports = [each.laddr.port for each in attacked.agent().net_connections("tcp") if each.status == "LISTEN"]
    quick_seconds = CALM_SECONDS / 4 if lab.is_quick else CALM_SECONDS
    return [
        paired("filter of system calls", filtered, plain),
        paired("limits of the agent's ports", plain, unlimited),
        Measure(
            name=f"p99 of a neighbour's short call, flood of {CONNECTIONS} connections",
            unit="ms",
            sides={"ours": lambda: flooded(neighbour, ports), "floor": lambda: calm(neighbour, quick_seconds)},
            goals=[within_floor(2)],
            rounds=5,
            quick_rounds=1,
        ),
    ]


def paired(name: str, ours: Sequence[Session], floor: Sequence[Session]) -> Measure:
    """Return the measure of a short call with and without something, over several sessions in turns."""

    def build_sample(sessions: Sequence[Session]) -> Sample:
        turns = itertools.cycle(sessions)
        return lambda: fastest(next(turns))

    return Measure(
        name=f"fastest of ten short calls with the {name}",
        unit="ms",
        sides={"ours": build_sample(ours), "floor": build_sample(floor)},
        goals=[within_floor(1.02)],
        rounds=300,
        quick_rounds=60,
        warmup=2 * INSTANCES,
    )


def fastest(session: Session) -> float:
    """Return the milliseconds of the fastest of ten calls. The others show what else the machine does."""
    return min(session.timed(SHORT) for _ in range(10))


def calm(session: Session, seconds: float) -> float:
    """Return the p99 of a session's calls without a flood."""
    taken, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        taken.append(session.timed(SHORT))
    return percentile(sorted(taken), 99)


def flooded(session: Session, ports: Sequence[int]) -> float:
    """Return the p99 of a session's calls while another one's ports are flooded."""
    taken = []
    with Flood(ports, CONNECTIONS) as flood:
        while flood.is_running():
            taken.append(session.timed(SHORT))
    return percentile(sorted(taken), 99)
