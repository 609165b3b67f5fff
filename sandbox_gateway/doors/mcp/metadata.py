"""Names the issuer of tokens to clients, as RFC 9728 has it: the metadata of a protected resource. Pure: no I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from starlette.responses import JSONResponse
from starlette.routing import Route

from sandbox_gateway.doors.mcp.missing import PATH

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from sandbox_gateway.gateway import Settings

WELL_KNOWN: Final = "/.well-known/oauth-protected-resource"


def metadata(settings: Settings) -> dict[str, Any]:
    """Return the metadata of the endpoint."""
    return {
        "resource": f"{settings.url}{PATH}",
        "authorization_servers": [settings.issuer],
        "bearer_methods_supported": ["header"],
        "resource_name": "Code sandbox",
    }


def metadata_routes(settings: Settings) -> list[BaseRoute]:
    """Return the routes of the metadata: none without an issuer, because then keys and Kubernetes tokens serve."""
    if not settings.issuer:
        return []

    async def show(_request: Request) -> JSONResponse:
        # Clients in browsers read it before they have a token.
        return JSONResponse(metadata(settings), headers={"Access-Control-Allow-Origin": "*"})

    return [Route(path, show, methods=["GET"]) for path in (f"{WELL_KNOWN}{PATH}", WELL_KNOWN)]


def challenge(settings: Settings, error: str) -> str:
    """Return the header `WWW-Authenticate` of a refused request.

    Args:
        settings: The gateway's.
        error: The error of RFC 6750, or "" if the request had no token.
    """
    parts = [f'error="{error}"'] if error else []
    if settings.issuer:
        parts.append(f'resource_metadata="{settings.url}{WELL_KNOWN}{PATH}"')
    return " ".join(("Bearer", ", ".join(parts))).strip()
