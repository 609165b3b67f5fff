"""The Starlette application: all doors behind one address, with limits, an access log and a clean end."""

from __future__ import annotations

import contextlib
import importlib
import logging
import pkgutil
import time
from typing import TYPE_CHECKING, Any, Final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from sandbox_gateway import doors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from sandbox_gateway.gateway import Gateway

MAX_HEADERS: Final = 64 << 10
"""Bytes of a request's line and headers."""
MAX_HEADER_COUNT: Final = 100

_log: Final = logging.getLogger("sandbox_gateway.access")


def find_doors() -> list[str]:
    """Return the names of the doors: the packages in `doors/`."""
    return sorted(each.name for each in pkgutil.iter_modules(doors.__path__) if each.ispkg)


def build_app(gateway: Gateway, names: Sequence[str] | None = None) -> Starlette:
    """Build the application. Its end closes the backend's connections; sessions continue.

    Args:
        gateway: The sessions, who may use them, and the settings.
        names: The doors; all of them if None.
    """
    routes: list[BaseRoute] = []
    for name in find_doors() if names is None else names:
        routes += importlib.import_module(f"{doors.__name__}.{name}").build_routes(gateway)
    # Every path of a session's host belongs to the session, so what chooses by host comes first.
    routes.sort(key=lambda route: isinstance(route, Route | Mount | WebSocketRoute))

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await gateway.backend.close()

    middleware = [Middleware(AccessLog), Middleware(HeaderLimit)]
    if gateway.settings.proxies:
        # Failed logins are counted by the client's address.
        middleware.append(Middleware(ProxyHeadersMiddleware, trusted_hosts=[*gateway.settings.proxies]))
    return Starlette(
        routes=[*routes, Route("/healthz", _health)],
        lifespan=lifespan,
        middleware=middleware,
        max_body_size=gateway.settings.max_body,
    )


async def _health(_request: Request) -> Response:
    return PlainTextResponse("ok")


class AccessLog:
    """Logs each request without its query, headers and body, which may contain secrets."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, and log it at its end."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.monotonic(), 0

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        state: dict[str, Any] = scope.setdefault("state", {})
        try:
            await self.app(scope, receive, note)
        finally:
            _log.info(
                "%s %s%s %s %.1f ms caller=%s",
                scope["method"],
                _header(scope, b"host"),
                _printable(scope["path"]),
                status or "aborted",
                (time.monotonic() - started) * 1000,
                _printable(str(state.get("caller", "-"))),
            )


class HeaderLimit:
    """Refuses requests with too many or too large headers, also where the server has read them at once."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or refuse it with 431."""
        if scope["type"] == "http" and (text := _find_excess(scope)):
            await JSONResponse({"code": 431, "message": text}, status_code=431)(scope, receive, send)
            return
        await self.app(scope, receive, send)


def _find_excess(scope: Scope) -> str:
    headers = scope["headers"]
    if len(headers) > MAX_HEADER_COUNT:
        return f"the request has more than {MAX_HEADER_COUNT} headers"
    size = len(scope.get("raw_path") or b"") + len(scope["query_string"])
    if size + sum(len(name) + len(value) for name, value in headers) > MAX_HEADERS:
        return f"the address and the headers have more than {MAX_HEADERS >> 10} KiB"
    return ""


def _header(scope: Scope, name: bytes) -> str:
    return next((_printable(value.decode("latin-1")) for key, value in scope["headers"] if key == name), "")


def _printable(text: str) -> str:
    """Return a text from outside as one short line."""
    shown = "".join(each if each.isprintable() else "?" for each in text[:300])
    return shown.encode("ascii", "backslashreplace").decode()
