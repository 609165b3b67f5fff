"""Serves the tools over the Model Context Protocol, on stdio or streamable HTTP. Needs the [mcp] extra.

A server has one sandbox, so all clients of an HTTP server share its variables and files. The HTTP server has no
authentication of its own and therefore listens on loopback only.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import importlib.metadata
import ipaddress
from typing import TYPE_CHECKING, Any, Final

import mcp_types as types
import uvicorn
from mcp.server import Server, ServerRequestContext
from mcp.server.stdio import stdio_server

from sandbox_client.errors import InvalidArgument
from sandbox_client.tools import TOOL_SPECS, SandboxTools, ToolResult, ToolSpec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sandbox_client.models.workspace_status import Progress

MAX_REQUEST_BYTES: Final = 64 << 20
"""Maximum size of one HTTP request. A `workspace_write` carries its file."""
HTTP_PATH: Final = "/mcp"
INSTRUCTIONS: Final = """\
An isolated sandbox that runs Python, JavaScript, TypeScript and shell commands. Variables and files persist between \
calls. Files that should outlive the session must be saved to the workspace (output_filename, ci_push_to_workspace)."""


def build_server(tools: SandboxTools) -> Server[dict[str, Any]]:
    """Build the server.

    Args:
        tools: The tools. They are closed with the server.
    """

    async def list_tools(
        _context: ServerRequestContext[dict[str, Any]], _params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[_describe(spec) for spec in TOOL_SPECS])

    async def call_tool(
        context: ServerRequestContext[dict[str, Any]], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        async with _progress(context) as report:
            return _to_mcp(await tools.call(params.name, params.arguments, on_progress=report))

    @contextlib.asynccontextmanager
    async def lifespan(_server: Server[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
        try:
            yield {}
        finally:
            await tools.close()

    return Server(
        "sandbox",
        version=importlib.metadata.version("sandbox-operator"),
        title="Code sandbox",
        instructions=INSTRUCTIONS,
        lifespan=lifespan,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


async def serve_stdio(tools: SandboxTools) -> None:
    """Serve one client on standard input and output, until it disconnects."""
    server = build_server(tools)
    async with stdio_server() as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())


async def serve_http(tools: SandboxTools, address: str) -> None:
    """Serve streamable HTTP at `http://HOST:PORT/mcp`, until Ctrl-C.

    Args:
        tools: The tools.
        address: `HOST:PORT` or `PORT`. The host must be a loopback address.

    Raises:
        InvalidArgument: The address is malformed, or not on loopback.
    """
    host, port = parse_address(address)
    app = build_server(tools).streamable_http_app(
        host=host, streamable_http_path=HTTP_PATH, max_request_body_size=MAX_REQUEST_BYTES
    )
    config = uvicorn.Config(app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=2)
    await uvicorn.Server(config).serve()


def parse_address(address: str) -> tuple[str, int]:
    """Parse `HOST:PORT` or `PORT`. The default host is 127.0.0.1.

    Raises:
        InvalidArgument: The address is malformed, or not on loopback. Every client that reaches the port can run code.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    if not port.isdecimal() or int(port) > 0xFFFF:  # noqa: PLR2004 - the largest port
        raise InvalidArgument(f"{address!r} is not HOST:PORT", field="http")
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address("127.0.0.1" if host == "localhost" else host).is_loopback:
            return host, int(port)
    raise InvalidArgument(
        f"{host} is not a loopback address, and this server does not authenticate clients. Serve on 127.0.0.1 and "
        "put an authenticating proxy or a tunnel in front",
        field="http",
    )


def _describe(spec: ToolSpec) -> types.Tool:
    return types.Tool(
        name=spec.name,
        description=spec.description,
        input_schema=dict(spec.schema),
        annotations=types.ToolAnnotations(read_only_hint=spec.is_read_only),
    )


def _to_mcp(result: ToolResult) -> types.CallToolResult:
    images = [
        types.ImageContent(data=base64.b64encode(image.data).decode(), mime_type=image.mime_type)
        for image in result.images
    ]
    return types.CallToolResult(content=[types.TextContent(text=result.text), *images], is_error=result.is_error)


@contextlib.asynccontextmanager
async def _progress(context: ServerRequestContext[dict[str, Any]]) -> AsyncIterator[Any]:
    """Yield a callback for progress, and send its latest value to the client while the call runs."""
    changed = asyncio.Event()
    latest: Progress | None = None
    reported = -1

    def report(progress: Progress) -> None:
        nonlocal latest
        latest = progress
        changed.set()

    async def send() -> None:
        nonlocal reported
        # The protocol requires increasing progress.
        if latest is not None and latest.files_done > reported:
            reported = latest.files_done
            message = f"{latest.bytes_done} of {latest.bytes_total} bytes"
            await context.session.report_progress(reported, latest.files_total or None, message)

    async def follow() -> None:
        while True:
            await changed.wait()
            changed.clear()
            await send()

    follower = asyncio.create_task(follow())
    try:
        yield report
        await send()
    finally:
        follower.cancel()
        await asyncio.gather(follower, return_exceptions=True)
