"""Calls of an agent without the SDK, which would refuse or repeat some of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from sandbox_proto.v1 import file_pb2, interpreter_pb2, process_pb2, workspace_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.e2e.support.sessions import Sessions

SERVICES = [
    service
    for module in (file_pb2, interpreter_pb2, process_pb2, workspace_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
]
"""The services that a client may call."""


def open_channel(
    address: str, secret: dict[str, bytes], certificate: tuple[bytes, bytes] | None = None
) -> grpc.Channel:
    """A channel over TLS to an agent's port, with or without a client's certificate (key, chain)."""
    key, chain = certificate or (None, None)
    options = (
        ("grpc.ssl_target_name_override", secret["serverName"].decode()),
        ("grpc.enable_http_proxy", 0),
        ("grpc.use_local_subchannel_pool", 1),
    )
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(secret["ca.crt"], key, chain), options)


def explain(error: grpc.RpcError) -> tuple[str, str, str]:
    """An error's status, reason and field; the last two are empty if gRPC itself refused."""
    given: Any = error
    call = SimpleNamespace(trailing_metadata=given.trailing_metadata, code=given.code, details=given.details)
    status, info = rpc_status.from_call(call), error_details_pb2.ErrorInfo()
    if status is not None and status.details:
        status.details[0].Unpack(info)
    return given.code().name, info.reason, info.metadata.get("field", "")


class Wire:
    """One session's agent, called with its token."""

    def __init__(self, sessions: Sessions, name: str) -> None:
        self._secret = sessions.kubectl.secret(f"{name}-access")
        self.address = f"{sessions.pod(name)['status']['podIP']}:8443"
        self.token = self._secret["token"].decode()
        self.server_name = self._secret["serverName"].decode()
        self.authority = self._secret["ca.crt"].decode()
        self.channel = self.open()

    def open(self) -> grpc.Channel:
        """Open a connection of its own."""
        return open_channel(self.address, self._secret)

    def call(
        self, method: str, messages: Iterable[bytes], *, timeout: float = 20, metadata: tuple[tuple[str, str], ...] = ()
    ) -> tuple[str, str, str]:
        """Send messages as they are; return how the call ended, as `explain` does, with "OK" for success.

        Args:
            method: Such as `/sandbox.v1.FileService/Read`.
            messages: Encoded requests.
            timeout: Seconds. A stream that goes on until then counts as "DEADLINE_EXCEEDED".
            metadata: Further metadata.
        """
        credentials = (("authorization", f"Bearer {self.token}"), *metadata)
        try:
            for _ in self.channel.stream_stream(method)(iter(messages), metadata=credentials, timeout=timeout):
                pass
        except grpc.RpcError as error:
            return explain(error)
        return "OK", "", ""

    def close(self) -> None:
        """Close the connection."""
        self.channel.close()
