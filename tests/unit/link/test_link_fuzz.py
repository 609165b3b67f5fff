"""The agent's end of the link against forged bytes: real sockets, the real connection, no agent around it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import os
import random
import socket
import struct

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sandbox_link import client_connection as connection_module
from sandbox_link.client_call import MAX_BACKLOG
from sandbox_link.client_connection import ClientConnection
from sandbox_link.frames import MAX_DATA, FrameType, Stream, encode, encode_data, encode_json
from sandbox_link.protocol import Data, Event, OperationError
from sandbox_link.validation import AGENT_REASONS, CODES, MAX_MESSAGE

HELLO = {
    "type": "hello",
    "protocol": 1,
    "runtime_id": "r1",
    "session_uid": "",
    "restored": False,
    "workspace_root": "/workspace",
}
HEADER = struct.Struct("!IBI")
EXAMPLES = int(os.environ.get("SANDBOX_FUZZ_EXAMPLES", "150"))
FUZZ = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def runner():
    with asyncio.Runner() as running:
        yield running


def transcript() -> list[bytes]:
    """What an honest runtime says of three calls that run at once; each byte of output names its call."""
    return [
        encode_json(FrameType.EVENT, 1, {"type": "started", "of": 1}),
        encode_data(1, Stream.STDOUT, b"one-"),
        encode_json(FrameType.EVENT, 2, {"type": "started", "of": 2}),
        encode_data(2, Stream.STDERR, b"two-"),
        encode(FrameType.WINDOW, 3, struct.pack("!I", 7)),
        encode_data(1, Stream.STDOUT, b"one"),
        encode_json(FrameType.EVENT, 0, {"type": "context_exited", "context_id": "python", "reason": "x"}),
        encode_data(3, Stream.BODY, b"three"),
        encode_json(FrameType.CLOSE, 2, {"ok": {"of": 2}}),
        encode_data(1, Stream.BODY, b"one!"),
        encode_json(
            FrameType.CLOSE, 3, {"error": {"code": "NOT_FOUND", "reason": "FILE_NOT_FOUND", "message": "of 3"}}
        ),
        encode_json(FrameType.CLOSE, 1, {"ok": {"of": 1}}),
    ]


CALLS = (1, 2, 3)
ENDS = {1: {"of": 1}, 2: {"of": 2}, 3: ("NOT_FOUND", "FILE_NOT_FOUND", "of 3")}
LOST = ("UNAVAILABLE", "RUNTIME_UNAVAILABLE")


def told(stream: bytes) -> dict[int, list[Data | Event]]:
    """What the bytes say to each channel, read without any check: nobody may get anything else, or in another order."""
    said: dict[int, list[Data | Event]] = {}
    position = 0
    while len(stream) - position >= HEADER.size:
        length, kind, channel = HEADER.unpack_from(stream, position)
        end = position + 4 + max(length, 5)
        if end > len(stream):
            break
        payload = stream[position + HEADER.size : end]
        position = end
        if kind == FrameType.DATA and payload and payload[0] in set(Stream):
            said.setdefault(channel, []).append(Data(Stream(payload[0]), payload[1:]))
        elif kind == FrameType.EVENT:
            try:
                value = json.loads(payload)
            except (ValueError, RecursionError):
                value = None
            said.setdefault(channel, []).append(Event(value))
    return said


async def follow(call):
    """All items of a call, and how it ended."""
    items = []
    try:
        while batch := await call.batch():
            items += batch
    except OperationError as error:
        return items, (error.code, error.reason, error.message)
    return items, call.result


async def within(seconds, awaitable):
    async with asyncio.timeout(seconds):
        return await awaitable


async def play(stream: bytes, cuts: tuple[int, ...] = ()):
    """Send these bytes behind a hello to an agent's connection with three calls, then hang up.

    Returns:
        What each call got and how it ended; all of them end.
    """
    loop = asyncio.get_running_loop()
    unexpected = []
    loop.set_exception_handler(lambda _, context: unexpected.append(context))
    connection, theirs = await linked()
    following = [asyncio.ensure_future(follow(await connection.open("execute", {}))) for _ in CALLS]
    with theirs:
        for start, end in itertools.pairwise((0, *sorted(cuts), len(stream))):
            try:
                await loop.sock_sendall(theirs, stream[start:end])
            except OSError:
                break
            await asyncio.sleep(0)
    outcomes = await within(10, asyncio.gather(*following))
    assert connection.is_lost
    assert not connection._calls
    assert unexpected == []
    return dict(zip(CALLS, outcomes, strict=True))


@contextlib.contextmanager
def no_defects():
    """No frame, however forged, reaches code that did not reckon with it: the agent logs an error where one does."""
    messages = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: messages.append(record.getMessage())
    logger = logging.getLogger("sandbox_link")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
    assert messages == []


def check(stream: bytes, outcomes) -> None:
    said = told(stream)
    for channel, (items, end) in outcomes.items():
        assert items == said.get(channel, [])[: len(items)]
        if isinstance(end, tuple):
            code, reason, message = end
            assert code in CODES
            assert reason not in AGENT_REASONS
            assert len(message.encode()) <= MAX_MESSAGE + 200
        else:
            assert isinstance(end, dict)


def test_a_connection_cut_at_any_byte_gives_each_call_what_came_whole_and_tells_the_others_that_it_was_lost(runner):
    stream = b"".join(transcript())
    closes = {}
    position = 0
    for frame in transcript():
        position += len(frame)
        if frame[4] == FrameType.CLOSE:
            closes[frame[8]] = position
    for end in range(len(stream) + 1):
        cut = stream[:end]
        said = told(cut)
        for channel, (items, ending) in runner.run(play(cut)).items():
            assert items == said.get(channel, [])
            if closes[channel] <= end:
                assert ending == ENDS[channel]
            else:
                assert ending[:2] == LOST


@FUZZ
@given(cuts=st.lists(st.integers(0, sum(map(len, transcript()))), max_size=40))
def test_honest_frames_arrive_alike_in_whatever_pieces_they_come(runner, cuts):
    stream = b"".join(transcript())
    said = told(stream)
    outcomes = runner.run(play(stream, tuple(cuts)))
    assert outcomes == {channel: (said[channel], ENDS[channel]) for channel in CALLS}


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, -1, 1 << 31, 1 << 63, (1 << 64) - 1, 10**400, -(10**400)]),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["", "\ud800", "\0", "x" * 5000, "€" * 3000, "UNAUTHENTICATED", "NOT_BOUND", "OK"]),
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)


def often(value, other):
    return st.one_of(st.just(value), st.just(value), other)


ERRORS = st.fixed_dictionaries(
    {
        "code": st.one_of(st.sampled_from(sorted(CODES)), JSON),
        "reason": st.one_of(st.sampled_from(["FILE_NOT_FOUND", "a b", *sorted(AGENT_REASONS)]), JSON),
        "message": often("m", JSON),
    },
    optional={"field": often("path", JSON), "more": JSON},
)
CLOSES = st.one_of(
    st.fixed_dictionaries({"ok": JSON}),
    st.fixed_dictionaries({"error": st.one_of(ERRORS, JSON)}),
    st.fixed_dictionaries({"error": ERRORS, "ok": JSON}),
)
PAYLOADS = st.one_of(
    CLOSES.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass")),
    JSON.map(lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")),
    st.dictionaries(st.text(max_size=5), JSON, max_size=3).map(lambda value: json.dumps(value).encode("utf-16")),
    st.binary(max_size=40),
    st.sampled_from(
        [
            b"",
            b"{",
            b'{"ok":NaN}',
            b'{"ok":{"a":-Infinity,"b":1e999}}',
            b'{"ok":' + b"[" * 50_000,
            b'{"a":' * 2_000 + b"1" + b"}" * 2_000,
            b'{"a":' + b"7" * 5_000 + b"}",
            b'{"ok":{},"ok":[]}',
            b'{"error":{"code":["NOT_FOUND"],"reason":"A","message":""}}',
            b'{"error":{"code":{},"reason":"A","message":""}}',
            b'{"a":"\xff\xfe"}',
            b"\xef\xbb\xbf{}",
        ]
    ),
)


@st.composite
def forged(draw):  # noqa: C901 - one case for each kind of forgery
    """An honest transcript with one to four things wrong with it."""
    frames = transcript()
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(frames) - 1))
        frame = frames[place]
        length, kind, channel = HEADER.unpack_from(frame)
        match draw(st.sampled_from(["flip", "again", "move", "drop", "channel", "type", "length", "body", "insert"])):
            case "flip":
                flipped = bytearray(frame)
                flipped[draw(st.integers(0, len(frame) - 1))] ^= 1 << draw(st.integers(0, 7))
                frames[place] = bytes(flipped)
            case "again":
                frames.insert(draw(st.integers(0, len(frames))), frame)
            case "move":
                other = draw(st.integers(0, len(frames) - 1))
                frames[place], frames[other] = frames[other], frame
            case "drop" if len(frames) > 1:
                del frames[place]
            case "channel":
                number = draw(st.sampled_from([0, 1, 2, 3, 4, 1 << 16, (1 << 32) - 1]))
                frames[place] = HEADER.pack(length, kind, number) + frame[HEADER.size :]
            case "type":
                frames[place] = HEADER.pack(length, draw(st.integers(0, 255)), channel) + frame[HEADER.size :]
            case "length":
                near = [max(length, 1) - 1, min(length, 1 << 30) + 1]
                wrong = draw(st.sampled_from([0, 4, 5, 6, *near, MAX_DATA + 6, (1 << 32) - 1]))
                frames[place] = HEADER.pack(wrong, kind, channel) + frame[HEADER.size :]
            case "body":
                body = draw(PAYLOADS)
                frames[place] = HEADER.pack(5 + len(body), kind, channel) + body
            case "insert":
                body = draw(PAYLOADS)
                kinds = [FrameType.EVENT, FrameType.CLOSE, FrameType.DATA, FrameType.WINDOW]
                header = HEADER.pack(5 + len(body), draw(st.sampled_from(kinds)), draw(st.integers(0, 4)))
                frames.insert(place, header + body)
    return b"".join(frames)


@FUZZ
@given(stream=forged(), cuts=st.lists(st.integers(0, 500), max_size=4))
@example(stream=encode(FrameType.CLOSE, 1, b'{"error":{"code":[],"reason":"A","message":""}}'), cuts=[])
@example(stream=encode(FrameType.CLOSE, 2, b'{"error":{"code":"ABORTED","reason":"NOT_BOUND","message":""}}'), cuts=[])
def test_forged_frames_end_calls_cleanly_and_give_none_of_them_anothers_bytes(runner, stream, cuts):
    with no_defects():
        outcomes = runner.run(play(stream, tuple(min(cut, len(stream)) for cut in cuts)))
    check(stream, outcomes)


@FUZZ
@given(stream=st.binary(max_size=300))
def test_noise_ends_calls_cleanly(runner, stream):
    with no_defects():
        outcomes = runner.run(play(stream))
    check(stream, outcomes)


async def linked():
    """A connection that was greeted, and the runtime's end of it."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)  # noqa: FBT003 - the standard library's signature
    connection = ClientConnection(ours)
    theirs.send(encode_json(FrameType.EVENT, 0, HELLO))
    await connection.wait_for_hello()
    return connection, theirs


