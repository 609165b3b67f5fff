"""The control API: requests and answers, and what a client makes of them."""

import datetime as dt
import json
import re
from pathlib import Path

import pytest

from sandbox_client import errors
from sandbox_client.errors import InvalidArgument, NotFound, SandboxError, SandboxUnavailable
from sandbox_client.gateway.api import GatewayApi, _read_error, _read_info
from sandbox_client.gateway.place import GatewayPlace, find_gateway
from sandbox_client.gateway.session import GatewayWaker, seconds_until
from sandbox_client.lifecycle.session_info import SessionInfo
from sandbox_client.transport.endpoint import Endpoint, PodLife
from sandbox_gateway.app import build_app
from sandbox_gateway.backend import Caller, GatewaySession, NewSession
from sandbox_gateway.backends.limits import OPTIONS, complete_new
from sandbox_gateway.doors.control.messages import _FIELDS, STATUS, read_new, read_seconds, write_error, write_session
from sandbox_gateway.gateway import Gateway
from tests.unit.gateway.test_gateway_app import ask

NOW = dt.datetime(2026, 11, 30, 12, 30, 15, 250000, tzinfo=dt.UTC)
INFO = SessionInfo(
    "s1",
    "team",
    phase="Ready",
    template="python",
    workspace="w",
    egress="none",
    labels={"a": "1"},
    is_suspended=False,
    created_at=NOW,
    started_at=NOW,
    expires_at=NOW,
)


def test_a_request_becomes_a_session():
    body = {"name": "s", "seconds": 60, "env": {"A": "1"}, "idle_timeout": "5m", "template": None}
    asked = {"name": "s", "seconds": 60, "env": {"A": "1"}, "options": {"idle_timeout": "5m"}}
    assert read_new(body) == NewSession(**asked, on_timeout="suspend")
    assert read_new({"on_timeout": "delete"}) == NewSession()
    assert read_new({"on_timeout": "delete", "ephemeral": True}) == NewSession(is_ephemeral=True)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], "body"),
        ({"nmae": "s"}, "nmae"),
        ({"spec": {}}, "spec"),
        ({"options": {}}, "options"),
        ({"name": 1}, "name"),
        ({"seconds": True}, "seconds"),
        ({"ephemeral": 1}, "ephemeral"),
        ({"seconds": "60"}, "seconds"),
        ({"env": []}, "env"),
    ],
)
def test_a_wrong_field_is_named(body, field):
    with pytest.raises(InvalidArgument) as caught:
        read_new(body)
    assert caught.value.field == field


def test_a_lifetime_is_no_way_around_the_limit():
    caller = Caller(name="me", max_seconds=60)
    with pytest.raises(InvalidArgument, match="at most 60 s"):
        complete_new(caller, read_new({"lifetime": "2h"}), {})
    with pytest.raises(InvalidArgument, match="is not an option"):
        complete_new(caller, NewSession(options={"spec": {}}), {})


@pytest.mark.parametrize("body", [{}, {"seconds": None}, {"seconds": "1"}, {"seconds": True}, 5])
def test_seconds_that_are_needed_are_a_number(body):
    with pytest.raises(InvalidArgument):
        read_seconds(body, is_needed=True)
    assert read_seconds({}, is_needed=False) is None
    assert read_seconds({"seconds": 5}, is_needed=True) == 5.0


def test_a_session_arrives_as_it_was():
    sent = json.loads(json.dumps(write_session(GatewaySession(INFO, {"k": "v"}, owner="ci", uid="u"))))
    assert _read_info(sent) == INFO
    assert (sent["metadata"], sent["uid"]) == ({"k": "v"}, "u")


@pytest.mark.parametrize("class_", [*STATUS, errors.SessionFailed, errors.DataCorrupted])
def test_an_error_arrives_as_it_was(class_):
    status, body = write_error(class_("text", reason="WHY", field="f"))
    found = _read_error(json.loads(json.dumps(body)))
    assert (type(found), str(found), found.reason, found.field) == (class_, "text", "WHY", "f")
    assert 400 <= status <= 599


def test_an_unknown_error_is_one_of_ours():
    for name in ("Nonsense", "from_rpc_error", "Any"):
        assert type(_read_error({"error": "x", "type": name})) is SandboxError


