"""Measures sessions on a real node: warm and cold starts compared with an idle pod, in turns, then arrivals."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.cluster import load
from benchmarks.cluster.arrivals import report_arrivals
from benchmarks.cluster.operating import COLLECTION, NAMESPACE, clean, set_pool
from benchmarks.cluster.real_node import COLD, WARM, build_shape, open_node
from sandbox_client import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    import aiohttp

    from benchmarks.cluster.real_node import RealNode
    from benchmarks.cluster.report import Report

ROUNDS: Final = 20
POOL: Final = 55
RATE: Final = (5, 10)
MUST: Final = (30, 120)
_START_TIMEOUT: Final = 120.0
_FILL_SECONDS: Final = 600.0
_MAX_USE: Final = 0.25
"""Share of the processors that may be in use when a start begins."""
_QUIET_TIMEOUT: Final = 5.0
_BARE: Final = "bare"
_SHAPE: Final = "shape"
"""A session's pod with all its volumes, but containers that sleep. It shows the node's own part of a cold start."""
_PODS: Final = f"/api/v1/namespaces/{NAMESPACE}/pods"
_SESSIONS: Final = f"{COLLECTION}/sandboxsessions"


@dataclass
class Sightings:
    """The times at which each object of a kind was first seen, Ready and deleted, and its last version."""

    created: dict[str, float] = field(default_factory=dict)
    ready: dict[str, float] = field(default_factory=dict)
    deleted: dict[str, float] = field(default_factory=dict)
    last: dict[str, dict[str, Any]] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self, event: dict[str, Any], now: float) -> None:
        """Record an event of the watch and the time of its arrival."""
        raw = event["object"]
        name = raw["metadata"].get("name", "")
        self.last[name] = raw
        self.created.setdefault(name, now)
        if event["type"] == "DELETED":
            self.deleted[name] = now
        elif _is_ready(raw.get("status") or {}):
            self.ready.setdefault(name, now)
        self._changed.set()

    async def wait(self, name: str, moments: dict[str, float]) -> float:
        """Wait until an object is in one of the maps above, and return its time there."""
        async with asyncio.timeout(_START_TIMEOUT):
            while name not in moments:
                self._changed.clear()
                await self._changed.wait()
        return moments[name]


@dataclass
class Starts:
    """Milliseconds of each start, by kind."""

    ready: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    result: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Time to the first result, through the SDK."""


def measure(report: Report, *, is_quick: bool) -> None:
    """Start a node and measure starts and arrivals. `is_quick` only checks that the measurement works."""
    rounds, pool, (rate, seconds) = (2, 6, (2, 2)) if is_quick else (ROUNDS, POOL, RATE)
    with open_node() as node:
        starts = asyncio.run(_take_starts(node, rounds))
        _report_starts(report, starts, rounds)
        measure_arrivals(node, report, pool, (rate, seconds))


def measure_arrivals(node: RealNode, report: Report, pool: int, load_of: tuple[int, int]) -> None:
    """Measure arrivals at a fixed rate, from a full pool whose pods have finished their start-up work."""
    rate, seconds = load_of
    began = time.monotonic()
    set_pool(node.api, pool, _FILL_SECONDS)
    report.add(f"fill a pool of {pool}", "s", round(time.monotonic() - began, 1))
    with node.closed():
        # Pods are Ready before their interpreters have finished the preloads.
        _wait_until_quiet(_FILL_SECONDS)
        report.add(f"fill a pool of {pool}, until nothing is at work", "s", round(time.monotonic() - began, 1))
        arrivals = asyncio.run(load.run(node.api, NAMESPACE, "arrival", rate, seconds, 60))
    report_arrivals(report, f"warm start at {rate}/s x {seconds} s", arrivals, MUST)
    set_pool(node.api, 0)
    clean(node.api)


def _report_starts(report: Report, starts: Starts, rounds: int) -> None:
    bare, shape = (statistics.median(starts.ready[name]) for name in (_BARE, _SHAPE))
    report.compare(
        f"a session's pod whose containers sleep, create to Ready, beside a bare pod, p50 of {rounds}", "ms",
        shape, bare, None, at_least=False,
    )  # fmt: skip
    for name, must in ((COLD, 1.3), (WARM, None)):
        what = "cold" if name == COLD else "warm"
        for end, taken, goal in (("Ready", starts.ready, must), ("the first result of print(1)", starts.result, None)):
            ours = statistics.median(taken[name])
            report.compare(
                f"{what} start, create to {end}, beside a bare pod's to Ready, p50 of {rounds}", "ms", ours, bare,
                goal, at_least=False,
            )  # fmt: skip
            report.add(f"{what} start, create to {end}, slowest of {rounds}", "ms", max(taken[name]))
    report.compare(
        f"cold start, create to Ready, beside such a pod, p50 of {rounds}", "ms",
        statistics.median(starts.ready[COLD]), shape, None, at_least=False,
    )  # fmt: skip
    report.add(f"a bare pod, create to Ready, slowest of {rounds}", "ms", max(starts.ready[_BARE]))


