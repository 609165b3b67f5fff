"""Storage credentials that end: handed over at Bind, renewed in time, and what is told where that fails."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from sandbox_operator.app.controller import _time_credentials
from sandbox_operator.credentials.source import StorageCredentials
from sandbox_operator.errors import AgentError, Blocked
from sandbox_operator.kube.resources import EVENTS, PODS
from sandbox_operator.kube.write_hook import WriteHook
from sandbox_operator.session.plan.steps import Timing
from sandbox_operator.settings import Settings
from sandbox_operator.watch.handlers import session_key
from tests.support.troubled_world import Killed
from tests.unit.operator.conftest import NAMESPACE, SETTINGS, World

LIFETIME = timedelta(hours=1)
LONG = {"idleTimeout": "24h", "maxLifetime": "24h"}
KEY = session_key(NAMESPACE, "one")
STS = SETTINGS.model_copy(
    update={"storage_credentials": "sts", "storage_sts_role_arn": "arn:aws:iam::1:role/sandboxes"}
)


class ScopedCredentials:
    """Credentials that live an hour, numbered as they are made."""

    def __init__(self):
        self.clock = None
        self.made, self.prepared = [], []
        self.error = None

    def prepare(self, key_prefix):
        self.prepared.append(key_prefix)

    async def credentials_for(self, key_prefix):
        if self.error:
            raise self.error
        self.made.append(key_prefix)
        return StorageCredentials(f"key-{len(self.made)}", "canary-secret", "canary-token", self.clock() + LIFETIME)


@pytest.fixture
def source():
    return ScopedCredentials()


@pytest.fixture
async def ready(source):
    world = World(STS, source, Timing(credentials=_time_credentials(STS)))
    source.clock = world.clock
    await world.start(lifecycle=LONG)
    return world


async def look(world):
    """What the queue does when a session's time has come, or an event told of it."""
    world.operator._enqueue(KEY)
    await world.settle()


def view_of(world):
    (view,) = world.agents.views.values()
    return view


def change_view(world, **fields):
    (name,) = world.agents.views
    world.agents.views[name] = replace(world.agents.views[name], **fields)


def keys(world):
    return [request.s3.access_key_id for request in world.agents.renewals]


async def test_bind_hands_over_credentials_of_the_workspaces_own_prefix(ready, source):
    (request,) = ready.agents.requests
    assert source.made == [request.workspace.key_prefix] == [f"sandboxes/{NAMESPACE}/one/"]
    store = request.workspace.s3
    assert (store.access_key_id, store.secret_access_key, store.session_token) == (
        "key-1",
        "canary-secret",
        "canary-token",
    )
    assert view_of(ready).credentials_expire_at == ready.clock() + LIFETIME
    assert source.prepared, "they were asked for before the writes that come before Bind"


async def test_no_credential_is_written_to_the_cluster(ready, source):
    source.error = Blocked("RoleNotAssumed", "AssumeRole failed with AccessDenied")
    ready.clock.advance(minutes=40)
    await look(ready)
    assert "canary" not in repr(ready.kube.objects)


async def test_credentials_are_renewed_at_half_their_life_and_nothing_is_written_for_it(ready, source):
    ready.clock.advance(minutes=20)
    await look(ready)
    assert not ready.agents.renewals
    before = dict(ready.kube.objects)
    calls = len(ready.kube.calls)
    ready.clock.advance(minutes=14)
    await look(ready)
    assert keys(ready) == ["key-2"]
    assert view_of(ready).credentials_expire_at == ready.clock() + LIFETIME
    assert ready.kube.calls[calls:] == []
    assert ready.kube.objects == before
    await look(ready)
    assert keys(ready) == ["key-2"], "once"
    ready.clock.advance(minutes=34)
    await look(ready)
    assert keys(ready) == ["key-2", "key-3"]


async def test_the_session_is_looked_at_when_its_renewal_is_due(ready):
    ready.clock.advance(minutes=26, seconds=45)
    await look(ready)
    due = view_of(ready).credentials_expire_at - LIFETIME + timedelta(minutes=30)
    latest = due + timedelta(minutes=3) - ready.clock()
    assert 0 < ready.operator.later[KEY] <= latest.total_seconds()


async def test_an_operator_that_has_just_started_knows_from_the_agents_what_is_due(ready):
    ready.clock.advance(minutes=34)
    operator = ready.restart()
    await operator.list_all()
    await ready.settle()
    operator._enqueue(KEY)
    await ready.settle()
    assert keys(ready) == ["key-2"]


