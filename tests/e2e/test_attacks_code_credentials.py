"""Credentials: rows 17, 18 and 21 to 23. Every row makes sense on every isolation.

Under gVisor the node cannot read the agent's memory. So the agent's own storage token is not among the words there.
"""

import dataclasses
import json
import secrets
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from sandbox_client import SandboxError
from tests.e2e.support import scan
from tests.e2e.support.calls import CLIENT_METHODS, CONTROL_METHODS, DESCRIBE, LIST_CONTEXTS, call
from tests.e2e.support.chart import RELEASE
from tests.e2e.support.isolations import Hostile, open_hostile
from tests.e2e.support.kubectl import Kubectl
from tests.e2e.support.platform import Platform
from tests.e2e.support.sessions import Sessions
from tests.e2e.support.stolen import search_agent
from tests.e2e.support.wire import open_channel


@dataclasses.dataclass(frozen=True)
class Words:
    """Credentials that user code must not find, and planted words, which prove that the search works."""

    canaries: dict[str, bytes]
    planted: str


@pytest.fixture(scope="module")
def words(hostile: Hostile, platform: Platform, kubectl: Kubectl) -> Words:
    """The credentials that are in use for the hostile session."""
    access = kubectl.secret(f"{hostile.name}-access")
    key = kubectl.secret(f"{hostile.pod}-tls")["tls.key"].splitlines()
    canaries = {
        "storage key": platform.storage.secret_key.encode(),
        "access token": access["token"],
        "TLS key": max(key[1:-1], key=len),
        "service account": b"system:serviceaccount",
    }
    if platform.is_own and hostile.isolation != "gvisor":
        # What its agent signs with, which the operator's own keys are not.
        (canaries["session token"], *_) = search_agent(hostile.pod, {}).tokens
    return Words(canaries, f"planted-{secrets.token_hex(16)}")


LIST_PROCESSES = """
import json, os, pathlib
found = []
for folder in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        command = (folder / "cmdline").read_bytes().replace(b"\\0", b" ").decode("utf-8", "replace")
        user = int((folder / "status").read_text().split("Uid:")[1].split()[0])
        found.append({"uid": user, "command": command})
    except OSError:
        pass
print(json.dumps([os.getuid(), found]))
"""


def test_attack_17_no_credential_is_to_be_found_inside_a_sandbox(attacker: Hostile, words: Words):
    in_file, in_memory, in_environment = (f"{words.planted}-{part}" for part in ("file", "memory", "environment"))
    planted = {"in a file": in_file, "in memory": in_memory, "in an environment": in_environment}
    wanted = {**words.canaries, **{name: word.encode() for name, word in planted.items()}}
    sandbox = attacker.sandbox
    assert sandbox.workspace.push().failed == ()
    sandbox.files.write("planted.txt", in_file)
    assert sandbox.run_code(f"kept = {in_memory!r}").ok
    sleeper = sandbox.processes.start("sleep 300", env={"PLANTED": in_environment})
    sandbox.files.write("scan.py", Path(scan.__file__).read_bytes())
    done = sandbox.run(["python3", "scan.py", *(f"{name}={word.hex()}" for name, word in wanted.items())], timeout=240)
    assert done.ok, done
    found = json.loads(done.stdout)
    own, processes = json.loads(sandbox.run_code(LIST_PROCESSES).stdout)
    sleeper.kill()
    assert {name: found["hits"][name] for name in words.canaries} == {name: [] for name in words.canaries}
    assert "/workspace/planted.txt" in found["hits"]["in a file"]
    # Under gVisor the memory of a process cannot be read, not even by its own user.
    is_readable = attacker.isolation != "gvisor"
    assert any(place.endswith("/mem") for place in found["hits"]["in memory"]) == is_readable, found
    assert any(place.endswith("/environ") for place in found["hits"]["in an environment"]), found
    assert found["read"]["files"] > 1000, found["read"]
    assert (found["read"]["memories"] >= 3) == is_readable, found["read"]
    # Of the agent's processes there is nothing to be seen, and of nobody else's.
    assert {process["uid"] for process in processes} == {own}
    assert not [process for process in processes if "serve" in process["command"].split()]


def test_attack_18_no_service_account_token_and_no_address_of_the_api_server(attacker: Hostile):
    absent = ["/etc/sandbox/tls", "/var/run/secrets/kubernetes.io", "/run/secrets/kubernetes.io", "/var/run/secrets"]
    assert attacker.sandbox.run(["ls", *absent]).stdout == ""
    environment = attacker.sandbox.run("env").stdout.splitlines()
    assert not [line for line in environment if line.startswith(("KUBERNETES_", "AWS_"))]
    # The kubelet tells the agent where the API server is. It has no account there, and no credentials of any kind.
    assert not [name for name in attacker.in_agent("import os; print(*os.environ)").split() if name.startswith("AWS_")]
    token = "import pathlib; print(*pathlib.Path('/').glob('*/secrets/kubernetes.io'))"
    assert attacker.in_agent(f"{token}; print(*pathlib.Path('/var/run').glob('secrets/*'))") == ""


@pytest.fixture(scope="module")
def neighbour(platform: Platform, kubectl: Kubectl) -> Iterator[Hostile]:
    """Another session."""
    with open_hostile(platform, kubectl, "runc", "None") as neighbour:
        yield neighbour


