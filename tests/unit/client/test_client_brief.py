"""Short cells in one call, longer ones in a brief call and a stream."""

import grpc
import pytest

from sandbox_client import Completed, SandboxUnavailable, Started, Stdout
from sandbox_testing.fake_agent import completed, output, started

CELL = [started("e"), output(b"one "), output(b"two", offset=4), completed()]
EVENTS = [Started("e", "python"), Stdout("one "), Stdout("two")]


@pytest.fixture
def scripted(agent):
    agent.script("cell", CELL)
    return agent


async def events_of(sandbox):
    return [event async for event in sandbox.execute("cell")]


@pytest.mark.parametrize("known", range(len(CELL) + 1))
async def test_each_event_comes_once_however_many_the_brief_answer_had(scripted, sandbox, known):
    scripted.brief_events = known
    events = await events_of(sandbox)
    assert events[:-1] == EVENTS
    assert isinstance(events[-1], Completed)
    assert scripted.executions == 1
    assert scripted.calls["Execute"] == (known < len(CELL))


async def test_an_agent_without_the_brief_call_is_asked_for_it_once(scripted, sandbox):
    assert (await events_of(sandbox))[:-1] == (await events_of(sandbox))[:-1] == EVENTS
    assert scripted.executions == 2
    assert scripted.calls == {"Execute": 2}
    assert not sandbox._connection.has_brief_call


async def test_a_brief_call_that_broke_is_attached_to_and_not_run_again(scripted, sandbox):
    scripted.brief_events = 9
    scripted.refuse("ExecuteBriefly", grpc.StatusCode.UNAVAILABLE, "BROKEN")
    with pytest.raises(SandboxUnavailable, match="never received it"):
        await events_of(sandbox)
    assert scripted.executions == 0


async def test_a_runtime_that_is_gone_is_told_and_not_attached_to(scripted, sandbox):
    scripted.brief_events = 9
    scripted.refuse("ExecuteBriefly", grpc.StatusCode.UNAVAILABLE, "RUNTIME_UNAVAILABLE")
    with pytest.raises(SandboxUnavailable) as caught:
        await events_of(sandbox)
    assert caught.value.reason == "RUNTIME_UNAVAILABLE"
    assert scripted.calls == {"ExecuteBriefly": 1}
