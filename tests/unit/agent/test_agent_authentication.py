from __future__ import annotations

import asyncio
import hashlib

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from sandbox_agent.server.local_certificates import issue_local_certificates
from sandbox_proto.v1 import (
    file_pb2,
    file_pb2_grpc,
    interpreter_pb2,
    interpreter_pb2_grpc,
    session_pb2,
    session_pb2_grpc,
)
from tests.support.http2 import MESSAGE_OF_4_GIB, build_call, build_context

UNAUTHENTICATED = ("UNAUTHENTICATED", "UNAUTHENTICATED", "")


async def list_contexts(channel):
    return await interpreter_pb2_grpc.InterpreterServiceStub(channel).ListContexts(
        interpreter_pb2.ListContextsRequest()
    )


@pytest.mark.parametrize("token", [None, "wrong", "", "t" * 42, "t" * 44])
async def test_a_bound_agent_refuses_every_token_but_its_own(client, connect, error_of, token):
    async with connect(token) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await list_contexts(channel)
    assert error_of(caught.value) == UNAUTHENTICATED


async def test_a_blank_agent_knows_no_token(agent, connect, error_of):
    async with connect() as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await list_contexts(channel)
    assert error_of(caught.value) == UNAUTHENTICATED


@pytest.mark.parametrize("kind", ["unary_stream", "stream_unary", "unknown"])
async def test_streams_and_unknown_methods_need_the_token_too(client, connect, error_of, kind):
    async with connect("wrong") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:  # noqa: PT012 - one call a kind
            if kind == "unary_stream":
                stub = interpreter_pb2_grpc.InterpreterServiceStub(channel)
                async for _ in stub.Execute(interpreter_pb2.ExecuteRequest(code="1", language=1)):
                    pass
            elif kind == "stream_unary":
                request = file_pb2.WriteRequest(open=file_pb2.WriteOpen(path="x"))
                await file_pb2_grpc.FileServiceStub(channel).Write(iter([request]))
            else:
                await channel.unary_unary("/sandbox.v1.Nothing/Here")(b"")
    assert error_of(caught.value) == UNAUTHENTICATED


async def test_fault_39_a_repeated_bind_revokes_the_old_token(control, client, bind_request, connect, error_of):
    """A repeated Bind with another token revokes the old one."""
    bind_request.token_sha256 = hashlib.sha256(b"new").digest()
    await control.Bind(bind_request)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await list_contexts(client)
    assert error_of(caught.value) == UNAUTHENTICATED


async def test_health_needs_no_token(agent, connect):
    async with connect(None) as channel:
        checked = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    assert checked.status == health_pb2.HealthCheckResponse.SERVING


async def test_plaintext_is_refused(agent):
    async with grpc.aio.insecure_channel(f"127.0.0.1:{agent.grpc_port}") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_the_control_port_refuses_callers_without_a_certificate(agent, connect):
    async with connect(None, port=agent.control_port) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await session_pb2_grpc.SessionServiceStub(channel).Describe(session_pb2.DescribeRequest(), timeout=5)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_the_control_port_refuses_another_authority(agent, certificates, tmp_path):
    issue_local_certificates(tmp_path / "other", "agent.test")
    credentials = grpc.ssl_channel_credentials(
        (certificates / "ca.crt").read_bytes(),
        (tmp_path / "other" / "operator.key").read_bytes(),
        (tmp_path / "other" / "operator.crt").read_bytes(),
    )
    options = [("grpc.ssl_target_name_override", "agent.test")]
    async with grpc.aio.secure_channel(f"127.0.0.1:{agent.control_port}", credentials, options) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await session_pb2_grpc.SessionServiceStub(channel).Describe(session_pb2.DescribeRequest(), timeout=5)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_the_control_port_refuses_the_agents_own_certificate(agent, connect):
    # It is the authority's, but a server's and another name's.
    async with connect(None, port=agent.control_port, client="tls") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await session_pb2_grpc.SessionServiceStub(channel).Describe(session_pb2.DescribeRequest(), timeout=5)
    assert caught.value.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAUTHENTICATED}


async def test_the_clients_port_has_no_session_service(client):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await session_pb2_grpc.SessionServiceStub(client).Describe(session_pb2.DescribeRequest())
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def raw(channel, method, kind="unary_unary"):
    """A call of a method that sends bytes as they are."""
    return getattr(channel, kind)(f"/sandbox.v1.{method}", request_serializer=None, response_deserializer=None)


async def test_attack_34_garbage_instead_of_a_message_is_an_invalid_argument(client, error_of):
    """Bytes that are no message end a call with INVALID_ARGUMENT, whatever its kind."""
    unary = raw(client, "InterpreterService/ListContexts")
    streamed = raw(client, "InterpreterService/Execute", "unary_stream")
    for call in (unary(b"\xff" * 100), anext(aiter(streamed(b"\xff" * 100)))):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert error_of(caught.value) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT", "")

    async def requests():
        yield b"\xff" * 100

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await raw(client, "FileService/Write", "stream_unary")(requests())
    assert error_of(caught.value) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT", "")


async def test_a_strangers_message_is_not_read(client, connect, error_of, monkeypatch):
    """The refusal comes before the message, which a stranger therefore never has to send whole."""
    async with connect("x" * 43) as channel:
        call = raw(channel, "InterpreterService/Execute", "stream_stream")()
        async with asyncio.timeout(10):  # nothing was sent but the headers
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call.read()
    assert error_of(caught.value) == ("UNAUTHENTICATED", "UNAUTHENTICATED", "")


async def test_attack_31_a_message_that_claims_4_gib_is_refused_unread(client, agent, certificates):
    """A message that claims 4 GiB ends its call at once, after the first kilobyte."""
    context = build_context(certificates / "ca.crt")
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", agent.grpc_port, ssl=context, server_hostname="agent.test"
    )
    writer.write(build_call("t" * 43, MESSAGE_OF_4_GIB))
    answer = b""
    async with asyncio.timeout(10):
        while b"larger than max" not in answer:
            more = await reader.read(65536)
            assert more, answer
            answer += more
    writer.close()
    with pytest.raises(grpc.aio.AioRpcError) as caught:  # the agent still serves: the runtime has no such operation
        await list_contexts(client)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
