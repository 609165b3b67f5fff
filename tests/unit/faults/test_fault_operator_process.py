"""Rows 1 to 10 of docs/faults.md: the operator's own process dies, doubles, is replaced, is late, is away."""

import asyncio
from collections import Counter
from itertools import count

import pytest

from sandbox_operator.app.assembly import Dependencies
from sandbox_operator.app.controller import Controller
from sandbox_operator.credentials.source import StaticCredentials
from sandbox_operator.errors import ConflictError
from sandbox_operator.kube.resources import PODS, SESSIONS, TEMPLATES
from sandbox_operator.metrics import Metrics
from sandbox_operator.session.event_recorder import EventRecorder
from sandbox_operator.watch.handlers import session_key
from sandbox_operator.watch.store import Store
from sandbox_operator.watch.work_queue import WorkQueue
from sandbox_testing.api_server import FakeKube
from sandbox_testing.operator_agents import FakeAgents
from tests.support.invariants import check_invariants
from tests.support.troubled_world import RetryingOperator, TroubledWorld
from tests.unit.operator.conftest import AUTHORITY, NAMESPACE, SETTINGS


async def create(world):
    world.add_template()
    world.add_session()


async def suspend(world):
    await ready(world)
    world.change_session(suspended=True)


async def resume(world):
    await suspend(world)
    await world.settle()
    world.change_session(suspended=False)


async def idle(world):
    await ready(world)
    world.clock.advance(minutes=20)


async def idle_and_delete(world):
    await ready(world, lifecycle={"onIdle": "Delete"})
    world.clock.advance(minutes=20)


async def replace_pod(world):
    await ready(world)
    world.lose_pod()


async def ready(world, **spec):
    await world.start(**spec)


START = {
    ("patch", "networkpolicies"),
    ("create", "secrets"),
    ("create", "pods"),
    ("patch", "pods"),
    ("bind", "agents"),
    ("patch", "sandboxsessions"),
}
SUSPENSION = {("drain", "agents"), ("delete", "pods"), ("patch", "sandboxsessions")}
STEPS = {
    create: ("Ready", START),
    suspend: ("Suspended", SUSPENSION),
    resume: ("Ready", START | {("patch", "secrets")}),
    idle: ("Suspended", SUSPENSION),
    idle_and_delete: (None, {("drain", "agents"), ("delete", "sandboxsessions"), ("patch", "sandboxsessions")}),
    replace_pod: ("Ready", START | {("patch", "secrets")}),
}


@pytest.mark.parametrize("where", ["at", "after"])
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
async def test_fault_1_the_operator_dies_around_every_write_of_every_step(step, where):
    """The next operator converges to one pod per session without orphans, whichever write was hit."""
    phase, writes = STEPS[step]
    died_at = set()
    for number in count(1):
        world = TroubledWorld()
        await step(world)
        died = await world.run_until_killed(**{where: number})
        if died:
            died_at.add(world.faults.at[:2])
        await world.converge()
        assert [raw["status"]["phase"] for raw in world.kube.named(SESSIONS).values()] == ([phase] if phase else [])
        assert len(world.pods()) == (1 if phase == "Ready" else 0)
        if not died:
            break
    assert died_at == writes


CLAIM = (START | {("patch", "sandboxwarmpools")}) - {("create", "pods"), ("create", "secrets")}


@pytest.mark.parametrize("where", ["at", "after"])
async def test_fault_1_the_operator_dies_around_every_write_of_a_claim_and_of_its_pools_refill(where):
    """The same holds for claims of warm pods and for the refill of their pool."""
    died_at = set()
    for number in count(1):
        world = TroubledWorld()
        world.add_template()
        world.add_pool(replicas=2)
        await world.settle()
        world.add_session()
        if died := await world.run_until_killed(**{where: number}):
            died_at.add(world.faults.at[:2])
        await world.converge()
        assert world.status()["phase"] == "Ready"
        assert len(world.blank()) == 2
        assert len(world.pods()) == 3
        if not died:
            break
    assert died_at == CLAIM | {("create", "pods"), ("create", "secrets")}


