"""When a pool is filled up again: sessions go first, and a pool that runs out goes before them."""

import base64
import itertools

import pytest

from sandbox_operator.api import naming
from sandbox_operator.kube.resources import PODS, POOLS, SECRETS, SESSIONS
from sandbox_operator.pool.replenish import ReplenishPolicy
from sandbox_operator.watch.store import Store

NAMESPACE = "team"
POOL = (POOLS.plural, NAMESPACE, "pool")


class Pool:
    """A pool's pods as the store hears of them, and a clock."""

    def __init__(self):
        self.now, self.store, self.number = 100.0, Store(), 0
        self.policy = ReplenishPolicy(self.store, clock=lambda: self.now)

    def pod(self, name, state, version):
        owner = "SandboxWarmPool" if state == naming.BLANK else "SandboxSession"
        return {
            "metadata": {
                "namespace": NAMESPACE,
                "name": name,
                "uid": name,
                "resourceVersion": str(version),
                "labels": {naming.STATE: state, naming.POOL: "pool"},
                "ownerReferences": [{"kind": owner, "uid": "owner", "controller": True}],
            }
        }

    def claim(self, count=1):
        for _ in range(count):
            self.number += 2
            for state, version in ((naming.BLANK, self.number), (naming.BOUND, self.number + 1)):
                self.store.put(PODS, self.pod(f"pod-{self.number}", state, version))

    def wait(self, *, wanted=100, ready=90):
        return self.policy.seconds_to_wait(POOL, wanted=wanted, ready=ready)


@pytest.fixture
def pool():
    return Pool()


def test_a_pool_that_nobody_took_from_is_filled_at_once(pool):
    assert pool.wait(ready=0) == 0
    assert pool.wait() == 0


def test_a_pool_waits_until_nobody_took_from_it_for_a_second(pool):
    pool.claim()
    assert pool.wait() == pytest.approx(1)
    pool.now += 0.7
    pool.claim()
    assert pool.wait() == pytest.approx(1)
    pool.now += 0.4
    assert pool.wait() == pytest.approx(0.6)
    pool.now += 0.6
    assert pool.wait() == 0


def test_a_pool_that_is_taken_from_all_the_time_waits_half_a_minute(pool):
    pool.claim()
    for _ in range(59):
        pool.now += 0.5
        pool.claim()
        assert 0 < pool.wait() <= 1
    pool.now += 0.5
    pool.claim()
    assert pool.wait() == 0


def test_once_it_is_filled_up_it_waits_anew(pool):
    pool.claim()
    pool.now += 31
    pool.claim()
    assert pool.wait() == 0
    pool.policy.note_filled(POOL)
    pool.claim()
    assert pool.wait() == pytest.approx(1)


@pytest.mark.parametrize(
    ("claims", "wanted", "ready", "waits"),
    [(1, 100, 26, True), (1, 100, 25, False), (1, 2, 1, False), (40, 100, 41, True), (40, 100, 40, False)],
)
def test_a_pool_waits_only_while_a_quarter_is_left_and_more_than_was_taken_in_five_seconds(
    pool, claims, wanted, ready, waits
):
    pool.claim(claims)
    assert (pool.wait(wanted=wanted, ready=ready) > 0) is waits


def test_what_was_taken_more_than_five_seconds_ago_does_not_count(pool):
    pool.claim(40)
    pool.now += 5
    pool.claim()
    assert pool.wait(ready=30) == pytest.approx(1)


def test_a_pool_whose_last_claim_is_long_ago_does_not_wait(pool):
    pool.claim()
    pool.now += 60
    assert pool.wait() == 0


def test_pods_that_take_long_to_start_make_a_pool_keep_more(pool):
    started = pool.pod("slow", naming.BLANK, 1)
    pool.store.put(PODS, started)
    pool.now += 20
    ready = {"phase": "Running", "podIP": "10.1.0.1", "conditions": [{"type": "Ready", "status": "True"}]}
    pool.store.put(PODS, {**pool.pod("slow", naming.BLANK, 2), "status": ready})
    pool.number = 10
    for _ in range(39):
        pool.now += 1
        pool.policy.note_filled(POOL)
        pool.claim()
    # As many as were taken in forty seconds, in which two pods could have started one after the other.
    assert pool.wait(ready=39) == 0
    assert pool.wait(ready=40) > 0


