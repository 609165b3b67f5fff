"""A link channel in memory, to drive a handler of the runtime without a socket."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from sandbox_link.frames import FrameType, Stream, encode_json, split_data
from sandbox_link.protocol import Data, Event

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable


class MemoryChannel:
    """A `protocol.Channel` whose other side is the test.

    Args:
        arguments: The OPEN frame's object.
        body: Pieces of input that are available at once.
        ended: True if the input ends after `body`. Otherwise use `feed` and `end`.
        window: Bytes of output before `send` waits for `grant`; None for no limit.

    Attributes:
        items: Events and data in the order in which they were sent.
        streams: Sockets that `stream` returns, in order.
    """

    def __init__(
        self, arguments: dict[str, Any], body: Iterable[bytes] = (), *, ended: bool = True, window: int | None = None
    ) -> None:
        self._arguments = arguments
        self._input: deque[bytes] = deque(body)
        self._ended = ended
        self._window = window
        self._changed = asyncio.Event()
        self._sent = asyncio.Event()
        self._starving = asyncio.Event()
        self.items: list[Data | Event] = []
        self.streams: deque[socket.socket] = deque()

    @property
    def arguments(self) -> dict[str, Any]:
        """The OPEN frame's object."""
        return self._arguments

    async def receive(self) -> bytes | None:
        """Return the next piece of input, waiting for `feed` or `end`."""
        while not self._input:
            if self._ended:
                return None
            self._starving.set()
            await self._wait()
        return self._input.popleft()

    async def send(self, stream: Stream, data: bytes | memoryview) -> None:
        """Wait for the window, then keep a copy of the output, split into frames as on the link."""
        for frame in split_data(1, stream, data):
            payload = frame[10:]  # after the header and the stream tag
            while self._window is not None and self._window < len(payload):
                await self._wait()
            if self._window is not None:
                self._window -= len(payload)
            self._keep(Data(stream, payload))

    async def stream(self) -> socket.socket | None:
        """Return the next of `streams`, or None if there is none."""
        return self.streams.popleft() if self.streams else None

    def send_event(self, value: dict[str, Any]) -> None:
        """Keep an event.

        Raises:
            FrameError: The event is too long for the link.
        """
        encode_json(FrameType.EVENT, 1, value)
        self._keep(Event(value))

    def feed(self, data: bytes) -> None:
        """Add input."""
        self._input.append(data)
        self._starving.clear()
        self._changed.set()

    def end(self) -> None:
        """End the input."""
        self._ended = True
        self._changed.set()

    def grant(self, count: int) -> None:
        """Allow more bytes of output."""
        self._window = (self._window or 0) + count
        self._changed.set()

    async def until(self, count: int) -> None:
        """Wait until the handler has sent this many items."""
        while len(self.items) < count:
            self._sent.clear()
            await self._sent.wait()

    async def until_waiting(self) -> None:
        """Wait until the handler has consumed all input and waits for more."""
        await self._starving.wait()

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events, without the data."""
        return [item.value for item in self.items if isinstance(item, Event)]

    def output(self, stream: Stream = Stream.BODY) -> bytes:
        """Return the data of one stream, joined."""
        return b"".join(item.data for item in self.items if isinstance(item, Data) and item.stream is stream)

    def _keep(self, item: Data | Event) -> None:
        self.items.append(item)
        self._sent.set()

    async def _wait(self) -> None:
        self._changed.clear()
        await self._changed.wait()
