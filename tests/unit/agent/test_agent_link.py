from __future__ import annotations

import asyncio
import struct

import pytest

from sandbox_link.client import RuntimeLink
from sandbox_link.frames import INITIAL_WINDOW, FrameType, Stream, encode, encode_json
from sandbox_link.protocol import Data, Event, OperationError


@pytest.fixture
async def link(runtime):
    dialled = RuntimeLink(runtime.path, timeout=5)
    dialled.start()
    yield dialled
    await dialled.close()


async def send_late_window(peer, channel):
    peer.ok(channel, {})
    peer.window(channel, struct.pack("!I", 5))


def nested():
    return encode(FrameType.EVENT, 1, b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}")


FORGED = {
    "unknown frame type": struct.pack("!IBI", 5, 99, 1),
    "frame over its bound": struct.pack("!IBI", 0xFFFFFFFF, FrameType.DATA, 1),
    "length below its minimum": struct.pack("!IBI", 1, FrameType.DATA, 1),
    "channel nobody opened": encode(FrameType.DATA, 999, b"\1x"),
    "close of a channel nobody opened": encode_json(FrameType.CLOSE, 7, {"ok": {}}),
    "window of a channel nobody opened": encode(FrameType.WINDOW, 999, b"\0\0\0\1"),
    "open by the runtime": encode_json(FrameType.OPEN, 1, {"op": "x"}),
    "cancel by the runtime": encode(FrameType.CANCEL, 1),
    "data on channel 0": encode(FrameType.DATA, 0, b"\1x"),
    "second hello": encode_json(FrameType.EVENT, 0, {"type": "hello"}),
    "stream that is none": encode(FrameType.DATA, 1, b"\7x"),
    "data without a stream": encode(FrameType.DATA, 1, b""),
    "event that is no JSON": encode(FrameType.EVENT, 1, b"{"),
    "event that is no object": encode(FrameType.EVENT, 1, b"[]"),
    "event nested too deep": nested(),
    "event with a number too long": encode(FrameType.EVENT, 1, b'{"a":' + b"9" * 100_000 + b"}"),
    "event that is no UTF-8": encode(FrameType.EVENT, 1, b'{"a":"\xff"}'),
    "close that says nothing": encode_json(FrameType.CLOSE, 1, {}),
    "close that says both": encode_json(FrameType.CLOSE, 1, {"ok": {}, "error": {}}),
    "close with a result that is none": encode_json(FrameType.CLOSE, 1, {"ok": []}),
    "error with a code that is none": encode_json(
        FrameType.CLOSE, 1, {"error": {"code": "NOPE", "reason": "A", "message": ""}}
    ),
    "error that only the agent may give": encode_json(
        FrameType.CLOSE, 1, {"error": {"code": "UNAUTHENTICATED", "reason": "A", "message": ""}}
    ),
    "error with a reason that is none": encode_json(
        FrameType.CLOSE, 1, {"error": {"code": "ABORTED", "reason": "a b", "message": ""}}
    ),
    "error with a message that is none": encode_json(
        FrameType.CLOSE, 1, {"error": {"code": "ABORTED", "reason": "A", "message": 1}}
    ),
    "short window": encode(FrameType.WINDOW, 1, b"\1"),
    "absurd window": encode(FrameType.WINDOW, 1, b"\xff\xff\xff\xff"),
}


@pytest.mark.parametrize("name", FORGED)
async def test_a_forged_frame_fails_the_call_and_the_link_is_dialled_again(link, runtime, scripted, name):
    async def forge(peer, channel, arguments):
        peer.raw(FORGED[name])

    runtime.handlers["execute"] = forge
    call = await link.open("execute", {"code_bytes": 0})
    with pytest.raises(OperationError) as caught:
        async for _ in call:
            pass
    assert (caught.value.code, caught.value.reason) == ("UNAVAILABLE", "RUNTIME_UNAVAILABLE")
    runtime.handlers["execute"] = scripted.answer({})
    assert await link.call("execute", {}) == {}
    assert runtime.connections == 2


