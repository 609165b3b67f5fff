"""Serves the seven tools over the Model Context Protocol, with a session for each user or conversation.

docs/doors/mcp.md lists what clients can use. The `mcp` package is imported only if it is installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from sandbox_gateway.gateway import Gateway

__all__ = ["build_routes"]


def build_routes(gateway: Gateway) -> list[BaseRoute]:
    """Return the routes. Without version 2 of the `mcp` package, there is one that says what to install."""
    from sandbox_gateway.doors.mcp.missing import is_installed, missing_routes  # noqa: PLC0415 - as below

    if not is_installed():
        return missing_routes()
    from sandbox_gateway.doors.mcp import routes  # noqa: PLC0415 - needs an extra

    return routes.build_routes(gateway)
