"""The endpoint: finds out who calls, and passes the request on to the MCP server."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from sandbox_client.errors import ResourceExhausted, SandboxError, Unauthenticated
from sandbox_gateway.access.requests import bearer_token, client_address
from sandbox_gateway.doors.mcp.conversations import Conversations
from sandbox_gateway.doors.mcp.metadata import challenge, metadata_routes
from sandbox_gateway.doors.mcp.missing import PATH
from sandbox_gateway.doors.mcp.names import default_session
from sandbox_gateway.doors.mcp.server import build_server

if TYPE_CHECKING:
    from starlette.routing import BaseRoute
    from starlette.types import Receive, Scope, Send

    from sandbox_gateway.backend import Caller
    from sandbox_gateway.gateway import Gateway, Settings

MAX_REQUEST_BYTES: Final = 64 << 20
"""Maximum size of one request. A `workspace_write` carries its file."""
_MISSING: Final = "MISSING"
NAMESPACE_HEADER: Final = "sandbox-namespace"
"""The header with the namespace that a Kubernetes user wants to use."""


def build_routes(gateway: Gateway) -> list[BaseRoute]:
    """Return the routes."""
    endpoint = Route(PATH, Endpoint(gateway), methods=["GET", "POST", "DELETE"])
    return [endpoint, *metadata_routes(gateway.settings)]


class Endpoint:
    """The ASGI application of the endpoint.

    Every replica can answer every request, so there are no protocol sessions: older clients get none either, and the
    revision of 2026-07-28 has none.

    Args:
        gateway: The sessions, and who may use them.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._access = gateway.access
        self._settings = gateway.settings

        def own_session(caller: Caller) -> str:
            return default_session(gateway.access.derive("mcp-session", caller.name))

        server = build_server(gateway.backend, Conversations(gateway.backend), own_session)
        self._manager = StreamableHTTPSessionManager(
            app=server, stateless=True, max_request_body_size=MAX_REQUEST_BYTES
        )
        self._running: asyncio.Task[None] | None = None
        self._started = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request of a caller who is known."""
        request = Request(scope, receive)
        try:
            token = bearer_token(request)
            if not token:
                message = "the request has no token: send the header `Authorization: Bearer KEY`"
                raise Unauthenticated(message, reason=_MISSING)
            namespace = request.headers.get(NAMESPACE_HEADER, "")
            caller = await self._access.by_bearer(token, peer=client_address(request), namespace=namespace)
        except SandboxError as error:
            await _refusal(error, self._settings)(scope, receive, send)
            return
        request.state.caller = caller.name
        request.state.mcp_caller = caller
        await self._start()
        await self._manager.handle_request(scope, receive, send)

    async def _start(self) -> None:
        """Start the server with the first request, in a task that outlives it."""
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        await self._started.wait()

    async def _run(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            async with self._manager.run():
                self._started.set()
                # The end of the event loop cancels this task.
                await asyncio.Event().wait()


def _refusal(error: SandboxError, settings: Settings) -> JSONResponse:
    """Return an error as RFC 6750 has it."""
    if isinstance(error, ResourceExhausted):
        return JSONResponse({"error": "slow_down", "error_description": error.message}, status_code=429)
    if not isinstance(error, Unauthenticated):
        return JSONResponse({"error": "server_error", "error_description": error.message}, status_code=503)
    body = {"error": "invalid_token", "error_description": error.message}
    header = challenge(settings, "" if error.reason == _MISSING else "invalid_token")
    return JSONResponse(body, status_code=401, headers={"WWW-Authenticate": header})
