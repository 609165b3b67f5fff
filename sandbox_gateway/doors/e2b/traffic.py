"""The route for requests to a session's ports, which headers or the host name choose."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Match

from sandbox_client.errors import SandboxError, SandboxUnavailable, Unauthenticated
from sandbox_gateway.doors.e2b import identity
from sandbox_gateway.doors.e2b.envd.routes import Envd
from sandbox_gateway.doors.e2b.errors import closed_port, control_error, file_error, missing_sandbox
from sandbox_gateway.doors.e2b.interpreter.routes import Interpreter
from sandbox_gateway.doors.e2b.sessions import SandboxMissingError, Sessions
from sandbox_gateway.doors.e2b.unread_body import drain

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

MAX_FILE_BODY: Final = 5 << 30
"""Bytes of the files in one request. The session's own limits apply as well."""
_KEY: Final = "e2b_target"


class SandboxTraffic(BaseRoute):
    """Requests to envd and to the code interpreter of a session. Other ports belong to previews."""

    def __init__(self, sessions: Sessions) -> None:
        """Build the parts.

        Args:
            sessions: The sessions and who may use them.
        """
        self._sessions = sessions
        self._large_files = RequestBodyLimitMiddleware(self._app, MAX_FILE_BODY)
        self._services: dict[int, Envd | Interpreter] = {
            identity.ENVD_PORT: Envd(),
            identity.INTERPRETER_PORT: Interpreter(),
        }

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return whether a request is for one of the two ports."""
        if scope["type"] != "http":
            return Match.NONE, {}
        headers = Request(scope).headers
        target = identity.read_target(headers, headers.get("host", ""), scope["path"])
        if target is None or target.port not in self._services:
            return Match.NONE, {}
        return Match.FULL, {_KEY: target}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        app = self._large_files if scope["path"] == "/files" else self._app
        await app(scope, receive, send)

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        response = await self._serve(request, scope[_KEY])
        if response.status_code >= HTTPStatus.BAD_REQUEST:
            await drain(request)
        await response(scope, receive, send)

    async def _serve(self, request: Request, target: identity.Target) -> Response:
        is_health = target.port == identity.ENVD_PORT and request.method == "GET" and request.url.path == "/health"
        try:
            if is_health:
                await self._sessions.check_running(request, target)
                return Response(status_code=204)
            session = await self._sessions.open(request, target)
        except SandboxMissingError:
            status, body = missing_sandbox(target.sandbox_id)
            return JSONResponse(body, status_code=status)
        except SandboxUnavailable as error:
            if not is_health:
                return _refusal(error, target.port)
            status, body = closed_port(target.sandbox_id, target.port)
            return JSONResponse(body, status_code=status)
        except SandboxError as error:
            return _refusal(error, target.port)
        return await self._services[target.port].serve(session, request)


def _refusal(error: SandboxError, port: int) -> Response:
    if port == identity.INTERPRETER_PORT and not isinstance(error, Unauthenticated):
        status, body = control_error(error)
        return PlainTextResponse(body["message"], status_code=status)
    status, body = file_error(error)
    return JSONResponse(body, status_code=status)
