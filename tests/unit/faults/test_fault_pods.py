"""Rows 19 to 27 and 38 of docs/faults.md, as far as the operator's reaction is the matter: what happens to a pod."""

from itertools import count

import pytest

from sandbox_operator.kube.resources import PODS, SESSIONS
from tests.support.invariants import check_invariants
from tests.support.troubled_world import TroubledWorld
from tests.unit.operator.conftest import NAMESPACE


def running(name, restarts=0, **last):
    return {"name": name, "restartCount": restarts, "state": {"running": {}}, "lastState": last, "image": name}


def change_pod(world, **status):
    world.kube.change(PODS, NAMESPACE, world.pod(), {"status": status})


@pytest.fixture
async def ready():
    world = TroubledWorld()
    await world.start()
    return world


def uid_of(world):
    return world.pods()[world.pod()]["metadata"]["uid"]


@pytest.mark.parametrize("container", ["sandbox", "agent"])
async def test_fault_19_and_20_a_container_that_died_is_the_kubelets_and_the_pod_is_kept(ready, container):
    """The kubelet restarts the container; the operator keeps the pod and binds a blank agent again."""
    before = uid_of(ready)
    died = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
    other = "agent" if container == "sandbox" else "sandbox"
    change_pod(ready, containerStatuses=[running(container, 1, **died), running(other)])
    if container == "agent":
        # It starts blank, and what it had been given it is given again: the same token, no other session.
        ready.agents.end(next(iter(ready.agents.views)), by_fault=True)
    await ready.come_to_rest()
    assert uid_of(ready) == before
    assert ready.status()["phase"] == "Ready"
    assert len(ready.agents.requests) == (2 if container == "agent" else 1)


async def test_fault_20_an_agent_that_came_back_blank_is_never_drained_as_if_nothing_had_been_there(ready):
    """An agent that came back blank is bound before it is drained, so its files are saved."""
    change_pod(ready, containerStatuses=[running("agent", 1), running("sandbox")])
    ready.agents.end(next(iter(ready.agents.views)), by_fault=True)
    ready.change_session(suspended=True)
    await ready.come_to_rest()
    assert ready.status()["phase"] == "Suspended"
    assert len(ready.agents.requests) == 2
    assert ready.agents.drains == 1


async def test_fault_22_an_evicted_pod_is_replaced_and_the_session_says_why_meanwhile(ready):
    """The operator replaces an evicted pod, and the session says why meanwhile."""
    before = uid_of(ready)
    change_pod(ready, phase="Failed", reason="Evicted", message="disk pressure")
    ready.agents.end(next(iter(ready.agents.views)), by_fault=True)
    await ready.settle()
    assert ready.condition() == ("False", "PodLost", "Evicted: disk pressure")
    ready.clock.advance(seconds=11)
    await ready.come_to_rest()
    assert uid_of(ready) != before
    assert ready.status()["phase"] == "Ready"


async def test_fault_23_a_pod_of_a_lost_node_is_forced_away_only_after_its_time(ready):
    """A pod on a lost node is deleted by force, but not before its deadline."""
    before, name = uid_of(ready), ready.pod()
    await ready.kube.delete(PODS, NAMESPACE, name)
    ready.agents.unreachable.add(next(iter(ready.agents.views)))
    await ready.operator.settle()
    assert uid_of(ready) == before, "two writers while the node may still be alive"
    assert ready.status()["phase"] == "Starting"
    ready.clock.advance(seconds=59)
    await ready.operator.list_all()
    await ready.operator.settle()
    assert uid_of(ready) == before
    ready.clock.advance(seconds=2)
    ready.agents.end(next(iter(ready.agents.views)), by_fault=True)
    ready.agents.unreachable.clear()
    await ready.operator.list_all()
    await ready.operator.settle()
    assert uid_of(ready) != before, "no kubelet is left to end it: the operator has to"
    await ready.come_to_rest()
    assert ready.status()["phase"] == "Ready"


UNSCHEDULABLE = {
    "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no node"}]
}
WAITING = {"containerStatuses": [{"name": "sandbox", "image": "none:1", "state": {"waiting": {}}}]}


@pytest.mark.parametrize(
    ("status", "waiting", "reason"),
    [
        (UNSCHEDULABLE, "", "Unschedulable"),
        (WAITING, "ErrImagePull", "ImagePullFailed"),
        (WAITING, "ImagePullBackOff", "ImagePullFailed"),
        (WAITING, "CrashLoopBackOff", "ContainerFailed"),
    ],
)
async def test_fault_24_what_keeps_a_pod_from_starting_is_named_and_fails_at_its_deadline(status, waiting, reason):
    """The session names the cause and becomes Failed at its deadline."""
    world = TroubledWorld()
    world.add_template()
    world.add_session()
    await world.operator.settle()
    if waiting:
        state = {"waiting": {"reason": waiting}}
        status = {"containerStatuses": [{**status["containerStatuses"][0], "state": state}]}
    change_pod(world, phase="Pending", **status)
    await world.operator.settle()
    assert (world.status()["phase"], world.condition()[1]) == ("Starting", reason)
    world.clock.advance(minutes=5, seconds=1)
    await world.operator.list_all()
    await world.operator.settle()
    assert (world.status()["phase"], world.condition()[1]) == ("Failed", reason)
    world.kube.run_pod(NAMESPACE, world.pod(), conditions=[])
    await world.come_to_rest()
    assert world.status()["phase"] == "Ready"


async def test_fault_25_a_kubelet_that_restarts_and_says_not_ready_costs_no_pod(ready):
    """A kubelet that restarts and reports pods as not ready costs no pod."""
    before, writes = uid_of(ready), list(ready.kube.writes)
    for state in ("False", "True"):
        change_pod(ready, conditions=[{"type": "Ready", "status": state}])
        await ready.settle()
        assert ready.status()["phase"] == "Ready"
    assert uid_of(ready) == before
    assert [call for call in ready.kube.writes[len(writes) :] if call[1] == "pods"] == []
    await ready.come_to_rest()
    assert ready.status()["phase"] == "Ready"


async def test_fault_27_a_pod_deleted_by_hand_is_replaced_once(ready):
    """The operator replaces the pod once."""
    before = uid_of(ready)
    ready.lose_pod()
    await ready.come_to_rest()
    assert uid_of(ready) != before
    assert len([call for call in ready.kube.writes if call[:2] == ("create", "pods")]) == 2


async def test_fault_38_a_session_deleted_at_any_write_of_its_resume_leaves_nothing():
    """A session that is deleted at any write of its resume leaves nothing behind."""
    for number in count(1):
        world = TroubledWorld()
        await world.start()
        world.change_session(suspended=True)
        await world.settle()
        world.change_session(suspended=False)
        writes, tell = [], world.kube._written

        def written(*arguments, world=world, writes=writes, number=number, tell=tell):
            writes.append(arguments)
            answer = tell(*arguments)
            if len(writes) == number:
                world.kube.remove(SESSIONS, NAMESPACE, "one")
            return answer

        world.kube._written = written
        await world.settle()
        is_deleted = "one" not in world.kube.named(SESSIONS)
        if not is_deleted:
            break
        # The garbage collector looks again: what was made for an owner that was gone by then goes, too.
        world.kube.collect_orphans()
        await world.come_to_rest()
        assert world.pods() == {}
        assert world.secrets() == []
    assert number > 4
    check_invariants(world.kube, world.agents)
