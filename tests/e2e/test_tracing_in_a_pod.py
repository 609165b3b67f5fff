"""Spans of a session in a pod: one trace from the client's call to the store, sent through the NetworkPolicies."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.support.chart import install
from tests.e2e.support.kubectl import Kubectl, poll
from tests.e2e.support.platform import REPOSITORY, SECOND_IP, Platform
from tests.e2e.support.reach import Places, reached_from, serving
from tests.e2e.support.sessions import Sessions
from tests.support.span_collector import Collector, Spans, collecting, find, way_up

PORT = 4317
COLLECTOR: Places = {"collector": (SECOND_IP, PORT), "another port there": (SECOND_IP, PORT + 1)}
CLIENT = """
import sys
from sandbox_client import Sandbox
from sandbox_proto import tracing
name, namespace, kubeconfig = sys.argv[1:]
tracing.start("the-application")
with Sandbox.connect(name, namespace=namespace, kubeconfig=kubeconfig) as sandbox:
    with tracing.span("a day's work"):
        assert sandbox.run_code("open('private-name.txt', 'w').write('private text'); print('private output')").ok
        assert not sandbox.run_code("raise ValueError('private error')").ok
        assert sandbox.workspace.push().failed == ()
tracing.stop()
"""
BIND = "sandbox.v1.SessionService/Bind"
AGENT, CLIENT_SIDE = "sandbox-agent: sandbox.v1.", "the-application: sandbox.v1."


@pytest.fixture(scope="module")
def untraced(own_node: Platform, kubectl: Kubectl) -> set[str]:
    """What a session's pod reaches of the collector's address while there is no tracing."""
    sessions = Sessions(kubectl)
    try:
        pod = sessions.pod(sessions.ready("untraced"))["metadata"]["name"]
        with serving(SECOND_IP, PORT), serving(SECOND_IP, PORT + 1):
            return reached_from(kubectl, pod, "sandbox", "python3", COLLECTOR)
    finally:
        sessions.close()


@pytest.fixture(scope="module")
def collector(own_node: Platform, system: Kubectl) -> Iterator[Collector]:
    """A collector on the node, and the chart installed with it; without it again afterwards."""
    with collecting(f"{SECOND_IP}:{PORT}") as collector:
        try:
            switch_on(own_node)
            yield collector
        finally:
            install(own_node)


def switch_on(platform: Platform) -> None:
    values = ("tracing.enabled=true", f"tracing.cidrs={{{SECOND_IP}/32}}")
    install(platform, *values, tracing__endpoint=f"http://{SECOND_IP}:{PORT}")


@pytest.fixture(scope="module")
def traced(collector: Collector, kubectl: Kubectl) -> Iterator[str]:
    """A session whose client has done a day's work, all spans of which have come."""
    sessions = Sessions(kubectl)
    try:
        name = sessions.ready("traced")
        run_client(name, kubectl)
        # Sent every 5 s; the push's own span is the last to end.
        done = ("sandbox-agent", "sandbox.v1.WorkspaceService/Push")
        poll("the agent's spans have come", lambda: done in names(clients_trace(collector)), timeout=20)
        yield name
    finally:
        sessions.close()


def run_client(name: str, kubectl: Kubectl) -> None:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    roots = os.pathsep.join(str(REPOSITORY / root) for root in (".", "operator", "proto"))
    target = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{SECOND_IP}:{PORT}", "PYTHONPATH": roots}
    command = [sys.executable, "-c", CLIENT, name, kubectl.namespace, kubectl.kubeconfig]
    done = subprocess.run(
        command, env={**kept, **target}, capture_output=True, text=True, timeout=90, check=False, cwd=Path.cwd()
    )
    assert done.returncode == 0, done.stderr


def clients_trace(collector: Collector) -> Spans:
    """The spans of the trace that the client began."""
    (root,) = [span for _, span in collector.spans if span.name == "a day's work"]
    return [(service, span) for service, span in collector.spans if span.trace_id == root.trace_id]


def names(spans: Spans) -> set[tuple[str, str]]:
    return {(service, span.name) for service, span in spans}


def test_a_pod_reaches_the_collector_only_where_tracing_is_on_and_user_code_never_does(
    untraced: set[str], collector: Collector, traced: str, kubectl: Kubectl
):
    assert untraced == set()
    sessions = Sessions(kubectl)
    pod = sessions.pod(traced)["metadata"]["name"]
    with serving(SECOND_IP, PORT + 1):
        assert reached_from(kubectl, pod, "sandbox", "python3", COLLECTOR) == {"collector"}
    with sessions.connect(traced) as sandbox:
        connected = sandbox.run_code(f"import socket; socket.create_connection({(SECOND_IP, PORT)}, 2)")
    assert connected.error is not None
    assert connected.error.name == "PermissionError"


def test_one_trace_leads_from_the_clients_call_through_the_agent_to_the_store(collector: Collector, traced: str):
    spans = clients_trace(collector)
    assert way_up(spans, find(spans, "S3 put_object", "WorkspaceService/Push")) == [
        "sandbox-agent: S3 put_object",
        "sandbox-agent: sandbox.push",
        f"{AGENT}WorkspaceService/Push",
        f"{CLIENT_SIDE}WorkspaceService/Push",
        "the-application: a day's work",
    ]
    assert way_up(spans, find(spans, "run")) == [
        "sandbox-agent: run",
        "sandbox-agent: runtime execute",
        f"{AGENT}InterpreterService/ExecuteBriefly",
        f"{CLIENT_SIDE}InterpreterService/ExecuteBriefly",
        "the-application: sandbox.run",
        "the-application: a day's work",
    ]
    assert find(spans, "S3 list_objects_v2", "InterpreterService/ExecuteBriefly")
    # No span of it hangs in the air.
    assert {way_up(spans, span)[-1] for _, span in spans} == {"the-application: a day's work"}


def test_the_operators_bind_goes_on_in_the_agent(collector: Collector, traced: str):
    def bound() -> list[str]:
        found = [span for service, span in collector.spans if (service, span.name) == ("sandbox-agent", BIND)]
        try:
            return [way_up(collector.spans, span)[-1] for span in found]
        except KeyError:
            return []

    assert poll("the operator's spans have come", bound, timeout=20) == ["sandbox-operator: sandbox.reconcile"]


def test_no_span_has_code_output_a_files_name_a_token_or_a_storage_key(
    collector: Collector, traced: str, own_node: Platform, kubectl: Kubectl
):
    token = kubectl.secret(f"{traced}-access")["token"]
    assert b"S3 put_object" in collector.raw
    for private in (b"private", token, own_node.storage.secret_key.encode(), b"code-interpreter/"):
        assert private not in collector.raw
