"""A cell's time limit, without an interpreter."""

import asyncio
from unittest.mock import Mock

import pytest

from sandbox_runtime.execution.execution import Execution


@pytest.fixture
async def execution():
    return Execution(Mock(is_blocked=False), "python", b"", 0.05, 1000)


async def elapsed(event, seconds):
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.timeout(seconds):
        await event.wait()
    return loop.time() - began


async def test_the_time_an_interpreter_needs_to_start_is_not_the_cells(execution):
    over = asyncio.Event()
    execution.begin("c", 1, over.set, is_ready=False)
    with pytest.raises(TimeoutError):
        await elapsed(over, 0.2)
    execution.start_clock()
    assert await elapsed(over, 10) >= 0.04
    execution.finish("OK")


async def test_where_the_interpreter_runs_already_the_time_begins_at_once(execution):
    over = asyncio.Event()
    execution.begin("c", 1, over.set, is_ready=True)
    assert await elapsed(over, 10) >= 0.04
    execution.finish("OK")


async def test_a_clock_that_starts_after_the_end_rings_for_nobody(execution):
    over = asyncio.Event()
    execution.begin("c", 1, over.set, is_ready=False)
    execution.finish("OK")
    execution.start_clock()
    with pytest.raises(TimeoutError):
        await elapsed(over, 0.2)
