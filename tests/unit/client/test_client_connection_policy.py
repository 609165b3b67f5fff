"""When a call looks for its session elsewhere, when it is sent again, and when it fails."""

import pytest

from sandbox_client import FailedPrecondition, NotFound, SandboxUnavailable
from sandbox_client.transport.connection_policy import (
    CONNECT_TIMEOUT,
    MAX_ATTEMPTS,
    MAX_MOVES,
    MOVE_CHECK_DELAY,
    ConnectionPolicy,
)

MOVABLE = ConnectionPolicy(can_move=True)
FIXED = ConnectionPolicy()
FOLLOW = None


def connect(policy, *outcomes):
    """Return the steps until the outcomes are used up or the policy ends, and whether there is a connection."""
    steps = policy.connect_steps()
    taken = [next(steps)]
    try:
        for outcome in outcomes:
            step = steps.send(outcome)
            taken.append(step)
    except StopIteration as end:
        return taken, end.value
    return taken, None


@pytest.mark.parametrize(
    ("policy", "outcomes", "steps", "is_connected"),
    [
        (FIXED, [True], [CONNECT_TIMEOUT], True),
        (FIXED, [False, False], [CONNECT_TIMEOUT, FOLLOW], False),
        (MOVABLE, [True], [MOVE_CHECK_DELAY], True),
        (MOVABLE, [False, True, True], [MOVE_CHECK_DELAY, FOLLOW, CONNECT_TIMEOUT], True),
        (MOVABLE, [False, False, True], [MOVE_CHECK_DELAY, FOLLOW, CONNECT_TIMEOUT], True),
        (MOVABLE, [False, False, False, False], [MOVE_CHECK_DELAY, FOLLOW, CONNECT_TIMEOUT, FOLLOW], False),
        (
            MOVABLE,
            [False, False, False, True, True],
            [MOVE_CHECK_DELAY, FOLLOW, CONNECT_TIMEOUT, FOLLOW, CONNECT_TIMEOUT],
            True,
        ),
        (
            MOVABLE,
            [False, False, False, True, False],
            [MOVE_CHECK_DELAY, FOLLOW, CONNECT_TIMEOUT, FOLLOW, CONNECT_TIMEOUT],
            False,
        ),
    ],
)
def test_a_session_that_does_not_answer_is_looked_for_early_and_once_more_at_the_end(
    policy, outcomes, steps, is_connected
):
    assert connect(policy, *outcomes) == (steps, is_connected)


@pytest.mark.parametrize("reason", ["DRAINING", "LIFETIME_EXPIRED", "NOT_BOUND"])
def test_a_call_that_the_agent_refused_before_all_work_follows_the_session_a_few_times(reason):
    failure = FailedPrecondition("no", reason=reason)
    assert [MOVABLE.may_follow(failure, moves) for moves in range(MAX_MOVES + 1)] == [True] * MAX_MOVES + [False]


@pytest.mark.parametrize(
    "failure",
    [
        FailedPrecondition("no", reason="IS_A_DIRECTORY"),
        NotFound("no", reason="DRAINING"),
        SandboxUnavailable("gone", reason="UNAVAILABLE"),
    ],
)
def test_a_call_that_may_have_started_stays(failure):
    assert not MOVABLE.may_follow(failure, 0)


def test_a_repeatable_call_is_sent_again_with_longer_and_longer_delays():
    failure = SandboxUnavailable("gone")
    delays = [FIXED.retry_delay(failure, attempt) for attempt in range(1, MAX_ATTEMPTS)]
    for number, delay in enumerate(delays):
        assert 0.05 * 2**number <= delay <= 0.15 * 2**number
    assert FIXED.retry_delay(failure, MAX_ATTEMPTS) is None


def test_an_answer_of_the_agent_is_final():
    assert FIXED.retry_delay(NotFound("no"), 1) is None
