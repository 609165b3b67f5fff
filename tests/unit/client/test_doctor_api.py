"""The doctor's requests to an API server, over real HTTP."""

import http.server
import json
import threading

import pytest
import urllib3

from sandbox_client.cluster.api import ClusterOptions
from sandbox_client.doctor import api
from sandbox_client.errors import SandboxUnavailable


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self):
        length = int(self.headers.get("content-length", 0))
        seen = {
            "method": self.command,
            "path": self.path,
            "token": self.headers.get("authorization"),
            "body": json.loads(self.rfile.read(length) or "null"),
        }
        content = b"<html>" if "html" in self.path else json.dumps(seen).encode()
        self.send_response(403 if "forbidden" in self.path else 200)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_DELETE = answer  # noqa: N815 - http.server's names

    def log_message(self, *_arguments):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.fixture
def kube(server):
    pool = urllib3.PoolManager()
    yield api.KubeHttp(server, "team", pool, {"authorization": "Bearer t"}, is_direct=True)
    pool.clear()


async def test_requests_carry_token_body_and_quoted_segments(kube):
    answer = await kube.get("api", "v1", "a/b", labelSelector="x=y,z")
    assert answer.body["path"] == "/api/v1/a%2Fb?labelSelector=x%3Dy%2Cz"
    assert (answer.is_ok, answer.body["token"]) == (True, "Bearer t")
    assert (await kube.post({"kind": "Pod"}, "pods")).body["body"] == {"kind": "Pod"}
    assert (await kube.delete("pods", "p", gracePeriodSeconds="0")).body["method"] == "DELETE"


async def test_the_offset_of_clocks_is_small_on_one_machine(kube):
    offset = (await kube.get("version")).clock_offset
    assert abs(offset) < 2


async def test_what_is_no_object_and_what_is_refused_is_told(kube):
    assert ((await kube.get("html")).body, (await kube.get("html")).text) == ({}, "<html>")
    refused = await kube.get("forbidden")
    assert (refused.is_ok, refused.is_refused) == (False, True)
    assert refused.problem == "HTTP status 403"


async def test_a_server_that_is_away_is_one_error(kube):
    kube.server = "http://127.0.0.1:9"
    with pytest.raises(SandboxUnavailable, match=r"the API server http://127\.0\.0\.1:9 does not respond"):
        await kube.get("version")


@pytest.mark.parametrize(("host", "url"), [("10.0.0.1", "https://10.0.0.1:443"), ("fd00::1", "https://[fd00::1]:443")])
def test_in_a_pod_the_service_account_is_enough(monkeypatch, tmp_path, host, url):
    for name, content in (("token", "t\n"), ("namespace", "team\n")):
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(api, "_ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.setattr(api, "open_client", None)  # it would import the kubernetes package
    found = api.open_api(ClusterOptions())
    assert (found.server, found.namespace, found.is_direct) == (url, "team", True)
    assert api.open_api(ClusterOptions(namespace="other")).namespace == "other"
