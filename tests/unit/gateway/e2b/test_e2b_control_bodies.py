"""Bodies of E2B's control plane."""

import datetime as dt

import pytest

from sandbox_client.errors import InvalidArgument, NotSupported
from sandbox_client.lifecycle.session_info import SessionInfo
from sandbox_gateway.backend import GatewaySession
from sandbox_gateway.doors.e2b.control import bodies

NOON = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)


def create(key="", **fields):
    message = {"templateID": "base", **fields}
    return bodies.read_create(message, caller="me", idempotency_key=key, default_seconds=300)


def session(name, *, minutes=0, is_suspended=False, metadata=(), **facts):
    started = NOON + dt.timedelta(minutes=minutes)
    return GatewaySession(SessionInfo(name, created_at=started, is_suspended=is_suspended, **facts), dict(metadata))


def test_defaults():
    new = create()
    assert (new.template, new.seconds, new.on_timeout, new.egress) == ("base", 300, "delete", "")
    assert (dict(new.env), bodies.user_metadata(new.metadata)) == ({}, {})


def test_all_fields():
    new = create(
        timeout=60,
        autoPause=True,
        autoResume={"enabled": True},
        allow_internet_access=False,
        metadata={"a": "b"},
        envVars={"C": "d"},
        secure=True,
        network={},
        mcp=None,
    )
    assert (new.seconds, new.on_timeout, new.egress, dict(new.env)) == (60, "suspend", "none", {"C": "d"})
    assert bodies.user_metadata(new.metadata) == {"a": "b"}
    assert bodies.wakes_by_traffic(new.metadata)
    assert not bodies.wakes_by_traffic(create(autoResume={"enabled": False}).metadata)


@pytest.mark.parametrize("field", ["mcp", "iam", "volumeMounts", "network"])
def test_what_sessions_do_not_have_is_named(field):
    with pytest.raises(NotSupported, match=f"{field} is not supported") as caught:
        create(**{field: {"x": 1}})
    assert caught.value.field == field


@pytest.mark.parametrize("key", ["a b", "x" * 256, "ü"])
def test_a_key_that_is_not_one(key):
    with pytest.raises(InvalidArgument):
        create(key)


def test_a_timeout_of_zero_is_the_shortest_one():
    assert bodies.read_seconds({"timeout": 0}) == 1
    with pytest.raises(InvalidArgument, match="timeout"):
        bodies.read_seconds({})


def test_a_sandbox_without_an_end_and_with_limits():
    resource = {"spec": {"resources": {"limits": {"cpu": "1500m", "memory": "2Gi"}}}}
    shown = bodies.listed_message(session("a", namespace="ns", template="t", resource=resource))
    assert (shown["sandboxID"], shown["templateID"], shown["state"]) == ("a--ns", "t", "running")
    assert (shown["cpuCount"], shown["memoryMB"], shown["startedAt"]) == (2, 2048, "2026-01-01T12:00:00Z")
    assert shown["endAt"].startswith("9999-")


@pytest.mark.parametrize(("quantity", "cores"), [(None, 0), ("2", 2), (0.5, 1), ("250m", 1), ("x", 0), ("", 0)])
def test_cores(quantity, cores):
    assert bodies._cores(quantity) == cores


def names(sessions, **query):
    page, token = bodies.select_page(sessions, bodies.read_list({key: str(value) for key, value in query.items()}))
    return [each.info.name for each in page], token


def test_pages_have_every_sandbox_once_in_both_directions():
    # Two of them started at the same moment.
    sessions = [session(name, minutes=minute) for name, minute in zip("abcde", (0, 1, 1, 2, 3), strict=True)]
    for order, expected in (("asc", "abcde"), ("desc", "edcba")):
        found, token = [], ""
        while True:
            page, token = names(sessions, limit=2, order=order, nextToken=token)
            found += page
            if not token:
                break
        assert "".join(found) == expected


def test_a_page_goes_on_after_its_last_sandbox_was_deleted():
    sessions = [session(name, minutes=minute) for minute, name in enumerate("abcd")]
    _, token = names(sessions, limit=2)
    assert names(sessions[:2], nextToken=token)[0] == ["b", "a"]


def test_filters():
    sessions = [session("a", template="t"), session("b", minutes=5, is_suspended=True), session("c", minutes=9)]
    assert names(sessions, state="paused")[0] == ["b"]
    assert names(sessions, state="running,paused")[0] == ["c", "b", "a"]
    assert names(sessions, template="t")[0] == ["a"]
    assert names(sessions, startedAfter="2026-01-01T12:05:00+00:00")[0] == ["c", "b"]
    assert bodies.read_list({}, default_states=("running",)).states == ("running",)


def test_metadata_is_encoded_twice():
    assert bodies.read_list({"metadata": "a%2520b=c%2526d&e="}).metadata == {"a b": "c&d", "e": ""}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("state", "gone"), ("order", "up"), ("limit", "0"), ("limit", "101"), ("limit", "x"), ("nextToken", "x"),
        ("nextToken", "WzFd"), ("startedAfter", "noon"),
    ],
)  # fmt: skip
def test_a_wrong_query_names_its_field(name, value):
    with pytest.raises(InvalidArgument, match=name):
        bodies.read_list({name: value})
