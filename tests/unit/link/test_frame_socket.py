from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox_link.frame_socket import FrameSocket
from sandbox_link.frames import (
    FrameDecoder,
    FrameType,
    Stream,
    data_pieces,
    encode,
    encode_data,
    encode_json,
    encode_window,
)


class Collector:
    def __init__(self) -> None:
        self.frames = []
        self.rounds = 0

    def on_read(self) -> None:
        """Nothing to hold."""

    def on_frame(self, frame) -> None:
        self.frames.append((frame.type, frame.channel, frame.payload))

    def on_round(self) -> None:
        self.rounds += 1


@pytest.fixture
async def pair():
    ends, sockets, collectors = [], [], []
    for sock in socket.socketpair():
        collector = Collector()
        collectors.append(collector)
        sockets.append(FrameSocket(sock, collector, ends.append))
    yield *sockets, *collectors, ends
    for end in sockets:
        end.close()


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - it looks at plain lists
            await asyncio.sleep(0)


@given(st.lists(st.integers(1, 40), max_size=60), st.integers(0, 60))
def test_frames_are_decoded_however_their_bytes_are_cut(cuts, size):
    frames = [
        encode_json(FrameType.OPEN, 1, {"op": "x"}),
        encode_data(1, Stream.BODY, b"b" * size),
        encode_data(1, Stream.STDOUT, b""),
        encode_window(1, 77),
        encode(FrameType.CANCEL, 1),
    ]
    data, decoder, decoded = b"".join(frames), FrameDecoder(), []
    for cut in cuts:
        piece, data = data[:cut], data[cut:]
        decoded += decoder.feed(piece)
    decoded += decoder.feed(data)
    again = [encode(frame.type, frame.channel, frame.payload) for frame in decoded]
    assert again == frames
    assert decoded[0].json() == {"op": "x"}
    assert decoded[3].window() == 77


@pytest.mark.parametrize("size", [0, 1, 4096, 4097, 1_000_000])
def test_pieces_of_data_are_its_frame(size):
    data = bytes(size)
    assert b"".join(data_pieces(5, Stream.STDERR, memoryview(data))) == encode_data(5, Stream.STDERR, data)


async def test_what_the_kernel_does_not_take_at_once_arrives_later_and_in_order(pair):
    near, far, _, collected, _ = pair
    told = []
    near.on_sent = lambda: told.append(near.unsent)
    far.pause()
    for number in range(40):
        for piece in data_pieces(number, Stream.STDOUT, memoryview(bytes([number]) * 200_000)):
            near.write(piece)
        near.send(encode_json(FrameType.EVENT, number, {"n": number}))
    assert near.unsent > 1 << 20
    assert not told
    far.resume()
    await until(lambda: len(collected.frames) == 80)
    expected = [
        frame
        for number in range(40)
        for frame in (
            (FrameType.DATA, number, b"\1" + bytes([number]) * 200_000),
            (FrameType.EVENT, number, b'{"n":%d}' % number),
        )
    ]
    assert collected.frames == expected
    await until(lambda: told == [0])


async def test_many_small_frames_leave_together(pair):
    near, _, _, collected, _ = pair
    for number in range(500):
        near.write(encode(FrameType.CANCEL, number))
    near.flush()
    await until(lambda: len(collected.frames) == 500)
    assert collected.rounds < 10


async def test_the_other_sides_end_is_told_once_with_its_reason(pair):
    near, far, _, _, ends = pair
    near.close()
    await until(lambda: ends)
    far.send(b"ignored")
    assert ends == ["the other side closed the connection"]


async def test_bytes_that_are_no_frames_end_the_connection_after_what_was_good(pair):
    near, _, _, collected, ends = pair
    near.send(encode(FrameType.CANCEL, 1) + b"\xff" * 9)
    await until(lambda: ends)
    assert collected.frames == [(FrameType.CANCEL, 1, b"")]
    assert ends[0].startswith("the other side broke the protocol: unknown frame type")


def count_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_attack_07_a_flood_of_descriptors_reaches_nobody(pair):
    """The kernel drops descriptors that come with frames: none stays open in the receiver, and the frames arrive."""
    before = count_descriptors()
    message = encode_data(1, Stream.BODY, b"x")
    sender, collector = pair[0]._socket, pair[3]
    for _ in range(100):
        socket.send_fds(sender, [message], [0] * 250)
        expected = len(collector.frames) + 1
        await until(lambda expected=expected: len(collector.frames) >= expected)
    assert count_descriptors() == before
    assert len(collector.frames) == 100
