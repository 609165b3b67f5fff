"""No request reaches a session but with a token of this session."""

import asyncio
import hashlib
import hmac
import itertools

from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette

from sandbox_client.errors import NotFound, Unauthenticated
from sandbox_client.lifecycle.session_info import SessionInfo
from sandbox_gateway.backend import Caller, GatewaySession
from sandbox_gateway.doors.e2b import build_routes, identity
from sandbox_gateway.gateway import Gateway, Settings

NAMES = [("a", "one"), ("a", "two"), ("b", "one"), ("a--b", ""), ("a", ""), ("a-b", "one"), ("a", "b--one")]
SESSIONS = [
    GatewaySession(SessionInfo(name, namespace=space, phase="Ready"), {}, owner=space, uid=f"{name}/{space}")
    for name, space in NAMES
]
PEERS = itertools.count()
PURPOSES = [identity.ENVD, identity.TRAFFIC, "preview"]


class Reached(Exception):  # noqa: N818 - no error
    """The request has reached a session."""


class Backend:
    async def get(self, caller, name):
        for session in SESSIONS:
            if (session.info.name, session.info.namespace) == (name, caller.namespace):
                return session
        raise NotFound(f"there is no session {name}")

    async def list(self, caller, metadata=None):
        return [each for each in SESSIONS if each.info.namespace == caller.namespace]

    async def connect(self, caller, name, *, wake=True):
        raise Reached((name, caller.namespace))


class Access:
    async def by_owner(self, session):
        return Caller(name=session.owner, namespace=session.info.namespace)

    async def by_key(self, key, *, peer):
        raise Unauthenticated("no key is right")

    by_bearer = by_key

    def session_token(self, session, purpose):
        return hmac.new(b"secret", f"{session.uid} {purpose}".encode(), hashlib.sha256).hexdigest()

    def check_session_token(self, session, purpose, token):
        if not hmac.compare_digest(self.session_token(session, purpose).encode(), token.encode()):
            raise Unauthenticated("wrong")


ACCESS = Access()
APP = Starlette(routes=build_routes(Gateway(backend=Backend(), access=ACCESS, settings=Settings(domain="x.test"))))


async def send(method, path, query, headers, *, app=None, peer="1.2.3.4"):
    """Return the status of a request, and the session that it has reached or None."""
    statuses = []
    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": method,
        "scheme": "http", "path": path, "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in headers], "client": (peer, 5),
        "server": ("x", 80),
    }  # fmt: skip

    async def receive():
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def respond(message):
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    try:
        await (app or APP)(scope, receive, respond)
    except Reached as reached:
        return None, reached.args[0]
    return statuses[0], None


IDS = st.sampled_from(
    [identity.sandbox_id(each.info) for each in SESSIONS] + ["missing", "a--", "--a", "one", "a--b--one"]
)
PORTS = st.sampled_from(["49983", "49999", "3000", "", "x"])
PATHS = st.sampled_from(
    ["/health", "/files", "/execute", "/contexts", "/process.Process/List", "/files/compose", "/sandboxes/a--one", "/x"]
)
OWN = st.tuples(st.sampled_from(range(len(SESSIONS))), st.sampled_from(PURPOSES))


@given(st.sampled_from(["GET", "POST"]), PATHS, st.data())
def test_a_request_reaches_the_session_of_its_token_or_none(method, path, data):
    headers, holders = [], set()
    if data.draw(st.booleans(), "names an id"):
        headers.append(("e2b-sandbox-id", data.draw(IDS, "id")))
        headers.append(("e2b-sandbox-port", data.draw(PORTS, "port")))
    host = f"{data.draw(PORTS, 'host port')}-{data.draw(IDS, 'host id')}.x.test"
    headers.append(("host", data.draw(st.sampled_from([host, "x.test", "api.x.test"]), "host")))
    for name in ("x-access-token", "e2b-traffic-access-token", "x-api-key"):
        if data.draw(st.booleans(), f"has {name}"):
            index, purpose = data.draw(OWN, name)
            headers.append((name, ACCESS.session_token(SESSIONS[index], purpose)))
            holders.add(index)
    query = ""
    if data.draw(st.booleans(), "is signed"):
        index, _ = data.draw(OWN, "signer")
        token = ACCESS.session_token(SESSIONS[index], identity.ENVD)
        operation = data.draw(st.sampled_from(["read", "write"]), "operation")
        query = f"path=p&signature={identity.sign('p', operation, '', token, None).replace('+', '%2B')}"
        holders.add(index)
    status, reached = asyncio.run(send(method, path, query, headers, peer=str(next(PEERS))))
    if reached is not None:
        assert reached in {(SESSIONS[index].info.name, SESSIONS[index].info.namespace) for index in holders}
    else:
        assert status in {204, 400, 401, 404, 405, 502}


def test_the_tokens_open_their_own_session():
    for session in SESSIONS:
        token = ACCESS.session_token(session, identity.ENVD)
        headers = [("e2b-sandbox-id", identity.sandbox_id(session.info)), ("x-access-token", token)]
        status, reached = asyncio.run(send("POST", "/process.Process/List", "", headers))
        assert (status, reached) == (None, (session.info.name, session.info.namespace))


def test_a_read_only_signature_of_an_odd_path_does_not_write():
    token, headers = ACCESS.session_token(SESSIONS[0], identity.ENVD), [("e2b-sandbox-id", "a--one")]
    signed = identity.sign("p:write:q", "read", "", token, None).replace("+", "%2B")
    assert asyncio.run(send("GET", "/files", f"path=p:write:q&signature={signed}", headers))[1] == ("a", "one")
    # The signed text is the same.
    query = f"path=p&username=q:read:&signature={signed}"
    assert asyncio.run(send("POST", "/files", query, headers)) == (401, None)


def test_a_read_only_signature_does_not_write():
    token = ACCESS.session_token(SESSIONS[0], identity.ENVD)
    signed = identity.sign("p", "read", "", token, None).replace("+", "%2B")
    headers = [("e2b-sandbox-id", "a--one")]
    assert asyncio.run(send("GET", "/files", f"path=p&signature={signed}", headers))[1] == ("a", "one")
    assert asyncio.run(send("POST", "/files", f"path=p&signature={signed}", headers)) == (401, None)
    assert asyncio.run(send("GET", "/files", f"path=q&signature={signed}", headers)) == (401, None)
