"""What /metrics tells. One registry of our own, so that tests may have several."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
PHASES: Final = ("Pending", "Starting", "Ready", "Suspending", "Suspended", "Failed", "Terminating")


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
        self.api_calls = Counter(
            f"{prefix}api_calls", "Calls of the API server", ["verb", "resource", "code"], registry=self.registry
        )
        self.is_leader = Gauge(f"{prefix}is_leader", "1 where this replica leads", registry=self.registry)
        self.start_seconds = Histogram(
            f"{prefix}start_seconds", "From start to ready", ["source"], registry=self.registry, buckets=_BUCKETS
        )
        self.watch_events = Counter(f"{prefix}watch_events", "Watch events", ["resource"], registry=self.registry)

    def count_call(self, verb: str, resource: str, code: int) -> None:
        """One call of the API server; code 0: no answer."""
        self.api_calls.labels(verb, resource, str(code)).inc()

    def render(self) -> bytes:
        """The text format."""
        return generate_latest(self.registry)
