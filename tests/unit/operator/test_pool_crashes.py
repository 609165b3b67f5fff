"""Sessions and pools while the operator dies at any call: one pod a session, no pod of two, nothing left over."""

import asyncio
import contextlib

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sandbox_operator.api import naming
from sandbox_operator.kube.resources import PODS, POOLS, SECRETS, SESSIONS, TEMPLATES
from sandbox_operator.kube.write_hook import WriteHook
from sandbox_operator.manifests.ownership import controller_uid
from tests.support.troubled_world import Death, Killed
from tests.unit.operator.conftest import NAMESPACE, World, server_name

NAMES = ("one", "two", "three", "four")


class Pools(RuleBasedStateMachine):
    """A cluster in memory; after each step the operator has come to rest, or has died on the way and was restarted."""

    def __init__(self):
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.world = World()
        self.images = 1
        self.bound = {}
        """Session uid by the agent that took it: an agent is bound once in its life."""

    def teardown(self):
        self.loop.close()

    @initialize(replicas=st.integers(0, 3), late=st.booleans())
    def start(self, replicas, late):
        self.world.kube.is_watch_late = late
        self.world.add_template()
        self.world.add_pool(replicas=replicas)
        self.settle(0)

    def settle(self, kill_at, *, after=False):
        """Let the operator work; it dies at a write where one is named, and its successor goes on."""
        world = self.world
        fault = Death(kill_after=kill_at) if after else Death(kill_at=kill_at)
        with contextlib.suppress(Killed):
            self.loop.run_until_complete(self.run_operator(fault))
        self.loop.run_until_complete(self.run_operator(WriteHook()))
        assert world.operator.queue == []

    async def run_operator(self, fault):
        operator = self.world.restart(fault)
        await operator.list_all()
        await operator.settle(self.world.play_kubelet)

    crash = st.integers(0, 12)

    @rule(name=st.sampled_from(NAMES), kill_at=crash, after=st.booleans())
    def create(self, name, kill_at, after):
        if name not in self.world.kube.named(SESSIONS):
            self.world.add_session(name)
        self.settle(kill_at, after=after)

    @rule(count=st.integers(2, 4), kill_at=crash, after=st.booleans())
    def create_many(self, count, kill_at, after):
        for name in NAMES[:count]:
            if name not in self.world.kube.named(SESSIONS):
                self.world.add_session(name)
        self.settle(kill_at, after=after)

    @precondition(lambda self: self.world.kube.named(SESSIONS))
    @rule(data=st.data(), kill_at=crash)
    def delete(self, data, kill_at):
        self.world.kube.remove(SESSIONS, NAMESPACE, data.draw(st.sampled_from(sorted(self.sessions()))))
        self.settle(kill_at)

    @precondition(lambda self: self.world.kube.named(SESSIONS))
    @rule(data=st.data(), suspended=st.booleans(), kill_at=crash, after=st.booleans())
    def suspend(self, data, suspended, kill_at, after):
        name = data.draw(st.sampled_from(sorted(self.sessions())))
        self.world.kube.change(SESSIONS, NAMESPACE, name, {"spec": {"suspended": suspended}})
        self.settle(kill_at, after=after)

    @rule(replicas=st.integers(0, 3), kill_at=crash, after=st.booleans())
    def scale(self, replicas, kill_at, after):
        self.world.kube.change(POOLS, NAMESPACE, "pool", {"spec": {"replicas": replicas}})
        self.settle(kill_at, after=after)

    @rule(kill_at=crash, after=st.booleans())
    def change_template(self, kill_at, after):
        self.images += 1
        self.world.kube.change(TEMPLATES, NAMESPACE, "default", {"spec": {"image": f"sandbox:{self.images}"}})
        self.settle(kill_at, after=after)

    @precondition(lambda self: self.world.pods())
    @rule(data=st.data(), kill_at=crash)
    def lose_pod(self, data, kill_at):
        self.world.kube.remove(PODS, NAMESPACE, data.draw(st.sampled_from(sorted(self.world.pods()))))
        self.settle(kill_at)

    def sessions(self):
        return self.world.kube.named(SESSIONS)

    @invariant()
    def every_session_that_is_awake_is_ready_in_one_pod_of_its_own(self):
        pods = self.world.pods()
        owners = [controller_uid(pod) for pod in pods.values()]
        for name, session in self.sessions().items():
            uid = session["metadata"]["uid"]
            if session["spec"].get("suspended"):
                assert owners.count(uid) == 0
                assert self.world.status(name)["phase"] == "Suspended"
            else:
                assert owners.count(uid) == 1
                assert self.world.status(name)["phase"] == "Ready"
                pod = self.world.status(name)["podName"]
                assert controller_uid(pods[pod]) == uid
                assert self.world.agents.views[server_name(pod)].session_uid == uid

    @invariant()
    def the_pool_has_as_many_blank_pods_as_asked_for_and_none_is_bound(self):
        pool = self.world.kube.named(POOLS).get("pool")
        if pool is None:
            return
        blank = self.world.blank()
        assert len(blank) == pool["spec"]["replicas"]
        assert pool["status"]["readyReplicas"] == len(blank)
        for name in blank:
            view = self.world.agents.views.get(server_name(name))
            assert view is None or view.session_uid == ""
            assert controller_uid(self.world.pods()[name]) == pool["metadata"]["uid"]
            assert self.world.pods()[name]["metadata"]["labels"][naming.EGRESS] == "none"

    @invariant()
    def nothing_is_left_over(self):
        known = {raw["metadata"]["uid"] for raw in (*self.sessions().values(), *self.world.kube.named(POOLS).values())}
        pods = self.world.pods()
        assert {controller_uid(pod) for pod in pods.values()} <= known
        for name, secret in self.world.kube.named(SECRETS).items():
            owner = controller_uid(secret)
            assert owner in known | {pod["metadata"]["uid"] for pod in pods.values()}, name

    @invariant()
    def no_agent_ever_served_two_sessions(self):
        for name, view in self.world.agents.views.items():
            pod = self.world.pods().get(name.split(".")[0])
            if view.session_uid and pod:
                assert self.bound.setdefault(pod["metadata"]["uid"], view.session_uid) == view.session_uid


TestPools = Pools.TestCase
TestPools.settings = settings(
    max_examples=12, stateful_step_count=8, deadline=None, suppress_health_check=list(HealthCheck)
)
