"""Row 39 of docs/faults.md, the operator's CA: real agents, the operator's client and clients, calls all the while."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from datetime import UTC, datetime, timedelta

import pytest

from sandbox_agent.app import running_agent
from sandbox_agent.server.settings import Settings
from sandbox_client import AsyncSandbox, Endpoint
from sandbox_operator.agent.client import AgentClient
from sandbox_operator.agent.model import AgentAddress
from sandbox_operator.kube.resources import SECRETS
from sandbox_operator.kube.write_hook import WriteHook
from sandbox_operator.pki.ca_secret import RENEW, CASecret
from sandbox_operator.pki.certificates import LIFETIME
from sandbox_proto.v1 import session_pb2
from sandbox_testing.api_server import FakeKube

TOKEN = "t" * 43
LONGEST_POD = timedelta(days=31)
"""A day in a pool and the longest session."""


class Cluster:
    """A CA in its Secret, the operator's client, and pods with what the operator gave them when they were made."""

    def __init__(self, scripted, folder, stack):
        self.now = datetime.now(UTC)
        self.kube = FakeKube()
        self.ca_secret = CASecret(self.kube, "system", "ca", lambda: True, lambda: self.now)
        self._scripted, self._folder, self._stack = scripted, folder, stack
        self._load = {}
        self.calls = {}

    async def start(self):
        self.authority = await self.ca_secret.load()
        self.operator = AgentClient(self.authority, WriteHook(), lambda: True)
        self._stack.push_async_callback(self.operator.close)

    async def start_pod(self, name):
        """A pod that is bound, and called from now on."""
        folder, server_name = self._folder / name, f"{name}.team.sandboxsessions.dev"
        (folder / "tls").mkdir(parents=True)
        pair, trusted = self.authority.sign_server(server_name, datetime.now(UTC)), self.authority.pem
        for file, content in (("tls.crt", pair.certificate), ("tls.key", pair.key), ("ca.crt", trusted)):
            (folder / "tls" / file).write_bytes(content)
        runtime = await self._stack.enter_async_context(self._scripted.ScriptedRuntime(folder / "runtime.sock"))
        runtime.handlers["context.list"] = self._scripted.answer({"contexts": []})
        ports = {"grpc_port": 0, "control_port": 0, "health_port": 0}
        settings = Settings(folder, folder / "tls", listen_address="127.0.0.1", **ports)
        agent = await self._stack.enter_async_context(running_agent(settings))
        address = AgentAddress(f"127.0.0.1:{agent.control_port}", server_name)
        token = hashlib.sha256(TOKEN.encode()).digest()
        await self.operator.bind(address, session_pb2.BindRequest(session_uid=name, token_sha256=token))
        endpoint = Endpoint(f"127.0.0.1:{agent.grpc_port}", server_name, trusted, TOKEN)
        self._load[name] = [
            asyncio.create_task(call) for call in (self._call_as_operator(name, address), self._use(name, endpoint))
        ]

    async def end_pod(self, name):
        """The pod is as old as pods get; nobody calls it any more."""
        tasks = self._load.pop(name)
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends

    async def pass_by(self, **parts):
        """Time passes, the operator looks at its CA, and each pod is called as before."""
        self.now += timedelta(**parts)
        await self.ca_secret.refresh(self.authority)
        wanted = {
            (name, who): self.calls.get((name, who), 0) + 3 for name in self._load for who in ("operator", "client")
        }
        async with asyncio.timeout(20):
            while any(self.calls.get(key, 0) < count for key, count in wanted.items()):
                for task in (task for tasks in self._load.values() for task in tasks):
                    if task.done():
                        task.result()
                await asyncio.sleep(0.005)

    def trusted(self):
        return self.authority.pem.count(b"BEGIN CERTIFICATE")

    async def _call_as_operator(self, name, address):
        while True:
            # Over a connection of its own each time, so that each shows its certificate.
            view = await self.operator.describe(address, timeout=5)
            assert view.session_uid == name
            self.calls[name, "operator"] = self.calls.get((name, "operator"), 0) + 1
            await self.operator.forget(address)

    async def _use(self, name, endpoint):
        async with AsyncSandbox(endpoint) as held:
            while True:
                async with AsyncSandbox(endpoint) as fresh:
                    assert [await held.contexts.list(), await fresh.contexts.list()] == [[], []]
                self.calls[name, "client"] = self.calls.get((name, "client"), 0) + 1


