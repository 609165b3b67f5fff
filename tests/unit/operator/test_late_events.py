"""Answers to the operator's writes that tell more than the write, while each event comes after its answer."""

import pytest

from sandbox_operator.kube.resources import PODS, POOLS, SESSIONS, TEMPLATES
from tests.unit.operator.conftest import NAMESPACE, World


class LateWorld(World):
    """A cluster whose events wait until all work is done. Another client's change comes just before a write."""

    def __init__(self):
        super().__init__()
        self.waiting, self._before, self._deliver = [], {}, self.kube.watchers[0]
        self.kube.watchers[:] = [lambda *event: self.waiting.append(event)]
        self._patch, self.kube.patch = self.kube.patch, self._patch_later

    def before(self, resource, change, accepts=lambda _: True):
        """Make a change once, just before the operator's next patch of this kind whose body is accepted."""
        self._before[resource] = change, accepts

    async def _patch_later(self, resource, namespace, name, body, *arguments, **options):
        change, accepts = self._before.get(resource, (None, None))
        if change and accepts(body):
            del self._before[resource]
            change()
        return await self._patch(resource, namespace, name, body, *arguments, **options)

    def tell(self):
        """Deliver the events; whether there were any."""
        waiting, self.waiting[:] = list(self.waiting), []
        for event in waiting:
            self._deliver(*event)
        return bool(waiting)

    async def settle(self):
        await self.operator.settle(lambda: self.tell() or self.play_kubelet())
        assert not self._before, "the change came before no write"


@pytest.fixture
def world():
    return LateWorld()


async def test_a_pod_that_runs_before_it_is_signed_makes_its_session_ready(world):
    """The answer to the signature tells that the pod runs, and no event reports it again."""
    world.before(PODS, world.play_kubelet)
    await world.start()


async def test_a_pod_that_was_signed_and_runs_is_found_by_a_creation_whose_answers_were_lost(world):
    """A successor finds its predecessor's pod in the answer of a read, and no event reports it again."""
    world.add_template()
    world.add_session()
    world.tell()
    await world.operator.work(world.operator.queue.pop())
    world.play_kubelet()
    pod = world.pod()
    successor = world.restart()
    world.kube.watchers[:] = [lambda *event: world.waiting.append(event)]
    world.waiting.clear()
    for kind in (TEMPLATES, SESSIONS):
        for raw in world.kube.named(kind).values():
            successor.handlers.handle(kind, None, raw)
    await successor.settle()
    assert (world.status()["phase"], world.pod()) == ("Ready", pod)


async def test_a_change_of_a_session_while_its_status_is_written_is_seen(world):
    """The answer to a write of the status contains a new spec, and no event reports it again."""
    world.add_template()
    world.add_session()
    world.before(
        SESSIONS,
        lambda: world.kube.change(SESSIONS, NAMESPACE, "one", {"spec": {"suspended": True}}),
        lambda body: body["status"].get("phase") == "Ready",
    )
    await world.settle()
    assert world.status()["phase"] == "Suspended"


async def test_a_pod_that_is_gone_at_once_lets_its_session_go_on(world):
    """A pod without a node is gone when the answer to its deletion comes, and the event finds nothing to remove."""
    world.add_template()
    world.add_session()
    world.tell()
    await world.operator.work(world.operator.queue.pop())
    world.kube.change(SESSIONS, NAMESPACE, "one", {"spec": {"suspended": True}})
    await world.operator.settle(world.tell)
    assert (world.status()["phase"], world.pods()) == ("Suspended", {})


async def test_a_change_of_a_pool_while_its_status_is_written_is_seen(world):
    """The answer to a write of the status contains a new size, and no event reports it again."""
    world.add_template()
    world.add_pool(replicas=1)
    world.before(
        POOLS,
        lambda: world.kube.change(POOLS, NAMESPACE, "pool", {"spec": {"replicas": 2}}),
        lambda body: body["status"].get("readyReplicas") == 1,
    )
    await world.settle()
    assert len(world.blank()) == 2
