"""The administrator's limits of a namespace: sessions that exceed one wait, and start when another one has ended."""

import asyncio
import contextlib

import pytest

from sandbox_operator.api import naming
from sandbox_operator.errors import ForbiddenError, SettingsError, UnavailableError
from sandbox_operator.kube.resources import PODS, SESSIONS
from sandbox_operator.manifests.needs import Need
from sandbox_operator.settings import NamespaceLimits, load_settings
from sandbox_operator.watch.handlers import session_key
from tests.unit.operator.conftest import NAMESPACE, SETTINGS, World


def make_world(others=None, **limits):
    named = {"*": limits, **(others or {})}
    found = {name: NamespaceLimits.model_validate(each) for name, each in named.items()}
    return World(SETTINGS.model_copy(update={"namespace_limits": found}))


def phases(world):
    return [raw["status"]["phase"] for raw in world.kube.named(SESSIONS).values()]


def running(world):
    return sorted(name for name, raw in world.kube.named(SESSIONS).items() if raw["status"]["phase"] == "Ready")


def waiting(world):
    conditions = {name: raw["status"]["conditions"][0] for name, raw in world.kube.named(SESSIONS).items()}
    return sorted(name for name, each in conditions.items() if each["reason"] == "NamespaceLimitReached")


async def settle_at_once(world):
    """Work on all keys at the same time, as the workers do. Each call to the API server takes a while."""
    real = world.kube.create

    async def create(*arguments):
        await asyncio.sleep(0.01)
        return await real(*arguments)

    world.kube.create = create
    for _ in range(20):
        keys, world.operator.queue[:] = list(world.operator.queue), []
        await asyncio.gather(*(world.operator.work(key) for key in keys))
        if not world.play_kubelet() and not world.operator.queue:
            break
    world.kube.create = real


@pytest.mark.parametrize("at_once", [False, True], ids=["one after another", "at once"])
@pytest.mark.parametrize("is_warm", [False, True], ids=["cold", "warm"])
async def test_never_more_sessions_run_than_the_namespace_may_have(at_once, is_warm):
    world = make_world(sessions=3)
    world.add_template()
    if is_warm:
        world.add_pool(replicas=10)
        await world.settle()
    for number in range(20):
        world.add_session(f"s{number}")
    await (settle_at_once(world) if at_once else world.settle())
    assert len(running(world)) == 3
    assert len(waiting(world)) == 17
    assert len(world.pods()) - len(world.blank()) == 3


async def test_the_condition_and_one_event_name_the_limit():
    world = make_world(sessions=1)
    world.add_template()
    world.add_session("a")
    world.add_session("b")
    await world.settle()
    message = (
        "namespaceLimits.sessions: the namespace's 1 running sessions leave no room; "
        "the session starts when another one has ended"
    )
    assert world.condition(name="b") == ("False", "NamespaceLimitReached", message)
    assert world.status("b")["phase"] == "Pending"
    events = list(world.operator.recorder._queue._queue)
    assert [each["message"] for each in events if each["reason"] == "NamespaceLimitReached"] == [message]
    written = world.session("b")["metadata"]["resourceVersion"]
    for _ in range(5):
        world.clock.advance(seconds=30)
        world.operator._enqueue(session_key(NAMESPACE, "b"))
        await world.settle()
    assert world.session("b")["metadata"]["resourceVersion"] == written


async def test_a_waiting_session_is_looked_at_ever_more_rarely_whatever_its_owner_does():
    world = make_world(sessions=0)
    world.add_template()
    world.add_session("a")
    await world.settle()
    world.kube.calls.clear()
    waits, key = [], session_key(NAMESPACE, "a")
    for number in range(7):
        world.kube.change(SESSIONS, NAMESPACE, "a", {"metadata": {"annotations": {"poke": str(number)}}})
        await world.settle()
        waits.append(round(world.operator.later[key]))
        world.clock.advance(seconds=waits[-1])
        world.operator._enqueue(key)
        await world.settle()
    assert waits[:5] == [5, 5, 10, 20, 40]
    # With few sessions, each is looked at every minute anyway.
    assert all(45 <= wait <= 60 for wait in waits[5:])
    assert world.kube.calls == []


