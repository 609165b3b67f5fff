"""Answers in place of this door if the `mcp` package is missing, or too old."""

from __future__ import annotations

import importlib.metadata
from typing import TYPE_CHECKING, Final

from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from sandbox_proto.extras import install_command

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import BaseRoute

PATH: Final = "/mcp"
_OLD: Final = ("0.", "1.")


def is_installed() -> bool:
    """Return whether the package is there, in a version with the protocol's revision 2026-07-28."""
    try:
        return not importlib.metadata.version("mcp").startswith(_OLD)
    except importlib.metadata.PackageNotFoundError:
        return False


def missing_routes() -> list[BaseRoute]:
    """Return a route that says what to install."""
    return [Route(PATH, _refuse, methods=["GET", "POST", "DELETE"])]


async def _refuse(_request: Request) -> Response:
    text = f"this gateway lacks version 2 of the mcp package. Its administrator installs it: {install_command('mcp')}"
    return PlainTextResponse(text, status_code=501)
