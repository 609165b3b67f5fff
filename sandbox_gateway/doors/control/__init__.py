"""Our own protocol: a small control API. Calls themselves go to the session's agent."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from sandbox_gateway.gateway import Gateway


def build_routes(gateway: Gateway) -> list[BaseRoute]:  # noqa: ARG001
    """Return the routes."""
    return []
