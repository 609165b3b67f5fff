from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import socket

import pytest

from sandbox_link.protocol import OperationError
from sandbox_testing.link import MemoryChannel

CONTENT = os.urandom(1 << 20) * 5 + b"end"


@pytest.fixture(params=["sendfile", "no sendfile"])
def kernel_sends(request, monkeypatch):
    """Runs a test with sendfile, and as on a kernel that refuses it."""

    def refuse(*_args):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    if request.param == "no sendfile":
        monkeypatch.setattr(os, "sendfile", refuse)


def open_stream(bench, op, *, ended=True, **arguments):
    """An operation that was offered a stream, and the agent's end of it."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)  # noqa: FBT003 - its signature
    theirs.setblocking(False)  # noqa: FBT003 - its signature
    channel = MemoryChannel({"op": op, "stream": True, **arguments}, ended=ended)
    channel.streams.append(theirs)
    return ours, channel, asyncio.ensure_future(bench.handlers[op](channel))


async def receive_all(sock):
    received = bytearray()
    with sock:
        while piece := await asyncio.get_running_loop().sock_recv(sock, 1 << 18):
            received += piece
    return bytes(received)


@pytest.mark.parametrize(
    ("offset", "length"), [(0, 0), (1, 0), (4096, 2 << 20), (0, len(CONTENT)), (7, 1 << 30)], ids=str
)
async def test_a_large_file_or_a_range_of_it_leaves_over_its_stream(bench, kernel_sends, offset, length):
    (bench.root / "a").write_bytes(CONTENT)
    ours, channel, reading = open_stream(bench, "file.read", path="a", offset=offset, length=length)
    expected = CONTENT[offset : offset + length] if length else CONTENT[offset:]
    assert await receive_all(ours) == expected
    assert await reading == {"bytes": len(expected)}
    assert channel.output() == b""
    assert channel.events[0]["info"]["size"] == len(CONTENT)


async def test_a_small_file_needs_no_stream(bench):
    (bench.root / "a").write_bytes(b"x" * (1 << 20))
    ours, channel, reading = open_stream(bench, "file.read", path="a", offset=0, length=0)
    assert await reading == {"bytes": 1 << 20}
    assert len(channel.output()) == 1 << 20
    channel.streams.pop().close()
    ours.close()


async def test_what_comes_over_a_stream_is_written_whole_and_its_digest_told(bench):
    ours, _, writing = open_stream(bench, "file.write", path="a/b", mode=0, sha256="")
    with ours:
        await asyncio.get_running_loop().sock_sendall(ours, CONTENT)
    result = await writing
    assert (result["sha256"], result["info"]["size"]) == (hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))
    assert (bench.root / "a/b").read_bytes() == CONTENT


async def test_a_file_that_is_cut_while_it_is_read_ends_there(bench):
    (bench.root / "a").write_bytes(CONTENT)
    ours, _, reading = open_stream(bench, "file.read", path="a", offset=0, length=0)
    loop = asyncio.get_running_loop()
    first = await loop.sock_recv(ours, 1)
    os.truncate(bench.root / "a", 1 << 20)
    received = first + await receive_all(ours)
    assert await reading == {"bytes": len(received)}
    assert 1 << 20 <= len(received) < len(CONTENT)


async def test_a_stream_that_breaks_off_leaves_the_old_file(bench):
    (bench.root / "a").write_bytes(b"old")
    ours, _, writing = open_stream(bench, "file.write", ended=False, path="a", mode=0, sha256="")
    with ours:
        await asyncio.get_running_loop().sock_sendall(ours, CONTENT)
    # The socket has ended, the content has not.
    done, _ = await asyncio.wait([writing], timeout=0.2)
    assert not done
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert (bench.names(), (bench.root / "a").read_bytes()) == (["a"], b"old")


async def test_a_file_over_its_limit_ends_the_stream_and_leaves_nothing(bench, limits):
    limits.file_bytes = 1 << 20
    ours, _, writing = open_stream(bench, "file.write", path="a", mode=0, sha256="")
    with ours, pytest.raises(ConnectionError):
        await asyncio.get_running_loop().sock_sendall(ours, CONTENT)
    with pytest.raises(OperationError) as caught:
        await writing
    assert (caught.value.code, caught.value.reason) == ("RESOURCE_EXHAUSTED", "FILE_TOO_LARGE")
    assert bench.names() == []


async def test_a_reader_who_goes_away_ends_the_read(bench, kernel_sends):
    (bench.root / "a").write_bytes(CONTENT)
    ours, _, reading = open_stream(bench, "file.read", path="a", offset=0, length=0)
    await asyncio.get_running_loop().sock_recv(ours, 1)
    ours.close()
    with pytest.raises(OperationError) as caught:
        await reading
    assert caught.value.code == "CANCELLED"


async def test_streams_that_nobody_reads_hold_up_no_other_file(bench):
    (bench.root / "a").write_bytes(CONTENT)
    stalled = [open_stream(bench, "file.read", path="a", offset=0, length=0) for _ in range(32)]
    idle = [open_stream(bench, "file.write", ended=False, path=f"b{number}", mode=0, sha256="") for number in range(32)]
    async with asyncio.timeout(20):
        await bench("file.write", [b"small"], path="small")
        assert await bench.read("small") == b"small"
    for ours, _, task in stalled + idle:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        ours.close()
    assert bench.names() == ["a", "small"]