async def test_fault_2_between_the_pod_and_its_status_nothing_is_made_twice():
    """The next operator deletes a pod that it cannot prove to be its own, and creates another: one is left."""
    world = TroubledWorld()
    await create(world)
    writes = 0
    while not world.pods():
        world = TroubledWorld()
        await create(world)
        writes += 1
        await world.run_until_killed(after=writes)
    assert world.status() == {}
    uid = world.pods()[world.pod()]["metadata"]["uid"]
    await world.converge()
    assert world.pods()[world.pod()]["metadata"]["uid"] != uid
    assert len([call for call in world.kube.calls if call[:2] == ("create", "pods")]) == 2
    assert len(world.agents.requests) == 1


async def test_fault_3_a_session_deleted_while_its_operator_dies_in_the_suspension_leaves_nothing():
    """A session that is deleted while its operator dies in a suspend leaves nothing behind."""
    for number in count(1):
        world = TroubledWorld()
        await suspend(world)
        died = await world.run_until_killed(after=number)
        world.kube.remove(SESSIONS, NAMESPACE, "one")
        await world.converge()
        assert world.pods() == {}
        assert world.secrets() == []
        if not died:
            break
    assert number > 3


async def test_fault_4_two_operators_that_both_act_make_one_pod_and_one_token():
    """Two operators that both act create one pod and one token."""
    world = TroubledWorld()
    await create(world)
    first = world.operator
    second = RetryingOperator(world.kube, world.agents, world.clock)
    world.kube.watchers[:] = [first._watch, second._watch]
    for change in (None, {"suspended": True}, {"suspended": False}):
        if change:
            world.change_session(**change)
        await asyncio.gather(first.list_all(), second.list_all())
        await asyncio.gather(first.settle(world.play_kubelet), second.settle(world.play_kubelet))
        check_invariants(world.kube, world.agents)
        assert world.status()["phase"] == ("Suspended" if world.session()["spec"].get("suspended") else "Ready")
    assert len([call for call in world.kube.writes if call[:2] == ("create", "pods")]) == 2


async def test_fault_6_another_version_of_the_operator_leaves_running_sessions_alone():
    """An operator of another version leaves running sessions alone."""
    world = TroubledWorld()
    await world.start()
    before, binds = world.pods(), len(world.agents.requests)
    writes = list(world.kube.writes)
    newer = world.settings.model_copy(update={"agent_image": "agent:2", "sandbox_image": "sandbox:2"})
    world.restart(settings=newer)
    for _ in range(2):
        await world.operator.list_all()
        await world.settle()
    assert world.pods() == before
    assert len(world.agents.requests) == binds
    assert world.kube.writes == writes
    assert world.status()["phase"] == "Ready"


async def test_fault_7_a_deletion_that_no_watch_told_is_found_by_the_next_list():
    """The next list finds a deletion that no watch reported."""
    world = TroubledWorld()
    await world.start()
    world.add_session("two")
    await world.settle()
    uids = {name: pod["metadata"]["uid"] for name, pod in world.pods().items()}
    (pod_of_two,) = (name for name in uids if name.startswith("sbx-two"))
    (pod_of_one,) = uids.keys() - {pod_of_two}
    world.kube.hang_watch()
    world.kube.remove(SESSIONS, NAMESPACE, "two")
    world.lose_pod(pod_of_one)
    world.kube.resume_watch(dropped=True)
    await world.come_to_rest()
    assert world.pod() == pod_of_one
    assert world.pods()[pod_of_one]["metadata"]["uid"] != uids[pod_of_one]
    assert world.status()["phase"] == "Ready"
    assert any(name.startswith(pod_of_two) for name in world.agents.forgotten)


async def test_fault_8_a_poison_session_fails_alone_and_says_why():
    """The session fails alone and says why."""
    world = TroubledWorld()
    world.add_template()
    world.add_session("poison", lifecycle={"idleTimeout": ["not", "a", "duration"]}, env=7)
    world.add_session("good")
    await world.come_to_rest()
    assert world.status("good")["phase"] == "Ready"
    assert world.status("poison")["phase"] == "Failed"
    assert world.condition(name="poison")[1] == "InvalidSpec"


