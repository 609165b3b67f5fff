"""Builds the server with version 1 of the `mcp` package, for frameworks that do not support version 2."""

# The checks run with version 2, which has none of these names.
# mypy: disable-error-code="import-not-found, attr-defined, no-untyped-call, call-arg, call-overload, untyped-decorator"

from __future__ import annotations

import contextlib
import importlib.metadata
from typing import TYPE_CHECKING, Any

from mcp import types
from mcp.server.fastmcp.server import StreamableHTTPASGIApp
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sandbox_client.tools.mcp_server.calls import Calls


def build_server(calls: Calls, instructions: str) -> Any:
    """Build the server.

    Args:
        calls: Runs the calls.
        instructions: The text for the model's system prompt.
    """
    server: Any = Server("sandbox", version=importlib.metadata.version("sandbox-operator"), instructions=instructions)

    @server.list_tools()
    async def list_tools() -> list[Any]:
        return [
            types.Tool(
                name=spec.name,
                title=spec.title,
                description=spec.description,
                inputSchema=dict(spec.schema),
                annotations=types.ToolAnnotations(
                    title=spec.title,
                    readOnlyHint=spec.is_read_only,
                    destructiveHint=spec.is_destructive,
                    idempotentHint=spec.is_idempotent,
                    openWorldHint=spec.is_open_world,
                ),
            )
            for spec in await calls.tools.specs()
        ]

    # The tools check their arguments themselves, with errors that a model can act on.
    @server.call_tool(validate_input=False)
    async def call_tool(name: str, arguments: dict[str, Any]) -> Any:
        context = server.request_context
        token = context.meta.progressToken if context.meta else None

        async def send_progress(done: float, total: float | None, message: str) -> None:
            await context.session.send_progress_notification(token, done, total, message, str(context.request_id))

        result = await calls.run(name, arguments, None if token is None else send_progress)
        return types.CallToolResult.model_validate({"content": result.to_content("mcp"), "isError": result.is_error})

    return server


def build_app(server: Any, host: str, path: str, max_request_bytes: int) -> Any:
    """Return the ASGI application of a server.

    Args:
        server: What `build_server` returned.
        host: The loopback address that it listens on. Requests for other hosts are refused.
        path: The path of the endpoint.
        max_request_bytes: Maximum size of a request.
    """
    hosts = {host, "127.0.0.1", "localhost", "[::1]"}
    security = TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=[f"{name}:*" for name in hosts],
        allowed_origins=[f"http://{name}:*" for name in hosts],
    )
    manager = StreamableHTTPSessionManager(
        app=server, security_settings=security, max_request_body_size=max_request_bytes
    )

    @contextlib.asynccontextmanager
    async def lifespan(_app: Any) -> AsyncIterator[None]:
        async with manager.run():
            yield

    return Starlette(routes=[Route(path, endpoint=StreamableHTTPASGIApp(manager))], lifespan=lifespan)