@pytest.mark.parametrize("end", ["suspended", "deleted"])
async def test_a_waiting_session_starts_as_soon_as_another_one_has_ended(end):
    world = make_world(sessions=2)
    world.add_template()
    for number in range(4):
        world.add_session(f"s{number}")
    await world.settle()
    first, *rest = running(world)
    if end == "suspended":
        world.kube.change(SESSIONS, NAMESPACE, first, {"spec": {"suspended": True}})
    else:
        world.kube.remove(SESSIONS, NAMESPACE, first)
    await world.settle()
    assert len(running(world)) == 2
    assert set(rest) < set(running(world))
    assert len(waiting(world)) == 1


async def test_suspended_sessions_do_not_count_and_wait_to_resume():
    world = make_world(sessions=1)
    world.add_template()
    for number in range(5):
        world.add_session(f"s{number}", suspended=True)
    world.add_session("a")
    await world.settle()
    assert running(world) == ["a"]
    world.kube.change(SESSIONS, NAMESPACE, "s0", {"spec": {"suspended": False}})
    await world.settle()
    assert waiting(world) == ["s0"]
    world.kube.change(SESSIONS, NAMESPACE, "a", {"spec": {"suspended": True}})
    await world.settle()
    assert running(world) == ["s0"]


@pytest.mark.parametrize(
    ("limits", "count"), [({"cpu": "4"}, 2), ({"memory": "4608Mi"}, 3), ({"cpu": "10", "memory": "1536Mi"}, 1)]
)
async def test_cpu_and_memory_are_those_of_both_containers_as_a_quota_counts_them(limits, count):
    world = make_world(**limits)
    world.add_template()
    for number in range(6):
        world.add_session(f"s{number}")
    await world.settle()
    assert len(running(world)) == count
    name = "cpu" if count == 2 else "memory"
    assert world.condition(name=waiting(world)[0])[2].startswith(f"namespaceLimits.{name}: the namespace's")


async def test_a_session_that_alone_exceeds_a_limit_is_told_so_and_does_not_keep_smaller_ones_from_starting():
    world = make_world(memory="4Gi")
    world.add_template(resources={"maximum": {"memory": "16Gi"}})
    world.add_session("large", resources={"limits": {"memory": "8Gi"}})
    world.add_session("small")
    await world.settle()
    assert running(world) == ["small"]
    assert "4Gi bytes of memory are less than one more needs" in world.condition(name="large")[2]


async def test_warm_pods_have_a_limit_of_their_own_and_share_cpu_and_memory_with_sessions():
    world = make_world(warmPods=3, cpu="10")
    world.add_template()
    world.add_pool(replicas=8)
    await world.settle()
    assert len(world.blank()) == 3
    condition = world.pool()["status"]["conditions"][0]
    assert condition["reason"] == "NamespaceLimitReached"
    assert condition["message"] == "namespaceLimits.warmPods: the namespace's 3 warm pods leave no room"
    for number in range(6):
        world.add_session(f"s{number}")
        await world.settle()
    assert len(world.pods()) == 5
    assert len(running(world)) + len(world.blank()) == 5


async def test_room_that_returns_fills_a_pool():
    world = make_world(cpu="4")
    world.add_template()
    world.add_session("a")
    world.add_session("b")
    await world.settle()
    world.add_pool(replicas=2)
    await world.settle()
    assert world.blank() == set()
    world.kube.remove(SESSIONS, NAMESPACE, "a")
    await world.settle()
    world.operator._enqueue(("sandboxwarmpools", NAMESPACE, "pool"))
    await world.settle()
    assert len(world.blank()) == 1


async def test_a_restart_counts_what_runs_and_starts_no_more():
    world = make_world(sessions=2)
    world.add_template()
    for number in range(5):
        world.add_session(f"s{number}")
    await world.settle()
    before = running(world)
    world.restart()
    await world.operator.list_all()
    await world.settle()
    assert running(world) == before
    world.kube.remove(SESSIONS, NAMESPACE, before[0])
    await world.settle()
    assert len(running(world)) == 2


async def test_a_lower_limit_ends_nothing():
    world = make_world()
    world.add_template()
    for number in range(4):
        world.add_session(f"s{number}")
    await world.settle()
    world.settings = SETTINGS.model_copy(update={"namespace_limits": {"*": NamespaceLimits(sessions=1)}})
    world.restart()
    await world.operator.list_all()
    world.add_session("late")
    await world.settle()
    assert len(running(world)) == 4
    assert waiting(world) == ["late"]


