"""OAuth access tokens: an issuer on this machine signs them, and each wrong one is refused."""

import asyncio
import base64
import hashlib
import hmac
import http.server
import json
import threading
import time

import jwt
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from sandbox_client.cli import main
from sandbox_client.errors import SandboxUnavailable, SessionFailed, Unauthenticated
from sandbox_gateway import serve
from sandbox_gateway.access.oauth import Issuer, OAuthReviewer, metadata_urls
from sandbox_gateway.backend import Caller
from sandbox_gateway.gateway import Settings

AUDIENCE = "https://boxes.test/mcp"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CURVE = ec.generate_private_key(ec.SECP256R1())


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = self.server.documents.get(self.path)
        self.server.asked.append(self.path)
        self.send_response(200 if body else 404)
        self.end_headers()
        self.wfile.write(json.dumps(body or {}).encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.url = f"http://127.0.0.1:{server.server_port}"
    rsa_key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key())) | {"kid": "one"}
    curve_key = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(CURVE.public_key())) | {"kid": "two"}
    server.asked = []
    server.documents = {
        "/.well-known/openid-configuration": {"issuer": server.url, "jwks_uri": f"{server.url}/keys"},
        "/keys": {"keys": [rsa_key, curve_key]},
    }
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def claims(server, **changes):
    given = {"iss": server.url, "aud": AUDIENCE, "sub": "ada", "exp": time.time() + 60, **changes}
    return {name: value for name, value in given.items() if value is not None}


def sign(server, key=KEY, kid="one", algorithm="RS256", **changes):
    return jwt.encode(claims(server, **changes), key, algorithm, headers={"kid": kid})


@pytest.fixture
def reviewer(server):
    issuer = Issuer(url=server.url, audience=AUDIENCE, namespace="team", max_sessions=2)
    return OAuthReviewer(issuer)


async def test_a_token_of_the_issuer_names_its_user(server, reviewer):
    expected = Caller(name="user:oauth:ada", namespace="team", max_sessions=2, sees_own_only=True)
    assert await reviewer.review(sign(server), "") == expected
    assert await reviewer.review(sign(server, CURVE, "two", "ES256"), "") == expected
    assert await reviewer.review(sign(server, aud=["x", AUDIENCE]), "other") == expected
    # The keys are read once.
    assert server.asked.count("/keys") == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": 1},
        {"exp": None},
        {"aud": "https://other.test"},
        {"aud": None},
        {"iss": "https://other.test"},
        {"iss": None},
        {"sub": None},
        {"sub": ""},
        {"sub": "a\nb"},
        {"sub": "x" * 300},
        {"nbf": 9999999999},
    ],
    ids=str,
)
async def test_wrong_claims_are_refused(server, reviewer, changes):
    with pytest.raises(Unauthenticated):
        await reviewer.review(sign(server, **changes), "")


async def test_wrong_signatures_are_refused(server, reviewer):
    unsigned = jwt.encode(claims(server), None, "none", headers={"kid": "one"})
    shared = jwt.encode(claims(server), "x" * 64, "HS256", headers={"kid": "one"})
    header, payload, signature = sign(server).split(".")
    swapped = base64.urlsafe_b64encode(json.dumps(claims(server, sub="eve")).encode()).decode().rstrip("=")
    public = KEY.public_key().public_numbers()
    confused = base64.urlsafe_b64encode(hmac.new(str(public).encode(), payload.encode(), hashlib.sha256).digest())
    for token in (
        unsigned,
        shared,
        sign(server, OTHER),
        sign(server, kid="three"),
        f"{header}.{swapped}.{signature}",
        f"{header}.{payload}.{confused.decode()}",
        f"{header}.{payload}.",
        "no-token",
        "",
        "x" * 100_000,
    ):
        with pytest.raises(Unauthenticated):
            await reviewer.review(token, "")


async def test_only_signed_tokens_make_the_gateway_ask_the_issuer(server, reviewer):
    for token in ("no-token", jwt.encode(claims(server), None, "none")):
        with pytest.raises(Unauthenticated):
            await reviewer.review(token, "")
    assert server.asked == []


