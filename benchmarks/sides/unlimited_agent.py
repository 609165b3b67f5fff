"""Runs the agent without the limits of its ports, to measure what they cost."""

from __future__ import annotations

from unittest import mock

from sandbox_agent import __main__
from sandbox_proto.connection_limits import GRPC_OPTIONS, ConnectionGuard

LIMITS = {
    "grpc.max_concurrent_streams",
    "grpc.max_metadata_size",
    "grpc.max_allowed_incoming_connections",
    "grpc.server_handshake_timeout_ms",
    "grpc.max_connection_idle_ms",
}


class NoGuard(ConnectionGuard):
    """A guard that guards nothing."""

    def watch(self, port: int) -> None:
        """Do nothing."""

    def admit(self, peer: str) -> None:
        """Do nothing."""


if __name__ == "__main__":
    unlimited = [option for option in GRPC_OPTIONS if option[0] not in LIMITS]
    with mock.patch.multiple("sandbox_agent.app", ConnectionGuard=NoGuard, GRPC_OPTIONS=unlimited):
        __main__.main()