async def test_each_namespace_has_its_own_count_and_a_named_one_its_own_limits():
    world = make_world({"other": {"sessions": 0}, NAMESPACE: {"sessions": 2}}, sessions=0)
    world.add_template()
    for number in range(3):
        world.add_session(f"s{number}")
    await world.settle()
    assert len(running(world)) == 2


async def test_a_refused_or_lost_creation_keeps_no_room():
    world = make_world(sessions=1)
    world.add_template()
    real, failures = world.kube.create, [True]

    async def create(resource, namespace, body):
        if resource is PODS and failures and failures.pop():
            raise UnavailableError(500, "InternalError", "no answer")
        return await real(resource, namespace, body)

    world.kube.create = create
    world.add_session("a")
    world.add_session("b")
    with pytest.raises(UnavailableError):
        await world.settle()
    # What may exist counts until the session is observed again.
    await world.settle()
    assert world.condition(name="b")[1] == "NamespaceLimitReached"
    world.kube.remove(SESSIONS, NAMESPACE, "a")
    await world.settle()
    world.operator._enqueue(session_key(NAMESPACE, "b"))
    await world.settle()
    assert running(world) == ["b"]


async def test_thousands_that_wait_cost_little_and_a_deleted_one_is_forgotten():
    world = make_world(sessions=1)
    world.add_template()
    for number in range(1000):
        world.add_session(f"s{number}")
    await world.settle()
    world.kube.calls.clear()
    for number in range(1000):
        world.operator._enqueue(session_key(NAMESPACE, f"s{number}"))
    await world.settle()
    assert world.kube.calls == []
    for name in waiting(world):
        world.kube.remove(SESSIONS, NAMESPACE, name)
    await world.settle()
    usage = world.operator.reconciler._usage
    assert usage._waiting == {}
    assert usage._reserved == {}


def test_the_setting_is_json_and_a_wrong_one_is_named():
    settings = load_settings({"SANDBOX_OPERATOR_NAMESPACE_LIMITS": '{"*": {"sessions": 5, "warmPods": 2, "cpu": 3}}'})
    assert settings.namespace_limits == {
        "*": NamespaceLimits.model_validate({"sessions": 5, "warmPods": 2, "cpu": "3"})
    }
    for wrong in ('{"*": {"session": 5}}', '{"*": {"sessions": -1}}', '{"*": {"memory": "many"}}', "{"):
        with pytest.raises(SettingsError, match="SANDBOX_OPERATOR_NAMESPACE_LIMITS"):
            load_settings({"SANDBOX_OPERATOR_NAMESPACE_LIMITS": wrong})


def usage_of(world):
    return world.operator.reconciler._usage


async def test_a_pod_that_is_there_does_not_count_twice(monkeypatch):
    """Its reservation is gone as soon as it is stored, although the start goes on."""
    world = make_world(sessions=2)
    world.add_template()
    world.add_session("a")
    seen, real = [], world.operator.store.put

    def put(resource, raw):
        answer = real(resource, raw)
        if resource == PODS:
            seen.append(usage_of(world).find_room(session_key(NAMESPACE, "b"), Need(sessions=1))[0])
        return answer

    monkeypatch.setattr(world.operator.store, "put", put)
    await world.settle()
    assert running(world) == ["a"]
    assert seen
    assert set(seen) == {1}


async def test_room_that_a_refused_start_gives_back_wakes_another_session():
    world = make_world(sessions=1)
    usage, (first, second) = usage_of(world), (session_key(NAMESPACE, name) for name in "ab")
    usage.reserve(first, Need(sessions=1))
    usage.wait(second, world.clock.now)
    world.operator.queue.clear()
    usage.release(first)
    assert second in world.operator.queue


async def test_a_replica_that_stops_forgets_what_was_reserved_and_who_waits():
    world = make_world(sessions=1)
    usage, (first, second) = usage_of(world), (session_key(NAMESPACE, name) for name in "ab")
    usage.reserve(first, Need(sessions=1))
    usage.wait(second, world.clock.now)
    world.operator.reconciler.reset()
    world.operator.queue.clear()
    assert usage.find_room(second, Need(sessions=1))[0] == 1
    usage.release(first)
    assert second not in world.operator.queue


