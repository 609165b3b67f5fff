"""An attacked session beside a neighbour: what it costs the neighbour, and whether agent and operator stay healthy.

Both are measured without and with the attack in one run, and reported as ratios. The bounds are generous: the tests'
machine has two busy cores, which attacker, neighbour, cluster and this process share. They tell a neighbour that is
slowed down from one that is starved, which a stuck or restarted agent also is.
"""

from __future__ import annotations

import contextlib
import http.client
import statistics
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.e2e.support.chart import RELEASE
from tests.e2e.support.containers import Containers, Identities
from tests.e2e.support.isolations import SPECS, Hostile, start_hostile
from tests.e2e.support.sessions import build_template
from tests.e2e.support.stolen import find_agent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sandbox_client import Sandbox
    from tests.e2e.support.kubectl import Kubectl
    from tests.e2e.support.sessions import Sessions

# Addresses of documentation: nothing is reached, but user code gets sockets, with which it can attack its own agent.
SOCKETS: Final = {"mode": "Allowlist", "allow": [{"cidr": "192.0.2.1/32"}]}
HEALTH_PORT: Final = 8081
SLOWER: Final = 10.0
"""How many times longer a call may take under attack."""
FLOOR: Final = 0.5
"""Seconds that a call may take in any case: below, the scheduler of a busy machine decides, not the attack."""
PROBE_SECONDS: Final = 2.0
"""The kubelet's timeout for a probe: a health check that takes longer counts as failed."""
_PAUSE: Final = 0.03
_CALM_ROUNDS: Final = 25


@dataclass
class Latency:
    """Seconds of repeated calls, and what failed."""

    call: Callable[[], None]
    taken: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def measure(self) -> None:
        began = time.perf_counter()
        try:
            self.call()
        except Exception as error:  # noqa: BLE001 - whatever it is, the test reports it
            self.failed.append(repr(error)[:300])
        self.taken.append(time.perf_counter() - began)

    def repeat_until(self, stop: threading.Event) -> None:
        while not stop.is_set():
            self.measure()
            stop.wait(_PAUSE)

    @property
    def middle(self) -> float:
        return statistics.median(self.taken)

    @property
    def high(self) -> float:
        """The 95th percentile."""
        return sorted(self.taken)[int(len(self.taken) * 0.95)]


@dataclass
class Arena:
    """One hostile session, its neighbour and the operator.

    Attributes:
        hostile: The hostile session.
        neighbour: Another session on the same node, under runc.
    """

    hostile: Hostile
    neighbour_name: str
    system: Kubectl
    neighbour: Sandbox

    @property
    def isolation(self) -> str:
        """One of ISOLATIONS."""
        return self.hostile.isolation

    @property
    def name(self) -> str:
        """The name of the hostile session."""
        return self.hostile.name

    @property
    def sessions(self) -> Sessions:
        """Makes sessions in the namespace of both."""
        return self.hostile.sessions

    @property
    def attacker(self) -> Sandbox:
        """The hostile session, through the SDK."""
        return self.hostile.sandbox

    @property
    def has_process_of_agent(self) -> bool:
        """Return whether the node sees the agent as a process. gVisor hides its processes."""
        return self.isolation != "gvisor"

    def address(self, name: str = "") -> str:
        return str(self.sessions.pod(name or self.name)["status"]["podIP"])

    def peak_of_agent(self) -> int:
        """Bytes of memory that the attacked agent had at most so far."""
        lines = Path(f"/proc/{find_agent(self.sessions.pod(self.name)['metadata']['name'])}/status").read_text()
        return next(int(line.split()[1]) << 10 for line in lines.splitlines() if line.startswith("VmHWM:"))

    def identities(self) -> Identities:
        """Identify everything that has to stay what it is."""
        # An attack may end the hostile session's pod, so it is looked up each time.
        pods = [self.sessions.pod(name)["metadata"]["name"] for name in (self.name, self.neighbour_name)]
        return Containers(self.sessions.kubectl, *pods).identities()

    @contextlib.contextmanager
    def unharmed(self, what: str) -> Iterator[None]:
        """Measure the neighbour and all health checks before and during what is inside, and check both."""
        before = self.identities()
        calm, attacked = self._latencies(), self._latencies()
        for latency in calm.values():
            for _ in range(_CALM_ROUNDS):
                latency.measure()
        stop = threading.Event()
        threads = [threading.Thread(target=each.repeat_until, args=(stop,)) for each in attacked.values()]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        self._report(what, calm, attacked)
        for key, latency in attacked.items():
            assert not latency.failed, (what, key, latency.failed[:3])
            assert latency.middle <= max(SLOWER * calm[key].middle, FLOOR), (what, key, latency.middle)
            assert latency.high <= max(SLOWER * calm[key].high, PROBE_SECONDS), (what, key, latency.high)
        assert self.identities() == before, what
        assert self.attacker.run_code("print(6 * 7)").stdout == "42\n", what
        assert self.neighbour.run_code("print(6 * 7)").stdout == "42\n", what

    def _latencies(self) -> dict[str, Latency]:
        pods = self.system.list("pods", f"app.kubernetes.io/name={RELEASE}")
        addresses = {
            "attacked agent's health": self.address(),
            "neighbour agent's health": self.address(self.neighbour_name),
            "operator's health": pods[0]["status"]["podIP"],
        }
        checks = {key: Latency(_build_check(address)) for key, address in addresses.items()}
        return {"neighbour's call": Latency(self._call_neighbour), **checks}

    def _call_neighbour(self) -> None:
        if self.neighbour.run_code("1").text != "1":
            raise RuntimeError("the neighbour's cell failed")

    def _report(self, what: str, calm: dict[str, Latency], attacked: dict[str, Latency]) -> None:
        print(f"\n{what} ({self.isolation}): times under attack, median and p95")  # noqa: T201 - a measurement, for people
        for key, latency in attacked.items():
            middle, high = latency.middle / calm[key].middle, latency.high / calm[key].high
            print(  # noqa: T201 - a measurement, for people
                f"  {key}: {latency.middle * 1e3:.1f} ms ({middle:.1f} x), {latency.high * 1e3:.1f} ms ({high:.1f} x),"
                f" n={len(latency.taken)}"
            )


def _build_check(address: str) -> Callable[[], None]:
    """Build a health check as the kubelet makes it: a connection of its own."""

    def check() -> None:
        connection = http.client.HTTPConnection(address, HEALTH_PORT, timeout=10)
        try:
            connection.request("GET", "/livez")
            status = connection.getresponse().status
        finally:
            connection.close()
        if status != http.client.OK:
            raise RuntimeError(f"health is {status}")

    return check


@contextlib.contextmanager
def open_arena(isolation: str, sessions: Sessions, system: Kubectl, **template: Any) -> Iterator[Arena]:
    """Start both sessions; delete them at the end.

    Args:
        isolation: One of ISOLATIONS.
        sessions: Makes the sessions.
        system: kubectl in the operator's namespace.
        template: Further fields of the hostile session's template.
    """
    name = f"attack-{isolation}"
    sessions.kubectl.apply(build_template(name, "", egress=SOCKETS, **SPECS[isolation], **template))
    neighbour = sessions.create()
    try:
        with start_hostile(sessions, isolation, name, is_direct=True) as hostile:
            sessions.wait_phase(neighbour, "Ready", timeout=120)
            with sessions.connect(neighbour, is_direct=True) as other:
                assert hostile.sandbox.run_code("1").text == other.run_code("1").text == "1"
                yield Arena(hostile, neighbour, system, other)
    finally:
        sessions.close()
