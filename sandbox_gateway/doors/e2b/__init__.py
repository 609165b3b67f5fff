"""E2B's protocol: its SDKs, and the frameworks that use them, work with sessions of this gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox_gateway.doors.e2b.control.routes import build_control_routes
from sandbox_gateway.doors.e2b.sessions import Sessions
from sandbox_gateway.doors.e2b.traffic import SandboxTraffic

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from sandbox_gateway.gateway import Gateway


def build_routes(gateway: Gateway) -> list[BaseRoute]:
    """Return the routes of the control plane and of requests to sessions."""
    sessions = Sessions(gateway)
    return [SandboxTraffic(sessions), *build_control_routes(gateway, sessions.lookups)]
