"""The gateway's listener and the variables that it prints."""

import socket

import pytest

from sandbox_client.errors import InvalidArgument, SessionFailed
from sandbox_gateway.serve import environment, open_listener, parse_address, serve_local


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("127.0.0.1:80", ("127.0.0.1", 80)),
        ("8700", ("127.0.0.1", 8700)),
        (":0", ("127.0.0.1", 0)),
        ("[::1]:65535", ("::1", 65535)),
        ("sandboxes.example:443", ("sandboxes.example", 443)),
    ],
)
def test_an_address_is_a_host_and_a_port(text, found):
    assert parse_address(text) == found


@pytest.mark.parametrize("text", ["", "x", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "a:-1", "a:٣"])
def test_a_wrong_address_is_refused(text):
    with pytest.raises(InvalidArgument) as caught:
        parse_address(text)
    assert caught.value.field == "listen"


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "sandboxes.example:0"])
async def test_sessions_of_this_machine_are_served_on_loopback(listen):
    with pytest.raises(InvalidArgument, match="not a loopback address"):
        await serve_local(listen)


def test_small_answers_are_sent_at_once():
    with (
        open_listener("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


def test_a_port_in_use_is_reported():
    with open_listener("127.0.0.1", 0) as listener, pytest.raises(SessionFailed, match="another program listens there"):
        open_listener("127.0.0.1", listener.getsockname()[1])


def test_clients_find_a_gateway_that_listens_everywhere():
    groups = environment("0.0.0.0:8700", "boxes.test")
    assert groups["sandbox"]["SANDBOX_GATEWAY"] == "http://127.0.0.1:8700"
    assert groups["e2b"]["E2B_DOMAIN"] == "boxes.test:8700"
    assert groups == environment("0.0.0.0:8700", "boxes.test")
    with pytest.raises(InvalidArgument, match="port 0"):
        environment("127.0.0.1:0")