ENVIRONMENT = {"SANDBOX_GATEWAY": "https://env.example/", "SANDBOX_API_KEY": "envkey"}


@pytest.mark.parametrize(
    ("options", "environ", "found"),
    [
        ({}, {}, None),
        ({}, ENVIRONMENT, GatewayPlace("https://env.example", "envkey")),
        ({"namespace": "n"}, ENVIRONMENT, GatewayPlace("https://env.example", "envkey", "n")),
        ({"kubeconfig": "/x"}, ENVIRONMENT, None),
        ({"in_cluster": True}, ENVIRONMENT, None),
        ({"gateway": "http://a:1", "api_key": "k"}, ENVIRONMENT, GatewayPlace("http://a:1", "k")),
        ({"gateway": ""}, ENVIRONMENT, None),
        ({"gateway": "https://a/base/"}, ENVIRONMENT, GatewayPlace("https://a/base", "envkey")),
    ],
)
def test_options_win_over_the_environment(options, environ, found):
    assert find_gateway(options, environ) == found


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"gateway": "https://a"}, "api_key"),
        ({"api_key": "k"}, "api_key"),
        ({"gateway": "a.example", "api_key": "k"}, "gateway"),
        ({"gateway": "ftp://a", "api_key": "k"}, "gateway"),
        ({"gateway": "https://user:pw@a", "api_key": "k"}, "gateway"),
        ({"gateway": "https://a", "api_key": "k", "kubeconfig": "/x"}, "kubeconfig"),
    ],
)
def test_a_wrong_place_is_refused(options, field):
    with pytest.raises(InvalidArgument) as caught:
        find_gateway(options, {})
    assert caught.value.field == field


def test_an_end_is_a_number_of_seconds():
    assert seconds_until("5m") == 300
    later = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=90)
    assert 85 < seconds_until(later) <= 90
    for wrong in (later.replace(tzinfo=None), later - dt.timedelta(days=1), 0):
        with pytest.raises(InvalidArgument):
            seconds_until(wrong)


