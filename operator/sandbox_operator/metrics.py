"""The operator's Prometheus metrics. Each instance has its own registry, so that tests can have several."""

from __future__ import annotations

import contextlib
from collections import Counter as Counts
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_TALLY: Final[ContextVar[list[int] | None]] = ContextVar("tally", default=None)
_BUCKETS: Final = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
PHASES: Final = ("Pending", "Starting", "Ready", "Suspending", "Suspended", "Failed", "Terminating")
_ENDING: Final = {"Suspending", "Terminating"}
SOURCES: Final = ("Warm", "Cold")


class Metrics:
    """The operator's metrics."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        prefix = "sandbox_operator_"
        self.reconcile_seconds = Histogram(
            f"{prefix}reconcile_seconds",
            "Duration of a reconcile",
            ["result"],
            registry=self.registry,
            buckets=_BUCKETS,
        )
        self.queue_depth = Gauge(f"{prefix}queue_depth", "Keys waiting for a worker", registry=self.registry)
        self.sessions = Gauge(f"{prefix}sessions", "Sessions by phase", ["phase"], registry=self.registry)
        self.ending_seconds = Gauge(
            f"{prefix}ending_seconds",
            "Longest time that a session has been Suspending or Terminating",
            registry=self.registry,
        )
        self._ending_since: dict[str, float] = {}
        self.api_calls = Counter(
            f"{prefix}api_calls", "Calls to the API server", ["verb", "resource", "code"], registry=self.registry
        )
        self.api_seconds = Histogram(
            f"{prefix}api_seconds",
            "Duration of a call to the API server, answered or not",
            ["verb", "resource"],
            registry=self.registry,
            buckets=_BUCKETS,
        )
        self.is_leader = Gauge(f"{prefix}is_leader", "1 if this replica is the leader", registry=self.registry)
        self.start_seconds = Histogram(
            f"{prefix}start_seconds",
            "Time from the start of a session until it is ready",
            ["source"],
            registry=self.registry,
            buckets=_BUCKETS,
        )
        self.start_calls = Histogram(
            f"{prefix}start_api_calls",
            "Calls to the API server for one start of a session",
            ["source"],
            registry=self.registry,
            buckets=(2, 3, 4, 5, 6, 8, 10, 15, 20, 50),
        )
        self.claim_seconds = Histogram(
            f"{prefix}claim_seconds",
            "Time from choosing a blank pod to having claimed it",
            registry=self.registry,
            buckets=_BUCKETS,
        )
        self.claim_conflicts = Counter(
            f"{prefix}claim_conflicts",
            "Claims that failed because the pod was not available any more",
            registry=self.registry,
        )
        self.warm_pods = Gauge(
            f"{prefix}warm_pods",
            "Blank pods that can be claimed",
            ["namespace", "template"],
            registry=self.registry,
        )
        self.queue_age = Gauge(
            f"{prefix}queue_age_seconds", "Time that the longest-waiting key has waited", registry=self.registry
        )
        self.assume_role_seconds = Histogram(
            f"{prefix}assume_role_seconds",
            "Duration of an AssumeRole call for a workspace",
            ["result"],
            registry=self.registry,
            buckets=_BUCKETS,
        )
        self.watch_events = Counter(
            f"{prefix}watch_events", "Watch events received", ["resource"], registry=self.registry
        )
        self._begin_at_zero()

    def _begin_at_zero(self) -> None:
        """Create the series at 0. Prometheus does not see a first count as an increase if there was no 0 before."""
        for source in SOURCES:
            self.start_seconds.labels(source)
            self.start_calls.labels(source)
        for result in ("ok", "error"):
            self.assume_role_seconds.labels(result)

    def count_role(self, result: str, seconds: float) -> None:
        """Record an AssumeRole call."""
        self.assume_role_seconds.labels(result).observe(seconds)

    def count_call(self, verb: str, resource: str, code: int, seconds: float) -> None:
        """Record a call of the API server. Code 0 stands for no answer."""
        self.api_seconds.labels(verb, resource).observe(seconds)
        if (tally := _TALLY.get()) is not None:
            tally[0] += 1
        self.api_calls.labels(verb, resource, str(code)).inc()

    @contextlib.contextmanager
    def tally_calls(self) -> Iterator[list[int]]:
        """Yield a list whose only element counts the API server calls that are made in this context."""
        tally = [0]
        token = _TALLY.set(tally)
        try:
            yield tally
        finally:
            _TALLY.reset(token)

    def show_sessions(self, phases: Mapping[str, str], now: float) -> None:
        """Show the number of sessions by phase, and how long the slowest ending session has taken.

        That time counts from when this replica first saw the session ending.

        Args:
            phases: The phase of each session, by uid.
            now: Monotonic time in seconds.
        """
        counts = Counts(phases.values())
        for phase in {*PHASES, *counts}:
            self.sessions.labels(phase).set(counts[phase])
        self._ending_since = {
            uid: self._ending_since.get(uid, now) for uid, phase in phases.items() if phase in _ENDING
        }
        self.ending_seconds.set(now - min(self._ending_since.values(), default=now))

    def show_warm_pods(self, counts: Mapping[tuple[str, str], int]) -> None:
        """Show how many pods can be claimed, by namespace and template."""
        self.warm_pods.clear()
        for (namespace, template), count in counts.items():
            self.warm_pods.labels(namespace, template).set(count)

    def render(self) -> bytes:
        """Return all metrics in the text format."""
        return generate_latest(self.registry)
