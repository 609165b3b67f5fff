"""Large files over a stream, with a runtime that serves it well or badly."""

from __future__ import annotations

import asyncio
import contextlib
import os

import grpc
import pytest

from sandbox_agent.storage import timeouts
from sandbox_link.frames import FrameType, Stream
from sandbox_proto.v1 import file_pb2, file_pb2_grpc

CONTENT = os.urandom(1 << 20) * 3 + b"end"
INFO = {"path": "a", "type": "file", "size": len(CONTENT), "mode": 0o644, "mtime_ns": 10**18}
KEY = "0123456789abcdef" * 2


class StreamSocket:
    """The runtime's second socket: hands over who has dialled with KEY."""

    def __init__(self):
        self.arrived = asyncio.Queue()
        self.writers = []

    async def serve(self, reader, writer):
        self.writers.append(writer)
        assert await reader.readexactly(32) == KEY.encode()
        self.arrived.put_nowait((reader, writer))


@pytest.fixture
async def streams(runtime):
    # Before the agent dials, which reads it in the hello.
    runtime.hello["streams"] = True
    served = StreamSocket()
    server = await asyncio.start_unix_server(served.serve, str(runtime.path.with_name("stream.sock")))
    yield served
    server.close()
    for writer in served.writers:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@pytest.fixture
async def files(streams, client):
    return file_pb2_grpc.FileServiceStub(client)


def requests():
    yield file_pb2.WriteRequest(open={"path": "a"})
    for start in range(0, len(CONTENT), 1 << 20):
        yield file_pb2.WriteRequest(data=CONTENT[start : start + (1 << 20)])


async def read(files):
    return [part async for part in files.Read(file_pb2.ReadRequest(path="a"))]


async def close(writer):
    writer.close()
    await writer.wait_closed()


async def test_a_large_file_is_read_over_a_stream(files, runtime, streams):
    async def serve(peer, channel, arguments):
        assert arguments["stream"] is True
        peer.event(channel, {"type": "info", "info": INFO})
        peer.event(channel, {"type": "stream", "key": KEY})
        _, writer = await streams.arrived.get()
        writer.write(CONTENT)
        await writer.drain()
        peer.ok(channel, {"bytes": len(CONTENT)})
        await close(writer)

    runtime.handlers["file.read"] = serve
    info, *parts = await read(files)
    assert info.info.size == len(CONTENT)
    assert b"".join(part.data for part in parts) == CONTENT
    assert max(len(part.data) for part in parts) == 1 << 20


async def test_a_large_file_is_written_over_a_stream_and_a_small_one_in_frames(files, runtime, streams):
    received = []

    async def serve(peer, channel, arguments):
        if arguments["stream"]:
            peer.event(channel, {"type": "stream", "key": KEY})
            reader, writer = await streams.arrived.get()
            received.append(await reader.read())
            await close(writer)
        else:
            received.append((await peer.receive(channel)).payload[1:])
        assert (await peer.receive(channel)).type is FrameType.CLOSE
        peer.ok(channel, {"info": INFO, "sha256": "0" * 64})

    runtime.handlers["file.write"] = serve
    assert (await files.Write(requests())).info.path == "a"
    small = [file_pb2.WriteRequest(open={"path": "a"}), file_pb2.WriteRequest(data=b"small")]
    await files.Write(iter(small))
    assert received == [CONTENT, b"small"]


async def test_a_runtime_without_streams_gets_frames(files, runtime, agent):
    async def write(peer, channel, arguments):
        assert arguments["stream"] is False
        body = await peer.body(channel, len(CONTENT))
        assert (await peer.receive(channel)).type is FrameType.CLOSE
        peer.ok(channel, {"info": {**INFO, "size": len(body)}, "sha256": "0" * 64})

    async def serve(peer, channel, arguments):
        assert arguments["stream"] is False
        peer.event(channel, {"type": "info", "info": INFO})
        peer.data(channel, b"content", Stream.BODY)
        peer.ok(channel, {"bytes": 7})

    runtime.handlers.update({"file.write": write, "file.read": serve})
    del runtime.hello["streams"]
    await agent._link._connection.drain()
    agent._link._connection.fail("a runtime of an earlier version takes over")
    assert (await read(files))[1].data == b"content"

    async def window_granting(peer, channel, arguments):
        peer.window(channel, (8 << 20).to_bytes(4, "big"))
        await write(peer, channel, arguments)

    runtime.handlers["file.write"] = window_granting
    assert (await files.Write(requests())).info.size == len(CONTENT)


BAD_READS = {
    "a key that is none": ([{"type": "stream", "key": "../../x"}], None, {"bytes": 0}),
    "no key": ([{"type": "stream"}], None, {"bytes": 0}),
    "fewer bytes than it says": ([{"type": "stream", "key": KEY}], b"abc", {"bytes": 4}),
    "more bytes than it says": ([{"type": "stream", "key": KEY}], b"abc", {"bytes": 2}),
    "no number of bytes": ([{"type": "stream", "key": KEY}], b"abc", {}),
    "two streams": ([{"type": "stream", "key": KEY}] * 2, b"abc", {"bytes": 3}),
    "an info behind the stream": ([{"type": "stream", "key": KEY}, {"type": "info", "info": INFO}], b"", {"bytes": 0}),
}


