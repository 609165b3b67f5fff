"""How long something that runs is waited for, once its connection broke."""

import pytest

from sandbox_client import SandboxUnavailable
from sandbox_client.transport.retry_policy import ReattachPolicy


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def unavailable(reason="UNAVAILABLE"):
    return SandboxUnavailable("gone", reason=reason)


def test_a_break_is_followed_by_a_few_attempts_with_longer_and_longer_pauses(clock):
    policy = ReattachPolicy(60.0, clock)
    assert [policy.delay(unavailable(), may_run=True) for _ in range(4)] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    last = unavailable()
    with pytest.raises(SandboxUnavailable) as caught:
        policy.delay(last, may_run=True)
    assert caught.value is last


def test_what_arrives_makes_the_next_break_another_one(clock):
    policy = ReattachPolicy(60.0, clock)
    for _ in range(20):
        assert policy.delay(unavailable(), may_run=True) == 0.2
        policy.reset()


def test_where_nobody_answers_the_time_since_the_break_decides(clock):
    policy = ReattachPolicy(60.0, clock)
    policy.delay(unavailable(), may_run=True)
    for _ in range(3):
        clock.now += 19.9
        policy.delay(unavailable("UNREACHABLE"), may_run=True)
    clock.now += 0.4
    with pytest.raises(SandboxUnavailable):
        policy.delay(unavailable("UNREACHABLE"), may_run=True)


def test_the_time_begins_with_the_break_that_is_met_first_and_anew_after_something_arrived(clock):
    policy = ReattachPolicy(60.0, clock)
    policy.delay(unavailable("UNREACHABLE"), may_run=True)
    clock.now += 50.0
    policy.reset()
    policy.delay(unavailable("UNREACHABLE"), may_run=True)
    clock.now += 50.0
    policy.delay(unavailable("UNREACHABLE"), may_run=True)
    clock.now += 10.1
    with pytest.raises(SandboxUnavailable):
        policy.delay(unavailable("UNREACHABLE"), may_run=True)


def test_a_break_long_after_the_last_one_is_another_one_though_nothing_new_arrived(clock):
    policy = ReattachPolicy(60.0, clock)
    for _ in range(20):
        assert policy.delay(unavailable(), may_run=True) == 0.2
        clock.now += 1800.0
    policy.delay(unavailable("UNREACHABLE"), may_run=True)
    clock.now += 30.0
    policy.delay(unavailable("UNREACHABLE"), may_run=True)


def test_a_call_that_was_never_sent_waits_for_nothing(clock):
    with pytest.raises(SandboxUnavailable):
        ReattachPolicy(60.0, clock).delay(unavailable("UNREACHABLE"), may_run=False)


@pytest.mark.parametrize("reason", ["CLOSED", "RUNTIME_UNAVAILABLE", "SESSION_OVER"])
def test_there_is_nothing_to_come_back_to_where_somebody_who_knows_says_so(clock, reason):
    with pytest.raises(SandboxUnavailable):
        ReattachPolicy(60.0, clock).delay(unavailable(reason), may_run=True)


def test_a_session_without_a_network_between_is_not_waited_for(clock):
    with pytest.raises(SandboxUnavailable):
        ReattachPolicy(0.0, clock).delay(unavailable("UNREACHABLE"), may_run=True)
