"""A flood of connections uses up the flooder's allowance, and authenticated callers of the same port are served."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import resource
import socket
import time

import grpc
import pytest

from sandbox_proto import connection_limits, tcp_sockets
from sandbox_proto.connection_limits import (
    Limits,
    choose_excess,
    parse_peer,
    raise_descriptor_limit,
)
from sandbox_proto.tcp_sockets import Connection, Peer, network_of
from sandbox_proto.v1 import interpreter_pb2, interpreter_pb2_grpc

LIMITS = Limits(strangers=10, strangers_per_peer=6, stranger_seconds=20.0, callers=3)


def arrivals(address, count, start=0.0):
    """Connections from one address, the oldest first."""
    return {Connection(number, 8443, Peer(address, 1000 + number)): start + number / 1000 for number in range(count)}


def test_nothing_is_closed_within_the_limits():
    assert choose_excess(arrivals("10.0.0.1", 6), set(), LIMITS, 1.0) == set()


def test_too_many_strangers_of_one_peer_lose_their_oldest_connections():
    connections = arrivals("10.0.0.1", 9) | arrivals("10.0.0.2", 2)
    excess = choose_excess(connections, set(), LIMITS, 1.0)
    assert sorted((each.peer.address, each.peer.port) for each in excess) == [
        ("10.0.0.1", 1000),
        ("10.0.0.1", 1001),
        ("10.0.0.1", 1002),
    ]


def test_many_peers_share_what_there_is_and_the_small_ones_lose_nothing():
    connections = arrivals("10.0.0.1", 6) | arrivals("10.0.0.2", 6) | arrivals("10.0.0.3", 1)
    excess = choose_excess(connections, set(), LIMITS, 1.0)
    assert len(connections) - len(excess) <= LIMITS.strangers
    assert {each.peer.address for each in excess} == {"10.0.0.1", "10.0.0.2"}


def test_addresses_of_one_ipv6_network_are_one_peer():
    connections = {
        Connection(number, 8443, Peer(f"2001:db8::{number + 1:x}", 1000)): float(number) / 1000 for number in range(9)
    }
    assert len(choose_excess(connections, set(), LIMITS, 1.0)) == 3
    assert network_of("2001:db8::1") == network_of("2001:db8::2") != network_of("2001:db8:0:1::1")


def test_a_stranger_has_only_so_long_and_a_caller_stays():
    connections = arrivals("10.0.0.1", 2)
    first, second = connections
    assert choose_excess(connections, {first.peer}, LIMITS, 25.0) == {second}


def test_callers_have_a_limit_of_their_own_and_the_newest_go():
    connections = arrivals("10.0.0.1", 5)
    assert choose_excess(connections, {each.peer for each in connections}, LIMITS, 100.0) == set(list(connections)[3:])


@pytest.mark.parametrize(
    ("text", "peer"),
    [
        ("ipv4:10.0.0.1:5000", Peer("10.0.0.1", 5000)),
        ("ipv6:%5B2001:db8::1%5D:5000", Peer("2001:db8::1", 5000)),
        ("ipv6:[::ffff:10.0.0.1]:5000", Peer("10.0.0.1", 5000)),
        ("ipv6:%5Bfe80::1%25eth0%5D:5000", Peer("fe80::1", 5000)),
        ("unix:/run/x", None),
    ],
)
def test_peers_are_read_as_grpc_writes_them(text, peer):
    assert parse_peer(text) == peer


@pytest.fixture(autouse=True)
def descriptors():
    """Both ends of a flood are in this process."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    raise_descriptor_limit()
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def count_connections(port):
    """How many connections this process has accepted on a port."""
    return len(list(tcp_sockets.list_connections({port})))


@contextlib.contextmanager
def flood(port, count):
    """Idle connections that never say anything."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            with contextlib.suppress(OSError):
                stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
        yield


async def is_served(channel):
    """An authenticated call comes through. The scripted runtime has no such operation."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await interpreter_pb2_grpc.InterpreterServiceStub(channel).ListContexts(
            interpreter_pb2.ListContextsRequest(), timeout=20
        )
    return caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def is_new_caller_served(connect):
    async with connect() as channel:
        return await is_served(channel)


async def until_at_most(port, count):
    async with asyncio.timeout(20):
        while count_connections(port) > count:  # noqa: ASYNC110 - nothing else says when a socket is closed
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("name", ["grpc_port", "control_port", "health_port"])
async def test_a_flood_of_idle_connections_leaves_the_callers_and_a_bounded_number(agent, client, connect, name):
    port = getattr(agent, name)
    assert await is_served(client)
    with contextlib.ExitStack() as stack:
        await asyncio.to_thread(lambda: stack.enter_context(flood(port, 1000)))
        await until_at_most(port, agent._guard._limits.strangers_per_peer + 5)
        assert await is_served(client), "a caller that was there before"
        # From the flooder's address, where a newer connection may displace it. The SDK tries again.
        assert any([await is_new_caller_served(connect) for _ in range(3)])
    assert await is_served(client)


async def test_a_silent_stranger_is_disconnected_in_time_and_a_silent_caller_is_not(agent, client):
    agent._guard._limits = Limits(stranger_seconds=0.3)
    assert await is_served(client)
    with flood(agent.grpc_port, 1):
        await until_at_most(agent.grpc_port, 1)
    assert count_connections(agent.grpc_port) == 1
    assert await is_served(client)


async def test_looks_take_a_small_share_of_the_agents_time_whatever_arrives(monkeypatch):
    """Each arrival asks for a look soon, and the guard rests long enough after an expensive one."""
    looks = []

    def list_slowly(_ports):
        looks.append(asyncio.get_running_loop().time())
        end = time.thread_time() + 0.02
        while time.thread_time() < end:
            pass
        return ()

    monkeypatch.setattr(tcp_sockets, "list_connections", list_slowly)
    guard = connection_limits.ConnectionGuard()
    guard._look()
    for _ in range(60):
        guard._look_after(0.0)
        await asyncio.sleep(0.01)
    guard.close()
    assert len(looks) >= 2, "it still looks"
    assert min(later - sooner for sooner, later in itertools.pairwise(looks)) > 15 * 0.02
