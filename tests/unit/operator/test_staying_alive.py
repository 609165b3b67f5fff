"""Ways in which a tenant could keep the processes of a session alive past its end. Each is closed."""

from datetime import timedelta
from unittest import mock

import pytest

from sandbox_operator.api import naming
from sandbox_operator.api.models import Session, parse
from sandbox_operator.api.values import format_time, parse_time
from sandbox_operator.errors import ForbiddenError, NotFoundError, SpecError
from sandbox_operator.kube.resources import PODS, POOLS, SESSIONS
from sandbox_operator.watch.handlers import session_key
from tests.unit.operator.conftest import NAMESPACE, World

LIFETIME = timedelta(minutes=10)
DEADLINE = timedelta(minutes=5)
GRACE = timedelta(seconds=30)
"""Time from a pod's deletion until the kubelet kills its containers."""
YEARS = timedelta(days=10_000)


@pytest.fixture
def world():
    return World()


async def start(world, name="one", **lifecycle):
    """Start a session whose agent never answers again. Return its pod."""
    world.add_template(lifecycle={"endDeadline": "5m"})
    lifecycle = {"maxLifetime": "10m", "idleTimeout": "9m", **lifecycle}
    world.add_session(name, lifecycle=lifecycle)
    await world.settle()
    assert world.status(name)["phase"] == "Ready"
    return world.pods()[world.status(name)["podName"]]


async def end_of(world, pod, limit=LIFETIME + 2 * DEADLINE, step=10.0):
    """Let time pass. Return when a kubelet will have killed the pod's containers at the latest."""
    name, stop = pod["metadata"]["name"], world.clock.now + limit
    while world.clock.now < stop:
        found = world.pods().get(name)
        if found is None:
            return world.clock.now
        deleted = parse_time(found["metadata"].get("deletionTimestamp"))
        if deleted is not None and deleted <= world.clock.now + GRACE:
            return deleted
        world.clock.advance(seconds=step)
        world.operator.elapsed += step
        for key in list(world.operator.later):
            world.operator._enqueue(key)
        await world.operator.settle()
        await world.operator.orphans.sweep()
    return None


async def delete_slowly(world, pod, grace=YEARS):
    """Delete a pod as `kubectl delete pod --grace-period=864000000` does."""
    await world.kube.delete(PODS, NAMESPACE, pod["metadata"]["name"], grace=int(grace.total_seconds()))


async def test_a_pod_does_not_get_the_years_to_end_that_a_tenant_chose(world):
    pod = await start(world)
    await delete_slowly(world, pod)
    await world.operator.settle()
    ended = await end_of(world, pod)
    assert ended is not None
    assert ended <= world.clock.now + 2 * GRACE


@pytest.mark.parametrize("late", [timedelta(0), timedelta(seconds=50), timedelta(minutes=10), timedelta(days=9)])
async def test_a_pod_whose_long_end_is_noticed_late_still_gets_its_grace_period(world, late):
    """The API server counts a shorter grace period from the first request, the kubelet from the news of it."""
    pod = await start(world)
    uid = pod["metadata"]["uid"]
    with mock.patch.object(world.kube, "watchers", []):
        await delete_slowly(world, pod)
    world.clock.advance(seconds=late.total_seconds())
    await world.operator.list_all()
    noticed, forced_at = world.clock.now, None
    for _ in range(30):
        await world.operator.settle()
        if all(raw["metadata"]["uid"] != uid for raw in world.pods().values()):
            forced_at = world.clock.now
            break
        world.clock.advance(seconds=5)
        for key in list(world.operator.later):
            world.operator._enqueue(key)
    assert forced_at is not None
    assert timedelta(seconds=60) <= forced_at - noticed <= timedelta(seconds=75)


@pytest.mark.parametrize("change", [{"spec": {"suspended": True}}, {"metadata": {"finalizers": ["a/b"]}}])
async def test_nor_if_its_session_ends_meanwhile(world, change):
    pod = await start(world)
    await delete_slowly(world, pod)
    if "metadata" in change:
        change["metadata"]["deletionTimestamp"] = format_time(world.clock.now)
    world.kube.change(SESSIONS, NAMESPACE, "one", change)
    await world.operator.settle()
    assert await end_of(world, pod, 4 * GRACE) is not None