async def test_data_beyond_its_credit_ends_the_link(link, runtime):
    async def flood(peer, channel, arguments):
        for _ in range(INITIAL_WINDOW // (1 << 19) + 1):
            peer.data(channel, b"x" * (1 << 19))

    runtime.handlers["execute"] = flood
    call = await link.open("execute", {})
    # Not consumed while it arrives, so nothing is granted.
    async with asyncio.timeout(10):
        assert "more data than it had credit for" in await call._connection.wait_until_lost()
    with pytest.raises(OperationError, match="more data than it had credit for"):
        async for _ in call:
            pass


async def test_a_flood_of_events_fails_its_call_only(link, runtime, scripted):
    async def flood(peer, channel, arguments):
        for _ in range(40):
            peer.event(channel, {"type": "x" * 1_000_000})
        peer.ok(channel, {})

    runtime.handlers["execute"] = flood
    call = await link.open("execute", {})
    while not call.ended:  # noqa: ASYNC110 - nothing is consumed on purpose
        await asyncio.sleep(0)
    with pytest.raises(OperationError) as caught:
        await call.batch()
    assert caught.value.code == "RESOURCE_EXHAUSTED"
    runtime.handlers["status"] = scripted.answer({"running": 0})
    assert await link.call("status", {}) == {"running": 0}
    assert runtime.connections == 1


@pytest.mark.parametrize(
    "change",
    [
        {"type": "hi"},
        {"protocol": 2},
        {"runtime_id": ""},
        {"runtime_id": 7},
        {"restored": "yes"},
        {"session_uid": None},
        {"workspace_root": None},
    ],
)
async def test_a_runtime_with_a_wrong_hello_is_not_used(runtime, change):
    runtime.hello.update(change)
    link = RuntimeLink(runtime.path, timeout=0.3)
    link.start()
    with pytest.raises(OperationError) as caught:
        await link.open("status", {})
    assert caught.value.reason == "RUNTIME_UNAVAILABLE"
    assert link.runtime_id == ""
    await link.close()


async def test_closing_ends_at_whatever_moment_of_a_connection_it_comes(runtime):
    runtime.hello["protocol"] = 2
    for moment in range(60):
        link = RuntimeLink(runtime.path)
        link.start()
        for _ in range(moment):
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await link.close()


async def test_calls_are_interleaved_and_keep_their_order(link, runtime, scripted):
    async def count(peer, channel, arguments):
        for number in range(3):
            peer.event(channel, {"number": number})
            peer.data(channel, bytes([number]))
            await asyncio.sleep(0)
        peer.ok(channel, {"name": arguments["name"]})

    runtime.handlers["count"] = count
    calls = [await link.open("count", {"name": name}) for name in "ab"]
    for name, call in zip("ab", calls, strict=True):
        items = [item async for item in call]
        assert items == [item for n in range(3) for item in (Event({"number": n}), Data(Stream.STDOUT, bytes([n])))]
        assert call.result == {"name": name}


async def test_input_of_any_length_is_sent_under_credit(link, runtime):
    async def swallow(peer, channel, arguments):
        received = 0
        ungranted = 0
        while (frame := await peer.receive(channel)).type is FrameType.DATA:
            received += len(frame.payload) - 1
            ungranted += len(frame.payload)
            assert ungranted <= INITIAL_WINDOW
            if ungranted > INITIAL_WINDOW // 2:
                peer.window(channel, struct.pack("!I", ungranted))
                ungranted = 0
        peer.ok(channel, {"bytes": received})

    runtime.handlers["file.write"] = swallow
    call = await link.open("file.write", {})
    await call.send(b"x" * (3 * INITIAL_WINDOW))
    await call.end()
    assert [item async for item in call] == []
    assert call.result == {"bytes": 3 * INITIAL_WINDOW}


async def test_a_sender_without_credit_is_released_when_the_call_fails(link, runtime):
    async def refuse(peer, channel, arguments):
        await peer.receive(channel)
        peer.error(channel, "RESOURCE_EXHAUSTED", "DISK_FULL", "the disk is full", "")

    runtime.handlers["file.write"] = refuse
    call = await link.open("file.write", {})
    await call.send(b"x" * (3 * INITIAL_WINDOW))
    with pytest.raises(OperationError, match="disk is full"):
        await call.batch()


async def test_a_cancelled_call_ends_with_the_runtimes_close_and_grants_what_it_throws_away(link, runtime):
    async def stream(peer, channel, arguments):
        await peer.receive(channel)
        for _ in range(4):
            peer.data(channel, b"x" * 1_000_000, Stream.BODY)
        assert (await peer.receive(channel)).type is FrameType.WINDOW
        peer.ok(channel, {"bytes": 4_000_000})

    runtime.handlers["file.read"] = stream
    call = await link.open("file.read", {})
    await call.cancel()
    assert [item async for item in call] == []
    assert call.result == {"bytes": 4_000_000}


async def test_a_window_for_a_call_that_just_ended_is_no_offence(link, runtime, scripted):
    async def late(peer, channel, arguments):
        await send_late_window(peer, channel)

    runtime.handlers["late"] = late
    runtime.handlers["status"] = scripted.answer({})
    await link.call("late", {})
    await link.call("status", {})
    assert runtime.connections == 1


async def test_arguments_that_do_not_fit_into_a_frame_are_refused(link, runtime):
    with pytest.raises(OperationError) as caught:
        await link.call("run", {"shell": "x" * (2 << 20)})
    assert caught.value.code == "RESOURCE_EXHAUSTED"


async def test_no_runtime_is_unavailable_after_a_short_wait(tmp_path):
    link = RuntimeLink(tmp_path / "none.sock", timeout=0.2)
    link.start()
    with pytest.raises(OperationError) as caught:
        await link.call("status", {})
    assert (caught.value.code, caught.value.reason) == ("UNAVAILABLE", "RUNTIME_UNAVAILABLE")
    await link.close()


async def test_calls_wait_for_a_runtime_that_comes_up(scripted, tmp_path):
    link = RuntimeLink(tmp_path / "runtime.sock", timeout=10)
    link.start()
    waiting = asyncio.ensure_future(link.call("status", {}))
    async with scripted.ScriptedRuntime(tmp_path / "runtime.sock") as runtime:
        runtime.handlers["status"] = scripted.answer({"running": 1})
        assert await waiting == {"running": 1}
        await link.close()
