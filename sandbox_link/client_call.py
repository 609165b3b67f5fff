"""One operation of the runtime as the agent follows it: its items in order, and credit for both directions.

Treats every byte from the runtime as hostile. EVENT frames need no credit, so MAX_BACKLOG bounds the bytes that wait to
be consumed. The connection's MAX_BACKLOGS bounds those of all calls together. A call that exceeds a bound fails. Events
are parsed a few at a time, because hostile JSON takes about twenty times its length in memory.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from sandbox_link.bulk_streams import read_key
from sandbox_link.frames import (
    INITIAL_WINDOW,
    Frame,
    FrameError,
    FrameType,
    Stream,
    data_pieces,
    encode,
    encode_json,
    encode_window,
)
from sandbox_link.protocol import Data, Event, OperationError
from sandbox_link.validation import read_close

if TYPE_CHECKING:
    import socket
    from contextlib import AbstractAsyncContextManager

MAX_BACKLOG: Final = 32 << 20
"""Bytes of one channel's frames that wait to be consumed, ITEM_COST included."""
ITEM_COST: Final = 128
"""Bytes added for each waiting frame, so that the number of tiny frames is bounded too."""
MAX_SEND_WINDOW: Final = 1 << 30
_BATCH_EVENTS: Final = 1 << 20
"""A batch ends after this many bytes of events."""
_GRANT_AT: Final = INITIAL_WINDOW // 4
_SEND_CHUNK: Final = 256 << 10
_STREAMS: Final = {int(stream): stream for stream in Stream}


class CallTransport(Protocol):
    """The connection as a call uses it."""

    def write(self, piece: bytes | memoryview) -> None:
        """Queue a frame or a piece of one. It is sent in this round of the loop."""

    def flush(self) -> None:
        """Send the queue now."""

    async def drain(self) -> None:
        """Wait until the socket accepts more."""

    def count_backlog(self, count: int) -> None:
        """Add to the bytes that wait to be consumed in all calls. The count may be negative."""

    def fail(self, reason: str) -> None:
        """End the connection and all its calls."""

    def stream(self, key: str) -> AbstractAsyncContextManager[socket.socket]:
        """Open a bulk stream."""
        ...


@dataclass(slots=True)
class _Credit:
    """Bytes of DATA payload in each direction."""

    to_send: int = INITIAL_WINDOW
    to_receive: int = INITIAL_WINDOW
    to_grant: int = 0


