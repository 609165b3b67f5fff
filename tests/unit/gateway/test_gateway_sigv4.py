"""Signatures of AWS's SDKs: botocore's own signer signs, and one change of the request is refused."""

import dataclasses
import datetime as dt
import hashlib
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.utils import percent_encode_sequence

from sandbox_client.errors import Unauthenticated
from sandbox_gateway.access.sigv4 import SignedRequest, read_credential, verify

SECRET, SERVICES = "s3cret/with+chars", frozenset({"bedrock-agentcore"})
BASE = "http://127.0.0.1:8700"


def signed(method="GET", url="/", *, body=b"", headers=(), params=(), service="bedrock-agentcore"):
    # As botocore makes the URL of an operation.
    url += f"?{percent_encode_sequence(dict(params))}" if params else ""
    request = AWSRequest(method, BASE + url, headers={"Host": "127.0.0.1:8700", **dict(headers)}, data=body)
    SigV4Auth(Credentials("AKID", SECRET), service, "us-west-2").add_auth(request)
    sent = request.prepare()
    parts = urlsplit(sent.url)

    def text(value):
        return value.decode() if isinstance(value, bytes) else value

    return SignedRequest(
        method=method,
        path=parts.path,
        query=parts.query,
        headers=tuple((key.lower(), text(value)) for key, value in sent.headers.items()),
        body_sha256=hashlib.sha256(body).hexdigest(),
    )


def now():
    return dt.datetime.now(dt.UTC)


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {
            "method": "PUT",
            "url": "/code-interpreters/aws.v1/sessions/start",
            "body": b'{"a": "\xc3\xbc"}',
        },
        {"url": "/code-interpreters/x/sessions/get", "params": {"sessionId": "a b&c=d/é~"}},
        {"url": "/code-interpreters/x/sessions/get?sessionId=a%20b%26&z&b=2&b=1&a%2Fc="},
        {"method": "POST", "url": "/a%20b/arn%3Aaws%2Fx/..%2F/c/", "body": b"x" * 100_000},
        {"url": "//a/./b/../c"},
        {"headers": {"x-amzn-code-interpreter-session-id": "  01J  two ", "User-Agent": "boto"}},
    ],
)
def test_botocores_signature_is_accepted(request_):
    verify(signed(**request_), SECRET, now(), SERVICES)


def with_header(request, name, value):
    return dataclasses.replace(request, headers=(*(each for each in request.headers if each[0] != name), (name, value)))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda r: dataclasses.replace(r, method="DELETE"), "does not match"),
        (lambda r: dataclasses.replace(r, path="/b"), "does not match"),
        (lambda r: dataclasses.replace(r, query="x=2"), "does not match"),
        (lambda r: dataclasses.replace(r, query="x=1&y"), "does not match"),
        (lambda r: dataclasses.replace(r, body_sha256=hashlib.sha256(b"other").hexdigest()), "does not match"),
        (lambda r: with_header(r, "host", "evil.example"), "does not match"),
        (lambda r: with_header(r, "x-amzn-code-interpreter-session-id", "other"), "does not match"),
        (lambda r: with_header(r, "x-amz-new", "1"), "does not cover x-amz-new"),
        (lambda r: with_header(r, "x-amz-content-sha256", "UNSIGNED-PAYLOAD"), "does not cover"),
        (
            lambda r: dataclasses.replace(r, headers=(*r.headers, ("x-amz-date", "2"))),
            "2 headers x-amz-date",
        ),
        (lambda r: dataclasses.replace(r, headers=(*r.headers, ("authorization", "x"))), "2 headers authorization"),
        (lambda r: dataclasses.replace(r, headers=()), "no headers authorization"),
        (lambda r: with_header(r, "authorization", "Bearer x"), "not one of AWS Signature Version 4"),
    ],
)
def test_a_changed_request_is_refused(change, why):
    request = signed(
        "POST", "/a", body=b"body", params={"x": "1"}, headers={"x-amzn-code-interpreter-session-id": "mine"}
    )
    verify(request, SECRET, now(), SERVICES)
    with pytest.raises(Unauthenticated, match=why):
        verify(change(request), SECRET, now(), SERVICES)


def test_another_secret_service_or_time_is_refused():
    with pytest.raises(Unauthenticated, match="does not match"):
        verify(signed(), "other", now(), SERVICES)
    with pytest.raises(Unauthenticated, match="for the service s3"):
        verify(signed(service="s3"), SECRET, now(), SERVICES)
    for minutes in (-6, 6):
        with pytest.raises(Unauthenticated, match="check the clock"):
            verify(signed(), SECRET, now() + dt.timedelta(minutes=minutes), SERVICES)


def test_headers_that_proxies_add_change_nothing():
    request = with_header(with_header(signed(), "x-amzn-trace-id", "Root=1"), "via", "proxy")
    verify(request, SECRET, now(), SERVICES)
    assert read_credential(request).access_key_id == "AKID"