async def _take_starts(node: RealNode, rounds: int) -> Starts:
    """Take the starts of all kinds in a changing order. The pool is full and quiet before each start."""
    starts, kinds = Starts(), [_BARE, COLD, _SHAPE, WARM]
    specs = {_BARE: _build_bare(node.image), _SHAPE: build_shape(node.api)}
    with _pool_of_two(node):
        async with node.api.open_http() as http, _watching(http, _PODS) as pods, _watching(http, _SESSIONS) as sessions:
            # The first round pays for imports and caches on both sides, so it does not count.
            for number in range(rounds + 1):
                for kind in kinds[number % 4 :] + kinds[: number % 4]:
                    await asyncio.to_thread(set_pool, node.api, 2)
                    await asyncio.to_thread(_wait_until_quiet)
                    name, kept = f"{kind}-{number}", starts if number else Starts()
                    if kind in specs:
                        await _start_pod(http, pods, specs[kind], name, kept.ready[kind])
                    else:
                        await _start_session(node, (pods, sessions), kind, name, kept)
                print(f"round {number} of {rounds}: {_describe_last(starts)}", flush=True)
    return starts


def _describe_last(starts: Starts) -> str:
    return ", ".join(f"{kind} {taken[-1]:.0f}" for kind, taken in starts.ready.items()) or "does not count"


@contextlib.contextmanager
def _pool_of_two(node: RealNode) -> Iterator[None]:
    set_pool(node.api, 2, _FILL_SECONDS)
    try:
        yield
    finally:
        set_pool(node.api, 0)


@contextlib.asynccontextmanager
async def _watching(http: aiohttp.ClientSession, collection: str) -> Any:
    sightings = Sightings()
    async with load.watch(http, collection, sightings.note):
        yield sightings


def _build_bare(image: str) -> dict[str, Any]:
    container = {"name": "main", "image": image, "command": ["sleep", "3600"]}
    return {"containers": [container], "automountServiceAccountToken": False, "enableServiceLinks": False}


async def _start_pod(
    http: aiohttp.ClientSession, pods: Sightings, spec: dict[str, Any], name: str, taken: list[float]
) -> None:
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
    async with http.post(_PODS, json=body) as answer:
        answer.raise_for_status()
    ready = await pods.wait(name, pods.ready)
    taken.append((ready - pods.created[name]) * 1e3)
    async with http.delete(f"{_PODS}/{name}", json={"gracePeriodSeconds": 0}) as answer:
        answer.raise_for_status()
    await pods.wait(name, pods.deleted)


async def _start_session(
    node: RealNode, seen: tuple[Sightings, Sightings], template: str, name: str, starts: Starts
) -> None:
    pods, sessions = seen
    seconds = await asyncio.to_thread(_take_first_result, node, template, name)
    ready = await sessions.wait(name, sessions.ready)
    status = sessions.last[name]["status"]
    wanted = "Cold" if template == COLD else "Warm"
    if status["startup"]["source"] != wanted:
        raise RuntimeError(f"session {name} started {status['startup']}, not {wanted}")
    starts.ready[template].append((ready - sessions.created[name]) * 1e3)
    starts.result[template].append(seconds * 1e3)
    await asyncio.to_thread(node.api.call, "DELETE", f"{_SESSIONS}/{name}")
    await pods.wait(status["podName"], pods.deleted)


def _take_first_result(node: RealNode, template: str, name: str) -> float:
    began = time.monotonic()
    with Sandbox.create(
        name, template=template, namespace=NAMESPACE, kubeconfig=node.kubeconfig, in_cluster=True
    ) as sandbox:
        done = sandbox.run_code("print(1)")
        seconds = time.monotonic() - began
    if done.stdout != "1\n":
        raise RuntimeError(f"session {name} printed {done}")
    return seconds


def _is_ready(status: dict[str, Any]) -> bool:
    """Return whether a session or pod is Ready."""
    return any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions") or [])


def _wait_until_quiet(timeout: float = _QUIET_TIMEOUT) -> None:
    """Wait until the work after the last start is done: preloads, refills, deletions.

    Give up after `timeout` seconds, because other programs on this machine may never be quiet.
    """
    until = time.monotonic() + timeout
    while _measure_use(0.5) > _MAX_USE and time.monotonic() < until:
        pass


def _measure_use(seconds: float) -> float:
    """Measure for some seconds which share of this machine's processors is in use."""
    idle, total = _read_times()
    time.sleep(seconds)
    idle_then, total_then = _read_times()
    return 1 - (idle_then - idle) / max(1, total_then - total)


def _read_times() -> tuple[int, int]:
    times = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return times[3] + times[4], sum(times)
