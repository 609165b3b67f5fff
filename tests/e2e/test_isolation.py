"""What a sandbox cannot reach, who cannot reach a sandbox, and what is not to be found in one."""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import pytest

from sandbox_client import Sandbox
from sandbox_proto.v1 import interpreter_pb2, interpreter_pb2_grpc
from tests.e2e.support.kubectl import Kubectl, poll, run
from tests.e2e.support.platform import NODE_IP, SECOND_IP, Platform
from tests.e2e.support.sessions import Sessions, build_template
from tests.e2e.test_install import bare_pod

# Set aside for documentation: nobody's address. It is put on this machine's loopback interface for the time of a test.
ALLOWED_IP, METADATA_IP = "203.0.113.10", "169.254.169.254"
CONNECT = """
import json, socket, sys
def attempt(address):
    try:
        socket.create_connection(tuple(address), 2).close()
    except OSError as error:
        return type(error).__name__
    return "connected"
print(json.dumps([attempt(address) for address in json.loads(sys.argv[1])]))
"""


@pytest.fixture
def listeners(own_node: Platform, kubectl: Kubectl, image: str) -> Iterator[dict[str, tuple[str, int]]]:
    """Places that listen, by name. Every one is an address of this machine."""
    kubectl.apply(serving_pod("listener", image))
    address = poll("the listener runs", lambda: running_ip(kubectl, "listener"))
    with (
        on_loopback(ALLOWED_IP),
        on_loopback(METADATA_IP),
        serving(ALLOWED_IP, 8000),
        serving(ALLOWED_IP, 8001),
        serving(METADATA_IP, 80),
        serving(SECOND_IP, 8000),
    ):
        yield {
            "allowed": (ALLOWED_IP, 8000),
            "allowed address, other port": (ALLOWED_IP, 8001),
            "pod": (address, 8000),
            "node": (SECOND_IP, 8000),
            "metadata": (METADATA_IP, 80),
            "API server": (NODE_IP, 6443),
            "API server's Service": ("10.97.0.1", 443),
            "kubelet": (NODE_IP, 10250),
            "etcd": (NODE_IP, 2379),
            "storage": (NODE_IP, 9000),
        }
    kubectl.delete("pod", "listener", "--grace-period=0", "--force")


def serving_pod(name: str, image: str, **labels: str) -> dict:
    """A pod that answers HTTP on port 8000."""
    pod = bare_pod(name, image)
    pod["metadata"]["labels"] = labels
    pod["spec"]["containers"][0]["command"] = ["python3", "-m", "http.server", "8000", "--directory", "/var/empty"]
    return pod


def running_ip(kubectl: Kubectl, name: str) -> str:
    """A running pod's address."""
    status = kubectl.get("pod", name).get("status", {})
    ready = any(item["type"] == "Ready" and item["status"] == "True" for item in status.get("conditions", []))
    return status.get("podIP", "") if ready else ""


@contextmanager
def on_loopback(address: str) -> Iterator[None]:
    """Make an address this machine's own."""
    run("ip", "addr", "replace", f"{address}/32", "dev", "lo")
    try:
        yield
    finally:
        run("ip", "addr", "del", f"{address}/32", "dev", "lo")


