"""One operation on the link, the runtime's side: input in order, output under the agent's credit.

Implements `link.calls.Channel`. No I/O of its own: frames go to the `transmit` function it is given. When the
connection is lost it is detached: output is then
discarded without waiting, so that an execution goes on to its end.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from sandbox_link.frames import (
    INITIAL_WINDOW,
    MAX_DATA,
    FrameError,
    FrameType,
    Stream,
    data_pieces,
    encode_json,
    encode_window,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from sandbox_link.protocol import OperationError
    from sandbox_runtime.link.streams import Streams

_GRANT_AT: Final = INITIAL_WINDOW // 4


class LinkChannel:
    """A channel of the link.

    Args:
        number: Its number on the link.
        arguments: The OPEN frame's object.
        transmit: Takes an encoded frame, or a piece of one.
        streams: For large files; None: everything goes in frames.
    """

    def __init__(
        self,
        number: int,
        arguments: dict[str, Any],
        transmit: Callable[[bytes | memoryview], None],
        streams: Streams | None = None,
    ) -> None:
        self.number = number
        self._arguments = arguments
        self._transmit = transmit
        self._streams = streams
        self._input: deque[bytes] = deque()
        self._input_ended = False
        self._arrived: asyncio.Future[None] | None = None
        self._consumed = 0
        self._credit = INITIAL_WINDOW
        self._outbox: deque[bytes | tuple[Stream, memoryview]] = deque()
        self._waiters: list[asyncio.Future[None]] = []
        self.detached = False
        self.on_input: Callable[[bytes], None] | None = None
        self.on_writable: Callable[[], None] | None = None
        self.on_end: Callable[[LinkChannel], None] | None = None
        self._closing = False

    @property
    def arguments(self) -> dict[str, Any]:
        """The OPEN frame's object, `op` included."""
        return self._arguments

    @property
    def is_blocked(self) -> bool:
        """Whether output waits for credit; `on_writable` is called when it no longer does."""
        return bool(self._outbox)

    def feed(self, payload: bytes | memoryview) -> None:
        """A DATA frame arrived."""
        self._consumed += len(payload)
        data = bytes(payload[1:])
        if self.on_input is not None:
            self._grant()
            self.on_input(data)
            return
        self._input.append(data)
        self._wake()

    def end_input(self) -> None:
        """The agent's CLOSE arrived."""
        self._input_ended = True
        self._wake()

    async def receive(self) -> bytes | None:
        """The next piece of input; None after the agent's CLOSE."""
        while not self._input:
            if self._input_ended:
                return None
            self._arrived = asyncio.get_running_loop().create_future()
            await self._arrived
        data = self._input.popleft()
        if not self._input:
            self._grant()
        return data

    async def send(self, stream: Stream, data: bytes | memoryview) -> None:
        """Send output, waiting until all of it is under way."""
        self.write(stream, data)
        while self._outbox and not self.detached:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter

    async def stream(self) -> socket.socket | None:
        """See calls.Channel."""
        if self._streams is None or self._arguments.get("stream") is not True:
            return None
        return await self._streams.take(lambda key: self.send_event({"type": "stream", "key": key}))

    def write(self, stream: Stream, data: bytes | bytearray | memoryview) -> None:
        """Send output, keeping what there is no credit for; watch `is_blocked`. The data must not change later."""
        if self.detached or not len(data):
            return
        self._outbox.append((stream, memoryview(data)))
        self._pump()

    def send_event(self, value: dict[str, Any]) -> None:
        """Send an event, in order with the data."""
        self._send_json(FrameType.EVENT, value)

    def finish(self, result: dict[str, Any]) -> None:
        """End the channel well. CLOSE waits for output that waits for credit; `on_end` is called once it is sent."""
        self._end({"ok": result})

    def fail(self, error: OperationError) -> None:
        """End the channel with an error."""
        value = {"code": error.code, "reason": error.reason, "message": error.message[:8192], "field": error.field}
        self._end({"error": value})

    def grant(self, credit: int) -> None:
        """A WINDOW frame arrived."""
        self._credit += credit
        self._pump()

    def detach(self) -> None:
        """The connection is lost."""
        self.detached = True
        self._outbox.clear()
        self.end_input()
        self._became_writable()

    def _end(self, value: dict[str, Any]) -> None:
        if self._closing:
            return
        self._closing = True
        self.on_writable = None
        self._send_json(FrameType.CLOSE, value)
        self._pump()

    def _send_json(self, type_: FrameType, value: dict[str, Any]) -> None:
        if self.detached:
            return
        try:
            frame = encode_json(type_, self.number, value)
        except FrameError:
            error = {"code": "INTERNAL", "reason": "INVALID_ARGUMENT", "message": "answer too large", "field": ""}
            frame = encode_json(FrameType.CLOSE, self.number, {"error": error}) if type_ is FrameType.CLOSE else b""
        if self._outbox:
            self._outbox.append(frame)
        else:
            self._transmit(frame)

    def _pump(self) -> None:
        was_blocked = False
        while self._outbox:
            item = self._outbox[0]
            if isinstance(item, bytes):
                self._transmit(item)
                self._outbox.popleft()
                continue
            stream, data = item
            # The stream tag counts as payload too.
            size = min(len(data), MAX_DATA - 1, self._credit - 1)
            if size <= 0:
                was_blocked = True
                break
            self._credit -= size + 1
            for piece in data_pieces(self.number, stream, data[:size]):
                self._transmit(piece)
            if size == len(data):
                self._outbox.popleft()
            else:
                self._outbox[0] = (stream, data[size:])
        if not was_blocked:
            self._became_writable()
            if self._closing and self.on_end is not None:
                self.on_end(self)

    def _became_writable(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
        if self.on_writable is not None:
            self.on_writable()

    def _grant(self) -> None:
        if self._consumed >= _GRANT_AT and not self.detached:
            self._transmit(encode_window(self.number, self._consumed))
            self._consumed = 0

    def _wake(self) -> None:
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)
