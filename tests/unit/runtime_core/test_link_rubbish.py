"""The runtime's end of the link: what an agent leaves half said, or a broken one says, costs that connection alone."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox_link.client_connection import ClientConnection
from sandbox_link.frames import FrameType, Stream, encode, encode_data, encode_json
from sandbox_runtime.link.server_connection import LinkServer

EXAMPLES = int(os.environ.get("SANDBOX_FUZZ_EXAMPLES", "100"))
HELLO = {
    "type": "hello",
    "protocol": 1,
    "runtime_id": "r1",
    "session_uid": "",
    "restored": False,
    "workspace_root": "/workspace",
}


async def within(seconds, awaitable):
    async with asyncio.timeout(seconds):
        return await awaitable


class World:
    """A runtime's link with an operation that answers with its input, and two that last until they are cancelled."""

    def __init__(self, runner, path):
        self.runner = runner
        self.path = path
        self.running: set[str] = set()
        self.lasting: set[str] = set()
        self.defects = []
        handlers = {"echo": self.echo, "passing": self.passing, "lasting": self.last}
        self.link = LinkServer(lambda: HELLO)
        self.link.handlers, self.link.starters = handlers, {"start": self.start}
        self.link.lasting = frozenset({"lasting"})

    async def echo(self, channel):
        received = []
        while (piece := await channel.receive()) is not None:
            received.append(piece)
        await channel.send(Stream.BODY, b"".join(received))
        return {"of": channel.arguments["of"]}

    async def passing(self, channel):
        name = str(channel.arguments.get("of"))
        self.running.add(name)
        try:
            await asyncio.Event().wait()
        finally:
            self.running.discard(name)

    async def last(self, channel):
        name = str(channel.arguments.get("of"))
        self.lasting.add(name)
        try:
            await asyncio.Event().wait()
        finally:
            self.lasting.discard(name)

    def start(self, channel):
        # As `execute`: it reads what it was given at once, right or wrong.
        channel.send_event({"size": channel.arguments["size"] + 1})
        channel.finish({})

    async def send(self, stream):
        """As an agent that says this and is gone."""
        reader, writer = await asyncio.open_unix_connection(str(self.path))
        writer.write(stream)
        with contextlib.suppress(OSError):
            await writer.drain()
            writer.write_eof()
            # The runtime hangs up once it has read all of it.
            while await reader.read(1 << 16):
                pass
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async def check_service(self):
        """The next agent is greeted and served."""
        connection = await ClientConnection.dial(self.path)
        await within(10, connection.wait_for_hello())
        call = await connection.open("echo", {"of": 5})
        await call.send(b"input")
        await call.end()
        assert b"".join([item.data async for item in call]) == b"input"
        assert call.result == {"of": 5}
        connection.fail("the test is over")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with asyncio.Runner() as runner:
        path = tmp_path_factory.mktemp("link") / "runtime.sock"
        made = World(runner, path)
        runner.get_loop().set_exception_handler(lambda _, context: made.defects.append(context))

        async def listen():
            return made.link.listen(path)

        stop = runner.run(listen())
        yield made
        stop()


def transcript():
    return [
        encode_json(FrameType.OPEN, 1, {"op": "echo", "of": 1}),
        encode_data(1, Stream.BODY, b"first "),
        encode_json(FrameType.OPEN, 2, {"op": "passing", "of": 2}),
        encode_json(FrameType.OPEN, 3, {"op": "start", "size": 1}),
        encode(FrameType.WINDOW, 1, struct.pack("!I", 5)),
        encode_data(1, Stream.BODY, b"second"),
        encode_json(FrameType.CLOSE, 1, {}),
        encode(FrameType.CANCEL, 2),
    ]


def test_an_agent_that_dies_at_any_byte_costs_only_what_it_had_asked_for(world):
    stream = b"".join(transcript())
    for end in range(len(stream) + 1):
        world.runner.run(within(10, world.send(stream[:end])))
        world.runner.run(within(10, world.check_service()))
        assert world.running == set()
    assert world.defects == []


def test_what_lasts_goes_on_when_its_agent_dies_in_the_middle_of_a_frame(world):
    stream = encode_json(FrameType.OPEN, 1, {"op": "lasting", "of": "a"})
    world.runner.run(world.send(stream + stream[:7]))
    world.runner.run(world.check_service())
    gc.collect()
    assert world.lasting == {"a"}
    assert world.defects == []


@st.composite
def rubbish(draw):
    """An agent's frames with things wrong in them, or noise."""
    frames = transcript()
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(frames) - 1))
        body = draw(st.one_of(st.binary(max_size=20), st.sampled_from([b"{}", b"[]", b'{"op":[]}', b'{"op":"start"}'])))
        length = draw(st.sampled_from([0, 5 + len(body), 5 + len(body), 6 + len(body), (1 << 32) - 1]))
        kind, channel = draw(st.integers(0, 8)), draw(st.integers(0, 4))
        frames.insert(place, struct.pack("!IBI", length, kind, channel) + body)
        if draw(st.booleans()):
            del frames[draw(st.integers(0, len(frames) - 1))]
    return b"".join(frames)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(stream=st.one_of(rubbish(), st.binary(max_size=60)))
def test_rubbish_costs_its_connection_alone(world, stream):
    world.runner.run(within(10, world.send(stream)))
    world.runner.run(within(10, world.check_service()))
    assert world.running == set()
    assert world.defects == []
