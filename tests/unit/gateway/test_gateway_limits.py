"""Check requests against the limits of their caller."""

import dataclasses
import datetime as dt

import pytest

from sandbox_client.errors import FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted
from sandbox_client.lifecycle.session_info import SessionInfo
from sandbox_gateway.backend import Caller, GatewaySession, NewSession
from sandbox_gateway.backends.limits import (
    check_count,
    check_deadline,
    check_resume,
    check_seconds,
    check_wake,
    complete_new,
    running_of,
    select,
    wake_seconds,
)

NOW = dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC)
ALIASES = {"base": "", "py": "python"}


def session(name, owner="me", phase="Ready", age=0, metadata=(), **facts):
    created = NOW - dt.timedelta(seconds=age)
    info = SessionInfo(name, phase=phase, created_at=created, started_at=created, **facts)
    return GatewaySession(info, dict(metadata), owner=owner, uid=f"uid-{name}")


def test_a_new_session_gets_a_name_that_every_protocol_allows():
    names = {complete_new(Caller(name="me"), NewSession(), ALIASES).name for _ in range(50)}
    assert len(names) == 50
    assert all(name.isalnum() and name == name.lower() and len(name) == 21 for name in names)


@pytest.mark.parametrize(
    ("template", "allowed", "found"),
    [("base", None, ""), ("", None, ""), ("py", {"python"}, "python"), ("base", {"default"}, "")],
)
def test_an_alias_stands_for_a_template(template, allowed, found):
    caller = Caller(name="me", templates=None if allowed is None else frozenset(allowed))
    assert complete_new(caller, NewSession(template=template), ALIASES).template == found


@pytest.mark.parametrize("template", ["base", "", "other"])
def test_a_template_that_the_caller_may_not_use_does_not_exist(template):
    caller = Caller(name="me", templates=frozenset({"python"}))
    with pytest.raises(NotFound) as caught:
        complete_new(caller, NewSession(template=template), ALIASES)
    assert (caught.value.reason, caught.value.field) == ("TEMPLATE_NOT_FOUND", "template")


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"on_timeout": "kill"}, "on_timeout"),
        ({"egress": "all"}, "egress"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"metadata": {"a": "x" * (64 << 10)}}, "metadata"),
        ({"env": {"A": None}}, "env"),
        ({"seconds": 0}, "seconds"),
        ({"seconds": -1}, "seconds"),
        ({"seconds": float("nan")}, "seconds"),
        ({"seconds": float("inf")}, "seconds"),
        ({"seconds": 61}, "seconds"),
        ({"seconds": 10**400}, "seconds"),
        ({"seconds": 1e15}, "seconds"),
        ({"metadata": {"a": "\ud800"}}, "metadata"),
        ({"metadata": {"\udfff": "a"}}, "metadata"),
        ({"env": {"A": "x\ud800"}}, "env"),
        ({"name": "\ud800"}, "name"),
        ({"template": "\ud800"}, "template"),
    ],
)
def test_a_wrong_value_names_its_field(given, field):
    with pytest.raises(InvalidArgument) as caught:
        complete_new(Caller(name="me", max_seconds=60), NewSession(**given), ALIASES)
    assert caught.value.field == field


@pytest.mark.parametrize("seconds", [10**400, 1e15, 10 * 366 * 24 * 3600])
def test_no_session_lasts_for_centuries(seconds):
    with pytest.raises(InvalidArgument, match="10 years") as caught:
        complete_new(Caller(name="me"), NewSession(seconds=seconds), ALIASES)
    assert caught.value.field == "seconds"