async def test_a_pod_that_is_not_ready_any_more_is_asked_and_gets_the_credentials_it_needs(ready):
    change_view(ready, needs_credentials=True)
    not_ready = {"conditions": [{"type": "Ready", "status": "False"}]}
    ready.kube.change(PODS, NAMESPACE, ready.pod(), {"status": not_ready})
    await ready.settle()
    assert keys(ready) == ["key-2"]
    assert not view_of(ready).needs_credentials


async def test_a_renewal_that_fails_is_tried_again_ever_more_rarely_and_told_once(ready, source):
    end = view_of(ready).credentials_expire_at
    source.error = Blocked("RoleNotAssumed", "AssumeRole failed with AccessDenied")
    ready.clock.advance(minutes=34)
    await look(ready)
    state, reason, message = ready.condition("StorageCredentials")
    assert (state, reason) == ("False", "RenewalFailed")
    assert message == f"AssumeRole failed with AccessDenied; the current credentials expire at {end:%Y-%m-%dT%H:%M:%SZ}"
    assert ready.status()["phase"] == "Ready"
    pauses, status = [], ready.session()["status"]
    for _ in range(6):
        pauses.append(ready.operator.later[KEY])
        ready.clock.advance(seconds=ready.operator.later[KEY] + 1)
        ready.operator.recorder._recent.clear()  # what is the same within a minute it drops by itself
        await look(ready)
        assert ready.session()["status"] == status, "the same failure is no news"
    assert [round(pause / pauses[0]) for pause in pauses[:3]] == [1, 2, 4]
    assert max(pauses) <= 75, "the latest look of any session"
    recording = asyncio.create_task(ready.operator.recorder.run())
    for _ in range(100):
        await asyncio.sleep(0)
    recording.cancel()
    told = [event for event in ready.kube.named(EVENTS).values() if event["reason"] == "CredentialsNotRenewed"]
    assert len(told) == 1
    assert f"{end:%Y-%m-%dT%H:%M:%SZ}" in told[0]["message"]
    source.error = None
    ready.clock.advance(minutes=2)
    await look(ready)
    assert keys(ready) == ["key-2"]
    assert "StorageCredentials" not in {c["type"] for c in ready.status()["conditions"]}


async def test_an_agent_that_cannot_be_reached_for_a_renewal_gets_it_later(ready):
    ready.agents.renew_error = AgentError("UNAVAILABLE", "no answer")
    ready.clock.advance(minutes=34)
    await look(ready)
    assert ready.condition("StorageCredentials")[2].startswith(
        "the call to the agent failed with UNAVAILABLE; the current credentials expire at"
    )
    ready.agents.renew_error = None
    ready.clock.advance(minutes=1)
    await look(ready)
    assert len(ready.agents.renewals) == 1


async def test_a_long_drain_is_given_credentials_too(ready):
    change_view(ready, state="DRAINING")
    ready.clock.advance(minutes=34)
    await look(ready)
    assert keys(ready) == ["key-2"]


async def test_an_agent_bound_with_shared_credentials_gets_its_own_once_the_settings_say_so(ready):
    change_view(ready, credentials_expire_at=None)
    await look(ready)
    assert keys(ready) == ["key-2"]
    # One of an older version cannot tell when they end: it is given others as often, not all the time.
    change_view(ready, credentials_expire_at=None)
    await look(ready)
    assert keys(ready) == ["key-2"]
    ready.clock.advance(minutes=34)
    await look(ready)
    assert keys(ready) == ["key-2", "key-3"]


async def test_static_credentials_are_handed_over_anew_only_where_the_store_refuses_them(world):
    await world.start(lifecycle=LONG)
    world.clock.advance(hours=20)
    await look(world)
    assert not world.agents.renewals
    change_view(world, needs_credentials=True)
    await look(world)
    assert keys(world) == ["key"]


async def test_a_session_without_a_bucket_has_no_credentials_to_renew():
    world = World(Settings(agent_image="agent:1"))
    await world.start()
    change_view(world, needs_credentials=True)
    await look(world)
    assert not world.agents.renewals


async def test_fault_1_an_operator_that_dies_at_a_renewal_leaves_one_to_the_next(ready):
    """An operator that dies during a credential renewal leaves it to the next one."""

    def die():
        raise Killed

    for fault in (WriteHook(kill_at=1, kill=die), WriteHook(kill_after=1, kill=die)):
        ready.clock.advance(minutes=34)
        operator = ready.restart(fault)
        await operator.list_all()
        with pytest.raises(Killed):
            await crash(operator)
        operator = ready.restart()
        await operator.list_all()
        await look(ready)
        assert view_of(ready).credentials_expire_at > ready.clock() + timedelta(minutes=26)
    assert ready.agents.renewals


async def crash(operator):
    while operator.queue:
        await operator.work(operator.queue.pop(0))
    await operator.work(KEY)
    await asyncio.gather(*operator.renewals._tasks.values())
