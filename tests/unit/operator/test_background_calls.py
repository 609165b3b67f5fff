"""Calls in the background end with a state, whatever they raise, and their session is reconciled again."""

import asyncio
from datetime import UTC, datetime

import pytest

from sandbox_operator.agent.model import AgentView
from sandbox_operator.errors import AgentError, Blocked, NotLeadingError, UnavailableError
from sandbox_operator.session.background_calls import track_drains, track_renewals
from sandbox_operator.session.model import DrainState, RenewalState

KEY = ("sandboxsessions", "team", "one")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
LOGGED = "unexpected error, see the operator's log"


def call(result):
    async def answer():
        await asyncio.sleep(0)
        if isinstance(result, Exception):
            raise result
        return result

    return answer


async def run(calls, ended, *results, pod="pod"):
    for number, result in enumerate(results, 1):
        calls.start(KEY, pod, call(result))
        assert calls.get(KEY).is_running
        while len(ended) < number:  # noqa: ASYNC110 - two turns of the loop
            await asyncio.sleep(0)
    return calls.get(KEY)


@pytest.mark.parametrize(
    ("result", "error"),
    [
        (AgentView(), ""),
        (AgentError("WORKSPACE_CONFLICT", "another session pushed"), "WORKSPACE_CONFLICT: another session pushed"),
        (NotLeadingError("late"), "this replica is no longer the leader"),
        (ValueError("a defect"), LOGGED),
    ],
)
async def test_a_drain_ends_with_what_went_wrong(result, error, caplog):
    ended = []
    calls = track_drains(ended.append, lambda: NOW)
    assert await run(calls, ended, result) == DrainState("pod", is_running=False, error=error, ended=NOW)
    assert ended == [KEY]
    assert ["drain failed unexpectedly" in caplog.text] == [error == LOGGED]


async def test_renewals_count_their_failures_until_one_works_or_the_pod_is_another():
    ended = []
    calls = track_renewals(ended.append, lambda: NOW)
    refused = AgentView(needs_credentials=True)
    failed = await run(calls, ended, Blocked("RoleNotAssumed", "denied"), UnavailableError(0, "", "gone"), refused)
    assert failed == RenewalState("pod", failures=3, error="storage refuses the new credentials too", ended=NOW)
    calls.start(KEY, "pod", call(AgentView()))
    # What went wrong stays visible meanwhile.
    assert calls.get(KEY) == RenewalState("pod", is_running=True, failures=3, error=failed.error)
    while len(ended) < 4:  # noqa: ASYNC110 - two turns of the loop
        await asyncio.sleep(0)
    assert calls.get(KEY) == RenewalState("pod", ended=NOW)
    ended.clear()
    await run(calls, ended, ValueError("a defect"))
    ended.clear()
    other = await run(calls, ended, AgentError("UNAVAILABLE", "no answer"), pod="other")
    assert other == RenewalState("other", failures=1, error="the call to the agent failed with UNAVAILABLE", ended=NOW)


async def test_a_call_that_runs_is_not_made_twice_and_ends_with_its_session():
    ended = []
    calls = track_drains(ended.append, lambda: NOW)
    for _ in range(2):
        calls.start(KEY, "pod", call(AgentView()))
    assert len(calls._tasks) == 1
    (task,) = calls._tasks.values()
    calls.forget(KEY)
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
    assert (calls.get(KEY), ended) == (None, [])
