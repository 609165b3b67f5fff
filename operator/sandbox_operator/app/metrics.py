"""What /metrics tells. One registry of our own, so that tests may have several."""

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
            f"{prefix}reconcile_seconds", "Time of a reconcile", ["result"], registry=self.registry, buckets=_BUCKETS
        )
        self.queue_depth = Gauge(f"{prefix}queue_depth", "Keys that wait for a worker", registry=self.registry)
        self.sessions = Gauge(f"{prefix}sessions", "Sessions by phase", ["phase"], registry=self.registry)
        self.ending_seconds = Gauge(
            f"{prefix}ending_seconds",
            "Time that the session has been Suspending or Terminating which has been so longest",
            registry=self.registry,
        )
        self._ending_since: dict[str, float] = {}
        self.api_calls = Counter(
            f"{prefix}api_calls", "Calls of the API server", ["verb", "resource", "code"], registry=self.registry
        )
        self.api_seconds = Histogram(
            f"{prefix}api_seconds",
            "Time of a call of the API server, answered or not",
            ["verb", "resource"],
            registry=self.registry,
            buckets=_BUCKETS,
        )
        self.is_leader = Gauge(f"{prefix}is_leader", "1 where this replica leads", registry=self.registry)
        self.start_seconds = Histogram(
            f"{prefix}start_seconds", "From start to ready", ["source"], registry=self.registry, buckets=_BUCKETS
        )
        self.start_calls = Histogram(
            f"{prefix}start_api_calls",
            "Calls of the API server for one start",
            ["source"],
            registry=self.registry,
            buckets=(2, 3, 4, 5, 6, 8, 10, 15, 20, 50),
        )
        self.claim_seconds = Histogram(
            f"{prefix}claim_seconds",
            "From the choice of a blank pod to its claim",
            registry=self.registry,
            buckets=_BUCKETS,
        )
        self.claim_conflicts = Counter(
            f"{prefix}claim_conflicts", "Claims of a pod that was not to be had", registry=self.registry
        )
        self.warm_pods = Gauge(
            f"{prefix}warm_pods",
            "Blank pods that can be claimed now",
            ["namespace", "template"],
            registry=self.registry,
        )
        self.queue_age = Gauge(
            f"{prefix}queue_age_seconds", "Time that the longest waiting key has waited", registry=self.registry
        )
        self.assume_role_seconds = Histogram(
            f"{prefix}assume_role_seconds",
            "Time of an AssumeRole for a workspace",
            ["result"],
            registry=self.registry,
            buckets=_BUCKETS,
        )
        self.watch_events = Counter(f"{prefix}watch_events", "Watch events", ["resource"], registry=self.registry)
        self._begin_at_zero()

    def _begin_at_zero(self) -> None:
        """What is counted for the first time is an increase only where there was a 0 before."""
        for source in SOURCES:
            self.start_seconds.labels(source)
            self.start_calls.labels(source)
        for result in ("ok", "error"):
            self.assume_role_seconds.labels(result)

    def count_role(self, result: str, seconds: float) -> None:
        """One AssumeRole."""
        self.assume_role_seconds.labels(result).observe(seconds)

    def count_call(self, verb: str, resource: str, code: int, seconds: float) -> None:
        """One call of the API server; code 0: no answer."""
        self.api_seconds.labels(verb, resource).observe(seconds)
        if (tally := _TALLY.get()) is not None:
            tally[0] += 1
        self.api_calls.labels(verb, resource, str(code)).inc()

    @contextlib.contextmanager
    def tally_calls(self) -> Iterator[list[int]]:
        """Counts the calls that the code in this context makes, in the list's only element."""
        tally = [0]
        token = _TALLY.set(tally)
        try:
            yield tally
        finally:
            _TALLY.reset(token)

    def show_sessions(self, phases: Mapping[str, str], now: float) -> None:
        """How many sessions there are by phase, and how long the slowest takes to end, since this replica first saw it.

        Args:
            phases: By the sessions' uids.
            now: Seconds of a monotonic clock.
        """
        counts = Counts(phases.values())
        for phase in {*PHASES, *counts}:
            self.sessions.labels(phase).set(counts[phase])
        self._ending_since = {
            uid: self._ending_since.get(uid, now) for uid, phase in phases.items() if phase in _ENDING
        }
        self.ending_seconds.set(now - min(self._ending_since.values(), default=now))

    def show_warm_pods(self, counts: Mapping[tuple[str, str], int]) -> None:
        """How many pods of each namespace and template can be claimed."""
        self.warm_pods.clear()
        for (namespace, template), count in counts.items():
            self.warm_pods.labels(namespace, template).set(count)

    def render(self) -> bytes:
        """The text format."""
        return generate_latest(self.registry)
