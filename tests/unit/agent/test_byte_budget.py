"""A stranger's bytes are cut off by the kernel at its budget, and come through once it is a caller."""

from __future__ import annotations

import contextlib
import socket
import struct

import pytest

from sandbox_proto import tcp_sockets
from sandbox_proto.byte_budget import LARGE, LARGE_CONNECTIONS, NONE, SMALL, ByteBudget, save_first_packets

SENT = LARGE + 100_000
DATA = bytes(number % 251 for number in range(SENT))


@pytest.fixture(params=["127.0.0.1", "::1"])
def connect(request):
    """Connect to a listener, and return both ends and the peer."""
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((request.param, 0), family=family))
        save_first_packets(listener)

        def connect_once(source=None):
            address = listener.getsockname()[:2]
            client = stack.enter_context(socket.create_connection(address, source_address=source))
            server = stack.enter_context(listener.accept()[0])
            client.settimeout(0)
            server.settimeout(5)
            return client, server, tcp_sockets.Peer(*client.getsockname()[:2])

        connect_once.port = listener.getsockname()[1]
        yield connect_once


def send(client, data):
    """Send what fits into the kernel's buffers."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * SENT)
    sent = 0
    with contextlib.suppress(BlockingIOError):
        while sent < len(data):
            sent += client.send(data[sent:])
    return sent


def receive(server, seconds=0.3):
    """Receive until there is silence."""
    server.settimeout(seconds)
    received = bytearray()
    with contextlib.suppress(TimeoutError):
        while data := server.recv(1 << 20):
            received += data
    return bytes(received)


def test_a_stranger_sends_its_budget_and_the_rest_once_it_is_a_caller(connect):
    client, server, peer = connect()
    budget = ByteBudget(connect.port, 8, 8)
    budget.update(())
    sent = send(client, DATA)
    assert sent > LARGE
    received = receive(server)
    assert received == DATA[:LARGE]
    budget.update(())
    budget.release(peer)
    assert received + receive(server, 3.0) == DATA[:sent]


def test_answers_reach_a_stranger_that_has_used_up_its_budget(connect):
    client, server, _ = connect()
    ByteBudget(connect.port, 8, 8).update(())
    send(client, DATA)
    receive(server)
    server.sendall(b"answer")
    assert receive(client) == b"answer"


def test_a_filter_counts_from_the_first_byte_however_late_it_is_set(connect):
    client, server, _ = connect()
    client.send(DATA[:1000])
    assert server.recv(1000) == DATA[:1000]
    ByteBudget(connect.port, 8, 8).update(())
    send(client, DATA[1000:])
    assert receive(server) == DATA[1000:LARGE]


def test_the_first_connections_of_a_peer_have_more_and_those_above_the_limit_nothing(connect):
    pairs = [connect() for _ in range(LARGE_CONNECTIONS + 3)]
    budget = ByteBudget(connect.port, LARGE_CONNECTIONS + 2, 100)
    budget.update(())
    for client, _, _ in pairs:
        send(client, DATA)
    received = [len(receive(server)) for _, server, _ in pairs]
    assert received == [LARGE] * LARGE_CONNECTIONS + [SMALL] * 2 + [NONE]
    budget.release(pairs[0][2])
    assert len(receive(pairs[LARGE_CONNECTIONS][1], 3.0)) == LARGE - SMALL, "the next one moves up"


def test_all_peers_together_have_a_limit(connect):
    pairs = [connect() for _ in range(3)]
    ByteBudget(connect.port, 100, 2).update(())
    for client, _, _ in pairs:
        send(client, DATA)
    assert [len(receive(server)) for _, server, _ in pairs] == [LARGE, LARGE, NONE]


def test_a_caller_has_no_budget(connect):
    client, server, peer = connect()
    ByteBudget(connect.port, 8, 8).update({peer})
    sent = send(client, DATA)
    assert receive(server) == DATA[:sent]


def test_a_look_between_the_admission_and_the_release_of_a_peer_leaves_no_filter_behind(connect):
    client, server, peer = connect()
    budget = ByteBudget(connect.port, 8, 8)
    budget.update(())
    budget.update({peer})
    budget.release(peer)
    sent = send(client, DATA)
    assert sent > LARGE
    assert receive(server, 3.0) == DATA[:sent]
    assert not budget.has_strangers()


def test_a_stranger_that_connects_again_from_its_port_has_a_budget_again(connect):
    """The new connection has the descriptor, the port and the peer of the old one."""
    client, server, peer = connect()
    budget = ByteBudget(connect.port, 8, 8)
    budget.update(())
    descriptor, address, family = server.fileno(), client.getsockname()[:2], client.family
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    server.close()
    client, server, again = connect(address)
    assert (again, server.fileno(), client.family) == (peer, descriptor, family)
    budget.update(())
    sent = send(client, DATA)
    assert sent > LARGE
    assert receive(server) == DATA[:LARGE]


def test_a_connection_whose_first_packet_was_not_kept_is_left_alone():
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as client,
        listener.accept()[0] as server,
    ):
        client.settimeout(0)
        ByteBudget(listener.getsockname()[1], 8, 8).update(())
        sent = send(client, DATA)
        assert receive(server) == DATA[:sent]
