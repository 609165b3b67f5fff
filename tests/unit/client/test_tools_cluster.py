"""How the tools come to a session of the cluster: as it is, resumed, or created. The cluster is a stand-in."""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sandbox_client import NotFound
from sandbox_client.cluster.sessions import ClusterOptions, SessionApi
from sandbox_client.tools import SandboxTools, SessionFacts, cluster_sessions
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

    monkeypatch.setattr(SessionApi, "open", open_cluster)
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

    monkeypatch.setattr(SessionApi, "open", open_cluster)
    async with SandboxTools(cluster_sessions("mine")) as tools:
        assert (await tools.execute_code("x")).notice == told
        assert (await tools.execute_code("x")).notice == ""


@pytest.mark.parametrize("keep", [False, True])
async def test_a_session_that_is_created_keeps_its_variables_where_that_is_asked_for(agent, monkeypatch, keep):
    cluster = StandIn(agent.endpoint, None)

    async def open_cluster(_options):
        return cluster

    monkeypatch.setattr(SessionApi, "open", open_cluster)
    async with SandboxTools(cluster_sessions("mine", keep_variables=keep)) as tools:
        assert not (await tools.execute_code("x")).is_error
    assert cluster.spec == ({"lifecycle": {"keepVariables": True}} if keep else {})


OBJECTS = {
    "sandboxsessions/mine": {"spec": {"templateRef": {"name": "small"}, "egress": "None"}},
    "sandboxtemplates/small": {
        "spec": {"limits": {"executionTimeout": "60s"}, "resources": {"default": {"limits": {"memory": "1Gi"}}}}
    },
}


@contextlib.contextmanager
def api_server(objects, tmp_path):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            found = objects.get("/".join(self.path.split("?")[0].split("/")[-2:]))
            body = json.dumps(found or {"kind": "Status", "code": 404, "message": "not found"}).encode()
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_words):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        kubeconfig = tmp_path / "kubeconfig"
        url = f"http://127.0.0.1:{server.server_port}"
        cluster, context = {"server": url}, {"cluster": "c", "user": "u", "namespace": "team"}
        config = {
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "x", "context": context}],
            "current-context": "x",
        }
        kubeconfig.write_text(json.dumps(config))
        yield ClusterOptions(kubeconfig=str(kubeconfig))
        server.shutdown()


@pytest.mark.parametrize(
    ("objects", "facts"),
    [
        (OBJECTS, SessionFacts(is_isolated=True, network="none", time_limit=60, memory_limit=1 << 30)),
        # Without a session, the template of a new one counts.
        (
            {"sandboxtemplates/default": {"spec": {"egress": {"mode": "Public"}}}},
            SessionFacts(is_isolated=True, network="public", time_limit=300),
        ),
        # A client need not be allowed to read templates.
        ({}, SessionFacts(is_isolated=True)),
    ],
    ids=["there", "not there", "not allowed"],
)
async def test_the_facts_of_a_session_are_read_from_the_cluster(tmp_path, objects, facts):
    with api_server(objects, tmp_path) as options:
        tools = SandboxTools(cluster_sessions("mine", options))
        assert await tools.facts() == facts


async def test_the_facts_of_a_cluster_that_cannot_be_reached_are_unknown(tmp_path):
    tools = SandboxTools(cluster_sessions("mine", ClusterOptions(kubeconfig=str(tmp_path / "none"))))
    assert await tools.facts() == SessionFacts(is_isolated=True)