async def test_other_tokens_are_left_to_the_next_reviewer(server):
    class Kubernetes:
        async def review(self, token, namespace):
            return Caller(name=f"user:{token[:3]}", namespace=namespace)

    reviewer = OAuthReviewer(Issuer(url=server.url, audience=AUDIENCE), Kubernetes())
    assert (await reviewer.review("abc", "two")).name == "user:abc"
    assert (await reviewer.review(sign(server, iss="https://kubernetes"), "two")).namespace == "two"
    assert (await reviewer.review(sign(server), "two")).name == "user:oauth:ada"


@pytest.mark.parametrize(
    "document",
    [None, {"issuer": "https://other.test", "jwks_uri": "x"}, {"jwks_uri": "x"}, []],
    ids=repr,
)
async def test_an_issuer_without_metadata_of_its_own_is_unavailable(server, reviewer, document):
    server.documents["/.well-known/openid-configuration"] = document
    with pytest.raises(SandboxUnavailable):
        await reviewer.review(sign(server), "")


async def test_an_issuer_that_is_away_is_unavailable_and_later_asked_again(server, reviewer):
    now = 0.0
    reviewer = OAuthReviewer(reviewer._issuer, clock=lambda: now)
    for path in ("/.well-known/openid-configuration", "/keys"):
        document = server.documents.pop(path)
        server.asked.clear()
        for _ in range(5):
            with pytest.raises(SandboxUnavailable):
                await reviewer.review(sign(server), "")
        # A failure counts for some time.
        assert server.asked.count(path) == 1
        server.documents[path] = document
        now += 31
    assert (await reviewer.review(sign(server), "")).name == "user:oauth:ada"


async def test_unknown_keys_are_looked_up_from_time_to_time(server, reviewer):
    now = 0.0
    reviewer = OAuthReviewer(reviewer._issuer, clock=lambda: now)
    await reviewer.review(sign(server), "")
    for number in range(5):
        with pytest.raises((Unauthenticated, SandboxUnavailable)):
            await reviewer.review(sign(server, kid=f"random{number}"), "")
    assert server.asked.count("/keys") == 1
    assert (await reviewer.review(sign(server), "")).name == "user:oauth:ada"


async def test_an_issuer_that_hangs_keeps_no_other_calls_waiting(server, reviewer, monkeypatch):
    released = threading.Event()
    monkeypatch.setattr(_Handler, "do_GET", lambda _self: released.wait(10))
    logins = [asyncio.create_task(reviewer.review(sign(server), "")) for _ in range(50)]
    await asyncio.sleep(0.2)
    try:
        async with asyncio.timeout(1):
            await asyncio.to_thread(time.monotonic)
        assert not any(each.done() for each in logins)
    finally:
        released.set()
        results = await asyncio.gather(*logins, return_exceptions=True)
    assert {type(each) for each in results} == {SandboxUnavailable}


async def test_keys_are_read_once_by_many_requests(server, reviewer):
    callers = await asyncio.gather(*(reviewer.review(sign(server), "") for _ in range(20)))
    assert len(set(map(repr, callers))) == 1
    assert server.asked.count("/keys") == 1


@pytest.mark.parametrize("url", ["http://issuer.test", "file:///etc/passwd", "https://", "", "issuer.test"])
def test_an_issuer_must_be_reached_by_https(url):
    with pytest.raises(SessionFailed):
        Issuer(url=url, audience=AUDIENCE)


def test_the_metadata_of_an_issuer_with_a_path_has_two_places():
    assert metadata_urls("https://login.test/tenant/") == [
        "https://login.test/.well-known/oauth-authorization-server/tenant",
        "https://login.test/tenant/.well-known/openid-configuration",
    ]


def test_a_gateway_without_an_issuer_has_no_reviewer_of_tokens():
    following = object()
    assert serve.reviewer_of(Settings(), following) is following
    assert isinstance(serve.reviewer_of(Settings(issuer="https://login.test"), following), OAuthReviewer)


@pytest.mark.parametrize("words", [[], ["--url", "https://boxes.test"], ["--oauth-namespace", "team"]], ids=" ".join)
def test_an_issuer_in_a_cluster_needs_an_address_and_a_namespace(words):
    command = ["gateway", "--cluster", "--oauth-issuer", "https://login.test", *words]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 2
    assert "--oauth-issuer needs --url" in done.output
