"""A channel in memory, to drive a handler without a socket. Ships with the package for tests; not used at run time."""

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
    """A `calls.Channel` whose other side is the test.

    Args:
        arguments: The OPEN frame's object.
        body: Pieces of input that are there at once.
        ended: The input ends behind them; else `feed` and `end` go on.
        window: Bytes of output before `send` waits for `grant`; None for no limit.

    Attributes:
        items: Events and data in the order in which they were sent.
        streams: Sockets that the agent has dialled for this operation.
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
        """As given."""
        return self._arguments

    async def receive(self) -> bytes | None:
        """The next piece; waits for `feed` or `end`."""
        while not self._input:
            if self._ended:
                return None
            self._starving.set()
            await self._wait()
        return self._input.popleft()

    async def send(self, stream: Stream, data: bytes | memoryview) -> None:
        """Keep a copy of the output, cut as the link cuts it, once the window is open."""
        for frame in split_data(1, stream, data):
            payload = frame[10:]  # behind header and stream tag
            while self._window is not None and self._window < len(payload):
                await self._wait()
            if self._window is not None:
                self._window -= len(payload)
            self._keep(Data(stream, payload))

    async def stream(self) -> socket.socket | None:
        """What the test has given as `streams`, one for each call."""
        return self.streams.popleft() if self.streams else None

    def send_event(self, value: dict[str, Any]) -> None:
        """Keep an event.

        Raises:
            FrameError: The link could not carry it.
        """
        encode_json(FrameType.EVENT, 1, value)
        self._keep(Event(value))

    def feed(self, data: bytes) -> None:
        """More input."""
        self._input.append(data)
        self._starving.clear()
        self._changed.set()

    def end(self) -> None:
        """No more input."""
        self._ended = True
        self._changed.set()

    def grant(self, count: int) -> None:
        """More output may be sent."""
        self._window = (self._window or 0) + count
        self._changed.set()

    async def until(self, count: int) -> None:
        """Wait until so many items were sent."""
        while len(self.items) < count:
            self._sent.clear()
            await self._sent.wait()

    async def until_waiting(self) -> None:
        """Wait until the handler has taken all input and waits for more."""
        await self._starving.wait()

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events alone."""
        return [item.value for item in self.items if isinstance(item, Event)]

    def output(self, stream: Stream = Stream.BODY) -> bytes:
        """The data of one stream, joined."""
        return b"".join(item.data for item in self.items if isinstance(item, Data) and item.stream is stream)

    def _keep(self, item: Data | Event) -> None:
        self.items.append(item)
        self._sent.set()

    async def _wait(self) -> None:
        self._changed.clear()
        await self._changed.wait()
