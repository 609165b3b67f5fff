"""HTTP endpoints for the kubelet and Prometheus: /livez, /healthz, /readyz and /metrics."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final

from aiohttp import web

from sandbox_proto.connection_limits import ConnectionGuard, raise_descriptor_limit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sandbox_operator.metrics import Metrics


_KEEP_ALIVE: Final = 5.0
"""Seconds that a connection stays open without a request. The guard ends every connection after 20 s."""


@asynccontextmanager
async def serve_health(
    health_port: int, metrics_port: int, find_problem: Callable[[], str], metrics: Metrics, refresh: Callable[[], None]
) -> AsyncIterator[list[int]]:
    """Serve while the context lasts, and yield the ports in use.

    Args:
        health_port: Port for probes; 0 for any free port.
        metrics_port: Port for Prometheus. If it equals `health_port`, one server serves both.
        find_problem: Returns why the operator is not ready, or "".
        metrics: The metrics that /metrics serves.
        refresh: Called before metrics are served, to update gauges.
    """

    async def live(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def ready(_: web.Request) -> web.Response:
        reason = find_problem()
        return web.Response(text=f"{reason or 'ok'}\n", status=503 if reason else 200)

    async def show_metrics(_: web.Request) -> web.Response:
        refresh()
        return web.Response(body=metrics.render(), headers={"Content-Type": "text/plain; version=0.0.4"})

    health, scraped = web.Application(), web.Application()
    health.router.add_get("/livez", live)
    health.router.add_get("/healthz", live)
    health.router.add_get("/readyz", ready)
    same = health_port == metrics_port and health_port != 0
    (health if same else scraped).router.add_get("/metrics", show_metrics)
    guard = ConnectionGuard()
    raise_descriptor_limit()
    async with AsyncExitStack() as stack:
        stack.callback(guard.close)
        ports = [await _start(stack, health, health_port)]
        if not same:
            ports.append(await _start(stack, scraped, metrics_port))
        for port in ports:
            guard.watch(port)
        yield ports


async def _start(stack: AsyncExitStack, application: web.Application, port: int) -> int:
    runner = web.AppRunner(application, access_log=None, keepalive_timeout=_KEEP_ALIVE)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    # Listen on all addresses, because the kubelet and Prometheus connect from outside the pod.
    site = web.TCPSite(runner, "", port)
    await site.start()
    return int(runner.addresses[0][1])
