"""How the tools come to a session of the cluster: as it is, resumed, or created. The cluster is a stand-in."""

import contextlib

import pytest

from sandbox_client import NotFound
from sandbox_client.cluster.sessions import Cluster
from sandbox_client.tools import SandboxTools, cluster_sessions
from sandbox_proto.v1 import interpreter_pb2


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
        return self.session["spec"].get("suspended", False)

    async def create(self, request):
        self.calls.append(f"create {request.name} {request.template}")
        self.spec = request.spec

    async def wait_ready(self, name, **_options):
        self.calls.append("ready")

    async def connect(self, name, _session=None):
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


KEPT = interpreter_pb2.KeptVariables(
    kept=[interpreter_pb2.Variable(context_id="python", name="frame")],
    lost=[interpreter_pb2.LostVariable(context_id="ctx-1", name="lock", reason="TypeError: no")],
)
SLEPT = "the session was suspended and has been resumed: its saved files were kept; "


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        (None, SLEPT + "variables, installed packages and processes were lost"),
        (
            KEPT,
            SLEPT + "installed packages and processes were lost; 1 variable was kept (frame); "
            "lost: lock of ctx-1 (TypeError: no)",
        ),
    ],
    ids=["not kept", "kept"],
)
async def test_the_first_result_of_a_session_that_slept_says_so(agent, monkeypatch, variables, told):
    agent.variables = variables
    cluster = StandIn(agent.endpoint, {"spec": {"suspended": True}})

    async def open_cluster(_options):
        return cluster

    monkeypatch.setattr(Cluster, "open", open_cluster)
    async with SandboxTools(cluster_sessions("mine")) as tools:
        assert (await tools.execute_code("x")).notice == told
        assert (await tools.execute_code("x")).notice == ""


@pytest.mark.parametrize("keep", [False, True])
async def test_a_session_that_is_created_keeps_its_variables_where_that_is_asked_for(agent, monkeypatch, keep):
    cluster = StandIn(agent.endpoint, None)

    async def open_cluster(_options):
        return cluster

    monkeypatch.setattr(Cluster, "open", open_cluster)
    async with SandboxTools(cluster_sessions("mine", keep_variables=keep)) as tools:
        assert not (await tools.execute_code("x")).is_error
    assert cluster.spec == ({"lifecycle": {"keepVariables": True}} if keep else {})
