"""Serves one client on stdio, or any number on loopback HTTP, until they or Ctrl-C end the server."""

from __future__ import annotations

import contextlib
import errno
import importlib.metadata
import ipaddress
import socket
from typing import TYPE_CHECKING, Any, Final

import anyio
import uvicorn
from mcp.server.stdio import stdio_server

from sandbox_client.errors import InvalidArgument, SessionFailed
from sandbox_client.tools.mcp_server.calls import Calls

if importlib.metadata.version("mcp").startswith("1."):
    from sandbox_client.tools.mcp_server import version1 as version
else:
    from sandbox_client.tools.mcp_server import version2 as version  # type: ignore[no-redef]

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox_client.tools import SandboxTools

MAX_REQUEST_BYTES: Final = 64 << 20
"""Maximum size of one HTTP request. A `workspace_write` carries its file."""
HTTP_PATH: Final = "/mcp"
_LISTEN_BACKLOG: Final = 128


async def build_server(tools: SandboxTools, calls: Calls | None = None) -> Any:
    """Build the server of the installed version of `mcp`. The caller closes the tools.

    Args:
        tools: The tools.
        calls: Runs the calls. By default, each cancel interrupts what the call runs.
    """
    return version.build_server(calls or Calls(tools), await tools.instructions())


async def serve_stdio(tools: SandboxTools) -> None:
    """Serve one client on standard input and output, until it disconnects. Then close the tools."""
    calls = Calls(tools)
    try:
        server = await build_server(tools, calls)
        async with stdio_server() as (incoming, outgoing), anyio.create_task_group() as group:
            sender, receiver = anyio.create_memory_object_stream[Any](0)

            async def pass_on() -> None:
                async with sender:
                    async for message in incoming:
                        await sender.send(message)
                    # The server then cancels all calls, without a wish of the client.
                    calls.is_closing = True

            group.start_soon(pass_on)
            await server.run(receiver, outgoing, server.create_initialization_options())
            group.cancel_scope.cancel()
    finally:
        await tools.close()


async def serve_http(
    tools: SandboxTools, address: str, *, on_listening: Callable[[str], object] = lambda _url: None
) -> None:
    """Serve streamable HTTP at `http://HOST:PORT/mcp`, until Ctrl-C. Then close the tools.

    Args:
        tools: The tools.
        address: `HOST:PORT` or `PORT`. The host must be a loopback address. Port 0 stands for any free port.
        on_listening: Called with the URL once clients can connect.

    Raises:
        InvalidArgument: The address is malformed, or not on loopback.
        SessionFailed: The port is in use, or not allowed.
    """
    host, port = parse_address(address)
    calls = Calls(tools)
    try:
        with _listen(host, port) as listener:
            app = version.build_app(await build_server(tools, calls), host, HTTP_PATH, MAX_REQUEST_BYTES)
            shown = f"[{host}]" if ":" in host else host
            on_listening(f"http://{shown}:{listener.getsockname()[1]}{HTTP_PATH}")
            server = _HttpServer(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2, ws="none"))
            server.calls = calls
            await server.serve(sockets=[listener])
    finally:
        await tools.close()


class _HttpServer(uvicorn.Server):
    """A server that knows that the end of its connections is not a wish of their clients."""

    calls: Calls

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.calls.is_closing = True
        await super().shutdown(sockets)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_LISTEN_BACKLOG)
    except OSError as error:
        reason = "another program listens there" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
        raise SessionFailed(
            f"cannot listen on port {port} of {host}: {reason}. Choose another port, or 0 for any free one",
            reason="PORT_UNAVAILABLE",
            field="http",
        ) from error


def parse_address(address: str) -> tuple[str, int]:
    """Parse `HOST:PORT` or `PORT`. The default host is 127.0.0.1.

    Raises:
        InvalidArgument: The address is malformed, or not on loopback. Every client that reaches the port can run code.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    if not port.isdecimal() or int(port) > 0xFFFF:  # noqa: PLR2004 - the largest port
        message = f"{address!r} is not an address to listen on: give HOST:PORT, such as 127.0.0.1:8765"
        raise InvalidArgument(message, field="http")
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address("127.0.0.1" if host == "localhost" else host).is_loopback:
            return host, int(port)
    raise InvalidArgument(
        f"{host} is not a loopback address, and this server does not authenticate clients. Serve on 127.0.0.1 and "
        "put an authenticating proxy or a tunnel in front",
        field="http",
    )
