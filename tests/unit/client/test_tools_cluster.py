"""How the tools come to a session of the cluster: as it is, resumed, or created. The cluster is a stand-in."""

import contextlib

import pytest

from sandbox_client import NotFound
from sandbox_client.kubernetes import Cluster
from sandbox_client.tools import SandboxTools, cluster_sessions


class StandIn:
    """A cluster with at most one session; resuming and creating it makes it Ready."""

    def __init__(self, endpoint, session):
        self.endpoint = endpoint
        self.session = session
        self.calls = []

    async def get(self, name):
        if self.session is None:
            raise NotFound(f"session {name} is not there")
        return self.session

    async def create(self, request):
        self.calls.append(f"create {request.name} {request.template}")

    async def suspend(self, name, *, is_suspended):
        self.calls.append(f"suspended={is_suspended}")

    async def wait_for(self, name, is_over, **_options):
        assert not is_over({"status": {"phase": "Suspended"}})
        assert is_over({"status": {"phase": "Starting"}})
        self.calls.append("left suspension")

    async def wait_ready(self, name, **_options):
        self.calls.append("ready")

    async def connect(self, name):
        return self.endpoint, contextlib.AsyncExitStack()


@pytest.mark.parametrize(
    ("session", "calls"),
    [
        ({"spec": {}, "status": {"phase": "Ready"}}, ["ready"]),
        ({"spec": {"suspended": True}}, ["suspended=False", "left suspension", "ready"]),
        (None, ["create mine default", "ready"]),
    ],
    ids=["there", "suspended", "not there"],
)
async def test_a_session_is_used_resumed_or_created(agent, monkeypatch, session, calls):
    cluster = StandIn(agent.endpoint, session)

    async def open_cluster(_options):
        return cluster

    monkeypatch.setattr(Cluster, "open", open_cluster)
    async with SandboxTools(cluster_sessions("mine")) as tools:
        assert (await tools.execute_code("x")).value == "(no output)"
    assert cluster.calls == calls