async def test_what_waits_in_all_calls_together_is_bounded_and_the_largest_fails(monkeypatch):
    monkeypatch.setattr(connection_module, "MAX_BACKLOGS", 4 << 20)
    connection, theirs = await linked()
    calls = [await connection.open("execute", {}) for _ in range(8)]
    numbers = random.Random(1)
    largest = 0
    for _ in range(60):
        channel = numbers.randint(1, len(calls))
        size = 500_000 if channel == 1 else 200_000
        frame = encode_json(FrameType.EVENT, channel, {"type": "x" * size})
        await asyncio.get_running_loop().sock_sendall(theirs, frame)
        largest = max(largest, connection._backlog)
    assert largest <= (4 << 20) + (1 << 20) < MAX_BACKLOG
    first = await follow(calls[0])
    assert first[1][:2] == ("RESOURCE_EXHAUSTED", "OUTPUT_LIMIT")
    assert not connection.is_lost
    theirs.close()
    ends = [end[:2] for _, end in await asyncio.gather(*map(follow, calls[1:]))]
    assert set(ends) <= {LOST, ("RESOURCE_EXHAUSTED", "OUTPUT_LIMIT")}
    assert connection._backlog == 0


async def test_events_that_are_small_on_the_wire_and_large_in_memory_are_parsed_a_few_at_a_time():
    connection, theirs = await linked()
    call = await connection.open("execute", {})
    event = encode(FrameType.EVENT, 1, b'{"a":[' + b"[]," * 130_000 + b"[]]}")
    for _ in range(10):
        await asyncio.get_running_loop().sock_sendall(theirs, event)
    theirs.close()
    await connection.wait_until_lost()
    sizes = []
    with contextlib.suppress(OperationError):
        while True:
            sizes.append(len(await call.batch()))
    assert (sum(sizes), max(sizes)) == (10, 3)


