"""Deadlines that move, caps of templates, and times to live, against the API server and agents in memory."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sandbox_operator.api.models import Session, parse
from sandbox_operator.api.values import format_time
from sandbox_operator.errors import AgentError, SpecError
from sandbox_operator.kube.resources import PODS, SESSIONS, TEMPLATES
from sandbox_operator.session.plan.steps import Timing
from tests.unit.operator.conftest import NAMESPACE, World, server_name


@pytest.fixture(name="start")
def _start(world):
    """Start a session whose agent reports its remaining lifetime, as Bind gave it."""

    async def start(**lifecycle):
        await world.start(lifecycle=lifecycle)
        name = server_name(world.pod())
        lifetime = world.agents.requests[-1].lifecycle.max_lifetime.ToTimedelta()
        world.agents.views[name] = replace(world.agents.views[name], remaining_lifetime=lifetime)

    return start


def at(world, **parts):
    return format_time(world.clock.now + timedelta(**parts))


async def change(world, **lifecycle):
    world.kube.change(SESSIONS, NAMESPACE, "one", {"spec": {"lifecycle": lifecycle}})
    await world.settle()


async def resume(world, **lifecycle):
    world.kube.change(SESSIONS, NAMESPACE, "one", {"spec": {"suspended": False, "lifecycle": lifecycle}})
    await world.settle()


async def wait(world, **parts):
    world.clock.advance(**parts)
    await world.operator.list_all()
    await world.settle()


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2030-01-31T18:00:00Z", datetime(2030, 1, 31, 18, tzinfo=UTC)),
        ("2030-01-31t18:00:00.123456789z", datetime(2030, 1, 31, 18, 0, 0, 123456, tzinfo=UTC)),
        ("2030-01-31T18:00:00+02:00", datetime(2030, 1, 31, 16, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
    ],
)
def test_an_expiry_time_is_read_in_every_form_that_the_api_server_allows(text, moment):
    assert parse_lifecycle(expiresAt=text).expires_at == moment
    # strftime writes the year 1 without zeros, which the API server would refuse in the status.
    assert len(format_time(moment)) == len("2030-01-31T18:00:00Z")


@pytest.mark.parametrize("text", ["tomorrow", "9999-12-31T23:59:59-14:00", "", 5])
def test_an_expiry_time_that_is_none_is_refused_by_name(text):
    with pytest.raises(SpecError, match=r"spec\.lifecycle\.expiresAt: must be an RFC 3339 time"):
        parse_lifecycle(expiresAt=text)


def parse_lifecycle(**lifecycle):
    metadata = {"name": "one", "namespace": "n", "uid": "u", "creationTimestamp": "2030-01-01T00:00:00Z"}
    return parse(Session, {"metadata": metadata, "spec": {"lifecycle": lifecycle}}).spec.lifecycle


@pytest.mark.parametrize(
    ("lifecycle", "template", "minutes"),
    [
        ({}, {}, 480),
        ({"maxLifetime": "30m"}, {}, 30),
        ({"maxLifetime": "10h"}, {}, 600),
        ({"minutes": 20}, {}, 20),
        ({"minutes": 20, "maxLifetime": "10m"}, {}, 10),
        ({"minutes": 600}, {}, 480),
        ({}, {"maxLifetime": "1h"}, 60),
        ({"maxLifetime": "30m"}, {"maxLifetime": "1h"}, 30),
        ({"maxLifetime": "9h"}, {"maxLifetime": "1h"}, 60),
        ({"maxLifetime": "9h"}, {"maxLifetime": "10h"}, 540),
        ({"minutes": 20}, {"maxLifetime": "1h"}, 20),
    ],
)
async def test_the_earliest_deadline_counts_for_agent_and_status(world, lifecycle, template, minutes):
    wanted = {key: value for key, value in lifecycle.items() if key != "minutes"}
    if "minutes" in lifecycle:
        wanted["expiresAt"] = at(world, minutes=lifecycle["minutes"])
    world.add_template(lifecycle=template)
    world.add_session(lifecycle=wanted)
    await world.settle()
    (request,) = world.agents.requests
    assert request.lifecycle.max_lifetime.ToTimedelta() == timedelta(minutes=minutes)
    assert world.status()["expiresAt"] == at(world, minutes=minutes)


async def test_a_lifetime_that_is_cut_is_reported(world):
    world.add_template(lifecycle={"maxLifetime": "1h"})
    world.add_session("greedy", lifecycle={"maxLifetime": "9h", "idleTimeout": "2h"})
    world.add_session("modest", lifecycle={"maxLifetime": "1h"})
    world.add_session("plain")
    await world.settle()
    message = (
        "spec.lifecycle.maxLifetime is 32400 s, but SandboxTemplate default allows 3600 s, which applies; "
        "spec.lifecycle.idleTimeout (7200 s) must be shorter than maxLifetime (3600 s) to take effect: "
        "onExpiry (Suspend) always comes first, so onIdle (Suspend) never happens"
    )
    assert world.condition("LifecycleEffective", "greedy") == ("False", "LifetimeCapped", message)
    for name in ("modest", "plain"):
        assert "LifecycleEffective" not in {each["type"] for each in world.status(name)["conditions"]}


async def test_a_running_session_follows_the_cap_of_its_template(world, start):
    await start()
    world.kube.change(TEMPLATES, NAMESPACE, "default", {"spec": {"lifecycle": {"maxLifetime": "10m"}}})
    await world.settle()
    assert world.agents.lifetimes == [600.0]
    await wait(world, minutes=11)
    assert (world.status()["phase"], world.condition()[1]) == ("Suspended", "Expired")


async def test_a_session_does_not_outlive_the_cap_of_a_template_that_is_gone(world):
    world.add_template(lifecycle={"maxLifetime": "10m"})
    world.add_session()
    await world.settle()
    world.kube.remove(TEMPLATES, NAMESPACE, "default")
    await wait(world, minutes=2)
    assert world.status()["expiresAt"] == at(world, minutes=8)
    await change(world, expiresAt=at(world, minutes=4))
    assert world.status()["expiresAt"] == at(world, minutes=4)
    await wait(world, minutes=5)
    assert world.condition()[1] == "Expired"


@pytest.mark.parametrize("minutes", [2, 60])
async def test_the_agent_follows_a_deadline_that_moves(world, start, minutes):
    await start(expiresAt=at(world, minutes=10))
    await change(world, expiresAt=at(world, minutes=minutes))
    assert world.agents.lifetimes == [minutes * 60.0]
    assert world.status()["expiresAt"] == at(world, minutes=minutes)
    await world.operator.list_all()
    await world.settle()
    assert world.agents.lifetimes == [minutes * 60.0], "an agent that knows its deadline is not called again"
    assert world.status()["phase"] == "Ready"


async def test_a_session_without_its_expiry_time_lives_as_long_as_its_pod_may(world, start):
    await start(expiresAt=at(world, minutes=10))
    await change(world, expiresAt=None)
    assert world.agents.lifetimes == [8 * 3600.0]
    assert world.status()["expiresAt"] == at(world, hours=8)


async def test_an_agent_that_is_too_old_to_move_its_deadline_is_not_asked_to(world):
    await world.start(lifecycle={"expiresAt": at(world, minutes=10)})
    await change(world, expiresAt=at(world, minutes=60))
    assert world.agents.lifetimes == []
    assert world.status()["phase"] == "Ready"


async def test_a_deadline_that_could_not_be_moved_is_moved_soon(world, start):
    await start(expiresAt=at(world, minutes=10))

    async def refuse(*_):
        raise AgentError("UNAVAILABLE", "not now")

    working, world.agents.set_lifetime = world.agents.set_lifetime, refuse
    await change(world, expiresAt=at(world, minutes=60))
    assert world.agents.lifetimes == []
    assert world.status()["phase"] == "Ready"
    assert world.operator.later[SESSIONS.plural, NAMESPACE, "one"] == 2
    world.agents.set_lifetime = working
    await world.operator.work((SESSIONS.plural, NAMESPACE, "one"))
    assert world.agents.lifetimes == [3600.0]


async def test_a_running_session_expires_at_its_time_and_resumes_with_a_later_one_only(world, start):
    end = at(world, seconds=20)
    await start(expiresAt=end)
    assert world.operator.later[SESSIONS.plural, NAMESPACE, "one"] == 20
    await wait(world, seconds=20)
    message = f"the session reached spec.lifecycle.expiresAt, {end}"
    assert world.agents.drains == 1
    assert world.status()["phase"] == "Suspended"
    advice = "to resume it, set a later spec.lifecycle.expiresAt and set spec.suspended to false"
    assert world.condition() == ("False", "Expired", f"{message}; {advice}")
    await resume(world)
    assert world.session()["spec"]["suspended"] is True
    assert world.condition() == ("False", "Expired", f"{message}; {advice}")
    assert world.pods() == {}
    await resume(world, expiresAt=at(world, minutes=5))
    assert world.status()["phase"] == "Ready"
    assert world.status()["expiresAt"] == at(world, minutes=5)


async def test_a_resumed_session_keeps_its_expiry_time(world, start):
    end = at(world, minutes=30)
    await start(expiresAt=end)
    world.kube.change(SESSIONS, NAMESPACE, "one", {"spec": {"suspended": True}})
    await world.settle()
    assert world.status()["expiresAt"] == end
    world.clock.advance(minutes=10)
    await resume(world)
    assert world.status()["phase"] == "Ready"
    assert world.status()["expiresAt"] == end
    assert world.agents.requests[-1].lifecycle.max_lifetime.ToTimedelta() == timedelta(minutes=20)


async def test_a_session_that_was_created_too_late_never_starts(world):
    world.add_template()
    world.add_session(lifecycle={"expiresAt": at(world, minutes=-1)})
    await world.settle()
    assert (world.status()["phase"], world.condition()[1]) == ("Suspended", "Expired")
    assert [call for call in world.kube.calls if call[:2] == ("create", PODS.plural)] == []


@pytest.mark.parametrize("is_suspended", [False, True])
async def test_a_session_with_delete_is_deleted_at_its_expiry_time_even_while_suspended(world, start, is_suspended):
    await start(expiresAt=at(world, seconds=30), onExpiry="Delete")
    if is_suspended:
        world.kube.change(SESSIONS, NAMESPACE, "one", {"spec": {"suspended": True}})
        await world.settle()
    assert world.operator.later[SESSIONS.plural, NAMESPACE, "one"] == 30
    await wait(world, seconds=29)
    assert world.kube.named(SESSIONS) != {}
    await wait(world, seconds=1)
    assert world.kube.named(SESSIONS) == {}
    assert world.pods() == {}
    assert world.agents.drains == 1


async def test_the_time_to_live_of_a_session_that_expires_while_suspended_begins_then(world, start):
    await start(expiresAt=at(world, minutes=10), ttlAfterFinished="1h")
    world.kube.change(SESSIONS, NAMESPACE, "one", {"spec": {"suspended": True}})
    await world.settle()
    await wait(world, minutes=69)
    assert world.condition()[1] == "Expired"
    await wait(world, minutes=2)
    assert world.kube.named(SESSIONS) == {}


@pytest.mark.parametrize("reason", ["Suspended", "Idle"])
async def test_a_suspended_session_is_deleted_after_its_time_to_live(world, start, reason):
    await start(ttlAfterSuspended="1h")
    recorded = []
    world.operator.recorder.record = lambda _, *event, **__: recorded.append(event)
    if reason == "Idle":
        world.clock.advance(minutes=16)
    else:
        world.kube.change(SESSIONS, NAMESPACE, "one", {"spec": {"suspended": True}})
    await world.operator.list_all()
    await world.settle()
    assert world.condition()[1] == reason
    assert world.status()["suspendedAt"] == at(world)
    await wait(world, minutes=59, seconds=50)
    assert world.operator.later[SESSIONS.plural, NAMESPACE, "one"] == 10
    await wait(world, seconds=10)
    assert world.kube.named(SESSIONS) == {}
    assert (
        "TimeToLiveEnded",
        "the session is deleted, because it was suspended for 1h (spec.lifecycle.ttlAfterSuspended)",
    ) in recorded


async def test_the_time_to_live_counts_from_the_end_of_a_long_suspend(world, start):
    await start(ttlAfterSuspended="1h")
    world.agents.drain_error = AgentError("STORAGE_UNAVAILABLE", "storage is down")
    world.kube.change(SESSIONS, NAMESPACE, "one", {"spec": {"suspended": True}})
    await world.settle()
    await wait(world, hours=3)
    assert world.status()["phase"] == "Suspending"
    assert "suspendedAt" not in world.status()
    world.agents.drain_error = None
    await wait(world, minutes=1)
    assert world.status()["suspendedAt"] == at(world)
    await wait(world, minutes=59)
    assert world.status()["phase"] == "Suspended"


async def test_a_session_that_resumed_counts_anew(world, start):
    await start(ttlAfterSuspended="1h")
    for _ in range(2):
        world.kube.change(SESSIONS, NAMESPACE, "one", {"spec": {"suspended": True}})
        await world.settle()
        await wait(world, minutes=50)
        await resume(world)
        assert world.status()["phase"] == "Ready"
        assert "suspendedAt" not in world.status()


@pytest.fixture(name="unnamed")
def _unnamed():
    """Return a cluster with a session whose name was generated."""
    world = World(timing=Timing(unnamed_ttl=timedelta(hours=24)))
    body = world.add_session()
    world.kube.change(SESSIONS, NAMESPACE, "one", {"metadata": {"generateName": "sandbox-"}})
    assert body["metadata"]["name"] == "one"
    return world


async def test_an_unnamed_session_that_stays_suspended_is_deleted(unnamed):
    unnamed.add_template()
    await unnamed.settle()
    await wait(unnamed, minutes=16)
    assert unnamed.condition()[1] == "Idle"
    await wait(unnamed, hours=23)
    assert unnamed.status()["phase"] == "Suspended"
    await wait(unnamed, hours=1)
    assert unnamed.kube.named(SESSIONS) == {}


async def test_an_unnamed_session_that_never_starts_is_deleted(unnamed):
    await unnamed.settle()
    assert unnamed.status()["phase"] == "Pending"
    await wait(unnamed, hours=23)
    assert unnamed.status()["phase"] == "Pending"
    await wait(unnamed, hours=1)
    assert unnamed.kube.named(SESSIONS) == {}


async def test_an_unnamed_session_that_runs_stays(unnamed):
    unnamed.add_template()
    unnamed.kube.change(
        SESSIONS, NAMESPACE, "one", {"spec": {"lifecycle": {"maxLifetime": "720h", "idleTimeout": "700h"}}}
    )
    await unnamed.settle()
    await wait(unnamed, hours=48)
    assert unnamed.status()["phase"] == "Ready"


async def test_a_session_may_choose_a_longer_time_than_that_of_unnamed_ones(unnamed):
    unnamed.add_template()
    unnamed.kube.change(SESSIONS, NAMESPACE, "one", {"spec": {"lifecycle": {"ttlAfterSuspended": "72h"}}})
    await unnamed.settle()
    await wait(unnamed, minutes=16)
    await wait(unnamed, hours=71)
    assert unnamed.status()["phase"] == "Suspended"
    await wait(unnamed, hours=2)
    assert unnamed.kube.named(SESSIONS) == {}


async def test_a_named_session_stays_for_ever():
    world = World(timing=Timing(unnamed_ttl=timedelta(hours=24)))
    await world.start()
    await wait(world, minutes=16)
    await wait(world, days=300)
    assert world.status()["phase"] == "Suspended"
