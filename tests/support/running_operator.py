"""Runs the complete operator (kopf, queues, lease, HTTP client) against an ApiServer, with fake kubelet and agents."""

import asyncio
import contextlib
import json
import time

from sandbox_operator.app.application import Application
from sandbox_operator.kube.resources import PODS, SECRETS, SESSIONS, TEMPLATES
from sandbox_testing.api_server import FakeKube
from tests.support.api_server import ApiServer
from tests.support.invariants import check_invariants
from tests.support.troubled_world import RememberingAgents
from tests.unit.operator.conftest import NAMESPACE, SETTINGS

SYSTEM = "system"


class Agents(RememberingAgents):
    """RememberingAgents that can be closed, like the operator's own client."""

    async def close(self):
        """Do nothing: no connection is open."""


class RunningOperator:
    """An in-memory cluster, its API over HTTP, and one process of the operator."""

    def __init__(self, folder, **settings):
        self.kube, self.agents = FakeKube(), Agents()
        self.server = ApiServer(self.kube)
        self.kube.watchers.append(self._play_kubelet)
        self.settings = SETTINGS.model_copy(
            update={"namespace": SYSTEM, "health_port": 0, "metrics_port": 0, "resync_seconds": 3600.0, **settings}
        )
        self.kubeconfig, self.exit_code = folder / "kubeconfig", None
        self.kube.put(TEMPLATES, NAMESPACE, {"metadata": {"name": "default"}, "spec": {"image": "sandbox:1"}})
        self._ips, self._task = 0, None

    @contextlib.asynccontextmanager
    async def running(self, monkeypatch):
        """Run the operator. It leads and watches everything; at the end, the invariants are checked."""
        async with self.started(monkeypatch) as application:
            await self.until(lambda: application._lease.is_leading and self.server.watching() == 4)
            yield self
            if not self._task.done():
                await self.until(lambda: not application._controller._sessions.load)
            check_invariants(self.kube, self.agents)

    @contextlib.asynccontextmanager
    async def started(self, monkeypatch):
        """Start the operator's process, which may also fail."""
        monkeypatch.setattr("sandbox_operator.app.application.AgentClient", lambda *_: self.agents)
        await self.server.start()
        self._write_kubeconfig()
        application = Application(self.settings, {"KUBECONFIG": str(self.kubeconfig)})
        self._task = asyncio.create_task(application.run())
        try:
            yield application
        finally:
            application._stop.set()
            # Not before the lease was released. Kopf waits for all tasks of this loop, including the server's.
            while self.server.watching() and not self._task.done():  # noqa: ASYNC110 - ends with either
                await asyncio.sleep(0.01)
            await self.server.stop()
            self.exit_code = await self._task

    async def until(self, condition, seconds=8.0):
        """Wait until a condition is true. Fail if that takes too long or if the operator ends."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"timed out; sessions: {self.describe()}"
            assert not self._task.done(), "the operator ended"
            await asyncio.sleep(0.01)

    async def ended(self):
        """Wait until the operator ends by itself, and return its exit code."""
        async with asyncio.timeout(20):
            return await asyncio.shield(self._task)

    def describe(self):
        """Return the phase of each session."""
        return {name: raw.get("status", {}).get("phase") for name, raw in self.kube.named(SESSIONS).items()}

    def add_session(self, name, **spec):
        """Create a session as a user would."""
        spec = {"templateRef": {"name": "default"}, **spec}
        body = {"apiVersion": SESSIONS.api_version, "kind": SESSIONS.kind, "metadata": {"name": name}, "spec": spec}
        self.kube.put(SESSIONS, NAMESPACE, body)

    def change_session(self, name, **spec):
        """Change a session as a user would."""
        self.kube.change(SESSIONS, NAMESPACE, name, {"spec": spec})

    def phase(self, name):
        """Return a session's phase."""
        return (self.kube.named(SESSIONS)[name].get("status") or {}).get("phase")

    def pod(self, name):
        """Return the name of a session's pod."""
        return self.kube.named(SESSIONS)[name]["status"]["podName"]

    def lose_pod(self, name):
        """Remove a session's pod at once."""
        pod = self.pod(name)
        self.kube.remove(PODS, NAMESPACE, pod)
        self._end_agent(pod, by_fault=True)

    def _play_kubelet(self, resource, _type, raw):
        if resource in {PODS, SECRETS}:
            asyncio.get_running_loop().call_soon(self._look)

    def _look(self):
        for name, pod in self.kube.named(PODS).items():
            if pod["metadata"].get("deletionTimestamp"):
                self.kube.remove(PODS, NAMESPACE, name)
                self._end_agent(name)
            elif not pod.get("status") and f"{name}-tls" in self.kube.named(SECRETS):
                self._ips += 1
                self.kube.run_pod(NAMESPACE, name, ip=f"10.1.{self._ips // 250}.{self._ips % 250}")

    def _end_agent(self, pod, *, by_fault=False):
        for server_name in [each for each in self.agents.views if each.split(".")[0] == pod]:
            self.agents.end(server_name, by_fault=by_fault)

    def _write_kubeconfig(self):
        config = {
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "clusters": [{"name": "test", "cluster": {"server": self.server.url}}],
            "users": [{"name": "test", "user": {"token": "canary-token"}}],
        }
        self.kubeconfig.write_text(json.dumps(config))
