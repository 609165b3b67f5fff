"""What a sandbox cannot reach, and who cannot reach a sandbox: network, tokens, certificates."""

from collections.abc import Iterator

import grpc
import pytest

from sandbox_client import Sandbox
from sandbox_proto.v1 import file_pb2, interpreter_pb2, process_pb2, session_pb2, workspace_pb2
from tests.e2e.support.forgery import client_certificate
from tests.e2e.support.kubectl import Kubectl, poll
from tests.e2e.support.platform import NODE_IP, SECOND_IP, Platform
from tests.e2e.support.reach import (
    CLIENT_LABEL,
    PROBE,
    Places,
    argument,
    connected,
    on_loopback,
    plain_pod,
    reached_from,
    serving,
)
from tests.e2e.support.sessions import Sessions, build_template
from tests.e2e.support.wire import open_channel

# Set aside for documentation: nobody's address. It and the metadata address are this machine's own while a test runs.
ALLOWED_IP, METADATA_IP = "203.0.113.10", "169.254.169.254"
JAVASCRIPT_PROBE = """
import net from "node:net"
const attempt = ([host, port]) => new Promise((resolve) => {{
  const socket = net.connect({{ host, port, timeout: 2000 }})
  socket.on("connect", () => {{ socket.destroy(); resolve("connected") }})
  socket.on("timeout", () => {{ socket.destroy(); resolve("TIMEOUT") }})
  socket.on("error", (error) => resolve(error.code))
}})
console.log(JSON.stringify(await Promise.all({places}.map(attempt))))
"""


@pytest.fixture
def listeners(own_node: Platform, kubectl: Kubectl, image: str) -> Iterator[Places]:
    """Places that listen, by name."""
    service = kubectl.within("default").get("service", "kubernetes")["spec"]["clusterIP"]
    with (
        on_loopback(ALLOWED_IP),
        on_loopback(METADATA_IP),
        serving(ALLOWED_IP, 8000),
        serving(ALLOWED_IP, 8001),
        serving(METADATA_IP, 80),
        serving(SECOND_IP, 8000),
        plain_pod(kubectl, "listener", image, CLIENT_LABEL) as address,
    ):
        yield {
            "allowed": (ALLOWED_IP, 8000),
            "allowed address, other port": (ALLOWED_IP, 8001),
            "pod": (address, 8000),
            "node": (SECOND_IP, 8000),
            "metadata": (METADATA_IP, 80),
            "API server": (NODE_IP, 6443),
            "API server's Service": (service, 443),
            "kubelet": (NODE_IP, 10250),
            "etcd": (NODE_IP, 2379),
            "storage": (NODE_IP, 9000),
        }


def test_r24_with_egress_none_user_code_reaches_nothing_and_the_policy_alone_leaves_only_storage(
    listeners: Places, kubectl: Kubectl, sessions: Sessions
):
    name, other = sessions.create(), sessions.create()
    sessions.wait_phase(name, "Ready")
    sessions.wait_phase(other, "Ready")
    listeners["other session"] = (sessions.pod(other)["status"]["podIP"], 8443)
    # Everything does listen, and the probe does see it: from a pod that no policy selects.
    assert reached_from(kubectl, "listener", "main", "python3", listeners) == set(listeners)
    with sessions.connect(name) as sandbox:
        assert_refused_by_the_kernel(sandbox, listeners)
    # A process beside the runtime is without its socket filter: what the NetworkPolicy says, seen alone.
    pod = sessions.pod(name)["metadata"]["name"]
    assert reached_from(kubectl, pod, "sandbox", "python3", listeners) == {"storage"}


def assert_refused_by_the_kernel(sandbox: Sandbox, places: Places) -> None:
    """User code of every kind gets no socket at all, which tells the filter from a policy's silence."""
    sandbox.files.write("probe.py", PROBE)
    command = sandbox.run(["python3", "probe.py", argument(places)])
    assert command.stdout.count("PermissionError") == len(places), command
    cell = sandbox.run_code(f"import sys\nsys.argv = ['', {argument(places)!r}]\n{PROBE}")
    assert cell.stdout.count("PermissionError") == len(places), cell
    script = sandbox.run_code(JAVASCRIPT_PROBE.format(places=argument(places)), language="javascript")
    assert script.stdout.count("EACCES") == len(places), script
    shell = sandbox.run("for host in 127.0.0.1 localhost; do exec 3<>/dev/tcp/$host/8443 && echo connected; done")
    assert "connected" not in shell.stdout


def test_r24_an_allowlist_lets_through_just_that(listeners: Places, kubectl: Kubectl, sessions: Sessions, image: str):
    allow = [{"cidr": f"{ALLOWED_IP}/32", "ports": [{"port": 8000}]}]
    kubectl.apply(build_template("e2e-allowlist", image, egress={"mode": "Allowlist", "allow": allow}))
    name = sessions.ready(templateRef={"name": "e2e-allowlist"})
    with sessions.connect(name) as sandbox:
        sandbox.files.write("probe.py", PROBE)
        done = sandbox.run(["python3", "probe.py", argument(listeners)])
        assert connected(done.stdout, listeners) == {"allowed", "storage"}