async def test_fault_9_a_backlog_of_five_thousand_is_one_look_each_and_the_bad_ones_hold_up_nobody():
    """Each of 5,000 keys is reconciled once, and failing ones do not delay the others."""
    looks = Counter()

    async def work(key):
        looks[key] += 1
        await asyncio.sleep(0)
        if key[2].endswith("00") and looks[key] == 1:
            raise ConflictError(409, "Conflict", "once in a hundred")

    keys = [(SESSIONS.plural, NAMESPACE, f"s{number}") for number in range(5000)]
    bad = {key for key in keys if key[2].endswith("00")}
    queue = WorkQueue(work, workers=8)
    for key in keys * 3:
        queue.add(key)
    assert len(queue) == 5000
    queue.start()
    async with asyncio.timeout(60):
        while sum(looks.values()) < 5000 + len(bad):  # noqa: ASYNC110 - with a deadline
            await asyncio.sleep(0.02)
    await queue.stop(grace=5)
    assert looks == {key: 1 + (key in bad) for key in keys}


async def test_fault_9_five_thousand_sessions_that_wait_get_one_look_and_one_write_each():
    """5,000 waiting sessions cost one reconcile and one write each."""
    kube, store, metrics = FakeKube(), Store(), Metrics()
    kube.put(TEMPLATES, NAMESPACE, {"metadata": {"name": "default"}, "spec": {"image": "sandbox:1"}})
    names = [f"s{number}" for number in range(5000)]
    for number, name in enumerate(names):
        spec = {"templateRef": {"name": "default"}, "suspended": True, **({} if number % 100 else {"env": 7})}
        store.put(SESSIONS, kube.put(SESSIONS, NAMESPACE, {"metadata": {"name": name}, "spec": spec}))
    credentials, recorder = StaticCredentials(SETTINGS), EventRecorder(kube)
    controller = Controller(
        Dependencies(kube, FakeAgents(), store, SETTINGS, AUTHORITY, credentials, recorder, metrics)
    )

    def enqueue_all():
        for name in names * 3:
            controller.enqueue(session_key(NAMESPACE, name))

    controller.start(enqueue_all)
    async with asyncio.timeout(60):
        while len(kube.calls) < len(names) or controller._sessions.load:  # noqa: ASYNC110 - with a deadline
            await asyncio.sleep(0.02)
    await controller.stop(1.0)
    phases = Counter(raw["status"]["phase"] for raw in kube.named(SESSIONS).values())
    assert phases == {"Suspended": 4950, "Failed": 50}
    assert sorted(kube.calls) == sorted(("patch", SESSIONS.plural, name) for name in names)
    assert metrics.registry.get_sample_value("sandbox_operator_reconcile_seconds_count", {"result": "ok"}) == 5000


async def test_fault_9_of_many_sessions_in_a_list_only_what_changed_is_written():
    """Of many listed sessions, only those that changed are written."""
    world = TroubledWorld()
    world.add_template()
    for number in range(100):
        name = f"s{number}"
        world.kube.objects[SESSIONS.plural, NAMESPACE, name] = sleeping_session(name, number)
    for _ in range(2):
        await world.operator.list_all()
        await world.settle()
    assert sorted(world.kube.writes) == sorted(("patch", SESSIONS.plural, f"s{number}") for number in range(100))


def sleeping_session(name, number):
    metadata = {
        "name": name,
        "namespace": NAMESPACE,
        "uid": f"uid-{number}",
        "resourceVersion": "1",
        "generation": 1,
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }
    return {"metadata": metadata, "spec": {"templateRef": {"name": "default"}, "suspended": True}}


async def test_fault_10_after_an_hour_without_an_operator_the_next_one_does_what_is_overdue():
    """After an hour without an operator, the next one does what is overdue."""
    world = TroubledWorld()
    await world.start(lifecycle={"idleTimeout": "2h"})
    world.add_session("idle", lifecycle={"idleTimeout": "15m"})
    await world.settle()
    pods = len(world.pods())
    world.clock.advance(hours=1)
    world.add_session("new")
    await world.converge()
    assert {name: world.status(name)["phase"] for name in ("one", "idle", "new")} == {
        "one": "Ready",
        "idle": "Suspended",
        "new": "Ready",
    }
    assert len(world.kube.named(PODS)) == pods
    assert world.condition(name="idle")[1] == "Idle"
