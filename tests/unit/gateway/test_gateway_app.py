"""The application around the doors: limits, routing by host, the access log, and the end."""

import asyncio
import logging
import sys
import types

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Host, Route, Router

from sandbox_client.errors import InvalidArgument
from sandbox_gateway import app as gateway_app
from sandbox_gateway import doors
from sandbox_gateway.gateway import Gateway, Settings


class _Backend:
    closed = 0

    async def close(self):
        self.closed += 1


async def _echo(request: Request):
    request.state.caller = "key\nname"
    return PlainTextResponse(f"{request.path_params} {len(await request.body())}")


def _routes(_gateway):
    inside = Router(routes=[Route("/{path:path}", _echo, methods=["GET", "POST"])])
    return [
        Route("/big", _echo, methods=["POST"], max_body_size=1000),
        Route("/{rest:path}", _echo, methods=["GET", "POST"]),
        Host("{port:int}-{id}.boxes.test", app=inside),
    ]


@pytest.fixture
def gateway():
    return Gateway(backend=_Backend(), access=None, settings=Settings(max_body=100))


@pytest.fixture
def app(gateway, monkeypatch):
    door = types.ModuleType(f"{doors.__name__}.test_door")
    door.build_routes = _routes
    monkeypatch.setitem(sys.modules, door.__name__, door)
    return gateway_app.build_app(gateway, ["test_door"])


async def ask(app, path="/x", *, method="GET", headers=(), body=(b"",)):
    """Make one request as a server does, and return its status and body."""
    parts, sent = list(body), []

    async def receive():
        chunk = parts.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(parts)}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"token=secret",
        "root_path": "",
        "scheme": "http",
        "headers": [(b"host", b"gateway.test"), *headers] if not any(k == b"host" for k, _ in headers) else [*headers],
        "client": ("127.0.0.1", 5),
        "server": ("127.0.0.1", 80),
        "http_version": "1.1",
    }
    await app(scope, receive, send)
    start, *rest = sent
    return start["status"], b"".join(each.get("body", b"") for each in rest).decode()


async def test_a_path_of_a_sessions_host_belongs_to_the_session(app):
    assert await ask(app, "/a/b", headers=[(b"host", b"49983-my-session.boxes.test")]) == (
        200,
        "{'port': 49983, 'id': 'my-session', 'path': 'a/b'} 0",
    )
    assert await ask(app, "/a/b") == (200, "{'rest': 'a/b'} 0")


async def test_the_gateway_says_that_it_lives(gateway):
    assert await ask(gateway_app.build_app(gateway, []), "/healthz") == (200, "ok")


@pytest.mark.parametrize("headers", [(), [(b"content-length", b"101")]])
async def test_a_body_over_the_limit_is_refused(app, headers):
    assert await ask(app, method="POST", headers=headers, body=[b"a" * 50, b"a" * 51]) == (413, "Content Too Large")


async def test_a_route_may_have_its_own_limit(app):
    assert await ask(app, "/big", method="POST", body=[b"a" * 1000]) == (200, "{} 1000")
    assert await ask(app, "/big", method="POST", body=[b"a" * 1001]) == (413, "Content Too Large")


async def test_too_many_headers_are_refused(app):
    status, text = await ask(app, headers=[(b"x-%d" % number, b"") for number in range(101)])
    assert (status, "more than 100 headers" in text) == (431, True)


@pytest.mark.parametrize("ask_more", [{"headers": [(b"x", b"a" * (64 << 10))]}, {"path": "/" + "a" * (64 << 10)}])
async def test_headers_and_addresses_that_are_too_long_are_refused(app, ask_more):
    status, text = await ask(app, **ask_more)
    assert (status, "more than 64 KiB" in text) == (431, True)


async def test_the_log_has_one_line_per_request_and_no_query(app, caplog):
    with caplog.at_level(logging.INFO, logger="sandbox_gateway.access"):
        await ask(app, "/a\x1bb", headers=[(b"authorization", b"Bearer secret")])
    [record] = caplog.records
    line = record.getMessage()
    assert line.startswith("GET gateway.test/a?b 200 ")
    assert line.endswith("caller=key?name")
    assert "secret" not in line


async def test_the_end_closes_the_backend(app, gateway):
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent = []

    async def receive():
        return messages.pop(0)

    async def send(message):
        sent.append(message["type"])

    await asyncio.create_task(app({"type": "lifespan", "state": {}}, receive, send))
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert gateway.backend.closed == 1


def test_no_two_doors_have_the_same_path(gateway):
    places = [
        (route.path, method)
        for route in gateway_app.build_app(gateway).routes
        if isinstance(route, Route)
        for method in route.methods or ()
    ]
    assert len(places) == len(set(places))


@pytest.mark.parametrize(
    ("proxies", "forwarded", "expected"),
    [
        ((), b"6.6.6.6", "127.0.0.1"),
        (("10.0.0.0/8",), b"6.6.6.6", "127.0.0.1"),
        (("127.0.0.1",), b"6.6.6.6", "6.6.6.6"),
        # A client may write the header too. The proxy's own entry is the last one.
        (("127.0.0.0/8", "10.0.0.0/8"), b"1.1.1.1, 6.6.6.6, 10.1.2.3", "6.6.6.6"),
    ],
)
async def test_a_proxy_that_was_named_names_the_client(monkeypatch, proxies, forwarded, expected):
    async def show(request):
        return PlainTextResponse(request.client.host)

    door = types.ModuleType(f"{doors.__name__}.test_door")
    door.build_routes = lambda _gateway: [Route("/x", show)]
    monkeypatch.setitem(sys.modules, door.__name__, door)
    app = gateway_app.build_app(
        Gateway(backend=_Backend(), access=None, settings=Settings(proxies=proxies)), ["test_door"]
    )
    assert await ask(app, headers=[(b"x-forwarded-for", forwarded)]) == (200, expected)


def test_a_proxy_is_an_address_or_a_network():
    with pytest.raises(InvalidArgument, match=r"10\.0\.0\.0/8"):
        Settings(proxies=("*",))
