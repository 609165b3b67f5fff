"""How the tools come to a session of the cluster: as it is, resumed, or created. The cluster is a stand-in."""

import contextlib

import pytest

from sandbox_client import NotFound
from sandbox_client.kubernetes import Cluster
from sandbox_client.tools import SandboxTools, cluster_sessions


class StandIn:
    """A cluster with at most one session; waking and creating it makes it Ready."""

    def __init__(self, endpoint, session):
        self.endpoint = endpoint
        self.session = session
        self.calls = []

    async def wake(self, name, **_options):
        if self.session is None:
            raise NotFound(f"session {name} is not there")
        self.calls.append("woken where it slept")

    async def create(self, request):
        self.calls.append(f"create {request.name} {request.template}")

    async def wait_ready(self, name, **_options):
        self.calls.append("ready")

    async def connect(self, name):
        return self.endpoint, contextlib.AsyncExitStack()


@pytest.mark.parametrize(
    ("session", "calls"),
    [
        ({"spec": {}}, ["woken where it slept", "ready"]),
        (None, ["create mine default", "ready"]),
    ],
    ids=["there", "not there"],
)
async def test_a_session_is_used_woken_or_created(agent, monkeypatch, session, calls):
    cluster = StandIn(agent.endpoint, session)

    async def open_cluster(_options):
        return cluster

    monkeypatch.setattr(Cluster, "open", open_cluster)
    async with SandboxTools(cluster_sessions("mine")) as tools:
        assert (await tools.execute_code("x")).value == "(no output)"
    assert cluster.calls == calls
