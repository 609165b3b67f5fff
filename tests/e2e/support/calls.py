"""Calls of every method of an agent, as a stranger with any token and any certificate would make them."""

import grpc

from sandbox_proto.v1 import session_pb2
from tests.e2e.support.wire import SERVICES

CLIENT_METHODS = [f"/{service.full_name}/{method.name}" for service in SERVICES for method in service.methods]
CONTROL_METHODS = [
    f"/{service.full_name}/{method.name}"
    for service in session_pb2.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
LIST_CONTEXTS, DESCRIBE = "/sandbox.v1.InterpreterService/ListContexts", "/sandbox.v1.SessionService/Describe"


def call(channel: grpc.Channel, method: str, token: str | None = None) -> grpc.StatusCode:
    """How a call with an empty request ends, whatever kind of call it is."""
    metadata = () if token is None else (("authorization", f"Bearer {token}"),)
    try:
        list(channel.stream_stream(method)(iter([b""]), metadata=metadata, timeout=15))
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK
