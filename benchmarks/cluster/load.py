"""Sessions created by the clock, whether or not the ones before are ready, and the watch that sees them become it."""

from __future__ import annotations

import asyncio
import json
import math
import time
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from benchmarks.cluster.control_plane import TOKEN

PATH = "/apis/sandboxsessions.dev/v1alpha1"


@dataclass
class Arrivals:
    """What became of each session, by its name. Times by this process' monotonic clock."""

    due: dict[str, float] = field(default_factory=dict)
    ready: dict[str, float] = field(default_factory=dict)
    sources: dict[str, int] = field(default_factory=dict)
    pods: dict[str, str] = field(default_factory=dict)
    told: list[int] = field(default_factory=list)
    """`status.startup.milliseconds` of each."""

    def quantile(self, share: float) -> float:
        """Milliseconds from the scheduled start to the watch event that showed Ready."""
        times = sorted(self.ready[name] - self.due[name] for name in self.ready)
        return round(times[math.ceil(len(times) * share) - 1] * 1000, 1) if times else math.inf


async def run(server: str, namespace: str, prefix: str, rate: float, seconds: float, patience: float) -> Arrivals:
    """Create `rate` sessions a second for `seconds`; wait for the last one at most `patience` seconds."""
    arrivals = Arrivals()
    headers = {"Authorization": f"Bearer {TOKEN}"}
    collection = f"{server}{PATH}/namespaces/{namespace}/sandboxsessions"
    connector = aiohttp.TCPConnector(ssl=False, limit=100)
    async with aiohttp.ClientSession(headers=headers, connector=connector) as http:
        listed = await (await http.get(collection, params={"limit": "1"})).json()
        watching = asyncio.create_task(_watch(http, collection, listed["metadata"]["resourceVersion"], arrivals))
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
        until = time.monotonic() + patience
        while len(arrivals.ready) < total and time.monotonic() < until and not watching.done():  # noqa: ASYNC110 - with a deadline
            await asyncio.sleep(0.05)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
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


async def _watch(http: aiohttp.ClientSession, collection: str, version: str, arrivals: Arrivals) -> None:
    parameters = {"watch": "true", "resourceVersion": version, "allowWatchBookmarks": "true"}
    timeout = aiohttp.ClientTimeout(total=None)
    async with http.get(collection, params=parameters, timeout=timeout) as answer:
        buffer = b""
        async for chunk in answer.content.iter_any():
            *lines, buffer = (buffer + chunk).split(b"\n")
            now = time.monotonic()
            for line in lines:
                _note(json.loads(line), now, arrivals)


def _note(event: dict[str, Any], now: float, arrivals: Arrivals) -> None:
    raw = event["object"]
    name, status = raw["metadata"].get("name", ""), raw.get("status") or {}
    if status.get("phase") == "Ready" and name in arrivals.due and name not in arrivals.ready:
        arrivals.ready[name] = now
        startup = status.get("startup") or {}
        source = startup.get("source", "?")
        arrivals.sources[source] = arrivals.sources.get(source, 0) + 1
        arrivals.pods[name] = status.get("podName", "")
        arrivals.told.append(startup.get("milliseconds", 0))
