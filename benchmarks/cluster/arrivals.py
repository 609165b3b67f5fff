"""Measures sessions that arrive at a fixed rate and are served from a warm pool."""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING, Final

from benchmarks.cluster import load
from benchmarks.cluster.operating import NAMESPACE, clean, set_pool

if TYPE_CHECKING:
    from benchmarks.cluster.control_plane import ControlPlane
    from benchmarks.cluster.operating import Operator
    from benchmarks.cluster.report import Report

POOL: Final = 1050
RATES: Final = (  # sessions per second, seconds, required p50 and p99 in ms
    (5, 10, 30, 120),
    (20, 10, 100, 400),
    (75, 10, None, None),
)
SMALL: Final = 40
LONG: Final = ((5, 30), (20, 30))
"""Sessions per second, and seconds, for a small pool that refills meanwhile. It has pods for at most eight seconds of
arrivals."""


def measure(plane: ControlPlane, operator: Operator, report: Report, *, is_quick: bool) -> None:
    """Fill a pool, then measure each rate, starting from a full pool."""
    pool = 60 if is_quick else POOL
    began = time.monotonic()
    set_pool(plane.api, pool)
    report.add(f"fill a pool of {pool}", "s", round(time.monotonic() - began, 1))
    for rate, seconds, p50, p99 in RATES[:1] if is_quick else RATES:
        set_pool(plane.api, pool)
        _measure_rate(plane, operator, report, f"warm start at {rate}/s x {seconds} s", (rate, seconds), (p50, p99))
        clean(plane.api)
    for rate, seconds in () if is_quick else LONG:
        small = SMALL * rate // 5
        set_pool(plane.api, small)
        what = f"start at {rate}/s x {seconds} s from a pool of {small}, filled up meanwhile"
        _measure_rate(plane, operator, report, what, (rate, seconds), (None, None))
        clean(plane.api)
    set_pool(plane.api, 0)


def _measure_rate(
    plane: ControlPlane,
    operator: Operator,
    report: Report,
    what: str,
    load_of: tuple[int, int],
    must: tuple[int | None, int | None],
) -> None:
    time.sleep(7)  # A pool remembers claims for five seconds.
    rate, seconds = load_of
    calls, began = _calls(operator), time.monotonic()
    cpu = {name: plane.cpu_seconds(name) for name in ("operator", "apiserver", "etcd")}
    arrivals = asyncio.run(load.run(plane.api, NAMESPACE, f"r{rate}-{seconds}", rate, seconds, 60))
    total = rate * seconds
    report_arrivals(report, what, arrivals, must)
    wall = time.monotonic() - began
    for name, before in cpu.items():
        spent = plane.cpu_seconds(name) - before
        report.add(f"{what}: CPU of {name}, the refill included", "% of a core", round(spent / wall * 100, 1))
    spent_calls = {key: round((value - calls.get(key, 0)) / total, 2) for key, value in _calls(operator).items()}
    for key, value in sorted(spent_calls.items()):
        if value:
            report.add(f"{what}: {key}, the refill included", "calls a session", value)


def report_arrivals(report: Report, what: str, arrivals: load.Arrivals, must: tuple[int | None, int | None]) -> None:
    """Add the rows of one load. `must` has the required p50 and p99 in ms."""
    report.add(f"{what}: Ready", "sessions", len(arrivals.ready), len(arrivals.due), at_least=True)
    report.add(f"{what}: p50", "ms", arrivals.quantile(0.5), must[0])
    report.add(f"{what}: p99", "ms", arrivals.quantile(0.99), must[1])
    drained = max(arrivals.ready.values(), default=float("inf")) - max(arrivals.due.values())
    report.add(f"{what}: last Ready after the last arrival", "s", round(drained, 2), 20)
    report.add(f"{what}: from a warm pod", "sessions", arrivals.sources.get("Warm", 0))
    pods = list(arrivals.pods.values())
    report.add(f"{what}: pods that two sessions have", "pods", len(pods) - len(set(pods)), 0)
    reported = sorted(arrivals.reported)
    report.add(f"{what}: startup.milliseconds p50", "ms", reported[len(reported) // 2] if reported else None)


def _calls(operator: Operator) -> dict[str, float]:
    found = re.findall(r"^sandbox_operator_api_calls_total{([^}]*)} (\S+)$", operator.metrics(), re.MULTILINE)
    result = {}
    for labels, count in found:
        names = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        if names["resource"] != "leases":
            result[f"{names['verb']} {names['resource']} {names['code']}"] = float(count)
    return result