def test_attack_21_calls_without_the_sessions_own_token_are_refused(
    own_node: Platform, attacker: Hostile, neighbour: Hostile, kubectl: Kubectl
):
    address = f"{attacker.sessions.pod(attacker.name)['status']['podIP']}:8443"
    secret, other = kubectl.secret(f"{attacker.name}-access"), kubectl.secret(f"{neighbour.name}-access")
    token = secret["token"].decode()
    refused = grpc.StatusCode.UNAUTHENTICATED
    with open_channel(address, secret) as channel:
        assert call(channel, LIST_CONTEXTS, token) == grpc.StatusCode.OK
        for wrong in (None, "", "wrong", token[:-1], f"{token}x", token.swapcase(), other["token"].decode()):
            methods = CLIENT_METHODS + CONTROL_METHODS if wrong is None else CLIENT_METHODS
            assert {method: call(channel, method, wrong) for method in methods} == dict.fromkeys(methods, refused)
        # The operator's calls are not on this port, not even for the session's own client.
        assert call(channel, DESCRIBE, token) == grpc.StatusCode.UNIMPLEMENTED


def test_attack_21_the_token_of_an_ended_session_opens_no_later_one_of_its_name(
    own_node: Platform, sessions: Sessions, kubectl: Kubectl
):
    name = sessions.ready()
    former = kubectl.secret(f"{name}-access")
    sessions.delete(name)
    sessions.ready(name)
    secret = kubectl.secret(f"{name}-access")
    with open_channel(f"{sessions.pod(name)['status']['podIP']}:8443", secret) as channel:
        assert call(channel, LIST_CONTEXTS, secret["token"].decode()) == grpc.StatusCode.OK
        assert call(channel, LIST_CONTEXTS, former["token"].decode()) == grpc.StatusCode.UNAUTHENTICATED


def test_attack_22_plaintext_another_certificate_and_old_tls_are_refused(
    own_node: Platform, attacker: Hostile, neighbour: Hostile, kubectl: Kubectl
):
    ip = attacker.sessions.pod(attacker.name)["status"]["podIP"]
    secret, other = kubectl.secret(f"{attacker.name}-access"), kubectl.secret(f"{neighbour.name}-access")
    token = secret["token"].decode()
    for port in (8443, 8444):
        with grpc.insecure_channel(f"{ip}:{port}", (("grpc.enable_http_proxy", 0),)) as channel:
            assert call(channel, LIST_CONTEXTS, token) == grpc.StatusCode.UNAVAILABLE
        versions = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
        assert [shake_hands(ip, port, version) for version in versions] == ["refused", "TLSv1.3"]
    # The other session's certificate is of the same CA, and still not taken for this one's.
    with open_channel(f"{ip}:8443", {**secret, "serverName": other["serverName"]}) as channel:
        assert call(channel, LIST_CONTEXTS, token) == grpc.StatusCode.UNAVAILABLE


def shake_hands(address: str, port: int, newest: ssl.TLSVersion) -> str:
    """The version of TLS that a server takes from a client that has none newer."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = newest
    context.set_alpn_protocols(["h2"])
    with socket.create_connection((address, port), timeout=10) as plain:
        try:
            with context.wrap_socket(plain) as encrypted:
                return str(encrypted.version())
        except (ssl.SSLError, ConnectionResetError):
            return "refused"


METRICS = "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:{}/metrics').read().decode())"


def test_attack_23_no_secret_in_status_events_metrics_logs_and_errors(
    attacker: Hostile, words: Words, system: Kubectl, kubectl: Kubectl
):
    sandbox, texts = attacker.sandbox, {}
    sandbox.workspace.push()
    # Errors of many kinds, the last one of an agent whose store refuses.
    for attack in (
        lambda: sandbox.files.read("../../etc/sandbox/tls/tls.key"),
        lambda: sandbox.files.read("/etc/sandbox/tls/tls.key"),
        lambda: sandbox.run(["no such program"]),
        lambda: sandbox.workspace.read("../../../other"),
        lambda: sandbox.contexts.restart("no such context"),
    ):
        try:
            texts["result"] = texts.get("result", "") + repr(attack())
        except SandboxError as error:
            texts["error"] = texts.get("error", "") + f"{error!r} {error.message} {error.__cause__!r}"
    texts["traceback"] = repr(sandbox.run_code("import os; 1 / 0"))
    # With credentials of their own (`sts`), what the operator signs with is in its Secret only.
    texts["session"] = kubectl("get", "sandboxsession", attacker.name, "-o", "yaml", "--show-managed-fields")
    texts["pod"] = kubectl("get", "pod", attacker.pod, "-o", "yaml", "--show-managed-fields")
    texts["events"] = kubectl("get", "events", "-o", "yaml") + system("get", "events", "-o", "yaml")
    texts["agent's logs"] = kubectl("logs", attacker.pod, "-c", "agent")
    texts["sandbox's logs"] = kubectl("logs", attacker.pod, "-c", "sandbox")
    texts["operator's logs"] = system("logs", f"--selector=app.kubernetes.io/name={RELEASE}", "--tail=-1")
    texts["agent's metrics"] = attacker.in_agent(METRICS.format(8081))
    for pod in system.list("pods"):
        name, container = pod["metadata"]["name"], pod["spec"]["containers"][0]
        port = next(each["containerPort"] for each in container["ports"] if each["name"] == "metrics")
        texts[f"metrics of {name}"] = system.execute(name, container["name"], "python3", "-c", METRICS.format(port))
    assert all(len(text) > 50 for name, text in texts.items() if name not in {"agent's logs", "sandbox's logs"}), texts
    canaries = {name: word.decode() for name, word in words.canaries.items() if name != "service account"}
    # The agent was told the token's hash; a Secret that an error quotes would be a whole PEM.
    canaries["private key"] = "PRIVATE KEY"
    found = {(place, name) for place, text in texts.items() for name, word in canaries.items() if word in text}
    assert found == set()
