"""The memory that requests of AWS's SDKs take: only that of owners of a key, and not too much over all."""

import datetime as dt

import pytest
from starlette.applications import Starlette
from starlette.requests import Request

from sandbox_client.errors import ResourceExhausted
from sandbox_gateway.access.gatekeeper import Gatekeeper
from sandbox_gateway.access.keys import ApiKey
from sandbox_gateway.doors import agentcore
from sandbox_gateway.doors.agentcore.request_bodies import RequestBodies
from sandbox_gateway.gateway import Gateway

CHUNK = b"x" * 1000
KEY = ApiKey(name="ci", sha256="0" * 64, access_key_id="SBXKNOWN", signing_secret="s")
BARE = ApiKey(name="bare", sha256="1" * 64)


class Keys:
    async def by_access_key_id(self, access_key_id):
        return next((key for key in (KEY, BARE) if key.access_key_id == access_key_id), None)


def authorization(key="SBXKNOWN", service="bedrock-agentcore", day=None, signed="host;x-amz-date"):
    day = day or f"{dt.datetime.now(dt.UTC):%Y%m%d}"
    scope = f"{key}/{day}/us-east-1/{service}/aws4_request"
    return f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={signed}, Signature={'0' * 64}"


async def ask(header):
    """Send a request with a body of three chunks. Return its status and how many chunks were read."""
    app = Starlette(routes=agentcore.build_routes(Gateway(backend=None, access=Gatekeeper(Keys(), b"s"))))
    read, sent = [], []

    async def receive():
        read.append(CHUNK)
        return {"type": "http.request", "body": CHUNK, "more_body": len(read) < 3}

    async def send(message):
        sent.append(message)

    headers = {"host": "x", "authorization": header, "x-amz-date": f"{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%SZ}"}
    path = "/code-interpreters/aws.codeinterpreter.v1/tools/invoke"
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 1),
        "headers": [(key.encode(), value.encode()) for key, value in headers.items()],
    }
    await app(scope, receive, send)
    return sent[0]["status"], len(read)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "AWS4-HMAC-SHA256 x",
        authorization(key="SBXSTRANGER"),
        authorization(service="s3"),
        authorization(day="20200101"),
        authorization(signed="host"),
    ],
)
async def test_a_strangers_body_is_not_read(header):
    assert await ask(header) == (403, 0)


async def test_the_body_of_a_keys_owner_is_read_once():
    assert await ask(authorization()) == (403, 3)


async def test_the_bodies_of_all_requests_are_bounded():
    bodies = RequestBodies(max_bytes=2500)

    def request(chunks):
        parts = [CHUNK] * chunks

        async def receive():
            parts.pop()
            return {"type": "http.request", "body": CHUNK, "more_body": bool(parts)}

        return Request({"type": "http", "headers": []}, receive)

    with bodies.open() as first:
        assert len(await first.read(request(2))) == 2000
        with bodies.open() as second, pytest.raises(ResourceExhausted, match="try again"):
            await second.read(request(1))
    assert bodies.size == 0
    with bodies.open() as third:
        assert len(await third.read(request(2))) == 2000
