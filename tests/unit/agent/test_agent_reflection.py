"""Server reflection: off by default, and for authenticated clients only."""

import dataclasses
import hashlib

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from sandbox_agent.app import running_agent
from sandbox_agent.server.settings import read_settings
from sandbox_proto.v1 import interpreter_pb2, session_pb2, session_pb2_grpc

TOKEN = "t" * 43
LIST = reflection_pb2.ServerReflectionRequest(list_services="")


@pytest.fixture
async def reflecting(agent, tmp_path, channel_options, certificates):
    """The clients' port of a bound agent that serves reflection, and of one that does not."""
    settings = dataclasses.replace(agent._settings, reflection=True, ready_file=tmp_path / "reflecting.json")
    async with running_agent(settings) as other:
        credentials, options = channel_options(None, certificates, "operator")
        async with grpc.aio.secure_channel(f"127.0.0.1:{other.control_port}", credentials, options) as channel:
            digest = hashlib.sha256(TOKEN.encode()).digest()
            await session_pb2_grpc.SessionServiceStub(channel).Bind(
                session_pb2.BindRequest(session_uid="uid-1", session_name="team/one", token_sha256=digest)
            )
        yield other


async def ask(channel, request):
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    return [answer async for answer in stub.ServerReflectionInfo(iter([request]))]


async def test_reflection_lists_and_describes_the_services_of_clients(reflecting, connect):
    async with connect(TOKEN, port=reflecting.grpc_port) as channel:
        (listed,) = await ask(channel, LIST)
        request = reflection_pb2.ServerReflectionRequest(file_containing_symbol="sandbox.v1.InterpreterService")
        (described,) = await ask(channel, request)
    assert {service.name for service in listed.list_services_response.service} == {
        "grpc.reflection.v1alpha.ServerReflection",
        "sandbox.v1.FileService",
        "sandbox.v1.InterpreterService",
        "sandbox.v1.ProcessService",
        "sandbox.v1.WorkspaceService",
    }
    own = interpreter_pb2.DESCRIPTOR.serialized_pb
    assert own in list(described.file_descriptor_response.file_descriptor_proto)


@pytest.mark.parametrize("token", [None, "wrong"])
async def test_reflection_needs_the_sessions_token(reflecting, connect, error_of, token):
    async with connect(token, port=reflecting.grpc_port) as channel:
        # The client says INTERNAL where the refusal comes before it has sent the request.
        for _ in range(20):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await ask(channel, LIST)
            if caught.value.code() is not grpc.StatusCode.INTERNAL:
                break
    assert error_of(caught.value) == ("UNAUTHENTICATED", "UNAUTHENTICATED", "")


async def test_reflection_is_off_by_default(client):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ask(client, LIST)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("", False), ("0", False)])
def test_the_environment_switches_reflection_on(value, expected):
    assert read_settings({"SANDBOX_REFLECTION": value}).reflection is expected