async def test_nor_if_its_session_is_deleted_first(world):
    pod = await start(world)
    await delete_slowly(world, pod)
    await orphan(world)
    assert await end_of(world, pod, timedelta(minutes=3)) is not None


async def test_nor_if_its_agents_image_is_changed_too(world):
    pod = await start(world)
    await delete_slowly(world, pod)
    containers = [{**each, "image": "evil"} for each in pod["spec"]["containers"]]
    world.kube.change(PODS, NAMESPACE, pod["metadata"]["name"], {"spec": {"containers": containers}})
    await world.operator.settle()
    assert await end_of(world, pod, 4 * GRACE) is not None


async def test_a_pod_that_ends_as_usual_is_not_deleted_twice(world):
    pod = await start(world)
    world.kube.change(SESSIONS, NAMESPACE, "one", {"spec": {"suspended": True}})
    await world.operator.settle()
    assert parse_time(world.pods()[pod["metadata"]["name"]]["metadata"]["deletionTimestamp"]) is not None
    world.kube.calls.clear()
    world.operator._enqueue(session_key(NAMESPACE, "one"))
    await world.operator.settle()
    assert [call for call in world.kube.calls if call[:2] == ("delete", "pods")] == []


async def orphan(world, kind=SESSIONS, name="one"):
    """Delete an object as `kubectl delete --cascade=orphan` does: its pods lose the references to it."""
    uid = world.kube.objects[kind.plural, NAMESPACE, name]["metadata"]["uid"]
    for pod, raw in list(world.pods().items()):
        if any(each["uid"] == uid for each in raw["metadata"].get("ownerReferences") or []):
            world.kube.change(PODS, NAMESPACE, pod, {"metadata": {"ownerReferences": None}})
    world.kube.remove(kind, NAMESPACE, name)
    await world.operator.settle()


async def test_a_pod_that_is_left_behind_by_its_session_is_deleted(world):
    pod = await start(world)
    await orphan(world)
    assert pod["metadata"]["name"] in world.pods()
    left = world.clock.now
    ended = await end_of(world, pod)
    assert ended is not None
    assert ended <= left + timedelta(minutes=2)


async def test_a_pod_with_the_owner_of_a_tenants_choosing_is_deleted(world):
    pod = await start(world)
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "uid": "c", "controller": True}
    world.kube.change(PODS, NAMESPACE, pod["metadata"]["name"], {"metadata": {"ownerReferences": [owner]}})
    await world.operator.settle()
    assert await end_of(world, pod, timedelta(minutes=3)) is not None


async def test_a_blank_pod_that_is_left_behind_by_its_pool_is_deleted(world):
    world.add_template()
    world.add_pool(replicas=1)
    await world.settle()
    (name,) = world.blank()
    await orphan(world, POOLS, "pool")
    assert await end_of(world, world.pods()[name], timedelta(minutes=3)) is not None


async def test_a_bound_pod_is_not_a_pools_whatever_its_owner_says(world):
    pod = await start(world)
    world.add_pool(replicas=0)
    uid = world.pool()["metadata"]["uid"]
    owner = {"apiVersion": POOLS.api_version, "kind": POOLS.kind, "name": "pool", "uid": uid, "controller": True}
    world.kube.change(PODS, NAMESPACE, pod["metadata"]["name"], {"metadata": {"ownerReferences": [owner]}})
    await world.operator.settle()
    assert await end_of(world, pod, timedelta(minutes=3)) is not None


async def test_a_pod_whose_owner_is_only_missing_in_the_store_stays(world):
    pod = await start(world)
    world.operator.store.mark_deleted(SESSIONS, (NAMESPACE, "one"), world.session()["metadata"]["uid"])
    for _ in range(3):
        world.operator.elapsed += 60
        await world.operator.orphans.sweep()
    assert "deletionTimestamp" not in world.pods()[pod["metadata"]["name"]]["metadata"]


async def test_a_server_that_does_not_know_the_kind_of_an_owner_costs_no_pod(world):
    pod = await start(world)
    world.operator.store.mark_deleted(SESSIONS, (NAMESPACE, "one"), world.session()["metadata"]["uid"])
    refusal = NotFoundError(404, "NotFound", "the server could not find the requested resource")
    with mock.patch.object(world.kube, "get", side_effect=refusal):
        for _ in range(3):
            world.operator.elapsed += 60
            await world.operator.orphans.sweep()
    assert "deletionTimestamp" not in world.pods()[pod["metadata"]["name"]]["metadata"]


