"""Keys in Secrets, Kubernetes tokens, and `sandbox keys`, at an API server of a few dictionaries."""

import asyncio
import copy
import json
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
import urllib3
import yaml
from click.testing import CliRunner

from sandbox_client.cli import main
from sandbox_client.cluster.api import ClusterOptions, open_client
from sandbox_client.errors import SandboxUnavailable, Unauthenticated
from sandbox_gateway.access.cluster_keys import ClusterKeys
from sandbox_gateway.access.gatekeeper import Gatekeeper
from sandbox_gateway.access.keys import LAST_USED, ApiKey, hash_key, is_key, to_secret
from sandbox_gateway.access.kube import KubeAccess
from sandbox_gateway.access.reviews import NEEDED, KubernetesTokens

SYSTEM = "/api/v1/namespaces/sandbox-system/secrets"


class Server(ThreadingHTTPServer):
    """An API server with Secrets and reviews.

    Attributes:
        secrets: By name.
        users: By token.
        denied: Permissions that nobody has, as (verb, resource).
        refusal: The status of every answer.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.secrets, self.users, self.denied, self.refusal = {}, {}, set(), 0
        self.requests, self.reviews = [], []

    def kubeconfig(self, folder):
        cluster = {"server": f"http://127.0.0.1:{self.server_port}"}
        config = {
            "clusters": [{"name": "c", "cluster": cluster}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "team"}}],
            "users": [{"name": "u", "user": {"token": "own"}}],
            "current-context": "x",
        }
        path = folder / "kubeconfig"
        path.write_text(yaml.safe_dump(config))
        return str(path)


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def answer(self, value, status=200):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def fail(self, status, message="no"):
        self.answer({"kind": "Status", "message": message, "code": status}, status)

    def serve(self):
        server, url = self.server, urlsplit(self.path)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"] or 0)) or "null")
        server.requests.append((self.command, url.path))
        assert self.headers["Authorization"] == "Bearer own"
        if server.refusal:
            self.fail(server.refusal)
        elif url.path.endswith("/tokenreviews"):
            user = server.users.get(body["spec"]["token"])
            self.answer({"status": {"authenticated": True, "user": user} if user else {"error": "invalid"}}, 201)
        elif url.path.endswith("/subjectaccessreviews"):
            server.reviews.append(body["spec"])
            place = body["spec"]["resourceAttributes"]
            self.answer({"status": {"allowed": (place["verb"], place["resource"]) not in server.denied}}, 201)
        elif url.path == SYSTEM and self.command == "GET":
            assert parse_qs(url.query) == {"labelSelector": ["sandboxsessions.dev/api-key"]}
            self.answer({"items": [*server.secrets.values()]})
        elif url.path == SYSTEM and body["metadata"]["name"] in server.secrets:
            self.fail(409, "already exists")
        elif url.path == SYSTEM:
            server.secrets[body["metadata"]["name"]] = body
            self.answer(body, 201)
        elif not url.path.startswith(SYSTEM) or (name := url.path.rpartition("/")[2]) not in server.secrets:
            self.fail(404)
        elif self.command == "GET":
            self.answer(server.secrets[name])
        elif self.command == "DELETE":
            self.answer(server.secrets.pop(name))
        else:
            assert self.headers["Content-Type"] == "application/merge-patch+json"
            server.secrets[name]["metadata"].setdefault("annotations", {}).update(body["metadata"]["annotations"])
            self.answer(server.secrets[name])

    do_GET = do_POST = do_PATCH = do_DELETE = serve  # noqa: N815 - names of the base class


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def kube(server, tmp_path):
    client, _, _ = open_client(ClusterOptions(kubeconfig=server.kubeconfig(tmp_path)))
    return KubeAccess(client, "sandbox-system")


def put(server, name="ci", text="e2b_" + "0" * 40, **limits):
    secret = to_secret(ApiKey(name=name, sha256=hash_key(text), namespace="team", **limits))
    server.secrets[secret["metadata"]["name"]] = secret
    return text


async def test_keys_are_read_again_after_some_seconds(server, kube):
    now = 100.0
    keys = ClusterKeys(kube, lambda: now)
    gate = Gatekeeper(keys, b"s")
    text = put(server, max_sessions=2)
    callers = await asyncio.gather(*(gate.by_key(text, peer="p") for _ in range(10)))
    assert {(each.name, each.namespace, each.max_sessions) for each in callers} == {("ci", "team", 2)}
    assert server.requests.count(("GET", SYSTEM)) == 1
    server.secrets.clear()
    assert (await gate.by_key(text, peer="p")).name == "ci"
    now = 103.1
    with pytest.raises(Unauthenticated, match="revoked"):
        await gate.by_key(text, peer="p")


async def test_keys_outlive_a_short_absence_of_the_api_server(server, kube):
    now = 100.0
    gate = Gatekeeper(ClusterKeys(kube, lambda: now), b"s")
    text = put(server)
    await gate.by_key(text, peer="p")
    server.refusal = 500
    now = 150.0
    assert (await gate.by_key(text, peer="p")).name == "ci"
    now = 161.0
    with pytest.raises(SandboxUnavailable):
        await gate.by_key(text, peer="p")


async def test_a_missing_permission_of_the_gateway_is_not_the_callers(server, kube):
    server.refusal = 403
    with pytest.raises(SandboxUnavailable, match="missing permission"):
        await Gatekeeper(ClusterKeys(kube), b"s").by_key("e2b_" + "0" * 40, peer="p")


async def test_the_last_use_is_recorded_now_and_then(server, kube):
    now = 100.0
    keys = ClusterKeys(kube, lambda: now)
    text = put(server)
    for _ in range(3):
        await Gatekeeper(keys, b"s").by_key(text, peer="p")
        await asyncio.gather(*keys._notes)
    assert sum(method == "PATCH" for method, _ in server.requests) == 1
    assert server.secrets["sandbox-key-ci"]["metadata"]["annotations"][LAST_USED].endswith("Z")
    now = 701.0
    await Gatekeeper(keys, b"s").by_key(text, peer="p")
    await asyncio.gather(*keys._notes)
    assert sum(method == "PATCH" for method, _ in server.requests) == 2


async def test_a_secret_of_another_name_is_no_key(server, kube):
    text = put(server)
    copied = copy.deepcopy(server.secrets["sandbox-key-ci"])
    copied["metadata"]["name"] = "sandbox-key-copy"
    server.secrets = {"sandbox-key-copy": copied}
    with pytest.raises(Unauthenticated):
        await Gatekeeper(ClusterKeys(kube), b"s").by_key(text, peer="p")


BOT = {"username": "system:serviceaccount:team:bot", "uid": "1", "groups": ["a"], "extra": {"k": ["v"]}}


async def test_a_kubernetes_token_is_a_login_where_rbac_allows_it(server, kube):
    server.users["token"] = BOT
    tokens = KubernetesTokens(kube)
    caller = await tokens.review("token", "")
    assert (caller.name, caller.namespace) == ("user:system:serviceaccount:team:bot", "team")
    assert (await tokens.review("token", "other")).namespace == "other"
    asked = {(each["resourceAttributes"]["verb"], each["resourceAttributes"]["resource"]) for each in server.reviews}
    sessions = {(verb, "sandboxsessions") for verb in ("create", "get", "list", "patch", "delete")}
    # Without the last one, the gateway would give a user who may not read access Secrets more than RBAC does.
    assert asked == {*sessions, ("get", "secrets")}
    assert all(each["groups"] == ["a"] and each["extra"] == {"k": ["v"]} for each in server.reviews)


@pytest.mark.parametrize("denied", [(verb, resource) for verb, _, resource in NEEDED])
async def test_a_user_who_lacks_one_permission_is_refused(server, kube, denied):
    server.users["token"], server.denied = BOT, {denied}
    with pytest.raises(Unauthenticated, match=f"may not {denied[0]} {denied[1]} in the namespace team"):
        await KubernetesTokens(kube).review("token", "")


async def test_a_review_counts_for_some_seconds(server, kube):
    now = 100.0
    server.users["token"] = BOT
    tokens = KubernetesTokens(kube, lambda: now)
    await tokens.review("token", "")
    server.users.clear()
    assert await tokens.review("token", "")
    now = 105.1
    with pytest.raises(Unauthenticated, match="neither a valid API key"):
        await tokens.review("token", "")


@pytest.mark.parametrize("token", ["", "a\nb", "é", "x" * 20_000])
async def test_what_cannot_be_a_token_is_not_reviewed(server, kube, token):
    with pytest.raises(Unauthenticated):
        await KubernetesTokens(kube).review(token, "")
    assert server.requests == []


@pytest.mark.parametrize("namespace", ["", "A", "../x", "a" * 64])
async def test_a_person_names_a_namespace(server, kube, namespace):
    server.users["token"] = {"username": "ada"}
    with pytest.raises(Unauthenticated, match="X-Sandbox-Namespace"):
        await KubernetesTokens(kube).review("token", namespace)


def run(server, tmp_path, *words):
    return CliRunner().invoke(main, ["keys", *words, "--kubeconfig", server.kubeconfig(tmp_path)])


def test_keys_are_created_listed_and_revoked(server, tmp_path):
    made = run(server, tmp_path, "create", "ci", "--max-sessions", "2", "--max-lifetime", "8h", "--template", "python")
    assert made.exit_code == 0, made.output
    text = made.stdout.strip()
    assert is_key(text)
    assert text not in json.dumps(server.secrets)
    listed = run(server, tmp_path, "list", "-o", "json")
    [key] = json.loads(listed.stdout)
    assert (key["name"], key["namespace"], key["templates"], key["max_lifetime"]) == ("ci", "team", ["python"], 28800.0)
    table = run(server, tmp_path, "list")
    assert [*table.stdout.splitlines()[1].split()][:6] == ["ci", "team", "python", "2", "-", "28800s"]
    again = run(server, tmp_path, "create", "ci")
    assert (again.exit_code, "already exists" in again.stderr) == (125, True)
    assert run(server, tmp_path, "revoke", "ci").exit_code == 0
    assert server.secrets == {}
    gone = run(server, tmp_path, "revoke", "ci")
    assert (gone.exit_code, "sandbox keys list" in gone.stderr) == (125, True)


def test_a_signing_pair_is_printed_once(server, tmp_path):
    made = run(server, tmp_path, "create", "aws", "--signing", "-n", "other", "-o", "json")
    shown = json.loads(made.stdout)
    assert set(shown) == {"name", "namespace", "api_key", "access_key_id", "secret_access_key"}
    assert shown["namespace"] == "other"
    listed = run(server, tmp_path, "list")
    assert shown["access_key_id"] in listed.stdout
    assert shown["secret_access_key"] not in listed.stdout


@pytest.mark.parametrize("words", [("create", "A"), ("create", "a/b"), ("create", "x", "--max-lifetime", "soon")])
def test_bad_words_are_refused(server, tmp_path, words):
    refused = run(server, tmp_path, *words)
    assert refused.exit_code == 2, refused.output
    assert server.secrets == {}


async def test_all_replicas_sign_with_one_secret(server, kube):
    found = await asyncio.gather(*(kube.session_secret() for _ in range(4)))
    assert len({*found, await kube.session_secret()}) == 1
    assert len(found[0]) == 32
    assert [*server.secrets] == ["sandbox-gateway-sessions"]


def test_the_command_serves_a_cluster(server, tmp_path):
    made = run(server, tmp_path, "create", "ci")
    command = [sys.executable, "-m", "sandbox_client", "gateway", "--cluster", "--listen", "127.0.0.1:0"]
    place = ["--gateway-namespace", "sandbox-system", "--kubeconfig", server.kubeconfig(tmp_path)]
    process = subprocess.Popen([*command, *place], stderr=subprocess.PIPE, text=True)
    try:
        url = next(found[1] for line in process.stderr if (found := re.search(r"listening on (\S+)", line)))

        def ask(key):
            return urllib3.request("GET", f"{url}/api/v1/sessions/s", headers={"x-api-key": key}, retries=False)

        refused, missing = ask("e2b_" + "f" * 40), ask(made.stdout.strip())
    finally:
        process.kill()
        process.communicate()
    assert (refused.status, refused.json()["type"]) == (401, "Unauthenticated")
    # The key is right, and the session is looked for in the key's namespace.
    assert (missing.status, missing.json()["type"]) == (404, "NotFound")
    assert ("GET", "/apis/sandboxsessions.dev/v1alpha1/namespaces/team/sandboxsessions/s") in server.requests
    assert "sandbox-gateway-sessions" in server.secrets
