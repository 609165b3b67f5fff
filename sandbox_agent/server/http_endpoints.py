"""The plain HTTP port for kubelet and Prometheus: /livez, /readyz, /metrics. It tells nothing that is secret."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

TIMEOUT: Final = 5.0
"""Seconds for a whole request."""
_MAX_HEADERS: Final = 64


class HealthServer:
    """Answers 200 or 503.

    Attributes:
        port: Where it listens, once started.
    """

    def __init__(self, is_ready: Callable[[], bool], metrics: Callable[[], str] = str) -> None:
        self.port = 0
        self._metrics = metrics
        self._is_ready = is_ready
        self._server: asyncio.Server | None = None

    async def start(self, address: str, port: int) -> None:
        """Listen; port 0 chooses one."""
        self._server = await asyncio.start_server(self._serve, address, port, limit=4096)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A broken or slow request is nobody's error.
        with contextlib.suppress(OSError, TimeoutError, ValueError):
            async with asyncio.timeout(TIMEOUT):
                path = await _read_path(reader)
                writer.write(self._answer(path))
                await writer.drain()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    def _answer(self, path: str) -> bytes:
        if path == "/livez":
            status, body = "200 OK", "ok\n"
        elif path == "/readyz":
            status, body = ("200 OK", "ok\n") if self._is_ready() else ("503 Service Unavailable", "not ready\n")
        elif path == "/metrics":
            status, body = "200 OK", self._metrics()
        else:
            status, body = "404 Not Found", "try /livez, /readyz or /metrics\n"
        head = (
            f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        return (head + body).encode()


async def _read_path(reader: asyncio.StreamReader) -> str:
    """The request's path; "" where it is no GET."""
    words = (await reader.readline()).decode("latin-1").split()
    for _ in range(_MAX_HEADERS):
        if not (await reader.readline()).strip():
            break
    return words[1].partition("?")[0] if len(words) > 1 and words[0] == "GET" else ""
