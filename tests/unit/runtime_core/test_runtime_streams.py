from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from sandbox_link import bulk_streams
from sandbox_link.protocol import OperationError
from sandbox_runtime.link import listeners
from sandbox_runtime.link.listeners import BulkStreams


@pytest.fixture
def path(tmp_path):
    return tmp_path / "stream.sock"


@pytest.fixture
def streams(path):
    return BulkStreams()


async def take(streams, path):
    """Both ends of a stream."""
    told = asyncio.get_running_loop().create_future()
    taking = asyncio.ensure_future(streams.take(told.set_result))
    theirs = await bulk_streams.dial(path, await told)
    return theirs, await taking


async def test_each_operation_gets_the_connection_with_its_key(streams, path):
    stop = streams.listen(path)
    loop = asyncio.get_running_loop()
    pairs = await asyncio.gather(*(take(streams, path) for _ in range(20)))
    for number, (theirs, ours) in enumerate(pairs):
        await loop.sock_sendall(theirs, str(number).encode())
        assert await loop.sock_recv(ours, 100) == str(number).encode()
        theirs.close()
        ours.close()
    stop()
    assert not path.exists()


@pytest.mark.parametrize("key", ["0" * 32, "short", "\xff" * 16])
async def test_who_does_not_know_a_key_is_closed_and_disturbs_nobody(streams, path, key):
    stop = streams.listen(path)
    loop = asyncio.get_running_loop()
    stranger = await bulk_streams.dial(path, key)
    with stranger:
        stranger.shutdown(socket.SHUT_WR)
        assert await loop.sock_recv(stranger, 1) == b""
    theirs, ours = await take(streams, path)
    theirs.close()
    ours.close()
    stop()


async def test_a_key_is_good_for_one_connection(streams, path):
    stop = streams.listen(path)
    told = asyncio.get_running_loop().create_future()
    taking = asyncio.ensure_future(streams.take(told.set_result))
    first = await bulk_streams.dial(path, await told)
    ours = await taking
    second = await bulk_streams.dial(path, told.result())
    assert await asyncio.get_running_loop().sock_recv(second, 1) == b""
    for sock in (first, ours, second):
        sock.close()
    stop()


async def test_connections_that_say_nothing_are_bounded(streams, path):
    stop = streams.listen(path)
    silent = [await bulk_streams.dial(path, "") for _ in range(100)]
    loop = asyncio.get_running_loop()
    refused = 0
    for sock in silent:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                refused += await loop.sock_recv(sock, 1) == b""
    assert refused == 36
    for sock in silent:
        sock.close()
    theirs, ours = await take(streams, path)
    theirs.close()
    ours.close()
    stop()


async def test_an_agent_that_does_not_come_fails_the_operation(streams, path, monkeypatch):
    monkeypatch.setattr(listeners, "DIAL_TIMEOUT", 0.05)
    stop = streams.listen(path)
    with pytest.raises(OperationError) as caught:
        await streams.take(lambda _: None)
    assert caught.value.code == "ABORTED"
    stop()