async def test_a_session_that_waits_for_its_workspace_is_not_in_the_line_for_room():
    world = make_world(sessions=1)
    world.add_template()
    world.add_session("a", workspace={"name": "shared"})
    await world.settle()
    world.add_session("b", workspace={"name": "shared"})
    world.add_session("c")
    await world.settle()
    assert world.condition(name="b")[1] == "WorkspaceInUse"
    assert waiting(world) == ["c"]
    assert list(usage_of(world)._waiting[NAMESPACE]) == [session_key(NAMESPACE, "c")]


def refuse_signatures(world, error):
    """Let the API server refuse each patch that signs a pod, until the returned function is called."""
    real = world.kube.patch

    async def patch(resource, namespace, name, body, kind="merge", subresource=""):
        if resource is PODS and kind == "merge" and naming.ORIGIN in str(body):
            raise error
        return await real(resource, namespace, name, body, kind, subresource)

    world.kube.patch = patch

    def allow():
        world.kube.patch = real

    return allow


FORBIDDEN = ForbiddenError(403, "Forbidden", "denied by policy x")
UNAVAILABLE = UnavailableError(500, "InternalError", "no answer")


async def settle_through_failures(world):
    for _ in range(30):
        try:
            await world.settle()
        except UnavailableError:
            continue
        return


@pytest.mark.parametrize("is_late", [False, True], ids=["", "late events"])
@pytest.mark.parametrize("failure", [FORBIDDEN, UNAVAILABLE], ids=["forbidden", "unavailable"])
@pytest.mark.parametrize("limits", [{"sessions": 2}, {"cpu": "4"}], ids=["sessions", "cpu"])
async def test_a_pod_that_could_not_be_signed_counts(limits, failure, is_late):
    world = make_world(**limits)
    world.kube.is_watch_late = is_late
    world.add_template()
    allow = refuse_signatures(world, failure)
    for number in range(6):
        world.add_session(f"s{number}")
    await settle_through_failures(world)
    assert len(world.pods()) == 2
    allow()
    for _ in range(3):
        world.clock.advance(minutes=1)
        for number in range(6):
            world.operator._enqueue(session_key(NAMESPACE, f"s{number}"))
        await world.settle()
    assert len(world.pods()) == 2
    assert len(running(world)) == 2
    for name in running(world):
        world.kube.remove(SESSIONS, NAMESPACE, name)
    await world.settle()
    assert len(running(world)) == 2
    for name in list(world.kube.named(SESSIONS)):
        world.kube.remove(SESSIONS, NAMESPACE, name)
    await world.settle()
    assert usage_of(world)._used == {}


@pytest.mark.parametrize("failure", [FORBIDDEN, UNAVAILABLE], ids=["forbidden", "unavailable"])
async def test_a_blank_pod_that_could_not_be_signed_counts(failure):
    world = make_world(warmPods=2)
    world.add_template()
    refuse_signatures(world, failure)
    world.add_pool(replicas=6)
    for _ in range(10):
        world.clock.advance(minutes=1)
        world.operator._enqueue(("sandboxwarmpools", NAMESPACE, "pool"))
        with contextlib.suppress(UnavailableError):
            await world.settle()
    assert 1 <= len(world.pods()) <= 2


async def test_a_pod_from_before_a_crash_counts_until_it_is_gone_even_if_it_has_no_signature():
    world = make_world(sessions=1)
    world.add_template()
    refuse_signatures(world, UNAVAILABLE)
    world.add_session("a")
    with contextlib.suppress(UnavailableError):
        await world.settle()
    (name,) = world.pods()
    world.restart()
    await world.operator.list_all()
    # The other one's turn comes first.
    world.operator.queue.clear()
    world.add_session("b")
    await world.operator.work(session_key(NAMESPACE, "b"))
    assert set(world.pods()) == {name}
    assert world.condition(name="b")[1] == "NamespaceLimitReached"


async def test_a_pod_whose_agent_got_another_image_counts_until_it_is_gone():
    world = make_world(sessions=1)
    world.add_template()
    world.add_session("a")
    await world.settle()
    (name,) = world.pods()
    containers = [{**each, "image": "evil"} for each in world.pods()[name]["spec"]["containers"]]
    world.kube.change(PODS, NAMESPACE, name, {"spec": {"containers": containers}})
    world.add_session("b")
    await world.operator.work(session_key(NAMESPACE, "b"))
    assert world.condition(name="b")[1] == "NamespaceLimitReached"


