"""How requests reach the session of their token: pauses, tokens, and lookups of those without a right."""

import asyncio
from dataclasses import replace

import pytest
from starlette.applications import Starlette

from sandbox_client.errors import (
    FailedPrecondition,
    InvalidArgument,
    PermissionDenied,
    ResourceExhausted,
    SandboxUnavailable,
    SessionFailed,
)
from sandbox_client.lifecycle.session_info import SessionInfo
from sandbox_gateway.backend import Caller, GatewaySession
from sandbox_gateway.doors.e2b import build_routes, identity
from sandbox_gateway.doors.e2b.lookups import MAX_FAILURES
from sandbox_gateway.gateway import Gateway
from tests.unit.gateway.e2b.test_e2b_isolation import ACCESS, Access, Reached, send

SESSION = GatewaySession(SessionInfo("box", namespace="team", phase="Ready"), {}, owner="key", uid="u1")
ID = identity.sandbox_id(SESSION.info)
TOKEN = ACCESS.session_token(SESSION, identity.ENVD)
LIST = ("POST", "/process.Process/List", "")


class Backend:
    """One session, which notes what is done to it."""

    def __init__(self, session=SESSION):
        self.session, self.lookups, self.resumed, self.error = session, 0, [], None
        self.refusal = None

    async def get(self, caller, name):
        self.lookups += 1
        if self.error is not None:
            raise self.error
        return self.session

    async def resume(self, caller, name, seconds=None):
        self.resumed.append(seconds)
        await asyncio.sleep(0)
        self.session = replace(self.session, info=replace(self.session.info, is_suspended=False))
        return self.session

    async def connect(self, caller, name, *, wake=True):
        raise self.refusal or Reached(wake)


class Owners(Access):
    """Access of a key with a limit, which can be revoked."""

    caller = Caller(name="key", namespace="team")

    async def by_owner(self, session):
        return self.caller

    async def by_key(self, key, *, peer):
        return self.caller


def app_of(backend, access=None):
    return Starlette(routes=build_routes(Gateway(backend=backend, access=access or Owners())))


async def ask(app, where=LIST, *, token=TOKEN, identifier=ID, port="49983", header="x-access-token", peer="1.2.3.4"):
    headers = [("e2b-sandbox-id", identifier), ("e2b-sandbox-port", port), (header, token)]
    return await send(*where, headers, app=app, peer=peer)


def paused(**metadata):
    words = {f"e2b.dev/{key.replace('_', '-')}": value for key, value in metadata.items()}
    return replace(SESSION, info=replace(SESSION.info, is_suspended=True), metadata=words)


async def test_a_connection_never_resumes_its_sandbox():
    assert await ask(app_of(Backend())) == (None, False)
    backend = Backend(paused())
    assert await ask(app_of(backend)) == (502, None)
    assert backend.resumed == []


@pytest.mark.parametrize(
    ("port", "method", "path", "reaches"),
    [
        ("49999", "POST", "/execute", False),
        ("49999", "POST", "//execute", False),
        ("49999", "GET", "/health", False),
        # The SDKs send no other token in these.
        ("49999", "POST", "/contexts", True),
        ("49999", "POST", "/contexts/a/restart", True),
        ("49983", "POST", "/process.Process/Start", False),
        ("49983", "POST", "/contexts", False),
    ],
)
async def test_a_token_for_traffic_runs_no_code(port, method, path, reaches):
    token = ACCESS.session_token(SESSION, identity.TRAFFIC)
    status, reached = await ask(
        app_of(Backend()), (method, path, ""), token=token, port=port, header="e2b-traffic-access-token"
    )
    assert (reached is not None) == reaches
    assert reaches or status == 401


async def test_a_sandbox_whose_pod_is_replaced_is_not_missing():
    backend = Backend()
    backend.refusal = SessionFailed("starting", reason="NOT_READY")
    assert (await ask(app_of(backend)))[0] == 503
    # It is not there for a health check, as with E2B: its port is closed.
    assert (await ask(app_of(backend), ("GET", "/health", "")))[0] == 502
    backend.refusal = FailedPrecondition("paused")
    assert (await ask(app_of(backend)))[0] == 502


async def test_wrong_tokens_cost_a_bounded_number_of_lookups():
    backend = Backend()
    app = app_of(backend)
    assert await ask(app) == (None, False)
    answers = [await ask(app, token=f"{index}") for index in range(MAX_FAILURES + 50)]
    assert answers == [(502, None)] * MAX_FAILURES + [(429, None)] * 50
    assert backend.lookups == MAX_FAILURES + 1
    # Whoever was right before is not refused, and another address is not either.
    assert await ask(app) == (None, False)
    assert (await ask(app, token="wrong", peer="5.6.7.8"))[0] == 502
    signed = [await ask(app, ("GET", "/files", f"signature={index}"), token="") for index in range(3)]
    assert signed == [(429, None)] * 3


async def test_a_token_that_was_just_handed_out_is_not_refused():
    backend = Backend()
    app = app_of(backend)
    for index in range(MAX_FAILURES):
        await ask(app, token=f"{index}")
    assert (await ask(app))[0] == 429
    assert (await send("GET", f"/sandboxes/{ID}", "", [("x-api-key", "k")], app=app))[0] == 200
    assert await ask(app) == (None, False)


@pytest.mark.parametrize(
    "error", [InvalidArgument("x"), SandboxUnavailable("down"), PermissionDenied("no"), ResourceExhausted("slow")]
)
async def test_a_failed_lookup_tells_a_stranger_nothing(error):
    backend = Backend()
    backend.error = error
    app = app_of(backend)
    assert await ask(app, token="wrong") == (502, None)
    backend.error = None
    await ask(app)
    backend.error = error
    # Those who have the right learn why.
    assert (await ask(app))[0] in {400, 403, 429, 503}


@pytest.mark.parametrize(
    ("lifetime", "bound", "expected"),
    [("3600", None, 3600), ("5", None, 300), (None, None, 300), ("nan", None, 300), ("3600", 60.0, 60)],
)
async def test_traffic_resumes_a_sandbox_once_and_with_an_end(lifetime, bound, expected):
    backend, access = Backend(paused(auto_resume="true", **({"timeout": lifetime} if lifetime else {}))), Owners()
    access.caller = replace(access.caller, max_seconds=bound)
    app = app_of(backend, access)
    assert await asyncio.gather(*(ask(app) for _ in range(5))) == [(None, False)] * 5
    assert backend.resumed == [expected]
