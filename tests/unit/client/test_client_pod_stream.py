"""The API server's port-forward, spoken with a real websocket server."""

import asyncio
from collections.abc import Callable

import kubernetes.stream.ws_client
import pytest
import websocket
from aiohttp import WSMsgType, web
from kubernetes.client import ApiClient, Configuration

from sandbox_client.cluster.port_forward import PodStream, open_pod_stream

PORT = 8443
NAMES = [bytes([channel]) + PORT.to_bytes(2, "little") for channel in (0, 1)]


@pytest.fixture
async def open_stream():
    """Serves one handler as the API server's port-forward, and dials it."""
    runners, streams = [], []

    async def start(serve: Callable, token: str = "") -> PodStream:
        async def upgrade(request: web.Request) -> web.WebSocketResponse:
            assert request.path == "/api/v1/namespaces/team/pods/one/portforward"
            assert request.query_string == "ports=8443"
            if request.headers.get("authorization", "") != token:
                raise web.HTTPUnauthorized
            socket = web.WebSocketResponse(protocols=("v4.channel.k8s.io",))
            await socket.prepare(request)
            for name in NAMES:
                await socket.send_bytes(name)
            await serve(socket)
            return socket

        application = web.Application()
        application.router.add_get("/{path:.*}", upgrade)
        runner = web.AppRunner(application)
        await runner.setup()
        runners.append(runner)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        configuration = Configuration()
        configuration.host = f"http://127.0.0.1:{runner.addresses[0][1]}"
        configuration.api_key = {"authorization": "Bearer secret"}
        stream = await asyncio.to_thread(open_pod_stream, ApiClient(configuration), "team", "one", PORT)
        streams.append(stream)
        return stream

    yield start
    for stream in streams:
        await asyncio.to_thread(stream.close)
        stream.close()
    for runner in runners:
        await runner.cleanup()


async def echo(socket: web.WebSocketResponse) -> None:
    async for message in socket:
        if message.type is WSMsgType.BINARY:
            assert message.data[:1] == b"\0"
            await socket.send_bytes(message.data)


async def test_bytes_go_both_ways(open_stream):
    stream = await open_stream(echo, "Bearer secret")
    sent = bytes(range(256)) * 1000
    await asyncio.to_thread(stream.send, sent)
    received = b""
    while len(received) < len(sent):
        received += b"".join(await asyncio.to_thread(stream.receive))
    assert received == sent
    assert (stream.fileno() > 0, stream.failure) == (True, "")


async def test_a_port_that_cannot_be_reached_ends_the_stream_and_says_why(open_stream):
    async def refuse(socket: web.WebSocketResponse) -> None:
        await socket.send_bytes(b"\1connection refused inside namespace\n")

    stream = await open_stream(refuse, "Bearer secret")
    while await asyncio.to_thread(stream.receive) is not None:
        pass
    assert stream.failure.startswith("port-forward: connection refused inside namespace; ")
    assert "gVisor" in stream.failure


async def test_a_server_that_closes_ends_the_stream_and_what_is_sent_then_fails(open_stream):
    async def close(socket: web.WebSocketResponse) -> None:
        await socket.close()

    stream = await open_stream(close, "Bearer secret")
    while await asyncio.to_thread(stream.receive) is not None:
        pass
    with pytest.raises(OSError):
        stream.send(b"late")


async def test_a_wrong_token_is_refused_when_dialling(open_stream):
    with pytest.raises(Exception, match="401"):
        await open_stream(echo, "Bearer other")


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (ApiClient(Configuration()).rest_client, "pool_manager"),
        (ApiClient(Configuration()), "default_headers"),
        (Configuration, "auth_settings"),
        (kubernetes.stream.ws_client, "get_websocket_url"),
        (kubernetes.stream.ws_client, "create_websocket"),
        (websocket.WebSocket, "recv_data_frame"),
        (websocket.WebSocket, "send_binary"),
        (websocket.ABNF, "OPCODE_BINARY"),
    ],
)
def test_the_undocumented_names_of_other_packages_are_still_there(owner, name):
    assert hasattr(owner, name), f"{owner} lost {name}: adapt sandbox_client/cluster/api.py and port_forward.py"