@pytest.mark.parametrize("name", BAD_READS)
async def test_a_forged_stream_fails_the_read(files, runtime, streams, error_of, name):
    events, content, result = BAD_READS[name]

    async def serve(peer, channel, arguments):
        for event in events:
            peer.event(channel, event)
        if content is not None:
            _, writer = await streams.arrived.get()
            writer.write(content)
            await close(writer)
        peer.ok(channel, result)

    runtime.handlers["file.read"] = serve
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await read(files)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "RUNTIME_UNAVAILABLE" in error_of(caught.value)


async def test_where_nobody_listens_the_call_fails_and_the_next_goes_in_frames(files, runtime, streams):
    async def serve(peer, channel, arguments):
        if arguments["stream"]:
            peer.event(channel, {"type": "stream", "key": KEY})
            return
        peer.event(channel, {"type": "info", "info": INFO})
        peer.ok(channel, {"bytes": 0})

    runtime.handlers["file.read"] = serve
    runtime.path.with_name("stream.sock").unlink()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await read(files)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert len(await read(files)) == 1


async def test_a_full_disk_ends_a_write_in_its_middle(files, runtime, streams):
    async def serve(peer, channel, arguments):
        peer.event(channel, {"type": "stream", "key": KEY})
        reader, writer = await streams.arrived.get()
        await reader.readexactly(10)
        await close(writer)
        peer.error(channel, "RESOURCE_EXHAUSTED", "DISK_FULL", "full", "path")

    runtime.handlers["file.write"] = serve
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await files.Write(requests())
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_write_whose_content_was_not_taken_is_no_success(files, runtime, streams):
    async def serve(peer, channel, arguments):
        peer.event(channel, {"type": "stream", "key": KEY})
        reader, writer = await streams.arrived.get()
        await reader.readexactly(10)
        await close(writer)
        peer.ok(channel, {"info": INFO, "sha256": "0" * 64})

    runtime.handlers["file.write"] = serve
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await files.Write(requests())
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_client_who_goes_away_is_told_as_a_cancellation_never_as_an_end(files, runtime, streams):
    ends = asyncio.Queue()

    async def serve(peer, channel, arguments):
        peer.event(channel, {"type": "stream", "key": KEY})
        reader, writer = await streams.arrived.get()
        await reader.readexactly(len(CONTENT))
        call.cancel()
        ends.put_nowait((await peer.receive(channel)).type)
        assert await reader.read() == b""
        await close(writer)
        peer.error(channel, "CANCELLED", "CANCELLED", "cancelled")
        ends.put_nowait("closed")

    runtime.handlers["file.write"] = serve
    call = files.Write()
    for request in requests():
        await call.write(request)
    assert [await ends.get(), await ends.get()] == [FrameType.CANCEL, "closed"]


@pytest.mark.parametrize("method", ["read", "write"])
async def test_a_link_that_is_lost_ends_its_streams(files, runtime, streams, agent, method):
    async def serve(peer, channel, arguments):
        peer.event(channel, {"type": "stream", "key": KEY})
        reader, writer = await streams.arrived.get()
        writer.write(b"x")
        await writer.drain()
        agent._link._connection.fail("no sign of life")
        while await reader.read(1 << 20):
            pass
        await close(writer)

    runtime.handlers[f"file.{method}"] = serve
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await (read(files) if method == "read" else files.Write(requests()))
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("way", ["stream", "frames"])
async def test_a_runtime_that_trickles_a_file_does_not_keep_the_read_for_ever(
    files, runtime, streams, error_of, monkeypatch, way
):
    monkeypatch.setattr(timeouts, "REQUEST_TIMEOUT", 0.5)

    async def serve(peer, channel, arguments):
        peer.event(channel, {"type": "info", "info": INFO})
        writer = None
        if way == "stream":
            peer.event(channel, {"type": "stream", "key": KEY})
            _, writer = await streams.arrived.get()
        with contextlib.suppress(ConnectionError):
            while True:  # each byte comes well within any limit on silence
                await asyncio.sleep(0.05)
                if writer is not None:
                    writer.write(b"x")
                    await writer.drain()
                else:
                    peer.data(channel, b"x", Stream.BODY)

    runtime.handlers["file.read"] = serve
    async with asyncio.timeout(20):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await read(files)
    assert error_of(caught.value) == ("UNAVAILABLE", "RUNTIME_UNAVAILABLE", "")


HUNG = {
    "file.stat": lambda files: files.Stat(file_pb2.StatRequest(path="a")),
    "file.list": lambda files: files.List(file_pb2.ListFilesRequest(path="a")),
    "file.move": lambda files: files.Move(file_pb2.MoveRequest(source="a", destination="b")),
    "file.mkdir": lambda files: files.MakeDirectory(file_pb2.MakeDirectoryRequest(path="a")),
    "file.write": lambda files: files.Write(requests()),
    "file.read": read,
}


@pytest.mark.parametrize("op", HUNG)
async def test_a_runtime_that_never_answers_fails_the_call(files, runtime, streams, error_of, monkeypatch, op):
    monkeypatch.setattr(timeouts, "REQUEST_TIMEOUT", 0.3)

    async def hang(peer, channel, arguments):
        await asyncio.Event().wait()

    runtime.handlers[op] = hang
    async with asyncio.timeout(20):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await HUNG[op](files)
    assert error_of(caught.value) == ("UNAVAILABLE", "RUNTIME_UNAVAILABLE", "")
