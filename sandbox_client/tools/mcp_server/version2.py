"""Builds the server with version 2 of the `mcp` package."""

from __future__ import annotations

import importlib.metadata
from typing import TYPE_CHECKING, Any

import mcp_types as types
from mcp.server import Server, ServerRequestContext

if TYPE_CHECKING:
    from sandbox_client.tools import ToolResult, ToolSpec
    from sandbox_client.tools.mcp_server.calls import Calls


def build_server(calls: Calls, instructions: str) -> Server[Any]:
    """Build the server.

    Args:
        calls: Runs the calls.
        instructions: The text for the model's system prompt.
    """

    async def list_tools(
        _context: ServerRequestContext[Any], _params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[describe_tool(spec) for spec in await calls.tools.specs()])

    async def call_tool(
        context: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        return to_call_result(await calls.run(params.name, params.arguments, context.session.report_progress))

    return Server(
        "sandbox",
        version=importlib.metadata.version("sandbox-operator"),
        title="Code sandbox",
        instructions=instructions,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def build_app(server: Server[Any], host: str, path: str, max_request_bytes: int) -> Any:
    """Return the ASGI application of a server.

    Args:
        server: What `build_server` returned.
        host: The loopback address that it listens on. Requests for other hosts are refused.
        path: The path of the endpoint.
        max_request_bytes: Maximum size of a request.
    """
    return server.streamable_http_app(host=host, streamable_http_path=path, max_request_body_size=max_request_bytes)


def describe_tool(spec: ToolSpec) -> types.Tool:
    """Return a tool as the protocol describes it."""
    return types.Tool(
        name=spec.name,
        title=spec.title,
        description=spec.description,
        input_schema=dict(spec.schema),
        annotations=types.ToolAnnotations(
            title=spec.title,
            read_only_hint=spec.is_read_only,
            destructive_hint=spec.is_destructive,
            idempotent_hint=spec.is_idempotent,
            open_world_hint=spec.is_open_world,
        ),
    )


def to_call_result(result: ToolResult) -> types.CallToolResult:
    """Return a tool's result as the protocol has it: the text, then the pictures."""
    return types.CallToolResult.model_validate({"content": result.to_content("mcp"), "isError": result.is_error})