class Backend:
    """Records each call and raises NotFound."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, verb):
        async def call(caller, *arguments):
            self.calls.append((verb, caller.name, *arguments))
            raise NotFound("no such session", reason="NOT_FOUND")

        return call


class Access:
    async def by_key(self, key, *, peer):
        return Caller(name=f"key {key} of {peer}")

    async def by_bearer(self, token, *, peer, namespace=""):
        return Caller(name=f"bearer {token} in {namespace}")


@pytest.mark.parametrize(
    ("method", "path", "body", "call"),
    [
        ("POST", "", b"{}", ("create", NewSession(on_timeout="suspend"))),
        ("GET", "/s", b"", ("get", "s")),
        ("DELETE", "/s", b"", ("delete", "s")),
        ("POST", "/s/connect", b"", ("get", "s")),
        ("POST", "/s/suspend", b"", ("suspend", "s")),
        ("POST", "/s/resume", b'{"seconds": 5}', ("resume", "s", 5.0)),
        ("PUT", "/s/timeout", b'{"seconds": 5}', ("set_timeout", "s", 5.0)),
        ("GET", "/s/logs", b"", ("logs", "s", 200)),
    ],
)
async def test_each_route_calls_the_backend_and_reports_its_error(method, path, body, call):
    backend = Backend()
    app = build_app(Gateway(backend=backend, access=Access()), ["control"])
    headers = [(b"authorization", b"Bearer k"), (b"x-sandbox-namespace", b"n")]
    status, text = await ask(app, f"/api/v1/sessions{path}", method=method, headers=headers, body=[body])
    assert (status, json.loads(text)) == (404, {"error": "no such session", "type": "NotFound", "reason": "NOT_FOUND"})
    verb, *arguments = call
    assert backend.calls == [(verb, "bearer k in n", *arguments)]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "", b"{", 400),
        ("POST", "", b"[" * 100_000, 400),
        ("POST", "", b"\xff", 400),
        ("POST", "", b"[]", 400),
        ("POST", "", b" " * (1 << 20) + b"x", 413),
        ("PUT", "/s/timeout", b"", 400),
        ("GET", "/s/nothing", b"", 404),
        ("PATCH", "/s", b"", 405),
    ],
)
async def test_a_bad_request_reaches_no_session(method, path, body, status):
    backend = Backend()
    app = build_app(Gateway(backend=backend, access=Access()), ["control"])
    found, _ = await ask(app, f"/api/v1/sessions{path}", method=method, headers=[(b"x-api-key", b"k")], body=[body])
    assert (found, backend.calls) == (status, [])


@pytest.mark.parametrize("headers", [[], [(b"authorization", b"Basic eA==")], [(b"authorization", b"Bearer ")]])
async def test_without_a_key_nothing_happens(headers):
    backend = Backend()
    app = build_app(Gateway(backend=backend, access=Access()), ["control"])
    status, text = await ask(app, "/api/v1/sessions/s", headers=headers)
    assert (status, json.loads(text)["type"], backend.calls) == (401, "Unauthenticated", [])


def test_the_page_has_each_route_field_and_status():
    page = (Path(__file__).parents[3] / "docs/doors/control.md").read_text()
    routes = build_app(Gateway(backend=Backend(), access=Access()), ["control"]).routes[:-1]
    served = {f"{method} {route.path}" for route in routes for method in route.methods - {"HEAD"}}
    assert served == set(re.findall(r"^\| `((?:GET|POST|PUT|DELETE) [^`?]+)", page, re.MULTILINE))
    fields, answer = page.split("A session has the fields")
    assert all(f"`{name}`" in fields for name in (*_FIELDS, *OPTIONS))
    assert all(f"`{name}`" in answer for name in write_session(GatewaySession(INFO, {})))
    for class_, status in STATUS.items():
        assert re.search(rf"^\| [^|]*`{class_.__name__}`[^|]*\| {status}\b", page, re.MULTILINE), class_


class Api:
    def __init__(self, endpoint):
        self.endpoint = endpoint

    async def connect(self, name, *, wake, seconds):
        return self.endpoint, False


async def test_a_client_does_not_continue_in_a_later_session_of_the_name():
    def endpoint(uid):
        return Endpoint("127.0.0.1:1", "s", b"", f"token of {uid}", life=PodLife(uid, "pod", "now"))

    waker = GatewayWaker(Api(endpoint("later")), "demo", endpoint("first"), timeout=5)
    with pytest.raises(SandboxUnavailable, match="belongs to another session") as caught:
        await waker._check(waker.endpoint, None)
    assert caught.value.reason == "SESSION_OVER"
    # After a refusal, the agent's own error says more.
    await waker._check(waker.endpoint, SandboxUnavailable("draining", reason="DRAINING"))
    assert waker.endpoint.token == "token of first"


@pytest.mark.parametrize(("run", "uid"), [("u1/pod/now", "u1"), ("//", "of the session")])
async def test_an_endpoint_has_its_sessions_uid(monkeypatch, run, uid):
    place = {"address": "a:1", "server_name": "s", "ca_certificate": "", "token": "t", "run": run}

    async def call(*_arguments, **_options):
        return {"session": {"uid": "of the session"}, "endpoint": place}

    monkeypatch.setattr(GatewayApi, "_call", call)
    endpoint, _ = await GatewayApi(GatewayPlace("http://127.0.0.1:9", "k")).connect("s", wake=True, seconds=1)
    assert endpoint.life.session_uid == uid
    place["run"] = "no-run"
    with pytest.raises(SandboxUnavailable, match="does not answer as a gateway does"):
        await GatewayApi(GatewayPlace("http://127.0.0.1:9", "k")).connect("s", wake=True, seconds=1)


@pytest.mark.parametrize("seconds", [10**400, 1e15, 0, -1])
def test_seconds_are_bounded(seconds):
    with pytest.raises(InvalidArgument, match="10 years") as caught:
        read_seconds({"seconds": seconds}, is_needed=True)
    assert caught.value.field == "seconds"


def test_half_a_character_in_a_fields_name_can_be_answered():
    with pytest.raises(InvalidArgument) as caught:
        read_new(json.loads('{"a\\ud800": 1}'))
    json.dumps(caught.value.to_dict(), ensure_ascii=False).encode()


@pytest.mark.parametrize("name", ["", ".", ".."])
async def test_a_name_that_shortens_a_path_is_not_sent(name):
    api = GatewayApi(GatewayPlace("http://127.0.0.1:9", "k"))
    for call in (api.info, api.delete):
        with pytest.raises(NotFound):
            await call(name)
    api.close()
