"""Dialing, errors and retries."""

import dataclasses
import socket

import grpc
import pytest
from google.rpc import code_pb2, status_pb2

import sandbox_client.transport.connection
from sandbox_client import AsyncSandbox, FailedPrecondition, NotFound, SandboxError, SandboxUnavailable, errors
from sandbox_testing.fake_agent import make_certificates


@pytest.fixture
def short_connect(monkeypatch):
    monkeypatch.setattr(
        sandbox_client.transport.connection.Connection.__init__, "__kwdefaults__", {"connect_timeout": 0.5}
    )


async def test_a_certificate_of_another_authority_is_never_trusted(agent, short_connect):
    ca, _, _ = make_certificates("x")
    async with AsyncSandbox(dataclasses.replace(agent.endpoint, ca_certificate=ca)) as sandbox:
        with pytest.raises(SandboxUnavailable, match="handshake failed"):
            await sandbox.run_code("1")
    assert agent.calls.total() == 0


async def test_a_certificate_of_another_name_is_never_trusted(agent, short_connect):
    endpoint = dataclasses.replace(agent.endpoint, server_name="other.sandboxsessions.dev")
    async with AsyncSandbox(endpoint) as sandbox:
        with pytest.raises(SandboxUnavailable, match=r"(?i)name|identity"):
            await sandbox.run_code("1")
    assert agent.calls.total() == 0


async def test_nobody_at_the_address_is_said_with_the_address(agent, short_connect):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = "{}:{}".format(*server.getsockname())
    async with AsyncSandbox(dataclasses.replace(agent.endpoint, address=address)) as sandbox:
        with pytest.raises(SandboxUnavailable, match=address) as caught:
            await sandbox.run_code("1")
    assert caught.value.reason == "UNREACHABLE"


async def test_a_call_that_changes_nothing_is_tried_again(agent, sandbox):
    agent.files["a"] = b"1"
    agent.refuse("Stat", grpc.StatusCode.UNAVAILABLE, "RUNTIME_UNAVAILABLE", times=2)
    assert (await sandbox.files.stat("a")).size == 1
    assert agent.calls["Stat"] == 3


async def test_a_call_that_changes_something_is_not_tried_again(agent, sandbox):
    agent.refuse("Remove", grpc.StatusCode.UNAVAILABLE, "RUNTIME_UNAVAILABLE")
    with pytest.raises(SandboxUnavailable):
        await sandbox.files.remove("a")
    assert agent.calls["Remove"] == 1


async def test_a_fault_that_stays_is_told_after_a_few_attempts(agent, sandbox):
    agent.refuse("Stat", grpc.StatusCode.UNAVAILABLE, "RUNTIME_UNAVAILABLE", times=20)
    with pytest.raises(SandboxUnavailable) as caught:
        await sandbox.files.stat("a")
    assert (caught.value.reason, agent.calls["Stat"]) == ("RUNTIME_UNAVAILABLE", 4)


async def test_an_error_carries_reason_and_field(agent, sandbox):
    agent.refuse("Read", grpc.StatusCode.FAILED_PRECONDITION, "IS_A_DIRECTORY", field="path")
    with pytest.raises(FailedPrecondition) as caught:
        await sandbox.files.read("folder")
    assert caught.value.to_dict() == {
        "error": "Read was made to fail",
        "type": "FailedPrecondition",
        "reason": "IS_A_DIRECTORY",
        "field": "path",
    }


async def test_a_call_the_agent_does_not_have_is_not_supported(sandbox):
    with pytest.raises(errors.NotSupported):
        await sandbox.workspace.restore()


async def test_every_status_of_grpc_but_ok_has_an_error():
    unknown = {
        grpc.StatusCode.OK,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.CANCELLED,
    }
    assert set(errors._BY_STATUS) == set(grpc.StatusCode) - unknown


async def test_broken_details_of_a_status_do_no_harm():
    metadata = grpc.aio.Metadata(("grpc-status-details-bin", b"\xff\xff"))
    failure = grpc.aio.AioRpcError(grpc.StatusCode.NOT_FOUND, grpc.aio.Metadata(), metadata, "gone", None)
    error = errors.from_rpc_error(failure)
    assert (type(error), error.reason, str(error)) == (NotFound, "NOT_FOUND", "gone")


@pytest.mark.parametrize(
    ("code", "message"),
    [(code_pb2.NOT_FOUND, "another message"), (code_pb2.ABORTED, "gone")],
    ids=["another message", "another code"],
)
async def test_details_that_contradict_their_status_do_no_harm(code, message):
    details = status_pb2.Status(code=code, message=message).SerializeToString()
    metadata = grpc.aio.Metadata(("grpc-status-details-bin", details))
    failure = grpc.aio.AioRpcError(grpc.StatusCode.NOT_FOUND, grpc.aio.Metadata(), metadata, "gone", None)
    error = errors.from_rpc_error(failure)
    assert (type(error), error.reason, str(error)) == (NotFound, "NOT_FOUND", "gone")


def test_the_tree_in_the_docstring_is_the_tree():
    drawn = {line.split()[1] for line in errors.__doc__.splitlines() if line.startswith(("├", "└"))}
    assert drawn == {class_.__name__ for class_ in SandboxError.__subclasses__()}