async def test_a_pod_of_another_owner_with_the_operators_label_does_not_count():
    world = make_world(sessions=1)
    world.add_template()
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "x", "uid": "x", "controller": True}
    metadata = {"name": "x", "labels": {naming.MANAGED_BY: naming.MANAGER}, "ownerReferences": [owner]}
    world.kube.put(PODS, NAMESPACE, {"metadata": metadata, "spec": {"containers": []}})
    world.add_session("a")
    await world.settle()
    assert running(world) == ["a"]


async def test_the_first_wait_is_short_however_long_the_session_was_suspended():
    world = make_world(sessions=1)
    world.add_template()
    world.add_session("a")
    world.add_session("b", suspended=True)
    await world.settle()
    world.clock.advance(hours=5)
    world.kube.change(SESSIONS, NAMESPACE, "b", {"spec": {"suspended": False}})
    await world.settle()
    assert world.condition(name="b")[1] == "NamespaceLimitReached"
    waits, key = [], session_key(NAMESPACE, "b")
    for _ in range(5):
        waits.append(round(world.operator.later[key]))
        world.clock.advance(seconds=waits[-1])
        world.operator._enqueue(key)
        await world.settle()
    assert waits == [5, 5, 10, 20, 40]


def count_work(world):
    """Count the reconciles by name, and how many keys a reconcile is given at once."""
    done, real = [], world.operator.work

    async def work(key):
        done.append(key[2])
        await real(key)

    world.operator.work = work
    return done


async def test_hundreds_of_pods_that_end_wake_as_many_that_wait_each_once():
    world = make_world(sessions=200)
    world.add_template()
    for number in range(400):
        world.add_session(f"s{number:03}")
    await world.settle()
    ending, late = running(world), waiting(world)
    assert len(ending) == len(late) == 200
    done = count_work(world)
    for name in ending:
        world.kube.remove(SESSIONS, NAMESPACE, name)
    woken = [key[2] for key in world.operator.queue if key[2] in late]
    assert sorted(woken) == late
    await world.operator.settle()
    assert len(world.pods()) == 200
    # Twice, since each session's own writes enqueue it again.
    assert len(done) <= len(ending) + 3 * len(late)


async def test_one_pod_that_ends_wakes_one_that_waits_and_not_hundreds():
    world = make_world(sessions=1)
    world.add_template()
    for number in range(200):
        world.add_session(f"s{number:03}")
    await world.settle()
    (name,) = running(world)
    done = count_work(world)
    world.kube.remove(SESSIONS, NAMESPACE, name)
    await world.settle()
    assert len(running(world)) == 1
    assert len(set(done) - {name, *running(world)}) <= 1


async def test_one_large_pod_that_ends_makes_room_for_many_small_ones():
    world = make_world(cpu="20")
    world.add_template(resources={"default": {"limits": {"cpu": "1"}}, "maximum": {"cpu": "19"}})
    world.add_session("large", resources={"limits": {"cpu": "19"}})
    await world.settle()
    for number in range(15):
        world.add_session(f"s{number:02}")
    await world.settle()
    assert running(world) == ["large"]
    world.kube.remove(SESSIONS, NAMESPACE, "large")
    await world.settle()
    assert len(running(world)) == 10


async def test_room_is_found_without_counting_what_others_have_reserved():
    """A burst of starts is linear: a look at the room does not walk over the reservations."""

    class Counted(dict):
        walks = 0

        def items(self):
            Counted.walks += 1
            return super().items()

        values = __iter__ = items

    world = make_world(sessions=1000)
    usage = usage_of(world)
    usage._reserved = Counted()
    for number in range(300):
        usage.reserve(session_key(NAMESPACE, f"s{number}"), Need(sessions=2))
        usage.reserve(session_key(NAMESPACE, f"s{number}"), Need(sessions=1))
    assert usage.find_room(session_key(NAMESPACE, "s0"), Need(sessions=1))[0] == 701
    assert usage.find_room(session_key(NAMESPACE, "other"), Need(sessions=1))[0] == 700
    assert usage.find_room(session_key("elsewhere", "s0"), Need(sessions=1))[0] == 1000
    assert Counted.walks == 0
    for number in range(300):
        usage.release(session_key(NAMESPACE, f"s{number}"))
    assert usage.find_room(session_key(NAMESPACE, "other"), Need(sessions=1))[0] == 1000
