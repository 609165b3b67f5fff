"""Measures what a flood of connections on one agent costs a neighbour: the p99 of its short calls meanwhile.

`ours` is the flood of an agent. The floor is a calm machine, or a flood of a listener that closes every connection: it
shows what the flood's own processes and the kernel cost on the same cores.
"""

from __future__ import annotations

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


def build(lab: Lab) -> list[Measure]:
    """Build the measures, in milliseconds."""
    attacked, neighbour = lab.open_session(), lab.open_session()
    ports = [each.laddr.port for each in attacked.agent().net_connections("tcp") if each.status == "LISTEN"]
    bare_ports = [lab.bare_listener.port]
    seconds = CALM_SECONDS / 4 if lab.is_quick else CALM_SECONDS

    def measure(beside: str, floor: Sample) -> Measure:
        return Measure(
            name=f"p99 of a neighbour's short call, flood of {CONNECTIONS} connections, beside {beside}",
            unit="ms",
            sides={"ours": lambda: flooded(neighbour, ports), "floor": floor},
            goals=[within_floor(2)],
            rounds=3,
            quick_rounds=1,
        )

    return [
        measure("none", lambda: calm(neighbour, seconds)),
        measure("one of a bare listener", lambda: flooded(neighbour, bare_ports)),
    ]


def calm(session: Session, seconds: float) -> float:
    """Return the p99 of a session's calls without a flood."""
    taken, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        taken.append(session.timed(SHORT))
    return percentile(sorted(taken), 99)


def flooded(session: Session, ports: Sequence[int]) -> float:
    """Return the p99 of a session's calls while ports that are not its own are flooded."""
    taken = []
    with Flood(ports, CONNECTIONS) as flood:
        while flood.is_running():
            taken.append(session.timed(SHORT))
    return percentile(sorted(taken), 99)
