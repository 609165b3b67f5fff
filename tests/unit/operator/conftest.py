"""An operator without kopf, on the shipped fakes: the watch is a callback, the kubelet a test's line."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from sandbox_operator.api import naming
from sandbox_operator.app.assembly import Dependencies, build_reconcilers
from sandbox_operator.credentials.source import StaticCredentials
from sandbox_operator.kube.resources import EVENTS, PODS, POOLS, SECRETS, SESSIONS, TEMPLATES
from sandbox_operator.kube.write_hook import WriteHook
from sandbox_operator.metrics import Metrics
from sandbox_operator.pki.certificates import Authority, create_authority
from sandbox_operator.pki.origin import Origins
from sandbox_operator.session.event_recorder import EventRecorder
from sandbox_operator.session.plan.steps import Timing
from sandbox_operator.settings import Settings
from sandbox_operator.watch.handlers import Handlers, pool_key, session_key
from sandbox_operator.watch.scheduling import Scheduling
from sandbox_operator.watch.store import WATCHED, Store
from sandbox_testing.api_server import FakeKube
from sandbox_testing.operator_agents import FakeAgents

NAMESPACE = "team"
AUTHORITY = Authority(create_authority(datetime.now(UTC)))
SETTINGS = Settings(
    storage_bucket="files",
    storage_endpoint="http://10.9.9.9:9000",
    storage_access_key_id="key",
    storage_secret_access_key="canary-secret",
    storage_cidrs=("10.9.9.9/32",),
    storage_port=9000,
    agent_image="agent:1",
)


def server_name(pod):
    return naming.server_name(pod, NAMESPACE)


class Clock:
    """A wall clock that a test moves."""

    def __init__(self):
        self.now = datetime.now(UTC).replace(microsecond=0)

    def __call__(self):
        return self.now

    def advance(self, **parts):
        self.now += timedelta(**parts)


class Operator:
    """One process of the operator; a new one after a crash shares only the cluster."""

    def __init__(self, kube, agents, clock, settings=SETTINGS, credentials=None, timing=None):
        self.kube, self.agents, self.clock = kube, agents, clock
        self.store, self.metrics = Store(Origins(AUTHORITY).is_own_pod), Metrics()
        self.queue: list = []
        self.later: dict = {}
        self.soon: set = set()
        self.acknowledged: list = []
        self.elapsed = 0.0
        self.recorder = EventRecorder(kube)
        credentials = credentials or StaticCredentials(settings)
        environment = Dependencies(
            kube, agents, self.store, settings, AUTHORITY, credentials, self.recorder, self.metrics
        )
        scheduling = Scheduling(
            self._enqueue, self._requeue, self.acknowledged.append, self._pause, clock, lambda: self.elapsed
        )
        reconcilers = build_reconcilers(environment, scheduling, timing or Timing())
        self.reconciler, self.pools, self.available_pods = (
            reconcilers.sessions,
            reconcilers.pools,
            reconcilers.available_pods,
        )
        self.renewals, self.orphans = reconcilers.renewals, reconcilers.orphans
        self.handlers = Handlers(self.store, self._enqueue, self.metrics, "default")
        kube.watchers[:] = [self._watch]

    def _watch(self, resource, type_, raw):
        if resource in WATCHED:
            self.handlers.handle(resource, type_, raw)

    def _enqueue(self, key):
        if key not in self.queue:
            self.queue.append(key)

    async def _pause(self):
        await asyncio.sleep(0)

    def _requeue(self, key, seconds):
        self.later[key] = seconds
        if seconds == 0.0:
            self._enqueue(key)
        elif key[0] == POOLS.plural and seconds <= 1.0:
            self.soon.add(key)

    async def list_all(self):
        for kind in WATCHED:
            items, version = await self.kube.list(kind, None)
            listing = self.store.begin_listing(kind)
            listing.add(items, version)
            listing.finish()
        for raw in self.store.all(SESSIONS):
            self._enqueue(session_key(raw["metadata"]["namespace"], raw["metadata"]["name"]))
        for raw in self.store.all(POOLS):
            self._enqueue(pool_key(raw["metadata"]["namespace"], raw["metadata"]["name"]))

    async def work(self, key):
        await (self.pools if key[0] == POOLS.plural else self.reconciler).reconcile(key)

    async def settle(self, play=lambda: False):
        """Work until nothing is left to do; `play` is the rest of the cluster, and says whether it did something."""
        for _ in range(60):
            while self.queue:
                await self.work(self.queue.pop(0))
            for _ in range(10):
                await asyncio.sleep(0)
            if not self.queue and not play() and not self._wait_a_second():
                return
        raise AssertionError("the operator does not come to rest")

    def _wait_a_second(self):
        """What pools wait for, a lull, is there; whether one did."""
        self.elapsed += 1.0
        waiting, self.soon = self.soon, set()
        for key in waiting:
            self._enqueue(key)
        return bool(waiting)


class World:
    """A cluster in memory with one operator."""

    def __init__(self, settings=SETTINGS, credentials=None, timing=None):
        self.clock = Clock()
        self.credentials, self.timing = credentials, timing
        self.settings = settings
        self.faults = WriteHook()
        self.kube = FakeKube(self.faults, self.clock)
        self.agents = FakeAgents(self.faults)
        self.operator = self._new_operator()

    def restart(self, faults=None):
        self.faults = faults or WriteHook()
        self.kube.write_hook = self.agents.write_hook = self.faults
        self.operator = self._new_operator()
        return self.operator

    def _new_operator(self):
        return Operator(self.kube, self.agents, self.clock, self.settings, self.credentials, self.timing)

    def add_template(self, name="default", **spec):
        spec = {"image": "sandbox:1", **spec}
        return self.kube.put(TEMPLATES, NAMESPACE, {"metadata": {"name": name}, "spec": spec})

    def add_session(self, name="one", **spec):
        spec = {"templateRef": {"name": "default"}, **spec}
        body = {"apiVersion": SESSIONS.api_version, "kind": SESSIONS.kind, "metadata": {"name": name}, "spec": spec}
        return self.kube.put(SESSIONS, NAMESPACE, body)

    def add_pool(self, name="pool", replicas=2, template="default"):
        spec = {"templateRef": {"name": template}, "replicas": replicas}
        body = {"apiVersion": POOLS.api_version, "kind": POOLS.kind, "metadata": {"name": name}, "spec": spec}
        return self.kube.put(POOLS, NAMESPACE, body)

    def pool(self, name="pool"):
        return self.kube.objects[POOLS.plural, NAMESPACE, name]

    def blank(self):
        return {name for name, pod in self.pods().items() if pod["metadata"]["labels"][naming.STATE] == naming.BLANK}

    def session(self, name="one"):
        return self.kube.objects[SESSIONS.plural, NAMESPACE, name]

    def status(self, name="one"):
        return self.session(name).get("status") or {}

    def condition(self, type_="Ready", name="one"):
        found = {c["type"]: c for c in self.status(name).get("conditions", [])}
        return found[type_]["status"], found[type_]["reason"], found[type_]["message"]

    def new_ip(self):
        used = {(pod.get("status") or {}).get("podIP") for pod in self.pods().values()}
        return next(ip for number in range(1, 250) if (ip := f"10.1.0.{number}") not in used)

    def pods(self):
        return self.kube.named(PODS)

    def pod(self):
        (name,) = self.pods()
        return name

    def secrets(self):
        return sorted(self.kube.named(SECRETS))

    def events(self):
        return [event["reason"] for event in self.kube.named(EVENTS).values()]

    def play_kubelet(self):
        """Start pods that wait, end pods that are being deleted; whether there were any."""
        changed = False
        for name, pod in list(self.pods().items()):
            if pod["metadata"].get("deletionTimestamp"):
                self.kube.remove(PODS, NAMESPACE, name)
                self.agents.views.pop(server_name(name), None)
                changed = True
            elif not pod.get("status") and f"{name}-tls" in self.kube.named(SECRETS):
                self.agents.views.pop(server_name(name), None)
                self.kube.run_pod(NAMESPACE, name, ip=self.new_ip())
                changed = True
        return changed

    async def settle(self):
        await self.operator.settle(self.play_kubelet)

    async def start(self, **spec):
        """A session that is Ready."""
        self.add_template()
        self.add_session(**spec)
        await self.settle()
        assert self.status()["phase"] == "Ready"


@pytest.fixture(params=[False, True], ids=["", "late events"])
def world(request):
    """An event of the operator's own write comes before the write's answer, or after it."""
    world = World()
    world.kube.is_watch_late = request.param
    return world
