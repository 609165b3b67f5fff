"""One operation on the link, on the runtime's side: input in order, output under the agent's credit.

Does no I/O itself: frames go to a `transmit` function. When the connection is lost, the channel is detached. It then
discards output without waiting, so that an execution continues to its end.
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
    from sandbox_runtime.link.listeners import BulkStreams

_GRANT_AT: Final = INITIAL_WINDOW // 4


class LinkChannel:
    """A `protocol.Channel`, and an `ExecutionSink`.

    Args:
        number: Its number on the link.
        arguments: The OPEN frame's object.
        transmit: Takes an encoded frame, or a piece of one.
        bulk_streams: Sockets for large files. None sends everything in frames.

    Attributes:
        detached: True once the connection is lost.
        on_input: Takes input as it arrives, instead of `receive`.
        on_writable: Called when `is_blocked` becomes false.
        on_end: Called once the CLOSE has been sent.
    """

    def __init__(
        self,
        number: int,
        arguments: dict[str, Any],
        transmit: Callable[[bytes | memoryview], None],
        bulk_streams: BulkStreams | None = None,
    ) -> None:
        self.number = number
        self._arguments = arguments
        self._transmit = transmit
        self._bulk_streams = bulk_streams
        self._input: deque[bytes] = deque()
        self._input_ended = False
        self._arrived: asyncio.Future[None] | None = None
        self._consumed = 0
        self._credit = INITIAL_WINDOW
        self._outbox: deque[bytes | tuple[Stream, memoryview]] = deque()
        self._is_blocked = False
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
        """True while output waits for credit."""
        return self._is_blocked

    def feed(self, payload: bytes | memoryview) -> None:
        """Take the payload of a DATA frame."""
        self._consumed += len(payload)
        data = bytes(payload[1:])
        if self.on_input is not None:
            self._grant()
            self.on_input(data)
            return
        self._input.append(data)
        self._wake()

    def end_input(self) -> None:
        """Handle the agent's CLOSE."""
        self._input_ended = True
        self._wake()

    async def receive(self) -> bytes | None:
        """Return the next piece of input, or None after the agent's CLOSE."""
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
        """Send output, waiting until it all has credit."""
        self.write(stream, data)
        while self._is_blocked:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter

    async def stream(self) -> socket.socket | None:
        """Return a non-blocking socket for a large file's content, or None if the agent did not offer one.

        Raises:
            OperationError: ABORTED: the agent did not connect in time.
        """
        if self._bulk_streams is None or self._arguments.get("stream") is not True:
            return None
        return await self._bulk_streams.take(lambda key: self.send_event({"type": "stream", "key": key}))

    def write(self, stream: Stream, data: bytes | bytearray | memoryview) -> None:
        """Send output, and queue it if there is no credit: check `is_blocked`. The data must not change afterwards."""
        if self.detached or not len(data):
            return
        self._outbox.append((stream, memoryview(data)))
        self._pump()

    def send_event(self, value: dict[str, Any]) -> None:
        """Send an event, in order with the data."""
        self._send_json(FrameType.EVENT, value)

    def finish(self, result: dict[str, Any]) -> None:
        """End the channel with a result. CLOSE follows the queued output, and then `on_end` is called."""
        self._end({"ok": result})

    def fail(self, error: OperationError) -> None:
        """End the channel with an error."""
        message = error.describe(self.arguments)[:8192]
        value = {"code": error.code, "reason": error.reason, "message": message, "field": error.field}
        self._end({"error": value})

    def grant(self, credit: int) -> None:
        """Add the credit of a WINDOW frame."""
        self._credit += credit
        self._pump()

    def detach(self) -> None:
        """Handle the loss of the connection."""
        self.detached = True
        self._outbox.clear()
        self.end_input()
        self._unblock()

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
            error = {
                "code": "INTERNAL",
                "reason": "INVALID_ARGUMENT",
                "message": "the result is too large",
                "field": "",
            }
            frame = encode_json(FrameType.CLOSE, self.number, {"error": error}) if type_ is FrameType.CLOSE else b""
        if self._outbox:
            self._outbox.append(frame)
        else:
            self._transmit(frame)

    def _pump(self) -> None:
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
                self._is_blocked = True
                return
            self._credit -= size + 1
            for piece in data_pieces(self.number, stream, data[:size]):
                self._transmit(piece)
            if size == len(data):
                self._outbox.popleft()
            else:
                self._outbox[0] = (stream, data[size:])
        if self._is_blocked:
            self._unblock()
        if self._closing and self.on_end is not None:
            self.on_end(self)

    def _unblock(self) -> None:
        self._is_blocked = False
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