async def test_an_orphan_that_cannot_be_deleted_does_not_keep_the_others(world):
    first = await start(world)
    world.add_session("two")
    await world.settle()
    await orphan(world)
    await orphan(world, name="two")
    real, refused = world.kube.delete, first["metadata"]["name"]

    async def delete(resource, namespace, name, **options):
        if name == refused:
            raise ForbiddenError(403, "Forbidden", "a webhook of the tenant refuses it")
        return await real(resource, namespace, name, **options)

    with mock.patch.object(world.kube, "delete", delete):
        for _ in range(3):
            world.operator.elapsed += 60
            await world.operator.orphans.sweep()
    left = {name for name, raw in world.pods().items() if "deletionTimestamp" not in raw["metadata"]}
    assert left == {refused}


async def test_pods_that_have_an_owner_stay_and_others_get_a_minute_for_the_garbage_collector(world):
    pod = await start(world)
    world.add_pool(replicas=2)
    await world.settle()
    names = set(world.pods())
    for _ in range(5):
        world.operator.elapsed += 60
        await world.operator.orphans.sweep()
    assert {name for name, raw in world.pods().items() if "deletionTimestamp" not in raw["metadata"]} == names
    world.kube.change(PODS, NAMESPACE, pod["metadata"]["name"], {"metadata": {"ownerReferences": None}})
    await world.operator.orphans.sweep()
    assert "deletionTimestamp" not in world.pods()[pod["metadata"]["name"]]["metadata"]


@pytest.mark.parametrize(
    "spec",
    [
        {"lifecycle": {"expiresAt": "2030-01-31T18:00:00+99:99"}},
        {"lifecycle": {"expiresAt": "2030-01-31T18:00:00ZTx"}},
        {"lifecycle": {"maxLifetime": "9" * 30 + "h"}},
        {"resources": {"limits": {"cpu": -1}}},
        {"egress": "Everything"},
    ],
    ids=["offset", "garbage", "lifetime", "cpu", "egress"],
)
async def test_a_session_whose_spec_cannot_be_read_ends_when_it_would_have(world, spec):
    pod = await start(world)
    made = parse_time(pod["metadata"]["creationTimestamp"])
    world.kube.change(SESSIONS, NAMESPACE, "one", {"spec": spec})
    with pytest.raises(SpecError):
        parse(Session, world.session())
    await world.operator.settle()
    assert (world.status()["phase"], world.condition()[1]) == ("Failed", "InvalidSpec")
    assert parse_time(world.status()["expiresAt"]) == made + LIFETIME
    world.restart()
    await world.operator.list_all()
    ended = await end_of(world, pod)
    assert ended is not None
    assert made + LIFETIME < ended <= made + LIFETIME + DEADLINE
    await world.settle()
    assert world.pods() == {}
    assert (world.status()["phase"], world.condition()[1]) == ("Failed", "InvalidSpec")


async def test_a_session_that_cannot_be_read_and_is_deleted_ends_at_once(world):
    pod = await start(world)
    now = format_time(world.clock.now)
    change = {"metadata": {"deletionTimestamp": now, "finalizers": ["a/b"]}, "spec": {"egress": "Everything"}}
    world.kube.change(SESSIONS, NAMESPACE, "one", change)
    await world.operator.settle()
    assert await end_of(world, pod, 2 * GRACE) is not None


@pytest.mark.parametrize("ahead", [timedelta(minutes=10), timedelta(days=30)])
async def test_the_api_servers_clock_does_not_lengthen_a_lifetime(world, ahead):
    world.kube._clock = lambda: world.clock.now + ahead
    pod = await start(world)
    made = world.clock.now
    assert parse_time(pod["metadata"]["creationTimestamp"]) == made + ahead
    assert parse_time(world.status()["expiresAt"]) == made + LIFETIME
    world.kube._clock = world.clock
    world.agents.views.clear()
    ended = await end_of(world, pod)
    assert ended is not None
    assert ended <= made + LIFETIME + DEADLINE


