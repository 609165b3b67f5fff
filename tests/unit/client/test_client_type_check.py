"""Type checks in the SDK: what is asked, and what is made of the answer."""

from __future__ import annotations

import pytest

from sandbox_client import Diagnostic, FailedPrecondition, InvalidArgument
from sandbox_client.sandbox import AsyncSandbox
from sandbox_proto.v1 import interpreter_pb2, types_pb2
from sandbox_testing.fake_agent import FakeAgent, completed, error, started

ITEM = {"line": 1, "column": 2, "end_line": 3, "end_column": 4, "code": 2322, "message": "wrong"}


def checked(*items):
    found = interpreter_pb2.TypeChecked(diagnostics=[interpreter_pb2.Diagnostic(**item) for item in items])
    return interpreter_pb2.ExecuteEvent(type_checked=found)


async def test_diagnostics_are_part_of_the_result_and_the_check_is_asked_for():
    async with FakeAgent() as agent, AsyncSandbox(agent.endpoint) as sandbox:
        agent.script("wrong", [started(), checked(ITEM), completed()])
        outcome = await sandbox.run_code("wrong", "typescript", type_check="report")
        assert outcome.diagnostics == (Diagnostic(1, 2, 3, 4, 2322, "wrong"),)
        assert agent.cells[-1].type_check == interpreter_pb2.TYPE_CHECK_REPORT


async def test_check_types_gives_what_was_found_and_runs_nothing():
    failed = completed(types_pb2.EXIT_STATUS_ERROR)
    async with FakeAgent() as agent, AsyncSandbox(agent.endpoint) as sandbox:
        agent.script("wrong", [started(), checked(ITEM), error("TypeCheckError", "1 type error"), failed])
        agent.script("clean", [started(), checked(), completed()])
        agent.script("no answer", [started(), error("TypeCheckFailed", "it took too much memory"), failed])
        assert [item.code for item in await sandbox.check_types("wrong")] == [2322]
        assert agent.cells[-1].type_check == interpreter_pb2.TYPE_CHECK_ONLY
        assert await sandbox.check_types("clean") == ()
        with pytest.raises(FailedPrecondition, match="too much memory"):
            await sandbox.check_types("no answer")


async def test_a_type_check_of_another_name_is_refused_before_it_is_sent():
    async with FakeAgent() as agent, AsyncSandbox(agent.endpoint) as sandbox:
        with pytest.raises(InvalidArgument, match="report, require, only"):
            await sandbox.run_code("1", "typescript", type_check="maybe")
