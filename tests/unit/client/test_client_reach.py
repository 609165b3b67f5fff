"""A client in a pod learns that a NetworkPolicy keeps it from a session, and which label it lacks."""

import asyncio
import json

import pytest
from kubernetes.client import ApiException

from sandbox_client.cluster import api, reach
from sandbox_client.errors import SandboxUnavailable
from sandbox_client.transport.endpoint import Endpoint


@pytest.fixture(autouse=True)
def in_a_pod(monkeypatch):
    monkeypatch.setattr(reach, "is_in_pod", lambda: True)


@pytest.fixture
def dropped(monkeypatch):
    """Connections whose packets are dropped."""

    async def hang(*_arguments):
        await asyncio.sleep(60)

    monkeypatch.setattr(asyncio, "open_connection", hang)
    monkeypatch.setattr(reach, "_SECONDS", 0.05)
    monkeypatch.setenv("HOSTNAME", "agent-1")


def answering(monkeypatch, status, body=None):
    def read_core(_client, *segments, **_query):
        assert segments == ("namespaces", "team", "pods", "agent-1")
        if status != 200:
            error = ApiException(status, "Not Found" if status == 404 else "Forbidden")
            error.body = json.dumps({"kind": "Status", "message": "no"})
            raise error
        return json.dumps(body)

    monkeypatch.setattr(api, "read_core", read_core)


@pytest.mark.parametrize(
    ("status", "labels", "expected"),
    [
        (200, {"app": "agent"}, "This pod lacks a label. NetworkPolicies admit only pods in the namespace team"),
        (200, {reach.CLIENT_LABEL: "true"}, "so another NetworkPolicy keeps it from the session"),
        (404, None, "This pod is not there."),
        (403, None, "NetworkPolicies admit only pods in the namespace team with the label"),
    ],
)
async def test_a_dropped_connection_is_explained(monkeypatch, dropped, status, labels, expected):
    answering(monkeypatch, status, {"metadata": {"labels": labels}})
    with pytest.raises(SandboxUnavailable) as caught:
        await reach.check_reach(object(), "team", Endpoint("10.0.0.1:8443", "name", b"", ""))
    assert expected in str(caught.value)
    assert caught.value.reason == "UNREACHABLE"


async def test_outside_a_pod_nothing_is_tried(monkeypatch, dropped):
    monkeypatch.setattr(reach, "is_in_pod", lambda: False)
    await reach.check_reach(object(), "team", Endpoint("10.0.0.1:8443", "name", b"", ""))


async def test_a_port_that_answers_or_refuses_is_left_to_the_call():
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    await reach.check_reach(object(), "team", Endpoint(f"127.0.0.1:{port}", "name", b"", ""))
    server.close()
    await server.wait_closed()
    await reach.check_reach(object(), "team", Endpoint(f"127.0.0.1:{port}", "name", b"", ""))
