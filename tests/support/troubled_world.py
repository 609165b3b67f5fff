"""An in-memory cluster with faults, and an operator that retries like its work queue."""

import asyncio
import contextlib
from dataclasses import replace

from sandbox_operator.agent.model import AgentView
from sandbox_operator.errors import OperatorError
from sandbox_operator.kube.resources import PODS, SECRETS, SESSIONS
from sandbox_operator.kube.write_hook import WriteHook
from sandbox_operator.watch.store import WATCHED
from sandbox_testing.faults import FaultyKube
from sandbox_testing.operator_agents import FakeAgents
from tests.support.invariants import check_invariants
from tests.unit.operator.conftest import NAMESPACE, Operator, World


class Killed(BaseException):
    """Raised where the operator's process is killed."""


class Death(WriteHook):
    """Kills the in-memory process at a write. After that, none of its tasks can write.

    Attributes:
        has_struck: True if the process reached that write.
        at: The call at which it was killed, as FakeKube and RememberingAgents record calls.
    """

    def __init__(self, kill_at=0, kill_after=0, calls=()):
        super().__init__(kill_at, kill_after, self._die)
        self.has_struck, self.at, self._calls = False, (), calls

    def before_write(self):
        if self.has_struck:
            raise Killed
        return super().before_write()

    def _die(self):
        if not self.has_struck and self._calls:
            self.at = self._calls[-1]
        self.has_struck = True
        raise Killed


class RememberingAgents(FakeAgents):
    """Agents that record what must never happen to them.

    Attributes:
        calls: Verb, "agents" and server name of each Bind, Renew and Drain, like FakeKube's record of writes.
        lost: Server names of agents whose pod was deleted while they held acknowledged files that were not pushed.
        bound_twice: Server names of agents that were asked to serve a second session.
    """

    def __init__(self, faults=None):
        super().__init__(faults)
        self.calls, self.lost, self.bound_twice = [], [], []

    async def renew(self, address, request):
        self.calls.append(("renew", "agents", address.server_name))
        return await super().renew(address, request)

    async def drain(self, address, session_uid, grace, timeout, *, require_all=False):  # noqa: ASYNC109 - as in Agents
        self.calls.append(("drain", "agents", address.server_name))
        return await super().drain(address, session_uid, grace, timeout, require_all=require_all)

    async def bind(self, address, request):
        self.calls.append(("bind", "agents", address.server_name))
        view = await self.describe(address)
        if view.session_uid not in {"", request.session_uid}:
            self.bound_twice.append(address.server_name)
        bound = await super().bind(address, request)
        if view.state == "BLANK":
            # A client writes a file as soon as it can, and the agent acknowledges it.
            self.views[address.server_name] = bound = replace(bound, dirty=True)
        return bound

    def end(self, server_name, *, by_fault=False):
        """Remove an agent whose pod is gone."""
        view = self.views.pop(server_name, AgentView())
        if view.dirty and not by_fault:
            self.lost.append(server_name)


class RetryingOperator(Operator):
    """One process of the operator, which retries failed keys like its work queue."""

    failures = 0
    limit = 300

    async def list_all(self):
        """List everything, and enqueue whatever no watch has reported, like the application's Relister."""
        for kind in WATCHED:
            items, version = await self.kube.list(kind, None)
            listing = self.store.begin_listing(kind)
            for raw in listing.add(items, version) + listing.finish():
                self.handlers.enqueue_for(kind, raw)
        await super().list_all()

    async def work(self, key):
        """Work on one key, and enqueue it again if that fails."""
        try:
            await super().work(key)
        except OperatorError:
            self.failures += 1
            assert self.failures < self.limit, "a key keeps failing"
            self._enqueue(key)


class TroubledWorld(World):
    """A World with a FaultyKube and RememberingAgents."""

    def __init__(self, **settings):
        super().__init__()
        self.settings = self.settings.model_copy(update=settings) if settings else self.settings
        self.kube = FaultyKube(self.faults, self.clock)
        self.agents = RememberingAgents(self.faults)
        # One list of all calls that change something. Its last call is where a process was killed.
        self.agents.calls = self.kube.calls
        self.operator_clock = self.clock
        self.restart()

    def restart(self, faults=None, settings=None):
        """Start a new process of the operator. It shares only the cluster with the previous one."""
        self.faults = faults or WriteHook()
        self.kube.write_hook = self.agents.write_hook = self.faults
        self.operator = RetryingOperator(self.kube, self.agents, self.operator_clock, settings or self.settings)
        return self.operator

    def play_kubelet(self):
        """Start waiting pods and end pods that are being deleted. Return True if there were any."""
        changed = False
        for name, pod in list(self.pods().items()):
            if pod["metadata"].get("deletionTimestamp"):
                self.kube.remove(PODS, NAMESPACE, name)
                changed = True
            elif not pod.get("status") and f"{name}-tls" in self.kube.named(SECRETS):
                self.kube.run_pod(NAMESPACE, name, ip=self.new_ip())
                changed = True
            self.note_ended()
        return changed

    def note_ended(self, *, by_fault=False):
        """End the agents whose pods are gone. Unpushed files of a deleted session do not count as lost."""
        for server_name in list(self.agents.views):
            if server_name.split(".")[0] not in self.pods():
                self.agents.end(server_name, by_fault=by_fault or not self.is_wanted(server_name))

    def is_wanted(self, server_name):
        """Return True if the agent's session still exists."""
        uid = self.agents.views[server_name].session_uid
        return uid in {raw["metadata"]["uid"] for raw in self.kube.named(SESSIONS).values()}

    def lose_pod(self, name=None):
        """Remove a pod at once, as a forced deletion does. Its unpushed files are lost, as documented."""
        self.kube.remove(PODS, NAMESPACE, name or self.pod())
        self.note_ended(by_fault=True)

    def change_session(self, name="one", **spec):
        """Change a session as its user would."""
        self.kube.change(SESSIONS, NAMESPACE, name, {"spec": spec})

    async def run_until_killed(self, *, at=0, after=0):
        """Run a new process that is killed before or after its n-th write. Return True if it reached that write."""

        operator = self.restart(Death(at, after, self.kube.calls))
        with contextlib.suppress(Killed):
            await operator.list_all()
            await operator.settle(self.play_kubelet)
            # A new process may defer its first reconcile of a session. Now that time has passed.
            await operator.list_all()
            await operator.settle(self.play_kubelet)
        # The process's calls in progress end with it.
        drains = [task for task in asyncio.all_tasks() if task.get_name().startswith("drain-")]
        for task in drains:
            task.cancel()
        await asyncio.gather(*drains, return_exceptions=True)
        return self.faults.has_struck

    async def converge(self):
        """Run a new process without faults until it has nothing left to do, and check the invariants."""
        await self.restart().list_all()
        await self.come_to_rest()

    async def come_to_rest(self):
        """Run the current process until it has nothing left to do, and check the invariants."""
        for _ in range(3):
            await self.operator.list_all()
            await self.settle()
            # After that, retries and grace periods are over.
            self.clock.advance(seconds=31)
        await self.operator.list_all()
        await self.settle()
        check_invariants(self.kube, self.agents)
