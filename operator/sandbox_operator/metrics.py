"""The operator's Prometheus metrics. Each instance has its own registry, so that tests can have several."""

from __future__ import annotations

import contextlib
from collections import Counter as Counts
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_TALLY: Final[ContextVar[list[int] | None]] = ContextVar("tally", default=None)
_NAMESPACE: Final = "sandbox_operator"
_BUCKETS: Final = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
PHASES: Final = ("Pending", "Starting", "Ready", "Suspending", "Suspended", "Failed", "Terminating")
_ENDING: Final = {"Suspending", "Terminating"}
SOURCES: Final = ("Warm", "Cold")


class Metrics:
    """The operator's metrics."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        counter = partial(Counter, namespace=_NAMESPACE, registry=self.registry)
        gauge = partial(Gauge, namespace=_NAMESPACE, registry=self.registry)
        histogram = partial(Histogram, namespace=_NAMESPACE, registry=self.registry, buckets=_BUCKETS)
        self.reconcile_seconds = histogram("reconcile_seconds", "Duration of a reconcile", ["result"])
        self.queue_depth = gauge("queue_depth", "Keys waiting for a worker")
        self.queue_age = gauge("queue_age_seconds", "Time that the longest-waiting key has waited")
        self.sessions = gauge("sessions", "Sessions by phase", ["phase"])
        self.ending_seconds = gauge("ending_seconds", "Longest time that a session has been Suspending or Terminating")
        self._ending_since: dict[str, float] = {}
        self.api_calls = counter("api_calls", "Calls to the API server", ["verb", "resource", "code"])
        self.api_seconds = histogram(
            "api_seconds", "Duration of a call to the API server, answered or not", ["verb", "resource"]
        )
        self.is_leader = gauge("is_leader", "1 if this replica is the leader")
        self.start_seconds = histogram(
            "start_seconds", "Time from the start of a session until it is ready", ["source"]
        )
        self.start_calls = histogram(
            "start_api_calls",
            "Calls to the API server for one start of a session",
            ["source"],
            buckets=(2, 3, 4, 5, 6, 8, 10, 15, 20, 50),
        )
        self.claim_seconds = histogram("claim_seconds", "Time from choosing a blank pod to having claimed it")
        self.claim_conflicts = counter("claim_conflicts", "Claims that failed because the pod was deleted or taken")
        self.warm_pods = gauge("warm_pods", "Blank pods that can be claimed", ["namespace", "template"])
        self.assume_role_seconds = histogram(
            "assume_role_seconds", "Duration of an AssumeRole call for a workspace", ["result"]
        )
        self.watch_events = counter("watch_events", "Watch events received", ["resource"])
        self._begin_at_zero()

    def _begin_at_zero(self) -> None:
        """Create the series at 0. Prometheus does not see a first count as an increase if there was no 0 before."""
        for source in SOURCES:
            self.start_seconds.labels(source)
            self.start_calls.labels(source)
        for result in ("ok", "error"):
            self.assume_role_seconds.labels(result)

    def record_assume_role(self, result: str, seconds: float) -> None:
        """Record an AssumeRole call."""
        self.assume_role_seconds.labels(result).observe(seconds)

    def record_call(self, verb: str, resource: str, code: int, seconds: float) -> None:
        """Record a call to the API server. Code 0 means that it did not answer."""
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
        """Show the number of sessions by phase, and the longest time that a session has been ending.

        The time counts from when this replica first saw the session in an ending phase.

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
