"""The routes of E2B's control plane."""

from __future__ import annotations

import datetime as dt
import functools
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox_client.errors import Conflict, NotFound, NotSupported, SandboxError, Unauthenticated
from sandbox_gateway.access.requests import bearer_token, client_address
from sandbox_gateway.doors.e2b import identity, values
from sandbox_gateway.doors.e2b.control import bodies
from sandbox_gateway.doors.e2b.errors import control_error
from sandbox_gateway.doors.e2b.unread_body import drain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from sandbox_gateway.backend import Caller, GatewaySession
    from sandbox_gateway.doors.e2b.lookups import Lookups
    from sandbox_gateway.gateway import Gateway

_V1_SECONDS: Final = 15
_V2_SECONDS: Final = 300
UNSUPPORTED: Final[Mapping[str, str]] = {
    "POST /sandboxes/{id}/snapshots": "snapshots",
    "GET /snapshots": "snapshots",
    "POST /sandboxes/{id}/fork": "forks",
    "PUT /sandboxes/{id}/network": "changes of a sandbox's network",
    "GET /sandboxes/{id}/logs": "logs",
    "GET /v2/sandboxes/{id}/logs": "logs",
    "GET /templates": "templates, which are SandboxTemplates of the cluster,",
    "GET /v2/templates": "templates, which are SandboxTemplates of the cluster,",
    "POST /v3/templates": "builds of templates",
    "DELETE /templates/{id}": "snapshots and builds of templates",
    "GET /volumes": "volumes",
    "POST /volumes": "volumes",
    "GET /secrets": "secrets",
    "POST /secrets": "secrets",
}
"""Routes of E2B that are not served, each with the feature that an error names."""


class Control:
    """The handlers of the control plane."""

    def __init__(self, gateway: Gateway, lookups: Lookups) -> None:
        self._gateway = gateway
        self._lookups = lookups

    async def authenticate(self, request: Request) -> Caller:
        """Return who calls.

        Raises:
            Unauthenticated: The key is missing or wrong.
        """
        access = self._gateway.access
        peer = client_address(request)
        if key := request.headers.get("x-api-key", ""):
            caller = await access.by_key(key, peer=peer)
        else:
            token = bearer_token(request)
            if not token:
                raise Unauthenticated("the API key is missing: send it as X-API-KEY")
            caller = await access.by_bearer(token, peer=peer)
        request.state.caller = caller.name
        return caller

    async def create(self, caller: Caller, request: Request) -> Response:
        """Create a sandbox."""
        new = bodies.read_create(
            values.read_object(await request.body()),
            caller=f"{caller.namespace}/{caller.name}",
            idempotency_key=request.headers.get("idempotency-key", ""),
            default_seconds=_V2_SECONDS if request.url.path.startswith("/v2/") else _V1_SECONDS,
        )
        return self._connected(await self._gateway.backend.create(caller, new), 201)

    async def list(self, caller: Caller, request: Request) -> Response:
        """List a page of sandboxes, running and paused by default."""
        return await self._list(caller, request, bodies.STATES)

    async def list_running(self, caller: Caller, request: Request) -> Response:
        """List a page of sandboxes, running ones by default."""
        return await self._list(caller, request, ("running",))

    async def _list(self, caller: Caller, request: Request, states: tuple[str, ...]) -> Response:
        query = bodies.read_list(request.query_params, default_states=states)
        sessions = await self._gateway.backend.list(caller, query.metadata)
        page, token = bodies.select_page(sessions, query)
        headers = {"x-next-token": token} if token else {}
        return JSONResponse([bodies.listed_message(each) for each in page], headers=headers)

    async def get(self, caller: Caller, request: Request) -> Response:
        """Describe a sandbox."""
        session = await self._find(caller, request)
        token = self._token(session, identity.ENVD)
        return JSONResponse(bodies.detail_message(session, token=token, domain=self._gateway.settings.domain))

    async def kill(self, caller: Caller, request: Request) -> Response:
        """End a sandbox."""
        await self._gateway.backend.delete(caller, self._name(caller, request))
        return Response(status_code=204)

    async def connect(self, caller: Caller, request: Request) -> Response:
        """Resume a paused sandbox, or let a running one live longer if it would end before."""
        seconds = bodies.read_seconds(values.read_object(await request.body()), _V2_SECONDS)
        session = await self._find(caller, request)
        name = self._name(caller, request)
        if session.info.is_suspended:
            return self._connected(await self._gateway.backend.resume(caller, name, seconds), 201)
        if _ends_within(session, seconds):
            await self._gateway.backend.set_timeout(caller, name, seconds)
        return self._connected(session, 200)

    async def resume(self, caller: Caller, request: Request) -> Response:
        """Resume a paused sandbox."""
        seconds = bodies.read_seconds(values.read_object(await request.body()), _V1_SECONDS)
        session = await self._find(caller, request)
        if not session.info.is_suspended:
            raise Conflict(f"sandbox {request.path_params['id']} is running already", reason="ALREADY_RUNNING")
        name = self._name(caller, request)
        return self._connected(await self._gateway.backend.resume(caller, name, seconds), 201)

    async def pause(self, caller: Caller, request: Request) -> Response:
        """Save a sandbox's files, and end its processes."""
        values.read_object(await request.body())
        session = await self._find(caller, request)
        if session.info.is_suspended:
            raise Conflict(f"sandbox {request.path_params['id']} is paused already", reason="ALREADY_PAUSED")
        await self._gateway.backend.suspend(caller, self._name(caller, request), keep=True)
        return Response(status_code=204)

    async def set_timeout(self, caller: Caller, request: Request) -> Response:
        """Set a sandbox's end."""
        seconds = bodies.read_seconds(values.read_object(await request.body()))
        await self._gateway.backend.set_timeout(caller, self._name(caller, request), seconds)
        return Response(status_code=204)

    async def refresh(self, caller: Caller, request: Request) -> Response:
        """Let a sandbox live longer if it would end before."""
        seconds = bodies.read_seconds(values.read_object(await request.body()), _V1_SECONDS, "duration")
        if _ends_within(await self._find(caller, request), seconds):
            await self._gateway.backend.set_timeout(caller, self._name(caller, request), seconds)
        return Response(status_code=204)

    async def metrics(self, caller: Caller, request: Request) -> Response:
        """List no figures: sessions do not report any yet."""
        await self._find(caller, request)
        return JSONResponse([])

    async def all_metrics(self, _caller: Caller, _request: Request) -> Response:
        """List no figures: sessions do not report any yet."""
        return JSONResponse({"sandboxes": {}})

    def _connected(self, session: GatewaySession, status: int) -> Response:
        message = bodies.created_message(
            session,
            token=self._token(session, identity.ENVD),
            traffic_token=self._token(session, identity.TRAFFIC),
            domain=self._gateway.settings.domain,
        )
        return JSONResponse(message, status_code=status)

    def _token(self, session: GatewaySession, purpose: str) -> str:
        token = self._gateway.access.session_token(session, purpose)
        self._lookups.note_right(identity.sandbox_id(session.info), [token])
        return token

    async def _find(self, caller: Caller, request: Request) -> GatewaySession:
        return await self._gateway.backend.get(caller, self._name(caller, request))

    def _name(self, caller: Caller, request: Request) -> str:
        identifier = request.path_params["id"]
        namespace, name = identity.split_id(identifier)
        if namespace != caller.namespace:
            raise NotFound(f"sandbox {identifier} was not found", reason="NOT_FOUND")
        return name


