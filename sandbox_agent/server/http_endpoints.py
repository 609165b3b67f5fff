"""Serves /livez, /readyz and /metrics over plain HTTP, for kubelet and Prometheus. It reveals nothing secret.

The few metrics are written by hand: prometheus_client would add 1.8 MiB to each agent and 40 ms to its start.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox_agent.storage.workspace import Workspace

REQUEST_TIMEOUT: Final = 5.0
"""Seconds for a whole request."""
_MAX_HEADERS: Final = 64


class HttpEndpoints:
    """The HTTP server.

    Args:
        is_ready: Decides whether /readyz answers 200 or 503.
        render: Returns the text of /metrics.

    Attributes:
        port: Port that it listens on, once started.
    """

    def __init__(self, is_ready: Callable[[], bool], render: Callable[[], str]) -> None:
        self.port = 0
        self._render = render
        self._is_ready = is_ready
        self._server: asyncio.Server | None = None

    async def start(self, address: str, port: int) -> None:
        """Listen. Port 0 means any free port."""
        self._server = await asyncio.start_server(self._serve, address, port, limit=4096)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A broken or slow request does not matter to the agent.
        with contextlib.suppress(OSError, TimeoutError, ValueError):
            async with asyncio.timeout(REQUEST_TIMEOUT):
                path = await _read_path(reader)
                writer.write(self._respond(path))
                await writer.drain()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    def _respond(self, path: str) -> bytes:
        if path == "/livez":
            status, body = "200 OK", "ok\n"
        elif path == "/readyz":
            status, body = ("200 OK", "ok\n") if self._is_ready() else ("503 Service Unavailable", "not ready\n")
        elif path == "/metrics":
            status, body = "200 OK", self._render()
        else:
            status, body = "404 Not Found", "try /livez, /readyz or /metrics\n"
        head = (
            f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        return (head + body).encode()


async def _read_path(reader: asyncio.StreamReader) -> str:
    """Return the path of a GET request, or "" for any other request."""
    words = (await reader.readline()).decode("latin-1").split()
    for _ in range(_MAX_HEADERS):
        if not (await reader.readline()).strip():
            break
    return words[1].partition("?")[0] if len(words) > 1 and words[0] == "GET" else ""


def render_metrics(workspace: Workspace | None) -> str:
    """Return the metrics about saving in Prometheus's text format.

    The text is empty without a workspace. It has the lag and the pushes only if changes are saved automatically.
    """
    if workspace is None:
        return ""
    families: list[tuple[str, str, str, object]] = [
        (
            "sandbox_workspace_saved_bytes_total",
            "counter",
            "Bytes of files that pushes uploaded.",
            workspace.saved_bytes,
        )
    ]
    saving = workspace.autosave
    if saving is not None:
        families += [
            ("sandbox_workspace_lag_seconds", "gauge", "Age of the oldest unsaved change.", f"{saving.lag:.3f}"),
            ("sandbox_workspace_pushes_total", "counter", "Automatic pushes that succeeded.", saving.pushes),
            ("sandbox_workspace_push_failures_total", "counter", "Automatic pushes that failed.", saving.failures),
        ]
    return "".join(
        f"# HELP {name} {text}\n# TYPE {name} {kind}\n{name} {value}\n" for name, kind, text, value in families
    )