def test_an_allowlist_never_holds_the_metadata_address_nor_the_clusters(
    kubectl: Kubectl, sessions: Sessions, image: str
):
    for number, cidr in enumerate((f"{METADATA_IP}/32", f"{NODE_IP}/32")):
        template = f"e2e-forbidden-{number}"
        kubectl.apply(build_template(template, image, egress={"mode": "Allowlist", "allow": [{"cidr": cidr}]}))
        name = sessions.create(templateRef={"name": template})
        poll(
            "a condition names the address",
            lambda name=name, cidr=cidr: cidr in sessions.condition(name, "Ready").get("message", ""),
            timeout=30,
        )
        assert not sessions.pod(name)


def test_only_clients_of_the_namespace_reach_a_session_and_only_its_client_port(
    kubectl: Kubectl, sessions: Sessions, image: str
):
    name = sessions.ready()
    address = sessions.pod(name)["status"]["podIP"]
    ports = {"grpc": (address, 8443), "control": (address, 8444), "health": (address, 8081)}
    elsewhere = kubectl.within("default")
    with (
        plain_pod(kubectl, "friend", image, CLIENT_LABEL),
        plain_pod(kubectl, "stranger", image),
        plain_pod(elsewhere, "outsider", image, CLIENT_LABEL),
    ):
        assert reached_from(kubectl, "friend", "main", "python3", ports) == {"grpc"}
        assert reached_from(kubectl, "stranger", "main", "python3", ports) == set()
        assert reached_from(elsewhere, "outsider", "main", "python3", ports) == set()


CLIENT_METHODS = [
    f"/{service.full_name}/{method.name}"
    for module in (file_pb2, interpreter_pb2, process_pb2, workspace_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
CONTROL_METHODS = [
    f"/{service.full_name}/{method.name}"
    for service in session_pb2.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
LIST_CONTEXTS, DESCRIBE = "/sandbox.v1.InterpreterService/ListContexts", "/sandbox.v1.SessionService/Describe"


def call(channel: grpc.Channel, method: str, token: str | None = None) -> grpc.StatusCode:
    """How a call with an empty request ends, whatever kind of call it is."""
    metadata = () if token is None else (("authorization", f"Bearer {token}"),)
    try:
        list(channel.stream_stream(method)(iter([b""]), metadata=metadata, timeout=15))
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def test_calls_without_the_sessions_own_token_or_without_tls_are_refused(
    own_node: Platform, kubectl: Kubectl, sessions: Sessions
):
    first, second = sessions.create(), sessions.create()
    sessions.wait_phase(first, "Ready")
    sessions.wait_phase(second, "Ready")
    address = f"{sessions.pod(first)['status']['podIP']}:8443"
    secret, other = kubectl.secret(f"{first}-access"), kubectl.secret(f"{second}-access")
    token = secret["token"].decode()
    refused = grpc.StatusCode.UNAUTHENTICATED
    with open_channel(address, secret) as channel:
        assert call(channel, LIST_CONTEXTS, token) == grpc.StatusCode.OK
        for wrong in (None, "", "wrong", token[:-1], other["token"].decode()):
            methods = CLIENT_METHODS + CONTROL_METHODS if wrong is None else CLIENT_METHODS
            assert {method: call(channel, method, wrong) for method in methods} == dict.fromkeys(methods, refused)
        # The operator's calls are not on this port, not even for the session's own client.
        assert call(channel, DESCRIBE, token) == grpc.StatusCode.UNIMPLEMENTED
    with grpc.insecure_channel(address, (("grpc.enable_http_proxy", 0),)) as channel:
        assert call(channel, LIST_CONTEXTS, token) == grpc.StatusCode.UNAVAILABLE
    # The second session's certificate is of the same CA, and still not taken for the first's.
    with open_channel(address, {**secret, "serverName": other["serverName"]}) as channel:
        assert call(channel, LIST_CONTEXTS, token) == grpc.StatusCode.UNAVAILABLE


def test_the_control_port_takes_the_operators_certificate_only(
    own_node: Platform, system: Kubectl, kubectl: Kubectl, sessions: Sessions
):
    name = sessions.ready()
    pod = sessions.pod(name)
    address, secret = f"{pod['status']['podIP']}:8444", kubectl.secret(f"{name}-access")
    authority = system.secret("sandbox-operator-ca")
    ours = (authority["tls.crt"], authority["tls.key"])
    server = kubectl.secret(f"{pod['metadata']['name']}-tls")
    with open_channel(address, secret, client_certificate("sandbox-operator", ours)) as channel:
        assert call(channel, DESCRIBE) == grpc.StatusCode.OK
    strangers = {
        "none": None,
        "of another authority": client_certificate("sandbox-operator", None),
        "with another name": client_certificate("sandbox-operator.evil", ours),
        "the pod's own": (server["tls.key"], server["tls.crt"]),
    }
    refused = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAUTHENTICATED}
    for what, certificate in strangers.items():
        with open_channel(address, secret, certificate) as channel:
            for method in CONTROL_METHODS:
                assert call(channel, method, secret["token"].decode()) in refused, (what, method)
    with grpc.insecure_channel(address, (("grpc.enable_http_proxy", 0),)) as channel:
        assert call(channel, DESCRIBE, secret["token"].decode()) == grpc.StatusCode.UNAVAILABLE
