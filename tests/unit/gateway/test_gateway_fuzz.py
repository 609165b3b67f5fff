"""Random requests: no key reaches a session of another namespace, and every refusal is one of ours."""

import asyncio
import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox_client.errors import NotFound, ResourceExhausted, SandboxError, Unauthenticated
from sandbox_client.gateway.api import _read_error, _read_info
from sandbox_gateway.access.gatekeeper import Gatekeeper
from sandbox_gateway.access.keys import ApiKey, from_secret, hash_key
from sandbox_gateway.access.reviews import KubernetesTokens
from sandbox_gateway.access.sigv4 import SignedRequest
from sandbox_gateway.app import build_app
from sandbox_gateway.backends.notes import read_session
from sandbox_gateway.gateway import Gateway
from tests.unit.gateway.test_gateway_access import Keys
from tests.unit.gateway.test_gateway_app import ask

KEYS = {namespace: "e2b_" + digit * 40 for namespace, digit in (("team-a", "a"), ("team-b", "b"))}
STORE = Keys(*(ApiKey(name=f"key-{each}", sha256=hash_key(key), namespace=each) for each, key in KEYS.items()))
NAMES = st.one_of(st.sampled_from(["s", "team-b/s", "..", "%2e%2e%2fteam-b", "local%2Fs"]), st.text(max_size=20))
VERBS = st.sampled_from(["", "/connect", "/suspend", "/resume", "/timeout", "/logs"])
HEADER = st.sampled_from(
    [
        b"x-sandbox-namespace",
        b"host",
        b"x-forwarded-for",
        b"x-api-key",
        b"authorization",
        b"e2b-sandbox-id",
        b"content-type",
    ]
)
VALUES = st.one_of(
    st.sampled_from([b"team-b", b"team-a", b"49983-s.team-b", b"Bearer e2b_" + b"c" * 40, b"e2b_" + b"0" * 40]),
    st.binary(max_size=20),
)


class Reviews:
    async def review_token(self, _token):
        return {"authenticated": False}

    async def review_access(self, _spec):
        return {"allowed": True}


class Recorder:
    """A backend that notes whose call it is."""

    def __init__(self):
        self.namespaces = set()

    def __getattr__(self, verb):
        async def call(caller, *_arguments, **_options):
            self.namespaces.add(caller.namespace)
            raise NotFound("none")

        return call


@given(
    name=NAMES,
    verb=VERBS,
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"]),
    extra=st.lists(st.tuples(HEADER, VALUES), max_size=4),
    body=st.one_of(st.binary(max_size=50), st.sampled_from([b'{"seconds": 1}', b'{"namespace": "team-b"}', b"[]"])),
    query=st.binary(max_size=20),
    is_first=st.booleans(),
)
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_request_of_a_key_reaches_another_namespace(name, verb, method, extra, body, query, is_first):
    backend = Recorder()
    access = Gatekeeper(STORE, b"s", KubernetesTokens(Reviews()))
    app = build_app(Gateway(backend=backend, access=access), ["control"])
    own = (b"authorization", f"Bearer {KEYS['team-a']}".encode())
    headers = [own, *extra] if is_first else [*extra, own]
    status, _ = asyncio.run(ask(app, f"/api/v1/sessions/{name}{verb}", method=method, headers=headers, body=[body]))
    assert backend.namespaces <= {"team-a"}
    assert status < 500 or status == 501


@given(
    headers=st.lists(
        st.tuples(
            st.sampled_from(["authorization", "x-amz-date", "host"]), st.one_of(st.text(), st.just("20261130T000000Z"))
        )
    ),
    path=st.text(),
    query=st.text(),
)
def test_a_strange_signature_is_refused(headers, path, query):
    credential = "Credential=AKID/20261130/r/bedrock-agentcore/aws4_request"
    real = ("authorization", f"AWS4-HMAC-SHA256 {credential}, SignedHeaders=host, Signature={'0' * 64}")
    for sent in (headers, [real, *headers]):
        request = SignedRequest(method="GET", path=path, query=query, headers=tuple(sent), body_sha256="0" * 64)
        try:
            asyncio.run(Gatekeeper(STORE, b"s").by_signature(request, peer="p"))
        except (Unauthenticated, ResourceExhausted):
            continue
        raise AssertionError("it was accepted")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
    lambda each: st.lists(each) | st.dictionaries(st.text(), each),
)


@given(value=st.dictionaries(st.sampled_from(["metadata", "data", "labels", "annotations", "name", "sha256"]), JSON))
def test_strange_objects_break_nothing(value):
    from_secret(value)
    from_secret({"metadata": {"labels": {"sandboxsessions.dev/api-key": "a"}}, "data": value})
    read_session({"metadata": {"annotations": {"sandboxsessions.dev/gateway": json.dumps(value)}}})
    _read_info(value)
    assert isinstance(_read_error({"error": "x", **value}), SandboxError)
