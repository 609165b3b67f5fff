"""Builds the MCP server. Its handlers find the caller and the session in the HTTP request of each message."""

from __future__ import annotations

import importlib.metadata
from typing import TYPE_CHECKING, Any, Final

import mcp_types as types
from mcp.server import Server, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS

from sandbox_client.errors import InvalidArgument, NotFound, SandboxError
from sandbox_client.tools.facts import SessionFacts, describe_session
from sandbox_client.tools.mcp_server.version2 import describe_tool, to_call_result
from sandbox_client.tools.results import describe_content, failure_of
from sandbox_client.tools.schemas import TOOL_SPECS
from sandbox_gateway.doors.mcp.names import (
    ARGUMENT,
    HEADER,
    URI_TEMPLATE,
    StoredPath,
    choose_session,
    read_uri,
    with_session,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox_client.tools import ToolSpec
    from sandbox_gateway.backend import Backend, Caller
    from sandbox_gateway.doors.mcp.conversations import Conversations

PAGE: Final = 1_000
"""Resources of one page."""
_Context = ServerRequestContext[Any]
_SCHEMAS: Final = {spec.name: with_session(spec).schema for spec in TOOL_SPECS}


def build_server(backend: Backend, conversations: Conversations, own_session: Callable[[Caller], str]) -> Server[Any]:
    """Build the server.

    Args:
        backend: The sessions behind the gateway.
        conversations: The sessions that clients use.
        own_session: Returns the name of a caller's own session.
    """

    async def list_tools(context: _Context, _params: Any) -> types.ListToolsResult:
        caller, header = _origin(context)
        try:
            specs = await conversations.tools(caller, choose_session(own_session(caller), header, {})).specs()
        except SandboxError as error:
            raise _protocol_error(error) from error
        return types.ListToolsResult(tools=[describe_tool(_shown(spec, header)) for spec in specs])

    async def call_tool(context: _Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        caller, header = _origin(context)
        arguments = dict(params.arguments or {})
        try:
            calls = await conversations.calls(caller, choose_session(own_session(caller), header, arguments))
        except SandboxError as error:
            return to_call_result(failure_of(error))
        arguments.pop(ARGUMENT, None)
        progress = context.session.report_progress
        # In older revisions, the end of a connection is no wish of the client.
        may_cancel = context.protocol_version not in HANDSHAKE_PROTOCOL_VERSIONS
        return to_call_result(await calls.run(params.name, arguments, progress, may_cancel=may_cancel))

    async def list_resources(
        context: _Context, params: types.PaginatedRequestParams | None
    ) -> types.ListResourcesResult:
        caller, header = _origin(context)
        after = params.cursor if params is not None and params.cursor else ""
        try:
            session = choose_session(own_session(caller), header, {})
            files = await _stored_files(backend, caller, session)
        except SandboxError as error:
            raise _protocol_error(error) from error
        files = sorted((file for file in files if file[0].path > after), key=lambda file: file[0].path)
        resources = [
            types.Resource(uri=stored.uri, name=stored.name, title=stored.path, mime_type=stored.mime_type, size=size)
            for stored, size in files[:PAGE]
        ]
        cursor = files[PAGE - 1][0].path if len(files) > PAGE else None
        return types.ListResourcesResult(resources=resources, next_cursor=cursor)

    async def list_templates(_context: _Context, _params: Any) -> types.ListResourceTemplatesResult:
        template = types.ResourceTemplate(
            uri_template=URI_TEMPLATE,
            name="workspace file",
            description="A saved file of a session. The tool workspace_list lists them.",
        )
        return types.ListResourceTemplatesResult(resource_templates=[template])

    async def read_resource(context: _Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        caller, _ = _origin(context)
        try:
            stored = read_uri(str(params.uri))
            sandbox = await backend.connect(caller, stored.session)
            content = await sandbox.workspace.read(stored.path)
        except SandboxError as error:
            raise _protocol_error(error) from error
        return types.ReadResourceResult(contents=[_contents(stored, content)])

    return Server(
        "sandbox",
        version=importlib.metadata.version("sandbox-operator"),
        title="Code sandbox",
        instructions=describe_session(SessionFacts()),
        # Otherwise each call would list the tools to check its headers.
        get_tool_input_schema=_SCHEMAS.get,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=list_resources,
        on_list_resource_templates=list_templates,
        on_read_resource=read_resource,
    )


def _origin(context: _Context) -> tuple[Caller, str | None]:
    """Return who calls, and which session the request's header names."""
    request: Any = context.request
    caller: Caller = request.state.mcp_caller
    return caller, request.headers.get(HEADER)


def _shown(spec: ToolSpec, header: str | None) -> ToolSpec:
    return with_session(spec) if header is None else spec


async def _stored_files(backend: Backend, caller: Caller, session: str) -> list[tuple[StoredPath, int]]:
    """Return the saved files of a session. A list creates no session and wakes none."""
    try:
        sandbox = await backend.connect(caller, session, wake=False)
    except SandboxError as error:
        if isinstance(error, NotFound) or error.reason == "SUSPENDED":
            return []
        raise
    return [(StoredPath(session, file.path), file.size) for file in await sandbox.workspace.list()]


def _contents(stored: StoredPath, content: bytes) -> types.TextResourceContents | types.BlobResourceContents:
    described = describe_content(content, is_cut=False, limit=len(content))
    shown: dict[str, Any] = {"uri": stored.uri, "mime_type": stored.mime_type}
    if described["encoding"] == "text":
        return types.TextResourceContents(text=described["content"], **shown)
    return types.BlobResourceContents(blob=described["content"], **shown)


def _protocol_error(error: SandboxError) -> MCPError:
    """Return an error of the protocol, for requests whose results have no form for errors."""
    is_callers = isinstance(error, InvalidArgument | NotFound)
    return MCPError(types.INVALID_PARAMS if is_callers else types.INTERNAL_ERROR, str(error), data=error.to_dict())
