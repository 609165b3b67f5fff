"""A context's queue, without an interpreter process."""

from __future__ import annotations

import asyncio
from unittest.mock import AsyncMock, Mock

import pytest

from sandbox_link.frames import FrameDecoder, FrameType, encode_json
from sandbox_runtime.execution.context import Context
from sandbox_runtime.execution.execution import Execution
from sandbox_runtime.link.channel import LinkChannel


class SlowGate:
    """A type gate that answers when the test lets it."""

    may_run = True

    def __init__(self, verdict):
        self.verdict = verdict
        self.asked, self.released = asyncio.Event(), asyncio.Event()

    async def check(self, _code, _context_id, _history):
        self.asked.set()
        await self.released.wait()
        return self.verdict


@pytest.fixture
def interpreters():
    return []


@pytest.fixture
def context(interpreters):
    def take(_language):
        interpreters.append(Mock(is_initialized=True, is_ready=True, kill=AsyncMock()))
        return interpreters[-1]

    return Context("ctx-1", "typescript", Mock(take=take), Mock(), Mock())


@pytest.fixture
def frames():
    return []


def make_execution(number, frames):
    decoder = FrameDecoder()
    channel = LinkChannel(number, {}, lambda data: frames.extend(decoder.feed(data)))
    return Execution(channel, "typescript", b"1", 60, 1000)


@pytest.fixture
async def execution(frames):
    return make_execution(1, frames)


async def rounds():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_cell_whose_types_are_right_runs_after_its_check(context, execution, frames, interpreters):
    gate = SlowGate(([{"type": "type_check"}], ""))
    context.submit(execution, gate)
    await gate.asked.wait()
    interpreters[0].execute.assert_not_called()
    gate.released.set()
    await rounds()
    interpreters[0].execute.assert_called_once()
    assert [frame.json()["type"] for frame in frames] == ["started", "type_check"]


async def test_a_verdict_that_comes_after_the_cells_end_is_dropped(context, execution, frames, interpreters):
    """An event after a channel's CLOSE would break the protocol, and the agent would end the whole connection."""
    gate = SlowGate(([{"type": "type_check"}], ""))
    context.submit(execution, gate)
    await gate.asked.wait()
    await context.restart()
    gate.released.set()
    await rounds()
    assert [frame.type for frame in frames] == [FrameType.EVENT, FrameType.CLOSE]
    assert frames[-1].json()["ok"]["status"] == "KILLED"
    for interpreter in interpreters:
        interpreter.execute.assert_not_called()


async def test_a_check_of_an_ended_cell_does_not_keep_the_next_check_from_being_interrupted(context, execution, frames):
    first, second = SlowGate(([], "")), SlowGate(([], ""))
    context.submit(execution, first)
    await first.asked.wait()
    await context.restart()
    following = []
    context.submit(make_execution(2, following), second)
    await second.asked.wait()
    first.released.set()
    await rounds()
    assert context.interrupt()
    await rounds()
    assert following[-1].json()["ok"]["status"] == "INTERRUPTED"


async def test_the_cells_of_a_process_that_ends_between_cells_no_longer_count(context, execution):
    context.submit(execution)
    context.on_frame(next(iter(FrameDecoder().feed(encode_json(FrameType.CLOSE, 1, {"ok": {"status": "OK"}})))))
    counts = [context.describe()["execution_count"]]
    context.on_exit(0)
    assert [*counts, context.describe()["execution_count"]] == [1, 0]