@contextmanager
def serving(address: str, port: int) -> Iterator[None]:
    """Answer HTTP there."""
    server = http.server.ThreadingHTTPServer((address, port), http.server.BaseHTTPRequestHandler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def reach(sandbox: Sandbox, listeners: dict[str, tuple[str, int]]) -> set[str]:
    """Which of the listeners user code reaches."""
    sandbox.files.write("connect.py", CONNECT)
    done = sandbox.run(f"python3 connect.py '{json.dumps(list(listeners.values()))}'")
    assert done.ok, done
    return connected(done.stdout, listeners)


def connected(output: str, listeners: dict[str, tuple[str, int]]) -> set[str]:
    """The names of those that were reached."""
    return {name for name, answer in zip(listeners, json.loads(output), strict=True) if answer == "connected"}


def test_with_egress_none_user_code_reaches_nothing_and_the_pod_only_storage(
    listeners: dict[str, tuple[str, int]], kubectl: Kubectl, sessions: Sessions
):
    name = sessions.ready()
    with sessions.connect(name) as sandbox:
        assert reach(sandbox, listeners) == set()
    # The agent's container shares the network but not the socket filter: what the NetworkPolicy says, seen alone.
    pod = sessions.pod(name)["metadata"]["name"]
    addresses = json.dumps(list(listeners.values()))
    output = kubectl.execute(pod, "agent", "/opt/venv/bin/python", "-c", CONNECT, addresses)
    assert connected(output, listeners) == {"storage"}


def test_an_allowlist_lets_through_just_that(
    listeners: dict[str, tuple[str, int]], kubectl: Kubectl, sessions: Sessions, image: str
):
    allow = [{"cidr": f"{ALLOWED_IP}/32", "ports": [{"port": 8000}]}]
    kubectl.apply(build_template("allowlist", image, egress={"mode": "Allowlist", "allow": allow}))
    name = sessions.ready(templateRef={"name": "allowlist"})
    with sessions.connect(name) as sandbox:
        assert reach(sandbox, listeners) == {"allowed", "storage"}


def test_only_clients_of_the_namespace_reach_a_session_and_only_its_client_port(
    own_node: Platform, kubectl: Kubectl, sessions: Sessions, image: str
):
    name = sessions.ready()
    address = sessions.pod(name)["status"]["podIP"]
    ports = {"grpc": (address, 8443), "control": (address, 8444), "health": (address, 8081)}
    elsewhere = kubectl.within("default")
    client = {"sandboxsessions.dev/client": "true"}
    pods = [(kubectl, "friend", client), (kubectl, "stranger", {}), (elsewhere, "outsider", client)]
    reached = {}
    for where, pod, labels in pods:
        where.apply(serving_pod(pod, image, **labels))
    for where, pod, _ in pods:
        poll(f"{pod} runs", lambda where=where, pod=pod: running_ip(where, pod))
        output = where.execute(pod, "main", "python3", "-c", CONNECT, json.dumps(list(ports.values())))
        reached[pod] = connected(output, ports)
        where.delete("pod", pod, "--grace-period=0", "--force")
    assert reached == {"friend": {"grpc"}, "stranger": set(), "outsider": set()}


def access(kubectl: Kubectl, sessions: Sessions, name: str) -> tuple[str, dict[str, bytes]]:
    """Where a session's agent listens, as seen from the node, and its access Secret."""
    return f"{sessions.pod(name)['status']['podIP']}:8443", kubectl.secret(f"{name}-access")


def call(channel: grpc.Channel, token: str | None) -> grpc.StatusCode:
    """How an Execute ends."""
    stub = interpreter_pb2_grpc.InterpreterServiceStub(channel)
    metadata = () if token is None else (("authorization", f"Bearer {token}"),)
    try:
        list(stub.Execute(interpreter_pb2.ExecuteRequest(code="1", language=1), metadata=metadata, timeout=10))
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def test_calls_without_the_sessions_own_token_or_tls_are_refused(
    own_node: Platform, kubectl: Kubectl, sessions: Sessions
):
    first, second = sessions.create(), sessions.create()
    for name in (first, second):
        sessions.wait_phase(name, "Ready")
    address, secret = access(kubectl, sessions, first)
    _, other = access(kubectl, sessions, second)
    options = (("grpc.ssl_target_name_override", secret["serverName"].decode()), ("grpc.enable_http_proxy", 0))
    credentials = grpc.ssl_channel_credentials(secret["ca.crt"])
    with grpc.secure_channel(address, credentials, options) as channel:
        answers = [call(channel, token) for token in (None, "wrong", other["token"].decode(), secret["token"].decode())]
    refused = grpc.StatusCode.UNAUTHENTICATED
    assert answers == [refused, refused, refused, grpc.StatusCode.OK]
    with grpc.insecure_channel(address, (("grpc.enable_http_proxy", 0),)) as channel:
        assert call(channel, secret["token"].decode()) == grpc.StatusCode.UNAVAILABLE


SCAN = """
import os, sys
needles = [bytes.fromhex(word) for word in sys.argv[1:]]
hits = []
def look(path):
    try:
        with open(path, "rb") as file:
            content = file.read(4 << 20)
    except OSError:
        return
    hits.extend(path for needle in needles if needle in content)
for process in filter(str.isdigit, os.listdir("/proc")):
    for name in ("environ", "status"):
        look(f"/proc/{process}/{name}")
for root in "/etc /run /var /tmp /home /workspace /opt /root /usr/local/bin /usr/local/lib/sandbox".split():
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path):
                look(path)
hits.extend(name for name, value in os.environ.items() for needle in needles if needle in value.encode())
print(sorted(set(hits)))
"""


def test_no_credential_is_to_be_found_inside_a_sandbox(platform: Platform, kubectl: Kubectl, sessions: Sessions):
    name = sessions.ready()
    secret, pod = kubectl.secret(f"{name}-access"), sessions.pod(name)["metadata"]["name"]
    key = kubectl.secret(f"{pod}-tls")["tls.key"].splitlines()[1]
    needles = [platform.storage.secret_key.encode(), secret["token"], key]
    with sessions.connect(name) as sandbox:
        sandbox.files.write("scan.py", SCAN)
        words = " ".join(needle.hex() for needle in needles)
        assert sandbox.run(f"python3 scan.py {words}").stdout == "[]\n"
        assert not sandbox.run("ls /var/run/secrets/kubernetes.io/serviceaccount").ok
        assert not sandbox.run("ls /etc/sandbox/tls").ok
        environment = sandbox.run("env").stdout
        processes = sandbox.run("ps -eo args").stdout
    assert "KUBERNETES_" not in environment
    assert "sandbox_agent serve" not in processes
    assert "sandbox-agent" not in processes
