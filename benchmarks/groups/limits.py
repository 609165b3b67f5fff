"""Measures what defences cost: filters and limits on a short call, and a flood of connections on a neighbour.

The sides are this project's alone: `ours` has the defence or the attack, `floor` is the same call without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks.groups.execute import SHORT
from benchmarks.measuring import Measure, Sample, percentile, within_floor
from benchmarks.sides.flood import Flood

if TYPE_CHECKING:
    from benchmarks.lab import Lab
    from benchmarks.sides.session import Session

CONNECTIONS: Final = 20_000
MEASURED_CALLS: Final = 400
"""Calls for a p99 without the flood."""


def build(lab: Lab) -> list[Measure]:
    """Build the measures, in milliseconds. The p99 of a neighbour is that of its calls while connections are opened."""
    plain = lab.session
    filtered = lab.open_session(egress="none")
    unlimited = lab.open_session(agent_module="benchmarks.sides.unlimited_agent")
    ports = [each.laddr.port for each in plain.agent().net_connections("tcp") if each.status == "LISTEN"]

    def paired(name: str, ours: Session, floor: Session) -> Measure:
        return Measure(
            name=name,
            unit="ms",
            sides={"ours": lambda: fastest(ours), "floor": lambda: fastest(floor)},
            goals=[within_floor(1.02)],
            rounds=300,
            quick_rounds=40,
            warmup=10,
        )

    return [
        paired("fastest of ten short calls with the filter of system calls", filtered, plain),
        paired("fastest of ten short calls with the limits of the agent's ports", plain, unlimited),
        Measure(
            name=f"p99 of a neighbour's short call, flood of {CONNECTIONS} connections",
            unit="ms",
            sides={"ours": lambda: flooded(filtered, ports), "floor": calm(filtered)},
            goals=[within_floor(2)],
            rounds=5,
            quick_rounds=1,
        ),
    ]


def fastest(session: Session) -> float:
    """Return the milliseconds of the fastest of ten calls. The others show what else the machine does."""
    return min(session.timed(SHORT) for _ in range(10))


def calm(session: Session) -> Sample:
    """Return a sample: the p99 of a session's calls without a flood."""
    return lambda: percentile(sorted(session.timed(SHORT) for _ in range(MEASURED_CALLS)), 99)


def flooded(session: Session, ports: list[int]) -> float:
    """Return the p99 of a session's calls while another one's ports are flooded."""
    taken = []
    with Flood(ports, CONNECTIONS) as flood:
        while flood.is_running():
            taken.append(session.timed(SHORT))
    return percentile(sorted(taken), 99)
