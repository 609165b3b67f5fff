"""The agent holds only so many bytes of requests, however many calls there are at a time."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from sandbox_agent.server import request_budget
from sandbox_agent.server.request_budget import RequestBudget
from sandbox_proto.v1 import interpreter_pb2, interpreter_pb2_grpc

MIB = 1 << 20


@pytest.fixture
def cells(client):
    return interpreter_pb2_grpc.InterpreterServiceStub(client)


def cell(size):
    return interpreter_pb2.ExecuteRequest(code="#" + "x" * size)


async def outcome(call):
    try:
        async for _ in call:
            pass
    except grpc.aio.AioRpcError as error:
        return error
    return None


async def test_large_requests_beyond_the_limit_are_refused_and_small_ones_run(cells, held_cell, error_of):
    large = [asyncio.create_task(outcome(cells.Execute(cell(3 * MIB)))) for _ in range(60)]
    refused, running = await asyncio.wait(large, return_when=asyncio.FIRST_COMPLETED)
    while len(refused) < 60 - 32 // 3:
        done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        refused |= done
    for each in refused:
        assert error_of(each.result()) == ("RESOURCE_EXHAUSTED", "TOO_MANY_CALLS", "")
        assert "32 MiB is the agent's limit" in each.result().details()
    small = asyncio.create_task(outcome(cells.Execute(cell(1000))))
    held_cell.release.set()
    assert [await each for each in running] == [None] * (32 // 3)
    assert await small is None
    assert await outcome(cells.Execute(cell(3 * MIB))) is None, "there is room again"


async def test_many_small_requests_at_a_time_all_run(cells, runtime):
    calls = [outcome(cells.Execute(cell(1000))) for _ in range(200)]
    assert await asyncio.gather(*calls) == [None] * 200


async def run_calls(*steps):
    """Run each step in a task of its own, as gRPC does, and return their results."""
    return await asyncio.gather(*steps)


async def test_a_call_waits_for_its_turn_and_gets_it_when_another_was_read_or_has_ended():
    budget, ends = RequestBudget(most=100 * MIB, readers=1), asyncio.Event()

    async def never_sends():
        assert budget.may_read_now()
        await ends.wait()

    async def waits():
        assert not budget.may_read_now()
        await budget.wait_to_read()
        return budget.take(MIB)

    first = asyncio.create_task(never_sends())
    await asyncio.sleep(0)
    others = [asyncio.create_task(waits()) for _ in range(3)]
    await asyncio.sleep(0.01)
    others[0].cancel()
    assert not any(each.done() for each in others[1:])
    ends.set()
    assert await asyncio.gather(first, *others[1:]) == [None, True, True]
    assert await asyncio.create_task(waits_not(budget))


async def waits_not(budget):
    return budget.may_read_now()


async def test_a_call_that_waits_too_long_is_refused(monkeypatch):
    monkeypatch.setattr(request_budget, "WAIT", 0.01)
    budget = RequestBudget(readers=0)
    with pytest.raises(request_budget.OperationError, match="send fewer at a time"):
        await budget.wait_to_read()


async def test_a_single_request_and_small_ones_always_have_room():
    budget = RequestBudget(most=MIB)

    async def call(size):
        assert budget.may_read_now()
        taken = budget.take(size)
        await asyncio.sleep(0.01)
        return taken

    assert await run_calls(call(4 * MIB), call(4 * MIB), call(1000)) == [True, False, True]
    assert await run_calls(call(4 * MIB)) == [True]
