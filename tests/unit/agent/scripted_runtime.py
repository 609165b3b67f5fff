"""A runtime for tests: a unix socket that answers operations as a script says, well or badly."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Self

from sandbox_link.frames import (
    Frame,
    FrameDecoder,
    FrameType,
    Stream,
    encode,
    encode_data,
    encode_json,
)

if TYPE_CHECKING:
    from pathlib import Path

HELLO = {
    "type": "hello",
    "protocol": 1,
    "runtime_id": "r1",
    "session_uid": "",
    "restored": False,
    "workspace_root": "/workspace",
}


class ScriptedRuntime:
    """Listens at a path.

    Handlers are coroutine functions (peer, channel, arguments); `opened` has every OPEN that was seen.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.hello: dict[str, Any] = dict(HELLO)
        self.opened: list[dict[str, Any]] = []
        self.connections = 0
        self.handlers: dict[str, Any] = {"configure": self._configure, "restored": answer({}), "execute": print_hello}
        self.peers: list[Peer] = []
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, str(self.path))

    async def stop(self) -> None:
        self._server.close()
        for peer in list(self.peers):
            await peer.close()
        self.path.unlink(missing_ok=True)

    async def _configure(self, peer: Peer, channel: int, arguments: dict[str, Any]) -> None:
        self.hello["session_uid"] = arguments["session_uid"]
        peer.ok(channel, {"restored": self.hello["restored"], "runtime_id": self.hello["runtime_id"]})

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is None or not self._server.is_serving():
            # It was accepted while this stopped.
            writer.close()
            return
        self.connections += 1
        peer = Peer(reader, writer)
        self.peers.append(peer)
        peer.event(0, self.hello)
        tasks = set()
        with contextlib.suppress(OSError):
            async for frame in peer.frames():
                if frame.type is FrameType.OPEN:
                    arguments = frame.json()
                    self.opened.append(arguments)
                    handler = self.handlers.get(arguments["op"])
                    if handler is None:
                        peer.error(frame.channel, "UNIMPLEMENTED", "NOT_IMPLEMENTED", "no such op")
                        continue
                    task = asyncio.ensure_future(handler(peer, frame.channel, arguments))
                    tasks.add(task)
                else:
                    peer.inbox.setdefault(frame.channel, asyncio.Queue()).put_nowait(frame)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.peers.remove(peer)
        await peer.close()


class Peer:
    """One agent that is connected."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.inbox: dict[int, asyncio.Queue[Frame]] = {}

    async def frames(self):
        decoder = FrameDecoder()
        while data := await self.reader.read(1 << 16):
            for frame in decoder.feed(data):
                yield frame

    async def receive(self, channel: int) -> Frame:
        return await self.inbox.setdefault(channel, asyncio.Queue()).get()

    async def body(self, channel: int, size: int) -> bytes:
        received = b""
        while len(received) < size:
            frame = await self.receive(channel)
            assert frame.type is FrameType.DATA
            received += frame.payload[1:]
        return received

    def raw(self, data: bytes) -> None:
        self.writer.write(data)

    def event(self, channel: int, value: dict[str, Any]) -> None:
        self.raw(encode_json(FrameType.EVENT, channel, value))

    def data(self, channel: int, data: bytes, stream: Stream = Stream.STDOUT) -> None:
        self.raw(encode_data(channel, stream, data))

    def ok(self, channel: int, value: dict[str, Any]) -> None:
        self.raw(encode_json(FrameType.CLOSE, channel, {"ok": value}))

    def error(self, channel: int, code: str, reason: str, message: str, field: str = "") -> None:
        value = {"code": code, "reason": reason, "message": message, "field": field}
        self.raw(encode_json(FrameType.CLOSE, channel, {"error": value}))

    def window(self, channel: int, payload: bytes) -> None:
        self.raw(encode(FrameType.WINDOW, channel, payload))

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


DONE = {
    "status": "OK",
    "exit_code": 0,
    "duration": 0.01,
    "context_restarted": False,
    "dropped_bytes": 0,
    "execution_count": 1,
}


def answer(value: dict[str, Any]):
    """A handler that answers at once."""

    async def handle(peer: Peer, channel: int, _arguments: dict[str, Any]) -> None:
        peer.ok(channel, value)

    return handle


async def print_hello(peer: Peer, channel: int, arguments: dict[str, Any]) -> None:
    """A cell that prints `hello`, all in one write."""
    await peer.body(channel, arguments["code_bytes"])
    peer.event(channel, {"type": "started", "context_id": "python", "execution_count": 1})
    peer.data(channel, b"hello\n")
    peer.ok(channel, DONE)
