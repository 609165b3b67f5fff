"""A connection between client and agent that goes silent and is never closed: a TCP proxy before a real agent."""

from __future__ import annotations

import asyncio
import time

import grpc
import pytest

from sandbox_agent import app
from sandbox_client import AsyncSandbox, Endpoint, SandboxUnavailable
from sandbox_client.transport import connection, endpoint
from sandbox_client.transport.reattach import ExecutionLostError
from sandbox_proto.v1 import file_pb2, file_pb2_grpc
from tests.support.tcp_proxy import serve_tcp_proxy

TOKEN = "t" * 43
SERVER_NAME = "agent.test"
FAST = dict.fromkeys(("grpc.keepalive_time_ms", "grpc.keepalive_timeout_ms", "grpc.http2.ping_timeout_ms"), 400)
FOUND_WITHIN = 5.0
"""Seconds here, on a busy machine; with the times of a session it is 30."""


def hurried(options):
    """The same options with times that a test can wait for; a keepalive that is not there stays away."""
    return tuple((name, FAST.get(name, value)) for name, value in options)


@pytest.fixture(params=[app.GRPC_OPTIONS, endpoint._OPTIONS], ids=["agent", "client"])
def options(request):
    return dict(request.param)


def test_fault_40_both_sides_look_after_20_s_of_silence_and_give_up_10_s_later(options):
    """Both sides ping after 20 s of silence and give up 10 s later."""
    assert (options["grpc.keepalive_time_ms"], options["grpc.http2.ping_timeout_ms"]) == (20_000, 10_000)


@pytest.fixture
async def proxy(agent, control, bind_request):
    await control.Bind(bind_request)
    async with serve_tcp_proxy("127.0.0.1", agent.grpc_port) as proxy:
        yield proxy


@pytest.fixture
async def sandbox(proxy, certificates, monkeypatch):
    monkeypatch.setattr(endpoint, "_OPTIONS", hurried(endpoint._OPTIONS))
    certificate = (certificates / "ca.crt").read_bytes()
    async with AsyncSandbox(Endpoint(proxy.address, SERVER_NAME, certificate, TOKEN)) as sandbox:
        yield sandbox


def executions(runtime):
    return [opened for opened in runtime.opened if opened["op"] == "execute"]


async def test_fault_40_a_cell_whose_connection_went_silent_is_told_to_its_end_and_ran_once(
    sandbox, proxy, runtime, held_cell
):
    """A cell whose connection went silent is followed to its end and runs once."""
    running = asyncio.create_task(sandbox.run_code("1"))
    await held_cell.has_begun.wait()
    connections = proxy.connections
    proxy.fall_silent()
    held_cell.release.set()
    async with asyncio.timeout(FOUND_WITHIN):
        execution = await running
    assert (execution.ok, execution.stdout) == (True, "hello\n")
    assert proxy.connections == connections + 1
    assert len(executions(runtime)) == 1


@pytest.fixture
def short_connect(monkeypatch):
    monkeypatch.setattr(connection.Connection.__init__, "__kwdefaults__", {"connect_timeout": 0.3, "revive": None})


async def test_fault_40_a_cell_outlasts_a_network_that_is_away_for_longer_than_a_call_waits_for_a_connection(
    short_connect, sandbox, proxy, runtime, held_cell
):
    """A running cell survives a network outage that is longer than a call waits for a connection."""
    running = asyncio.create_task(sandbox.run_code("1"))
    await held_cell.has_begun.wait()
    connections = proxy.connections
    proxy.is_silent = True
    proxy.fall_silent()
    async with asyncio.timeout(FOUND_WITHIN):
        while proxy.connections == connections:  # noqa: ASYNC110 - the proxy sets no event
            await asyncio.sleep(0.001)
        with pytest.raises(SandboxUnavailable) as caught:
            await sandbox.files.read("kept")
    assert caught.value.reason == "UNREACHABLE"
    assert not running.done()
    proxy.is_silent = False
    held_cell.release.set()
    async with asyncio.timeout(FOUND_WITHIN):
        execution = await running
    assert (execution.ok, execution.stdout) == (True, "hello\n")
    assert len(executions(runtime)) == 1


async def test_fault_40_a_cell_that_was_sent_into_silence_is_told_as_lost_and_never_runs(sandbox, proxy, runtime):
    """A cell that never arrived is reported as LOST and never runs."""
    assert (await sandbox.run_code("1")).ok
    proxy.fall_silent()
    began = time.monotonic()
    with pytest.raises(ExecutionLostError) as caught:
        await sandbox.run_code("2")
    assert time.monotonic() - began < FOUND_WITHIN
    assert caught.value.reason == "EXECUTION_LOST"
    assert isinstance(caught.value, SandboxUnavailable)
    assert len(executions(runtime)) == 1
    assert (await sandbox.run_code("3")).ok
    assert len(executions(runtime)) == 2


async def test_fault_40_a_call_that_may_be_repeated_is_repeated_by_itself(sandbox, proxy, runtime, scripted):
    """A call that may be repeated is repeated automatically."""
    runtime.handlers["context.list"] = scripted.answer({"contexts": []})
    assert await sandbox.contexts.list() == []
    proxy.fall_silent()
    async with asyncio.timeout(FOUND_WITHIN):
        assert await sandbox.contexts.list() == []


@pytest.fixture
def watchful(monkeypatch):
    """Before the agent is made."""
    monkeypatch.setattr(app, "GRPC_OPTIONS", hurried(app.GRPC_OPTIONS))


async def test_fault_40_the_agent_ends_the_call_of_a_client_that_went_silent(
    watchful, proxy, agent, certificates, channel_options
):
    """The agent ends the call of a silent client, which would otherwise block drains and idle suspends."""
    credentials, names = channel_options(TOKEN, certificates, None)
    async with grpc.aio.secure_channel(proxy.address, credentials, names) as channel:
        call = file_pb2_grpc.FileServiceStub(channel).Write()
        await call.write(file_pb2.WriteRequest(open=file_pb2.WriteOpen(path="f")))
        async with asyncio.timeout(FOUND_WITHIN):
            while not agent._gate.active:  # noqa: ASYNC110 - a call that arrives sets no event
                await asyncio.sleep(0.001)
        proxy.fall_silent()
        assert await agent._gate.wait_until_quiet(FOUND_WITHIN)
