"""Calls of every method of an agent, as a stranger with any token and any certificate would make them."""

import grpc

from sandbox_proto.v1 import file_pb2, interpreter_pb2, process_pb2, session_pb2, workspace_pb2

CLIENT_METHODS = [
    f"/{service.full_name}/{method.name}"
    for module in (file_pb2, interpreter_pb2, process_pb2, workspace_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
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


def open_channel(
    address: str, secret: dict[str, bytes], certificate: tuple[bytes, bytes] | None = None
) -> grpc.Channel:
    """A channel over TLS to an agent's port, with or without a client's certificate (key, chain)."""
    key, chain = certificate or (None, None)
    options = (("grpc.ssl_target_name_override", secret["serverName"].decode()), ("grpc.enable_http_proxy", 0))
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(secret["ca.crt"], key, chain), options)
