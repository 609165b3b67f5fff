"""What the SDK reads from and writes to a cluster, and the port-forward's bridge, without a cluster."""

import base64
import contextlib
import socket
import socketserver
import subprocess
import sys
import threading

import pytest
import yaml
from click.testing import CliRunner

from sandbox_client import Conflict, InvalidArgument, NotFound, SandboxUnavailable, SessionFailed
from sandbox_client.cli import main
from sandbox_client.cluster.port_forward import PortForward
from sandbox_client.cluster.sessions import ClusterOptions, SessionApi, SessionRequest, describe_failure
from tests.support.session_api import SESSIONS, session
from tests.support.socket_stream import dial

ACCESS = {"token": b"t", "ca.crt": b"ca", "endpoint": b"10.0.0.1:8443", "serverName": b"n", "podName": b"p"}


@pytest.fixture
async def cluster(options):
    return await SessionApi.open(options)


async def test_a_session_is_created_as_asked_in_the_kubeconfigs_namespace(api, cluster):
    request = SessionRequest("s", "science", {"A": "1"}, {"lifecycle": {"idleTimeout": "1h"}})
    created = await cluster.create(request)
    assert (
        created
        == api.sessions["s"]
        == {
            "apiVersion": "sandboxsessions.dev/v1alpha1",
            "kind": "SandboxSession",
            "metadata": {"name": "s"},
            "spec": {
                "templateRef": {"name": "science"},
                "env": [{"name": "A", "value": "1"}],
                "lifecycle": {"idleTimeout": "1h"},
            },
        }
    )


def test_the_command_line_creates_a_session_that_keeps_its_variables(api, options):
    words = ["create", "s", "--keep-variables", "--no-wait", "--kubeconfig", options.kubeconfig]
    done = CliRunner().invoke(main, words)
    assert (done.exit_code, done.stdout) == (0, "s\n"), done.output
    assert api.sessions["s"]["spec"] == {"templateRef": {"name": "default"}, "lifecycle": {"keepVariables": True}}


@pytest.mark.parametrize(("status", "class_"), [(409, Conflict), (422, InvalidArgument), (500, SandboxUnavailable)])
async def test_a_refusal_of_the_api_server_keeps_its_words(api, cluster, status, class_):
    api.refusal = (status, "spec.templateRef: no")
    with pytest.raises(class_, match=r"spec\.templateRef: no"):
        await cluster.create(SessionRequest("s"))


async def test_attack_43_nothing_is_sent_to_the_address_in_a_secret_that_is_not_the_sessions(api, cluster):
    """A tenant may delete an access Secret, and make another of its name."""
    api.sessions["s"] = session("Ready")
    api.secrets["s-access"] = {key: base64.b64encode(value).decode() for key, value in ACCESS.items()}
    api.owners = ["another"]
    with pytest.raises(SessionFailed, match="secret s-access is not the session's own"):
        await cluster.connect("s")


async def test_waiting_follows_the_watch_until_ready(api, cluster):
    api.sessions["s"] = session("Pending")
    api.watch_events = [{"type": "MODIFIED", "object": session(phase)} for phase in ("Starting", "Ready")]
    phases = []
    ready = await cluster.wait_ready("s", timeout=10, on_phase=phases.append)
    assert (ready["status"]["phase"], phases) == ("Ready", ["Pending", "Starting", "Ready"])


async def test_a_session_that_was_just_seen_is_not_asked_for_again(api, cluster, monkeypatch):
    monkeypatch.setattr(cluster, "get", None)
    api.sessions["s"] = session("Ready")
    api.watch_events = [{"type": "MODIFIED", "object": session("Ready")}]
    api.secrets["s-access"] = {key: base64.b64encode(value).decode() for key, value in ACCESS.items()}
    ready = await cluster.wait_ready("s", timeout=10, on_phase=print, since=session("Pending"))
    _, resources = await cluster.connect("s", ready)
    await resources.aclose()
    assert [path for path in api.reads if path.startswith(f"{SESSIONS}/")] == []


async def test_a_failed_session_tells_its_conditions(api, cluster):
    condition = {"type": "Scheduled", "status": "False", "reason": "ImagePullBackOff", "message": "no such image"}
    api.sessions["s"] = session("Failed", conditions=[condition])
    with pytest.raises(SessionFailed, match=r"it is Failed \(Scheduled: ImagePullBackOff no such image\)"):
        await cluster.wait_ready("s", timeout=10, on_phase=print)


async def test_a_session_that_stays_unready_is_reported_in_time(api, cluster):
    api.sessions["s"] = session("Starting")
    with pytest.raises(SessionFailed, match="it is Starting"):
        await cluster.wait_ready("s", timeout=0.5, on_phase=print)


async def test_a_session_that_sleeps_is_woken_whatever_phase_is_still_shown(api, cluster):
    api.sessions["s"] = session("Suspended")
    api.sessions["s"]["spec"]["suspended"] = True
    api.watch_events = [{"type": "MODIFIED", "object": session(phase)} for phase in ("Suspended", "Starting", "Ready")]
    phases = []
    assert await cluster.wake("s", timeout=10, on_phase=phases.append)
    assert api.sessions["s"]["spec"]["suspended"] is False
    assert "Starting" in phases
    assert phases[-1] == "Ready"


async def test_a_session_that_does_not_sleep_is_left_as_it_is(api, cluster):
    api.sessions["s"] = session("Starting")
    assert not await cluster.wake("s", timeout=10, on_phase=print)
    assert "suspended" not in api.sessions["s"]["spec"]


