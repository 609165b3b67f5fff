"""Creates sessions at a fixed rate, whether or not earlier ones are Ready, and watches them become Ready."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from benchmarks.cluster.api import Api

PATH = "/apis/sandboxsessions.dev/v1alpha1"


@dataclass
class Arrivals:
    """The fate of each session, by its name. Times are of this process's monotonic clock."""

    due: dict[str, float] = field(default_factory=dict)
    ready: dict[str, float] = field(default_factory=dict)
    sources: dict[str, int] = field(default_factory=dict)
    pods: dict[str, str] = field(default_factory=dict)
    reported: list[int] = field(default_factory=list)
    """`status.startup.milliseconds` of each session."""

    def note(self, event: dict[str, Any], now: float) -> None:
        """Record an event of the watch and the time of its arrival."""
        raw = event["object"]
        name, status = raw["metadata"].get("name", ""), raw.get("status") or {}
        if status.get("phase") == "Ready" and name in self.due and name not in self.ready:
            self.ready[name] = now
            startup = status.get("startup") or {}
            source = startup.get("source", "?")
            self.sources[source] = self.sources.get(source, 0) + 1
            self.pods[name] = status.get("podName", "")
            self.reported.append(startup.get("milliseconds", 0))

    def quantile(self, share: float) -> float:
        """Return a quantile of the milliseconds from the scheduled start to the watch event that shows Ready."""
        times = sorted(self.ready[name] - self.due[name] for name in self.ready)
        return round(times[math.ceil(len(times) * share) - 1] * 1000, 1) if times else math.inf


async def run(
    api: Api,
    namespace: str,
    prefix: str,
    rate: float,
    seconds: float,
    timeout: float,  # noqa: ASYNC109 - it is a deadline for many sessions
) -> Arrivals:
    """Create `rate` sessions per second for `seconds`, then wait up to `timeout` seconds until all are Ready."""
    arrivals = Arrivals()
    collection = f"{PATH}/namespaces/{namespace}/sandboxsessions"
    async with api.open_http() as http, watch(http, collection, arrivals.note) as watching:
        await asyncio.sleep(0.5)
        began, total = time.monotonic() + 0.2, int(rate * seconds)
        creating = []
        for number in range(total):
            due = began + number / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            name = f"{prefix}-{number:05d}"
            arrivals.due[name] = due
            creating.append(asyncio.create_task(_create(http, collection, name)))
        await asyncio.gather(*creating)
        until = time.monotonic() + timeout
        while len(arrivals.ready) < total and time.monotonic() < until and not watching.done():  # noqa: ASYNC110 - with a deadline
            await asyncio.sleep(0.05)
    return arrivals


async def _create(http: aiohttp.ClientSession, collection: str, name: str) -> None:
    body = {
        "apiVersion": "sandboxsessions.dev/v1alpha1",
        "kind": "SandboxSession",
        "metadata": {"name": name},
        "spec": {"lifecycle": {"idleTimeout": "8h"}},
    }
    async with http.post(collection, json=body) as answer:
        if not answer.ok:
            raise RuntimeError(f"{answer.status} {await answer.text()}")
        await answer.read()


@contextlib.asynccontextmanager
async def watch(
    http: aiohttp.ClientSession, collection: str, note: Callable[[dict[str, Any], float], None]
) -> AsyncIterator[asyncio.Task[None]]:
    """Pass each new event of a collection, with the time of its arrival, to `note` during the block."""
    async with http.get(collection, params={"limit": "1"}) as answer:
        version = (await answer.json())["metadata"]["resourceVersion"]
    watching = asyncio.create_task(_watch(http, collection, version, note))
    try:
        yield watching
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def _watch(
    http: aiohttp.ClientSession, collection: str, version: str, note: Callable[[dict[str, Any], float], None]
) -> None:
    parameters = {"watch": "true", "resourceVersion": version, "allowWatchBookmarks": "true"}
    timeout = aiohttp.ClientTimeout(total=None)
    async with http.get(collection, params=parameters, timeout=timeout) as answer:
        buffer = b""
        async for chunk in answer.content.iter_any():
            *lines, buffer = (buffer + chunk).split(b"\n")
            now = time.monotonic()
            for line in lines:
                note(json.loads(line), now)
