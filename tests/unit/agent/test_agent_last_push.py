"""The agent at SIGTERM without a drain: it saves what it can, within its time, and is not taken for drained."""

from __future__ import annotations

import asyncio
import dataclasses

import grpc
import pytest

from sandbox_agent.app import running_agent
from sandbox_agent.server.settings import Settings, SettingsError, read_settings
from sandbox_agent.services import session as session_service
from sandbox_link.protocol import OperationError
from sandbox_proto.v1 import interpreter_pb2, interpreter_pb2_grpc, session_pb2
from tests.support.fake_workspace import FakeWorkspace

DOWN = OperationError("UNAVAILABLE", "STORAGE_UNAVAILABLE", "storage is down")


@pytest.fixture
async def workspace():
    return FakeWorkspace()


@pytest.fixture
def settings(certificates, tmp_path):
    ports = {"grpc_port": 0, "control_port": 0, "health_port": 0}
    return Settings(tmp_path, certificates, listen_address="127.0.0.1", stop_seconds=20.0, **ports)


@pytest.fixture
async def agent(runtime, settings, workspace):
    async with running_agent(settings, lambda binding, runtime, writer: workspace) as running:
        yield running


@pytest.fixture
async def bound(control, bind_request, agent):
    """The agent, bound to a session with storage and restored."""
    bind_request.workspace.s3.bucket, bind_request.workspace.key_prefix = "b", "p/"
    await control.Bind(bind_request)
    await control.Describe(session_pb2.DescribeRequest(wait={"seconds": 10}))
    return agent


async def begun(workspace, pushes):
    async with asyncio.timeout(10):
        while len(workspace.pushed_for) < pushes:  # noqa: ASYNC110 - what a fake was asked sets no event
            await asyncio.sleep(0.001)


async def test_fault_22_an_agent_that_is_told_to_stop_saves_without_looking_drained(bound, workspace, client):
    """After SIGTERM the agent saves once, refuses calls as UNAVAILABLE, and does not count as drained."""
    workspace.may_push.clear()
    finishing = asyncio.create_task(bound.finish())
    await begun(workspace, 1)
    assert workspace.pushed_for == ["one"]
    assert bound._gate.state.name == "BOUND"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await interpreter_pb2_grpc.InterpreterServiceStub(client).ListContexts(interpreter_pb2.ListContextsRequest())
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE, "clients may try again, in the next pod"
    workspace.may_push.set()
    await finishing
    assert workspace.pushes == 1


async def test_fault_22_the_last_push_comes_after_the_work_that_is_under_way(bound, workspace, client, held_cell):
    """The last push waits for running work."""
    request = interpreter_pb2.ExecuteRequest(code="1", language=1)
    call = interpreter_pb2_grpc.InterpreterServiceStub(client).Execute(request)
    running = asyncio.create_task(_events(call))
    await held_cell.has_begun.wait()
    finishing = asyncio.create_task(bound.finish())
    while (await _list_contexts(client)) is not grpc.StatusCode.UNAVAILABLE:
        pass
    assert workspace.pushed_for == []
    held_cell.release.set()
    assert len(await running) == 3, "it is told to its client, too"
    await finishing
    assert workspace.pushes == 1


async def test_fault_22_a_last_push_that_fails_is_tried_again_while_there_is_time(bound, workspace, monkeypatch):
    """A last push that fails is repeated while there is time."""
    monkeypatch.setattr(session_service, "LAST_PUSH_RETRY", 0.001)
    workspace.error = DOWN
    finishing = asyncio.create_task(bound.finish())
    await begun(workspace, 3)
    workspace.error = None
    await finishing
    assert workspace.pushes == 1


@pytest.mark.parametrize("hangs", [True, False], ids=["a push that hangs", "storage that is down"])
async def test_fault_22_the_end_comes_in_time_whatever_storage_does(bound, workspace, settings, hangs):
    """The agent ends in time, whatever storage does."""
    workspace.error = DOWN
    if hangs:
        workspace.may_push.clear()
    bound._settings = dataclasses.replace(settings, stop_seconds=0.3)
    async with asyncio.timeout(5):
        await bound.finish()
    assert (bool(workspace.pushed_for), workspace.pushes) == (True, 0)


async def test_fault_22_nothing_is_waited_for_once_the_runtime_is_gone(bound, workspace):
    """If the runtime has ended, the agent ends without waiting."""
    workspace.error = OperationError("UNAVAILABLE", "RUNTIME_UNAVAILABLE", "gone")
    async with asyncio.timeout(5):
        await bound.finish()
    assert len(workspace.pushed_for) == 1


async def test_fault_22_what_a_drain_is_saving_is_not_saved_a_second_time(bound, workspace, control):
    """SIGTERM during a drain starts no second push."""
    workspace.may_push.clear()
    draining = asyncio.ensure_future(control.Drain(session_pb2.DrainRequest(session_uid="uid-1")))
    await begun(workspace, 1)
    finishing = asyncio.create_task(bound.finish())
    workspace.may_push.set()
    await draining
    await finishing
    assert workspace.pushes == 1
    await bound.finish()
    assert workspace.pushes == 1, "nothing is left to save"


async def test_fault_22_a_workspace_that_was_not_restored_is_not_pushed(agent, control, bind_request, workspace):
    """A workspace that was never restored is not pushed."""
    bind_request.workspace.s3.bucket, bind_request.workspace.key_prefix = "b", "p/"
    workspace.error = OperationError("PERMISSION_DENIED", "STORAGE_UNAVAILABLE", "access denied")
    await control.Bind(bind_request)
    await control.Describe(session_pb2.DescribeRequest(wait={"seconds": 10}))
    workspace.error = None
    await agent.finish()
    assert workspace.pushed_for == []


async def test_a_blank_agent_and_one_without_time_end_at_once(agent, settings):
    await agent.finish()
    agent._settings = dataclasses.replace(settings, stop_seconds=0.0)
    await agent.finish()


@pytest.mark.parametrize("text", ["-1", "1.5", "soon"])
def test_a_time_that_is_none_is_named(text):
    with pytest.raises(SettingsError, match="SANDBOX_STOP_SECONDS"):
        read_settings({"SANDBOX_STOP_SECONDS": text})
    assert read_settings({"SANDBOX_STOP_SECONDS": "25"}).stop_seconds == 25.0


async def _events(call):
    return [event async for response in call for event in response.events]


async def _list_contexts(client):
    try:
        await interpreter_pb2_grpc.InterpreterServiceStub(client).ListContexts(interpreter_pb2.ListContextsRequest())
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK
