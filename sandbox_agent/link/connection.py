"""One connection to the runtime: frames to calls and back, with credit. Every byte received is taken as hostile.

Bounds: DATA beyond its credit, frames on channels nobody opened, JSON of the wrong shape and a second hello end the
connection (FrameError inside, RUNTIME_UNAVAILABLE for its calls). EVENT frames are under no credit, so what waits to be
consumed on one channel is bounded by MAX_BACKLOG: beyond it that call alone fails.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from sandbox_agent.link.answers import read_close, read_hello
from sandbox_agent.link.calls import Data, Event, OperationError
from sandbox_agent.link.frames import (
    INITIAL_WINDOW,
    MAX_DATA,
    Frame,
    FrameDecoder,
    FrameError,
    FrameType,
    Stream,
    encode,
    encode_data,
    encode_json,
    encode_window,
)

if TYPE_CHECKING:
    from sandbox_agent.link.answers import Hello

MAX_CHANNELS: Final = 1024
MAX_BACKLOG: Final = 32 << 20
"""Bytes of one channel's frames that wait to be consumed, ITEM_COST included."""
ITEM_COST: Final = 128
"""Counted for each waiting frame, so that many tiny ones are bounded too."""
MAX_SEND_WINDOW: Final = 1 << 30
_GRANT_AT: Final = INITIAL_WINDOW // 4
_FLUSH_AT: Final = 64 << 10
_SEND_CHUNK: Final = 256 << 10

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Credit:
    """Bytes of DATA payload either way."""

    to_send: int = INITIAL_WINDOW
    to_receive: int = INITIAL_WINDOW
    to_grant: int = 0


class LinkCall:
    """A Call (see calls.py); beside iteration, `batch` hands over all that arrived together."""

    def __init__(self, connection: Connection, channel: int) -> None:
        self._connection = connection
        self._channel = channel
        self._waiting: deque[Frame] = deque()
        self._backlog = 0
        self._credit = _Credit()
        self._close: dict[str, Any] | OperationError | None = None
        self._discarding = False
        self._closed_by_runtime = False
        self._changed: asyncio.Future[None] | None = None
        self._credited = asyncio.Event()

    @property
    def result(self) -> dict[str, Any]:
        """The `ok` object; only after the iteration ended."""
        if not isinstance(self._close, dict):
            raise TypeError("the call has no result yet")
        return self._close

    @property
    def ended(self) -> bool:
        """The runtime's CLOSE was received (or the link lost) and everything before it was consumed."""
        return self._close is not None and not self._waiting

    def __aiter__(self) -> LinkCall:
        return self

    async def __anext__(self) -> Data | Event:
        if not await self._wait_for_items():
            raise StopAsyncIteration
        return self._consume()

    async def batch(self) -> list[Data | Event]:
        """Everything that waits, at least one item; empty at the end of the call.

        Raises:
            OperationError: The operation failed.
        """
        if not await self._wait_for_items():
            return []
        return [self._consume() for _ in range(len(self._waiting))]

    async def send(self, data: bytes) -> None:
        """Send input, waiting for credit and for the socket; nothing where the call has ended."""
        view = memoryview(data)
        while view and self._close is None:
            while self._credit.to_send <= 1 and self._close is None:
                self._credited.clear()
                await self._credited.wait()
            if self._close is not None:
                return
            piece = view[: min(self._credit.to_send - 1, _SEND_CHUNK)]
            self._credit.to_send -= 1 + len(piece)
            self._connection.write(encode_data(self._channel, Stream.BODY, piece))
            view = view[len(piece) :]
            await self._connection.drain()

    async def end(self) -> None:
        """Say that there is no more input."""
        if self._close is None:
            self._connection.write(encode_json(FrameType.CLOSE, self._channel, {}))

    async def cancel(self) -> None:
        """Ask the runtime to stop. What it still sends is thrown away; the iteration ends with its CLOSE."""
        self.discard()

    def discard(self) -> None:
        """As `cancel`, for callers that cannot await."""
        if self._close is None and not self._discarding:
            self._discarding = True
            self._connection.write(encode(FrameType.CANCEL, self._channel))
            while self._waiting:
                self._give_back(self._waiting.popleft())

    def break_off(self, reason: str) -> None:
        """See calls.Call."""
        self._connection.fail(f"the runtime broke the protocol: {reason}")

    def receive(self, frame: Frame) -> None:
        """Take a frame of this channel.

        Raises:
            FrameError: It breaks the protocol.
        """
        if frame.type is FrameType.WINDOW:
            self._receive_window(frame.window())
        elif frame.type is FrameType.CLOSE:
            self._closed_by_runtime = True
            self.finish(read_close(frame))
        elif frame.type is FrameType.DATA:
            self._receive_data(frame)
        elif frame.type is FrameType.EVENT:
            self._queue(frame)
        else:
            raise FrameError(f"the runtime must not send {frame.type.name}")

    def finish(self, close: dict[str, Any] | OperationError) -> None:
        """End the call; the first end counts."""
        if self._close is None:
            self._close = close
        self._credited.set()
        self._wake()

    def _receive_window(self, granted: int) -> None:
        self._credit.to_send += granted
        if self._credit.to_send > MAX_SEND_WINDOW:
            raise FrameError("the runtime granted an absurd window")
        self._credited.set()

    def _receive_data(self, frame: Frame) -> None:
        self._credit.to_receive -= len(frame.payload)
        if self._credit.to_receive < 0:
            raise FrameError("the runtime sent more data than it had credit for")
        if not frame.payload or frame.payload[0] > max(Stream):
            raise FrameError("a DATA frame without a known stream")
        self._queue(frame)

    def _queue(self, frame: Frame) -> None:
        if self._discarding or self._close is not None:
            self._give_back(frame)
            return
        self._backlog += ITEM_COST + len(frame.payload)
        self._waiting.append(frame)
        if self._backlog > MAX_BACKLOG:
            self.discard()
            message = "the operation produced more events than could be delivered"
            self.finish(OperationError("RESOURCE_EXHAUSTED", "OUTPUT_LIMIT", message))
        self._wake()

    async def _wait_for_items(self) -> bool:
        while not self._waiting:
            if isinstance(self._close, OperationError):
                raise self._close
            if self._close is not None:
                return False
            self._changed = asyncio.get_running_loop().create_future()
            try:
                await self._changed
            finally:
                self._changed = None
        return True

    def _wake(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    def _consume(self) -> Data | Event:
        frame = self._waiting.popleft()
        self._backlog -= ITEM_COST + len(frame.payload)
        self._give_back(frame)
        if frame.type is FrameType.DATA:
            return Data(Stream(frame.payload[0]), frame.payload[1:])
        try:
            return Event(frame.json())
        except FrameError as error:
            self._connection.fail(str(error))
            self._waiting.clear()
            raise _unavailable(str(error)) from error

    def _give_back(self, frame: Frame) -> None:
        if frame.type is not FrameType.DATA or self._closed_by_runtime:
            return
        credit = self._credit
        credit.to_grant += len(frame.payload)
        if credit.to_grant >= _GRANT_AT:
            self._connection.write(encode_window(self._channel, credit.to_grant))
            credit.to_receive += credit.to_grant
            credit.to_grant = 0


class Connection(asyncio.Protocol):
    """One connection, from hello to its loss; a Runtime of its own for the greeting."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._decoder = FrameDecoder()
        self._hello: asyncio.Future[Hello] = loop.create_future()
        self._lost: asyncio.Future[str] = loop.create_future()
        self._calls: dict[int, LinkCall] = {}
        self._last_channel = 0
        self._outgoing: list[bytes] = []
        self._outgoing_bytes = 0
        self._writable = asyncio.Event()
        self._writable.set()

    @property
    def hello(self) -> Hello:
        """What the runtime said of itself; only after wait_for_hello."""
        return self._hello.result()

    @property
    def runtime_id(self) -> str:
        """See calls.Runtime."""
        return self.hello.runtime_id

    @property
    def is_lost(self) -> bool:
        """Of no further use."""
        return self._lost.done()

    async def wait_for_hello(self) -> Hello:
        """The hello, or OperationError where the connection was lost before it."""
        return await asyncio.shield(self._hello)

    async def wait_until_lost(self) -> str:
        """Why the connection ended, once it has."""
        return await asyncio.shield(self._lost)

    async def open(self, op: str, arguments: dict[str, Any]) -> LinkCall:
        """See calls.Runtime."""
        if self._lost.done():
            raise _unavailable(self._lost.result())
        if len(self._calls) >= MAX_CHANNELS:
            raise OperationError("RESOURCE_EXHAUSTED", "TOO_MANY_CALLS", "too many operations are under way at once")
        channel = self._last_channel + 1
        try:
            frame = encode_json(FrameType.OPEN, channel, {"op": op, **arguments})
        except FrameError:
            raise OperationError("RESOURCE_EXHAUSTED", "INVALID_ARGUMENT", "the arguments are too long") from None
        self._last_channel = channel
        call = LinkCall(self, channel)
        self._calls[channel] = call
        self.write(frame)
        return call

    async def call(self, op: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """See calls.Runtime."""
        call = await self.open(op, arguments)
        try:
            while await call.batch():
                pass
        except BaseException:
            call.discard()
            raise
        return call.result

    def write(self, frame: bytes) -> None:
        """Send a frame soon; frames written in one turn of the loop leave in one piece."""
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(frame)
        self._outgoing_bytes += len(frame)
        if self._outgoing_bytes >= _FLUSH_AT:
            self._flush()

    async def drain(self) -> None:
        """Wait while the socket takes no more."""
        await self._writable.wait()

    def fail(self, reason: str) -> None:
        """End the connection and all its calls; the first reason counts."""
        if self._lost.done():
            return
        self._lost.set_result(reason)
        if self._transport is not None:
            self._transport.abort()
        error = _unavailable(reason)
        if not self._hello.done():
            self._hello.set_exception(error)
            self._hello.exception()  # it may be that nobody waits any more
        calls = list(self._calls.values())
        self._calls.clear()
        for call in calls:
            call.finish(_unavailable(reason))
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=MAX_DATA)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self.fail(str(exc) if exc else "the runtime closed the connection")

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._lost.done():
            return
        try:
            for frame in self._decoder.feed(data):
                self._receive(frame)
        except FrameError as error:
            _log.warning("the runtime broke the protocol: %s", error)
            self.fail(f"the runtime broke the protocol: {error}")

    def _receive(self, frame: Frame) -> None:
        if not self._hello.done():
            self._hello.set_result(read_hello(frame))
            return
        call = self._calls.get(frame.channel)
        if call is not None:
            # Forgotten only afterwards: a malformed CLOSE must fail this call too.
            call.receive(frame)
            if frame.type is FrameType.CLOSE:
                del self._calls[frame.channel]
        elif frame.channel == 0:
            _receive_notice(frame)
        elif frame.type is not FrameType.WINDOW or frame.channel > self._last_channel:
            raise FrameError(f"{frame.type.name} on channel {frame.channel}, which is not open")

    def _flush(self) -> None:
        outgoing, self._outgoing, self._outgoing_bytes = self._outgoing, [], 0
        if outgoing and self._transport is not None and not self._transport.is_closing():
            self._transport.write(outgoing[0] if len(outgoing) == 1 else b"".join(outgoing))


def _receive_notice(frame: Frame) -> None:
    if frame.type is not FrameType.EVENT:
        raise FrameError(f"{frame.type.name} on channel 0")
    if frame.json().get("type") == "hello":
        raise FrameError("a second hello")


def _unavailable(reason: str) -> OperationError:
    return OperationError("UNAVAILABLE", "RUNTIME_UNAVAILABLE", f"the link to the sandbox's runtime was lost: {reason}")