class ClientCall:
    """A `protocol.Call` on one channel of a connection.

    Attributes:
        backlog: Bytes that wait to be consumed, ITEM_COST included.
        is_abandoned: True if the agent cancelled it. The runtime may not have ended it yet.
    """

    def __init__(self, connection: CallTransport, channel: int) -> None:
        self._connection = connection
        self._channel = channel
        self._waiting: deque[Data | Frame] = deque()
        self.backlog = 0
        self._credit = _Credit()
        self._close: dict[str, Any] | OperationError | None = None
        self.is_abandoned = False
        self._closed_by_runtime = False
        self._changed: asyncio.Future[None] | None = None
        self._credited = asyncio.Event()

    @property
    def result(self) -> dict[str, Any]:
        """The `ok` object. Available only after the iteration ended."""
        if not isinstance(self._close, dict):
            raise TypeError("the call has no result yet")
        return self._close

    @property
    def ended(self) -> bool:
        """True once the CLOSE arrived or the link was lost, and everything before it was consumed."""
        return self._close is not None and not self._waiting

    def __aiter__(self) -> ClientCall:
        return self

    async def __anext__(self) -> Data | Event:
        if not await self._wait_for_items():
            raise StopAsyncIteration
        return self._consume()

    async def batch(self) -> list[Data | Event]:
        """Return all items that have arrived, waiting for at least one. Returns an empty list at the end.

        Raises:
            OperationError: The operation failed.
        """
        if not await self._wait_for_items():
            return []
        items: list[Data | Event] = []
        parsed = 0
        while self._waiting and parsed <= _BATCH_EVENTS:
            first = self._waiting[0]
            parsed += len(first.body) if isinstance(first, Frame) else 0
            items.append(self._consume())
        return items

    async def send(self, data: bytes | memoryview) -> None:
        """Send input, waiting for credit and for the socket. Does nothing once the call has ended."""
        view = memoryview(data)
        while view and self._close is None:
            while self._credit.to_send <= 1 and self._close is None:
                self._credited.clear()
                await self._credited.wait()
            if self._close is not None:
                return
            piece = view[: min(self._credit.to_send - 1, _SEND_CHUNK)]
            self._credit.to_send -= 1 + len(piece)
            for part in data_pieces(self._channel, Stream.BODY, piece):
                self._connection.write(part)
            view = view[len(piece) :]
            # Send it together with the OPEN before it, instead of in the loop's next round.
            self._connection.flush()
            await self._connection.drain()

    def stream(self, event: Event) -> AbstractAsyncContextManager[socket.socket]:
        """Open the bulk stream that a `stream` event names."""
        return self._connection.stream(read_key(event.value))

    async def end(self) -> None:
        """Signal the end of the input."""
        if self._close is None:
            self._connection.write(encode_json(FrameType.CLOSE, self._channel, {}))

    async def cancel(self) -> None:
        """Ask the runtime to stop, and discard the rest of its output. The iteration ends with its CLOSE."""
        self.discard()

    def discard(self) -> None:
        """Cancel without awaiting."""
        if self._close is None and not self.is_abandoned:
            self.is_abandoned = True
            self._connection.write(encode(FrameType.CANCEL, self._channel))
            while self._waiting:
                self._give_back(_credit_of(self._take_first()))

    def break_off(self, reason: str) -> None:
        """Close the connection because the runtime broke the protocol."""
        self._connection.fail(f"the runtime broke the protocol: {reason}")

    def receive(self, frame: Frame) -> None:
        """Handle a frame of this channel.

        Raises:
            FrameError: The frame breaks the protocol.
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

    def overflow(self) -> None:
        """Fail the call because too much waits to be consumed."""
        self.discard()
        message = "the operation produced more output than could be delivered; read it faster, or produce less"
        self.finish(OperationError("RESOURCE_EXHAUSTED", "OUTPUT_LIMIT", message))

    def finish(self, close: dict[str, Any] | OperationError) -> None:
        """End the call. Only the first end counts."""
        if self._close is None:
            self._close = close
        self._credited.set()
        self._wake()

    def _receive_window(self, granted: int) -> None:
        self._credit.to_send += granted
        if self._credit.to_send > MAX_SEND_WINDOW:
            raise FrameError("the runtime granted more credit than allowed")
        self._credited.set()

    def _receive_data(self, frame: Frame) -> None:
        body = frame.body
        self._credit.to_receive -= len(body)
        if self._credit.to_receive < 0:
            raise FrameError("the runtime sent more data than it had credit for")
        stream = _STREAMS.get(body[0]) if len(body) else None
        if stream is None:
            raise FrameError("a DATA frame without a known stream")
        # A view would keep everything received with it in memory, which no bound here counts.
        self._queue(Data(stream, bytes(body[1:])))

    def _queue(self, item: Data | Frame) -> None:
        if self.is_abandoned or self._close is not None:
            self._give_back(_credit_of(item))
            return
        cost = _cost_of(item)
        self.backlog += cost
        self._waiting.append(item)
        self._connection.count_backlog(cost)
        if self.backlog > MAX_BACKLOG:
            self.overflow()
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

    def _take_first(self) -> Data | Frame:
        item = self._waiting.popleft()
        cost = _cost_of(item)
        self.backlog -= cost
        self._connection.count_backlog(-cost)
        return item

    def _consume(self) -> Data | Event:
        item = self._take_first()
        if isinstance(item, Data):
            self._give_back(_credit_of(item))
            return item
        try:
            return Event(item.json())
        except FrameError as error:
            self._connection.fail(str(error))
            while self._waiting:
                self._take_first()
            raise unavailable(str(error)) from error

    def _give_back(self, count: int) -> None:
        if not count or self._closed_by_runtime:
            return
        credit = self._credit
        credit.to_grant += count
        if credit.to_grant >= _GRANT_AT:
            self._connection.write(encode_window(self._channel, credit.to_grant))
            credit.to_receive += credit.to_grant
            credit.to_grant = 0


def unavailable(reason: str) -> OperationError:
    """Return the error of a call whose link was lost."""
    return OperationError(
        "UNAVAILABLE", "RUNTIME_UNAVAILABLE", f"the link to the sandbox's runtime was lost ({reason}): try again"
    )


def _credit_of(item: Data | Frame) -> int:
    # The stream tag counts too.
    return 1 + len(item.data) if isinstance(item, Data) else 0


def _cost_of(item: Data | Frame) -> int:
    return ITEM_COST + (1 + len(item.data) if isinstance(item, Data) else len(item.body))