def _ends_within(session: GatewaySession, seconds: float) -> bool:
    expires = session.info.expires_at
    return expires is not None and (expires - dt.datetime.now(dt.UTC)).total_seconds() < seconds


async def _refuse(what: str, _control: Control, _caller: Caller, _request: Request) -> Response:
    raise NotSupported(f"{what} are not supported", reason="NOT_SUPPORTED")


SUPPORTED: Final[Mapping[str, Any]] = {
    "POST /sandboxes": Control.create,
    "POST /v2/sandboxes": Control.create,
    "GET /sandboxes": Control.list_running,
    "GET /v2/sandboxes": Control.list,
    "GET /sandboxes/metrics": Control.all_metrics,
    "GET /sandboxes/{id}": Control.get,
    "DELETE /sandboxes/{id}": Control.kill,
    "POST /sandboxes/{id}/connect": Control.connect,
    "POST /v2/sandboxes/{id}/connect": Control.connect,
    "POST /sandboxes/{id}/pause": Control.pause,
    "POST /sandboxes/{id}/resume": Control.resume,
    "POST /sandboxes/{id}/timeout": Control.set_timeout,
    "POST /sandboxes/{id}/refreshes": Control.refresh,
    "GET /sandboxes/{id}/metrics": Control.metrics,
}


def build_control_routes(gateway: Gateway, lookups: Lookups) -> list[BaseRoute]:
    """Return the routes of the control plane.

    Args:
        gateway: The sessions and who may use them.
        lookups: Learns of each token that a client gets.
    """
    control = Control(gateway, lookups)
    handlers = {**SUPPORTED, **{route: functools.partial(_refuse, what) for route, what in UNSUPPORTED.items()}}
    return [_route(control, route, handler) for route, handler in handlers.items()]


def _route(control: Control, route: str, handler: Any) -> BaseRoute:
    method, _, path = route.partition(" ")

    async def serve(request: Request) -> Response:
        try:
            caller = await control.authenticate(request)
            response: Response = await handler(control, caller, request)
        except SandboxError as error:
            await drain(request)
            status, body = control_error(error)
            return JSONResponse(body, status_code=status)
        return response

    return Route(path, serve, methods=[method])