@pytest.fixture
async def cluster(scripted, tmp_path):
    async with contextlib.AsyncExitStack() as stack:
        cluster = Cluster(scripted, tmp_path, stack)
        await cluster.start()
        yield cluster
        for name in list(cluster._load):
            await cluster.end_pod(name)


async def test_fault_39_one_ca_follows_another_and_no_call_of_any_pod_fails(cluster):
    """One CA follows another, and no call to any pod fails."""
    first = cluster.authority.pem
    await cluster.start_pod("before")
    await cluster.pass_by(seconds=1)
    assert cluster.authority.pem == first, "nothing is renewed without need"

    cluster.kube.change(SECRETS, "system", "ca", {"metadata": {"annotations": {RENEW: "now"}}})
    await cluster.pass_by(seconds=1)
    assert cluster.authority.pem.startswith(first)
    assert cluster.trusted() == 2
    await cluster.start_pod("meanwhile")
    await cluster.pass_by(days=LONGEST_POD.days)
    await cluster.end_pod("before")
    await cluster.start_pod("late")
    await cluster.pass_by(seconds=(LIFETIME - LONGEST_POD).total_seconds())

    second = cluster.authority.pem.removesuffix(first)
    assert cluster.authority.pem == second + first, "the next one signs, the last one is trusted"
    await cluster.end_pod("meanwhile")
    await cluster.start_pod("after")
    await cluster.pass_by(days=LONGEST_POD.days)
    await cluster.end_pod("late")
    await cluster.pass_by(seconds=(LIFETIME - LONGEST_POD).total_seconds())
    assert cluster.authority.pem == second, "the last pod that knew the first one only is gone"
    await cluster.start_pod("last")
    await cluster.pass_by(days=300)
    assert cluster.authority.pem == second, "it was told once"


async def test_fault_39_a_ca_is_renewed_a_year_before_its_end_without_being_told(cluster):
    """A CA is rotated a year before its end without any action."""
    first = cluster.authority.pem
    await cluster.pass_by(days=3650 - 366)
    assert cluster.authority.pem == first
    await cluster.pass_by(days=2)
    assert cluster.trusted() == 2
    await cluster.pass_by(seconds=LIFETIME.total_seconds())
    await cluster.pass_by(seconds=LIFETIME.total_seconds())
    assert cluster.trusted() == 1
    assert cluster.authority.pem != first


async def test_fault_39_another_replica_and_the_next_process_hold_what_the_leader_wrote(cluster):
    """Other replicas and the next process use the CA that the leader wrote."""
    standby = CASecret(cluster.kube, "system", "ca", lambda: False, lambda: cluster.now)
    replica = await standby.load()
    cluster.kube.change(SECRETS, "system", "ca", {"metadata": {"annotations": {RENEW: "now"}}})
    await standby.refresh(replica)
    assert replica.pem == cluster.authority.pem, "only the leader writes"
    for _ in range(3):
        await cluster.pass_by(seconds=LIFETIME.total_seconds())
        await standby.refresh(replica)
        assert replica.pem == (await standby.load()).pem == cluster.authority.pem


async def test_a_ca_that_somebody_else_put_there_is_theirs_to_renew(cluster):
    cluster.kube.change(SECRETS, "system", "ca", {"metadata": {"labels": None, "annotations": {RENEW: "now"}}})
    before = cluster.kube.named(SECRETS)["ca"]
    await cluster.pass_by(days=3600)
    assert cluster.kube.named(SECRETS)["ca"] == before