async def test_a_missing_session_is_not_found(cluster):
    with pytest.raises(NotFound, match="session s"):
        await cluster.connect("s")


async def test_a_404_of_something_in_between_is_no_word_on_the_session(api, cluster):
    api.refusal = (404, None)
    with pytest.raises(NotFound) as caught:
        await cluster.get("s")
    assert caught.value.reason == "NO_SUCH_PATH"
    api.refusal = None
    with pytest.raises(NotFound) as caught:
        await cluster.get("s")
    assert caught.value.reason == "NOT_FOUND"


async def test_an_answer_that_is_none_of_an_api_server_says_so(api, cluster):
    api.sessions["s"] = session("Ready")
    api.secrets["s-access"] = None
    with pytest.raises(
        SandboxUnavailable, match=r"secret s-access: the server at http://127\.0\.0\.1:\d+ is not a Kubernetes API"
    ):
        await cluster.connect("s")


async def test_no_name_reaches_another_object_than_its_own(api, cluster):
    api.sessions["s"] = session("Ready", accessSecretName="../../other/secrets/t")
    with pytest.raises(NotFound):
        await cluster.connect("s")
    assert api.reads[-1] == "/api/v1/namespaces/team/secrets/..%2F..%2Fother%2Fsecrets%2Ft"


async def test_a_session_without_a_complete_secret_is_not_ready(api, cluster):
    api.sessions["s"] = session("Ready", accessSecretName="s-access")
    api.secrets["s-access"] = {"token": base64.b64encode(b"t").decode()}
    with pytest.raises(SessionFailed, match=r"s-access has no ca\.crt, endpoint, serverName, podName"):
        await cluster.connect("s")


async def test_a_secret_that_is_missing_is_named(api, cluster):
    api.sessions["s"] = session("Ready")
    with pytest.raises(NotFound, match=r'secret s-access: "s-access" not found'):
        await cluster.connect("s")


async def test_the_kubeconfigs_token_goes_with_each_request(api, options, tmp_path):
    config = yaml.safe_load((tmp_path / "kubeconfig").read_text())
    config["users"][0]["user"] = {"token": "let-me-in"}
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    api.sessions["s"] = session("Ready")
    api.secrets["s-access"] = {key: base64.b64encode(value).decode() for key, value in ACCESS.items()}
    _, resources = await (await SessionApi.open(options)).connect("s")
    await resources.aclose()
    assert api.credentials == {"Bearer let-me-in"}


CONNECT = """
import asyncio, sys
from sandbox_client.cluster.sessions import SessionApi, ClusterOptions

async def connect():
    _, resources = await (await SessionApi.open(ClusterOptions(kubeconfig=sys.argv[1]))).connect("s")
    await resources.aclose()

asyncio.run(connect())
print("kubernetes.client.models.v1_pod" in sys.modules)
"""


def test_a_connection_imports_none_of_the_kinds_of_kubernetes_which_would_take_longer_than_a_start(api, options):
    api.sessions["s"] = session("Ready")
    api.secrets["s-access"] = {key: base64.b64encode(value).decode() for key, value in ACCESS.items()}
    command = [sys.executable, "-c", CONNECT, options.kubeconfig]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\n"


async def test_a_connection_from_outside_goes_through_a_local_port(api, cluster):
    api.sessions["s"] = session("Ready")
    api.secrets["s-access"] = {key: base64.b64encode(value).decode() for key, value in ACCESS.items()}
    endpoint, resources = await cluster.connect("s")
    async with resources:
        assert endpoint.address.startswith("127.0.0.1:")
        assert (endpoint.server_name, endpoint.ca_certificate, endpoint.token) == ("n", b"ca", "t")


async def test_no_kubeconfig_is_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(SandboxUnavailable, match="--kubeconfig"):
        await SessionApi.open(ClusterOptions(kubeconfig=str(tmp_path / "none")))


def test_a_session_the_operator_never_saw_says_so():
    assert describe_failure({"metadata": {}}) == "it is not seen by the operator yet"


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        with contextlib.suppress(ConnectionError):
            while data := self.request.recv(65536):
                self.request.sendall(data)


@pytest.fixture
def echo_address():
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_address
        server.shutdown()
        thread.join()


def exchange(client, sent):
    sender = threading.Thread(target=client.sendall, args=(sent,))
    sender.start()
    received = bytearray()
    while len(received) < len(sent):
        received += client.recv(65536)
    sender.join()
    return bytes(received)


def test_a_port_forward_carries_bytes_both_ways_on_many_connections(echo_address):
    with contextlib.ExitStack() as clients, PortForward(lambda: dial(echo_address)) as forward:
        host, port = forward.address.split(":")
        for number in range(4):
            client = clients.enter_context(socket.create_connection((host, int(port)), timeout=10))
            sent = bytes([number]) * 300_000
            assert exchange(client, sent) == sent


def test_a_closed_port_forward_ends_its_connections(echo_address):
    with PortForward(lambda: dial(echo_address)) as forward:
        host, port = forward.address.split(":")
        client = socket.create_connection((host, int(port)), timeout=10)
        assert exchange(client, b"x") == b"x"
    with client:
        assert client.recv(1) == b""


def test_a_port_forward_that_cannot_reach_the_pod_closes_the_connection():
    def refuse():
        raise OSError("no pod")

    with PortForward(refuse) as forward:
        host, port = forward.address.split(":")
        with socket.create_connection((host, int(port)), timeout=10) as client:
            assert client.recv(1) == b""
        assert forward.describe_failure() == "no pod"
