"""The session behind the tools, against a scripted agent: made once, made anew, never running anything twice."""

import asyncio

import grpc
import pytest

from sandbox_client import AsyncSandbox
from sandbox_client.tools import SandboxTools
from sandbox_proto.v1 import types_pb2
from sandbox_testing.fake_agent import completed, error, output, result, started


@pytest.fixture
async def opened(agent):
    return []


@pytest.fixture
async def tools(agent, opened):
    async def open_session():
        sandbox = AsyncSandbox(agent.endpoint)
        opened.append(sandbox)
        return sandbox

    async with SandboxTools(open_session) as tools:
        yield tools


async def test_one_session_serves_calls_that_come_at_the_same_time(agent, tools, opened):
    agent.script("a", [started(), output(b"out\n"), result({"text/plain": b"2"}, is_main=True), completed()])
    results = await asyncio.gather(*(tools.execute_code("a") for _ in range(5)))
    assert [each.value for each in results] == ["out\n2"] * 5
    assert len(opened) == 1


async def test_wrong_arguments_start_no_session(tools, opened):
    assert (await tools.execute_code("puts 1", "ruby")).is_error
    assert (await tools.call("file_operations", {"operation": "read"})).is_error
    assert opened == []


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (grpc.StatusCode.FAILED_PRECONDITION, "LIFETIME_EXPIRED"),
        (grpc.StatusCode.FAILED_PRECONDITION, "DRAINING"),
        (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED"),
        (grpc.StatusCode.UNAVAILABLE, "RUNTIME_UNAVAILABLE"),
    ],
)
async def test_a_session_that_is_over_is_made_anew_and_that_is_told_once(agent, tools, opened, code, reason):
    assert (await tools.execute_code("a")).notice == ""
    agent.forget()
    agent.refuse("ListContexts", code, reason, times=4 if reason == "RUNTIME_UNAVAILABLE" else 1)
    second = await tools.execute_code("b")
    assert "a new one was started" in second.notice
    assert not second.is_error
    assert (await tools.execute_code("c")).notice == ""
    assert len(opened) == 2
    assert agent.calls["Execute"] == 3


async def test_a_session_that_was_only_out_of_reach_is_connected_to_again_and_nothing_is_lost(agent, tools, opened):
    await tools.execute_code("a")
    agent.refuse("ListContexts", grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")
    assert (await tools.execute_code("b")).notice == ""
    assert len(opened) == 2


async def test_another_trouble_of_a_session_is_an_error_and_keeps_it(agent, tools, opened):
    await tools.execute_code("a")
    agent.refuse("ListContexts", grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_CALLS")
    failed = await tools.execute_code("b")
    assert failed.is_error
    assert "not available" in failed.value["error"]
    assert not (await tools.execute_code("c")).is_error
    assert len(opened) == 1


async def test_code_that_may_have_run_is_never_run_again(agent, tools):
    agent.script("once", [started(), output(b"x"), completed()])
    agent.break_after(1)
    assert (await tools.execute_code("once")).value == "x"
    assert agent.executions == 1
    agent.break_after(1)
    agent.faults["Execute"] = [_pass, lambda context: _forget(agent, context)]
    lost = await tools.execute_code("once")
    assert lost.is_error
    assert "not run again" in lost.value["error"]


async def _pass(_context):
    pass


async def _forget(agent, _context):
    agent.forget()


async def test_an_interpreter_that_started_over_unseen_is_told(agent, tools):
    await tools.execute_code("a")
    agent.forget()
    second = await tools.execute_code("b")
    assert "variables of python were lost" in second.notice
    assert (await tools.execute_code("c")).notice == ""


async def test_what_the_user_code_did_is_told_with_its_code(agent, tools):
    agent.script("boom", [started(), error("ValueError", "no", ["t"]), completed(types_pb2.EXIT_STATUS_ERROR)])
    failed = await tools.execute_code("boom")
    assert failed.value == {
        "error": "ValueError: no",
        "status": "error",
        "code_snippet": "boom",
        "traceback": "t",
    }


async def test_a_push_that_fails_leaves_a_warning_and_the_output(agent, tools):
    agent.files["out.txt"] = b"x"
    agent.script("write", [started(), output(b"done\n"), completed()])
    agent.refuse("Push", grpc.StatusCode.UNAVAILABLE, "STORAGE_UNAVAILABLE")
    partial = await tools.execute_code("write", output_filename="out.txt")
    assert (partial.value["status"], partial.value["stdout"]) == ("partial", "done\n")
    assert "out.txt was not saved" in partial.value["warning"]


async def test_an_opener_that_fails_is_tried_again_with_the_next_call(agent):
    attempts = []

    async def open_session():
        attempts.append(1)
        if len(attempts) == 1:
            raise OSError("no room")
        return AsyncSandbox(agent.endpoint)

    async with SandboxTools(open_session) as tools:
        assert "no room" in (await tools.execute_code("a")).value["error"]
        second = await tools.execute_code("a")
        assert (second.is_error, second.notice) == (False, "")
