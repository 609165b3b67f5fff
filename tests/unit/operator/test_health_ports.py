"""The operator's ports under floods: strangers use up their own allowance, and probes and scrapes are served."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path

import aiohttp
import pytest

from sandbox_operator.app import health
from sandbox_operator.app.health import serve_health
from sandbox_operator.metrics import Metrics
from sandbox_proto import tcp_sockets
from sandbox_proto.connection_limits import ConnectionGuard, Limits


def serve():
    """Serve on two free ports, each for IPv4 and IPv6. Port 0 would choose another one for each of them."""
    with socket.create_server(("", 0)) as one, socket.create_server(("", 0)) as other:
        free = [each.getsockname()[1] for each in (one, other)]
    return serve_health(*free, lambda: "", Metrics(), lambda: None)


@pytest.fixture
async def ports():
    async with serve() as ports:
        yield ports


@pytest.fixture(params=["health", "metrics"])
def served(request, ports):
    """A port, and a path on it."""
    return {"health": (ports[0], "/livez"), "metrics": (ports[1], "/metrics")}[request.param]


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def answers(served, seconds=10.0) -> bool:
    port, path = served
    timeout = aiohttp.ClientTimeout(total=seconds)
    async with aiohttp.ClientSession(timeout=timeout) as session, session.get(f"http://127.0.0.1:{port}{path}") as got:
        return got.status == 200


def connect(port, count):
    stack = contextlib.ExitStack()
    for _ in range(count):
        with contextlib.suppress(OSError):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
    return stack


def accepted(port) -> int:
    return len(list(tcp_sockets.list_connections({port})))


async def until_at_most(port, count):
    async with asyncio.timeout(4):  # aiohttp itself closes a connection after five seconds
        while accepted(port) > count:  # noqa: ASYNC110 - nothing else says when a socket is closed
            await asyncio.sleep(0.02)


async def test_a_flood_of_idle_connections_is_bounded_and_probes_are_answered(served):
    before = descriptors()
    with await asyncio.to_thread(connect, served[0], 400):
        await until_at_most(served[0], Limits().strangers_per_peer + 5)
        # From the flooder's address, where a newer connection may displace it. The kubelet has another.
        assert any([await answered(served) for _ in range(3)])
    await until_at_most(served[0], 0)
    assert descriptors() <= before + 2


async def answered(served) -> bool:
    with contextlib.suppress(aiohttp.ClientError, TimeoutError):
        return await answers(served)
    return False


async def test_a_silent_or_slow_connection_is_closed_in_time(monkeypatch):
    monkeypatch.setattr(health, "ConnectionGuard", lambda: ConnectionGuard(Limits(stranger_seconds=0.3)))
    async with serve() as ports:
        _, silent = await asyncio.open_connection("127.0.0.1", ports[0])
        _, slow = await asyncio.open_connection("127.0.0.1", ports[0])

        async def write_slowly():
            with contextlib.suppress(ConnectionError):
                while True:
                    slow.write(b"G")
                    await slow.drain()
                    await asyncio.sleep(0.05)

        writing = asyncio.create_task(write_slowly())
        await until_at_most(ports[0], 0)
        writing.cancel()
        silent.close()
        slow.close()


@pytest.mark.parametrize(
    "head", [b"GET /" + b"x" * 100_000, b"".join(b"X-%d: y\r\n" % number for number in range(100_000))]
)
async def test_endless_headers_are_refused(served, head):
    reader, writer = await asyncio.open_connection("127.0.0.1", served[0])
    answer = b""
    with contextlib.suppress(ConnectionError):
        writer.write((b"" if head.startswith(b"GET") else b"GET /livez HTTP/1.1\r\n") + head)
        async with asyncio.timeout(10):
            await writer.drain()
            answer = await reader.read(20)
    assert answer == b"" or b" 400 " in answer
    writer.close()
    assert await answers(served)