async def test_a_status_that_was_erased_does_not_lengthen_a_lifetime(world):
    pod = await start(world)
    made = parse_time(pod["metadata"]["creationTimestamp"])
    world.agents.views.clear()
    for _ in range(4):
        world.clock.advance(minutes=2)
        world.session()["status"] = {}
        world.kube.change(SESSIONS, NAMESPACE, "one", {"metadata": {"annotations": {"poke": str(world.clock.now)}}})
        await world.operator.settle()
    assert parse_time(world.status()["expiresAt"]) == made + LIFETIME
    ended = await end_of(world, pod)
    assert ended is not None
    assert ended <= made + LIFETIME + DEADLINE


async def test_restarts_of_the_operator_do_not_lengthen_a_lifetime(world):
    pod = await start(world)
    made = parse_time(pod["metadata"]["creationTimestamp"])
    world.agents.views.clear()
    ended = None
    while ended is None and world.clock.now < made + 2 * LIFETIME:
        world.restart()
        await world.operator.list_all()
        await world.operator.settle()
        ended = await end_of(world, pod, timedelta(seconds=30))
    assert ended is not None
    assert ended <= made + LIFETIME + DEADLINE


async def test_what_fails_beside_the_end_does_not_prevent_it(world):
    pod = await start(world)
    world.agents.views.clear()
    real = world.kube.delete

    async def delete(resource, namespace, name, **options):
        if name == "evil":
            raise ForbiddenError(403, "Forbidden", "a policy of the tenant's")
        return await real(resource, namespace, name, **options)

    world.kube.delete = delete
    uid = world.session()["metadata"]["uid"]
    owner = {"apiVersion": SESSIONS.api_version, "kind": SESSIONS.kind, "name": "one", "uid": uid, "controller": True}
    metadata = {"name": "evil", "labels": {naming.MANAGED_BY: naming.MANAGER}, "ownerReferences": [owner]}
    world.kube.put(PODS, NAMESPACE, {"metadata": metadata, "spec": {"containers": []}})
    made = parse_time(pod["metadata"]["creationTimestamp"])
    world.clock.advance(minutes=14, seconds=30)
    world.operator._enqueue(session_key(NAMESPACE, "one"))
    with pytest.raises(ForbiddenError):
        await world.operator.settle()
    assert (
        parse_time(world.pods()[pod["metadata"]["name"]]["metadata"]["deletionTimestamp"]) <= made + LIFETIME + DEADLINE
    )


@pytest.mark.parametrize("forged", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"])
async def test_forged_times_of_a_status_neither_stop_the_operator_nor_delay_a_deletion(world, forged):
    world.add_template()
    world.add_session(suspended=True, lifecycle={"ttlAfterSuspended": "1h"})
    await world.settle()
    status = dict.fromkeys(("suspendedAt", "startedAt", "expiresAt", "endingSince", "lastActiveAt"), forged)
    conditions = [{**each, "lastTransitionTime": forged} for each in world.status()["conditions"]]
    world.kube.change(SESSIONS, NAMESPACE, "one", {"status": {**status, "conditions": conditions}})
    await world.operator.settle()
    world.clock.advance(hours=2)
    world.operator._enqueue(session_key(NAMESPACE, "one"))
    await world.operator.settle()
    assert (SESSIONS.plural, NAMESPACE, "one") not in world.kube.objects


@pytest.mark.parametrize("change", ["annotation", "spec"])
async def test_a_session_that_changes_all_the_time_is_suspended_at_its_end(world, monkeypatch, change):
    """Each change comes before the operator's write, which is meant for the session as it was."""
    await start(world)
    real, changes = world.kube.patch, iter(range(7))

    async def patch(resource, namespace, name, body, *arguments, **options):
        is_suspend = resource is SESSIONS and "spec" in body
        if is_suspend and (number := next(changes, None)) is not None:
            spec = {"lifecycle": {"ttlAfterFinished": f"{number + 1}h"}} if change == "spec" else {}
            annotations = {"annotations": {"poke": str(number)}}
            world.kube.change(SESSIONS, NAMESPACE, "one", {"metadata": annotations, **({"spec": spec} if spec else {})})
        return await real(resource, namespace, name, body, *arguments, **options)

    monkeypatch.setattr(world.kube, "patch", patch)
    world.clock.advance(seconds=LIFETIME.total_seconds() + 1)
    world.operator._enqueue(session_key(NAMESPACE, "one"))
    await world.operator.settle()
    assert world.session()["spec"]["suspended"] is True
    generation = world.session()["metadata"]["generation"]
    assert world.session()["metadata"]["annotations"][naming.SUSPENDED_BY] == f"Expired/{generation}"