def test_a_session_that_is_resumed_after_its_end_gets_its_time_again():
    def seconds(caller, ago, **facts):
        end = NOW - dt.timedelta(seconds=ago)
        found = dataclasses.replace(session("a", is_suspended=True, expires_at=end), **facts)
        return wake_seconds(caller, found, NOW)

    assert seconds(Caller(name="me"), 1, seconds=600.0) == 600
    assert seconds(Caller(name="me", max_seconds=60), 1, seconds=600.0) == 60
    assert seconds(Caller(name="me", max_seconds=60), 1) == 60
    assert seconds(Caller(name="me"), 1) == 3600
    assert seconds(Caller(name="me"), -1, seconds=600.0) is None
    assert wake_seconds(Caller(name="me"), session("a", expires_at=NOW - dt.timedelta(1)), NOW) is None
    assert wake_seconds(Caller(name="me"), session("a", is_suspended=True), NOW) is None


def test_of_sessions_that_are_resumed_at_once_the_latest_are_refused():
    caller, sessions = (
        Caller(name="me", max_sessions=2),
        [session(name, age=age) for name, age in zip("abc", (9, 5, 1), strict=True)],
    )
    check_wake(caller, sessions[0], sessions)
    check_wake(caller, sessions[1], sessions)
    with pytest.raises(ResourceExhausted):
        check_wake(caller, sessions[2], sessions)
    check_wake(caller, dataclasses.replace(sessions[2], owner="you"), sessions)
    # One that is being resumed counts already, but not itself.
    waking = [session("a", phase="Suspended"), session("b")]
    check_count(caller, waking, "uid-a")
    with pytest.raises(ResourceExhausted):
        check_count(caller, waking)


def test_a_session_without_a_time_lasts_as_long_as_the_key_allows():
    assert complete_new(Caller(name="me", max_seconds=60), NewSession(), ALIASES).seconds == 60
    assert complete_new(Caller(name="me"), NewSession(), ALIASES).seconds is None
    assert check_seconds(Caller(name="me"), 10**6) == 10**6


def test_a_lifetime_cannot_be_extended_beyond_the_limit():
    caller, found = Caller(name="me", max_seconds=100), session("a", age=50)
    check_deadline(caller, found, 50, NOW)
    with pytest.raises(FailedPrecondition) as caught:
        check_deadline(caller, found, 51, NOW)
    assert caught.value.reason == "LIFETIME_BOUND"


def test_a_resume_of_a_session_that_runs_is_no_way_around_the_limit():
    caller = Caller(name="me", max_seconds=100)
    check_resume(caller, session("a", phase="Suspended", age=1000), 100, NOW)
    check_resume(caller, session("a", age=50), 50, NOW)
    with pytest.raises(FailedPrecondition):
        check_resume(caller, session("a", age=50), 51, NOW)
    with pytest.raises(InvalidArgument):
        check_resume(caller, session("a", phase="Suspended"), 101, NOW)


def test_only_own_sessions_that_run_count():
    sessions = [
        session("young"),
        session("old", age=9),
        session("foreign", owner="you"),
        session("asleep", phase="Suspended", is_suspended=True),
        session("waking", owner="you", phase="Suspended"),
        session("to-sleep", is_suspended=True),
        session("broken", phase="Failed"),
        session("starting", phase="", age=5),
    ]
    assert [each.info.name for each in running_of(Caller(name="me"), sessions)] == ["old", "starting", "young"]
    check_count(Caller(name="me", max_sessions=4), sessions)
    check_count(Caller(name="me"), sessions)
    with pytest.raises(ResourceExhausted) as caught:
        check_count(Caller(name="me", max_sessions=3), sessions)
    assert caught.value.reason == "TOO_MANY_SESSIONS"


def test_a_list_has_the_sessions_with_all_words_oldest_first():
    sessions = [session("b", metadata={"a": "1", "b": "2"}), session("a", age=3, metadata={"a": "1"}), session("c")]
    assert [each.info.name for each in select(Caller(name="me"), sessions, {"a": "1"})] == ["a", "b"]
    assert [each.info.name for each in select(Caller(name="me"), sessions, {"a": "1", "b": "2"})] == ["b"]
    assert [each.info.name for each in select(Caller(name="me"), sessions, None)] == ["a", "b", "c"]