async def test_a_runtime_that_leaves_cancelled_calls_open_is_hung_up_on(monkeypatch):
    monkeypatch.setattr(connection_module, "MAX_CHANNELS", 8)
    connection, theirs = await linked()
    with theirs:
        for _ in range(8):
            await (await connection.open("file.read", {})).cancel()
        with pytest.raises(OperationError, match="did not end 8 cancelled operations"):
            await connection.open("file.read", {})
        assert connection.is_lost


async def test_calls_that_are_merely_many_do_not_cost_the_connection(monkeypatch):
    monkeypatch.setattr(connection_module, "MAX_CHANNELS", 8)
    connection, theirs = await linked()
    with theirs:
        for _ in range(8):
            await connection.open("execute", {})
        with pytest.raises(OperationError) as caught:
            await connection.open("execute", {})
        assert caught.value.reason == "TOO_MANY_CALLS"
        assert not connection.is_lost
        connection.fail("the test is over")


async def test_a_runtime_that_falls_silent_is_hung_up_on():
    connection, theirs = await linked()
    with theirs:
        call = await connection.open("execute", {})
        await within(10, connection.watch(silence=0.02, timeout=0.1))
        _, end = await follow(call)
    assert end == (
        *LOST,
        "the link to the sandbox's runtime was lost (the runtime gave no sign of life for 0.1 s): try again",
    )


async def test_a_runtime_that_only_answers_when_asked_is_not_silent():
    connection, theirs = await linked()
    loop = asyncio.get_running_loop()
    await connection.open("execute", {})
    watching = asyncio.ensure_future(connection.watch(silence=0.02, timeout=5))
    asked, began = 0, loop.time()
    with theirs:
        while asked < 3:
            data = await loop.sock_recv(theirs, 1 << 16)
            asked += data.count(b'"status"')
            if b'"status"' in data:
                channel = struct.unpack_from("!I", data, data.index(b'{"op":"status"') - 4)[0]
                await loop.sock_sendall(theirs, encode_json(FrameType.CLOSE, channel, {"ok": {"running": 0}}))
        assert not connection.is_lost
        assert loop.time() - began < 4
    await within(10, watching)