def test_a_pod_that_was_deleted_was_not_claimed(pool):
    blank = pool.pod("gone", naming.BLANK, 5)
    pool.store.put(PODS, blank)
    pool.store.remove(PODS, blank)
    assert pool.wait() == 0


async def test_while_sessions_take_pods_two_are_made_at_a_time(world):
    world.add_template()
    world.add_pool(replicas=1)
    await world.settle()
    world.add_session()
    await world.operator.work((SESSIONS.plural, NAMESPACE, "one"))
    pauses, made = [], []

    async def pause():
        made.append(len(world.pods()))
        pauses.append(world.operator.elapsed)
        if len(pauses) == 4:
            world.operator.elapsed += 1.0

    world.operator.pools._yield_to_sessions = pause
    world.kube.change(POOLS, NAMESPACE, "pool", {"spec": {"replicas": 30}})
    await world.operator.work(POOL)
    # One, then two at a time, and once the lull is there ever more.
    assert [after - before for before, after in itertools.pairwise(made)] == [2, 2, 2, 2, 4, 8]
    assert len(world.pods()) == 31


async def test_a_burst_of_sessions_makes_no_pod_until_it_is_over(world):
    world.add_template()
    world.add_pool(replicas=8)
    await world.settle()
    before = set(world.pods())
    for number in range(3):
        world.add_session(f"s{number}")
        await world.operator.work((SESSIONS.plural, NAMESPACE, f"s{number}"))
        await world.operator.work(POOL)
    assert set(world.pods()) == before
    assert world.pool()["status"]["readyReplicas"] == 5
    assert world.operator.soon == {POOL}
    await world.settle()
    assert len(world.blank()) == 8


async def test_a_pods_owner_of_another_namespace_is_not_its_pool(world):
    world.add_template()
    world.add_pool(replicas=1)
    await world.settle()
    (name,) = world.blank()
    stranger = {**world.pods()[name], "metadata": {**world.pods()[name]["metadata"], "uid": "other", "name": "other"}}
    world.kube.put(PODS, "elsewhere", stranger)
    await world.settle()
    status = world.pool()["status"]
    assert (status["replicas"], status["readyReplicas"]) == (1, 1)
    assert world.blank() == {name, "other"}


async def test_while_a_pod_is_claimed_its_agent_is_dialled_and_the_access_secret_written(world):
    world.add_template()
    world.add_pool(replicas=2)
    await world.settle()
    real, seen = world.kube.patch, []

    async def patch(resource, *rest, **more):
        if resource is PODS and "json" in rest:
            # Only once the access Secret is there; it would wait for ever if that came after the claim.
            for _ in range(20):
                await world.operator._pause()
            seen.append(("one-access" in world.kube.named(SECRETS), set(world.agents.connected)))
        return await real(resource, *rest, **more)

    world.kube.patch = patch
    world.add_session()
    await world.settle()
    assert seen == [(True, {naming.server_name(world.status()["podName"], NAMESPACE)})]


async def test_a_lost_claim_leaves_no_address_of_the_lost_pod_behind(world):
    world.add_template()
    world.add_pool(replicas=2)
    await world.settle()
    for number, name in enumerate(sorted(world.blank())):
        world.kube.change(PODS, NAMESPACE, name, {"spec": {"nodeName": f"node{number}"}})
    first = min(world.blank())
    watchers, world.kube.watchers[:] = list(world.kube.watchers), []
    world.kube.change(PODS, NAMESPACE, first, {"metadata": {"labels": {naming.STATE: "bound"}, "ownerReferences": []}})
    world.kube.watchers[:] = watchers
    world.add_session()
    await world.settle()
    pod = world.status()["podName"]
    assert pod != first
    data = world.kube.named(SECRETS)["one-access"]["data"]
    access = {name: base64.b64decode(value).decode() for name, value in data.items()}
    assert (access["podName"], access["endpoint"]) == (pod, world.status()["endpoint"])
    assert access["token"]
