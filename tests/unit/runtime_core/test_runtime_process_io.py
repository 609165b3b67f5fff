"""Input and output of commands and background processes: order, back pressure, ends. Pipes and terminals are real."""

import asyncio
import os
from pathlib import Path

import pytest

from sandbox_link.frames import FrameDecoder, FrameType
from sandbox_link.protocol import OperationError
from sandbox_runtime.link.channel import LinkChannel
from sandbox_runtime.processes.command import _Output
from sandbox_runtime.processes.stdio import Pipes, ProcessInput, Terminal


async def several_rounds():
    for _ in range(5):
        await asyncio.sleep(0.001)


async def test_output_of_a_fast_command_waits_for_started():
    frames = []
    decoder = FrameDecoder()
    channel = LinkChannel(1, {}, lambda frame: frames.extend(decoder.feed(frame)))
    output = _Output(channel, 1000)
    os.write(output.descriptors()[0], b"fast")
    await several_rounds()
    assert frames == []
    channel.send_event({"type": "started", "pid": 1})
    output.resume()
    output.close_writes()
    await several_rounds()
    output.end()
    assert [frame.type for frame in frames] == [FrameType.EVENT, FrameType.DATA]
    assert frames[1].payload[1:] == b"fast"


async def test_input_is_queued_whole_or_not_at_all():
    read, write = os.pipe()
    source = ProcessInput(write)
    await source.write(b"a" * (1 << 20), end=False)
    waiting = asyncio.create_task(source.write(b"b" * (1 << 20), end=False))
    await several_rounds()
    assert not waiting.done()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    last = asyncio.create_task(source.write(b"c", end=True))
    received = bytearray()
    while piece := await asyncio.to_thread(os.read, read, 1 << 16):
        received += piece
    await last
    assert bytes(received) == b"a" * (1 << 20) + b"c"
    with pytest.raises(OperationError) as refused:
        await source.write(b"d", end=False)
    assert (refused.value.code, refused.value.reason, refused.value.field) == (
        "FAILED_PRECONDITION",
        "INPUT_CLOSED",
        "data",
    )
    os.close(read)


async def test_input_that_nobody_reads_any_more_is_refused_also_while_it_waits():
    read, write = os.pipe()
    source = ProcessInput(write)
    await source.write(b"a" * (1 << 20), end=False)
    waiting = asyncio.create_task(source.write(b"b" * (1 << 20), end=False))
    await several_rounds()
    os.close(read)
    with pytest.raises(OperationError) as refused:
        await waiting
    assert refused.value.reason == "INPUT_CLOSED"
    source.close()


def open_descriptors():
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.parametrize(
    "make",
    [
        lambda take: Pipes(take, b"", end_input=False),
        lambda take: Pipes(take, b"x", end_input=True),
        lambda take: Terminal(take, 24, 80),
    ],
)
async def test_closing_leaves_no_descriptor_behind(make):
    before = open_descriptors()
    ends = make(lambda _stream, _data: None)
    assert open_descriptors() > before
    ends.close_child()
    ends.close()
    ends.close()
    assert open_descriptors() == before


async def test_a_terminal_that_everybody_closed_has_ended():
    seen = []
    terminal = Terminal(lambda stream, data: seen.append((stream.name, data)), 24, 80)
    (reader,) = terminal.readers
    os.write(terminal.descriptors()[0], b"last\n")
    terminal.close_child()
    reader.resume()
    await several_rounds()
    assert seen == [("STDOUT", b"last\r\n")]
    terminal.close()
