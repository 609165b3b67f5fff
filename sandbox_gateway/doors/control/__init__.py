"""Our own protocol: a small control API, described in docs/doors/control.md. Calls themselves go to the agent."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox_client.errors import Conflict, InvalidArgument, NotFound, SandboxError, Unauthenticated
from sandbox_gateway.access.requests import bearer_token, client_address
from sandbox_gateway.backends.limits import is_suspended, refuse_suspended
from sandbox_gateway.doors.control.messages import (
    read_new,
    read_object,
    read_seconds,
    write_endpoint,
    write_error,
    write_session,
    write_time,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from sandbox_gateway.backend import Caller
    from sandbox_gateway.gateway import Gateway

_BASE: Final = "/api/v1/sessions"
_ONE: Final = _BASE + "/{name}"
_MAX_BODY: Final = 1 << 20
_MAX_LINES: Final = 10_000


def build_routes(gateway: Gateway) -> list[BaseRoute]:
    """Return the routes."""
    door = ControlDoor(gateway)

    def route(path: str, method: str, handler: Callable[[Request, Caller], Awaitable[Response]]) -> Route:
        async def endpoint(request: Request) -> Response:
            return await door.answer(request, handler)

        return Route(path, endpoint, methods=[method], max_body_size=_MAX_BODY)

    return [
        route(_BASE, "POST", door.create),
        route(_BASE, "GET", door.list),
        route(_ONE, "GET", door.info),
        route(_ONE, "DELETE", door.delete),
        route(_ONE + "/connect", "POST", door.connect),
        route(_ONE + "/suspend", "POST", door.suspend),
        route(_ONE + "/resume", "POST", door.resume),
        route(_ONE + "/timeout", "PUT", door.set_timeout),
        route(_ONE + "/logs", "GET", door.logs),
    ]


class ControlDoor:
    """The handlers. Each one gets a request and its caller."""

    def __init__(self, gateway: Gateway) -> None:
        self._backend = gateway.backend
        self._access = gateway.access

    async def answer(self, request: Request, handler: Callable[[Request, Caller], Awaitable[Response]]) -> Response:
        """Find out who calls, run a handler, and return its response or its error."""
        try:
            caller = await self._caller(request)
            request.state.caller = caller.name
            return await handler(request, caller)
        except SandboxError as error:
            status, body = write_error(error)
            headers = {"www-authenticate": "Bearer"} if isinstance(error, Unauthenticated) else {}
            return JSONResponse(body, status, headers)

    async def create(self, request: Request, caller: Caller) -> Response:
        """Create a session and wait until it is Ready."""
        new = read_new(await _body(request))
        if new.name:
            # Other protocols create a session again to get it. Our SDK has `connect` for that.
            with contextlib.suppress(NotFound):
                await self._backend.get(caller, new.name)
                message = f"there is a session {new.name} already: connect to it, or choose another name"
                raise Conflict(message, reason="ALREADY_EXISTS", field="name")
        session = await self._backend.create(caller, new)
        return JSONResponse(write_session(session), 201)

    async def list(self, request: Request, caller: Caller) -> Response:
        """List sessions. `metadata=KEY=VALUE`, any number of times, selects some."""
        pairs = [each.partition("=") for each in request.query_params.getlist("metadata")]
        if not all(separator for _, separator, _ in pairs):
            raise InvalidArgument("metadata is not KEY=VALUE", field="metadata")
        found = await self._backend.list(caller, {key: value for key, _, value in pairs})
        return JSONResponse({"sessions": [write_session(each) for each in found]})

    async def info(self, request: Request, caller: Caller) -> Response:
        """Return a session."""
        return JSONResponse(write_session(await self._backend.get(caller, _name(request))))

    async def connect(self, request: Request, caller: Caller) -> Response:
        """Return what a client needs to dial a session's agent, and resume the session first if that is wanted."""
        name, wake = _name(request), read_object(await _body(request)).get("wake", True)
        session = await self._backend.get(caller, name)
        was_suspended = is_suspended(session)
        if was_suspended:
            if wake is not True:
                raise refuse_suspended(name)
            session = await self._backend.resume(caller, name)
        # A connection that follows its session would still have the address of an earlier run.
        sandbox = await self._backend.connect(caller, name, wake=False)
        found = {"session": write_session(session), "endpoint": write_endpoint(sandbox.endpoint)}
        return JSONResponse({**found, "was_suspended": was_suspended}, headers={"cache-control": "no-store"})

    async def suspend(self, request: Request, caller: Caller) -> Response:
        """Suspend a session."""
        return JSONResponse(write_session(await self._backend.suspend(caller, _name(request))))

    async def resume(self, request: Request, caller: Caller) -> Response:
        """Resume a session."""
        seconds = read_seconds(await _body(request), is_needed=False)
        return JSONResponse(write_session(await self._backend.resume(caller, _name(request), seconds)))

    async def set_timeout(self, request: Request, caller: Caller) -> Response:
        """Set a session's end."""
        seconds = read_seconds(await _body(request), is_needed=True) or 0.0
        ends = await self._backend.set_timeout(caller, _name(request), seconds)
        return JSONResponse({"expires_at": write_time(ends)})

    async def logs(self, request: Request, caller: Caller) -> Response:
        """Return the last lines of a session's logs."""
        tail = request.query_params.get("tail", "200")
        if not (tail.isascii() and tail.isdecimal()) or not 1 <= int(tail[:10]) <= _MAX_LINES:
            raise InvalidArgument(f"tail is not a number of 1 to {_MAX_LINES}", field="tail")
        return JSONResponse(dict(await self._backend.logs(caller, _name(request), int(tail))))

    async def delete(self, request: Request, caller: Caller) -> Response:
        """Delete a session."""
        await self._backend.delete(caller, _name(request))
        return Response(status_code=204)

    async def _caller(self, request: Request) -> Caller:
        peer = client_address(request)
        if key := request.headers.get("x-api-key"):
            return await self._access.by_key(key, peer=peer)
        token = bearer_token(request)
        if not token:
            message = "send an API key or a Kubernetes token in the header Authorization: Bearer"
            raise Unauthenticated(message, reason="UNAUTHENTICATED")
        namespace = request.headers.get("x-sandbox-namespace", "")
        return await self._access.by_bearer(token, peer=peer, namespace=namespace)


def _name(request: Request) -> str:
    return str(request.path_params["name"])


async def _body(request: Request) -> Any:
    """Return the body, which may be empty where all fields may be missing."""
    content = await request.body()
    try:
        return json.loads(content) if content else {}
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"the body is not JSON: {type(error).__name__}", field="body") from None
