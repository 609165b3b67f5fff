"""Reads from a request where it comes from, and which bearer token it carries."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.requests import Request


def client_address(request: Request) -> str:
    """Return the address of the client, or "" if it has none."""
    return request.client.host if request.client else ""


def bearer_token(request: Request) -> str:
    """Return the token of the header Authorization, or "" if it has none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
