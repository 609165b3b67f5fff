"""One connection to the runtime: frames to calls and back. Every byte received is taken as hostile.

Bounds: DATA beyond its credit, frames on channels nobody opened, JSON of the wrong shape and a second hello end the
connection (FrameError inside, RUNTIME_UNAVAILABLE for its calls). A runtime that says nothing while it is asked for
something ends it too.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self

from sandbox_link import bulk_streams as streams
from sandbox_link.client_call import LinkCall, unavailable
from sandbox_link.frame_socket import FrameSocket, enlarge_buffer
from sandbox_link.frames import MAX_DATA, Frame, FrameError, FrameType, encode_json
from sandbox_link.protocol import OperationError
from sandbox_link.validation import read_hello

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sandbox_link.validation import Hello

MAX_CHANNELS: Final = 1024
MAX_BACKLOGS: Final = 128 << 20
"""Bytes that wait to be consumed in all calls together."""
SILENCE: Final = 20.0
"""Seconds without a byte from the runtime, while calls are under way, after which it is asked for a sign of life."""
SIGN_TIMEOUT: Final = 60.0
"""Seconds that it has for that: a machine may be overloaded."""
_FLUSH_AT: Final = 64 << 10

_log = logging.getLogger(__name__)


class Connection:
    """One connection, from hello to its loss; a Runtime of its own for the greeting.

    Args:
        sock: Connected to the runtime; owned from here on.
        streams_at: Where the runtime listens for streams; None: none are offered.
    """

    def __init__(self, sock: socket.socket, streams_at: Path | None = None) -> None:
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._hello: asyncio.Future[Hello] = loop.create_future()
        self._lost: asyncio.Future[str] = loop.create_future()
        self._calls: dict[int, LinkCall] = {}
        self._backlog = 0
        self._heard_at = loop.time()
        self._last_channel = 0
        self._is_flush_due = False
        self._stream_path = streams_at
        self._streams: set[socket.socket] = set()
        self._has_streams = streams_at is not None
        self._writable = asyncio.Event()
        self._writable.set()
        self._frames = FrameSocket(sock, self, self.fail)
        self._frames.on_sent = self._writable.set

    @classmethod
    async def dial(cls, path: Path) -> Self:
        """Connect to the runtime's socket.

        Raises:
            OSError: Nobody listens there.
        """
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            await asyncio.get_running_loop().sock_connect(sock, str(path))
        except BaseException:
            sock.close()
            raise
        return cls(sock, path.with_name(streams.SOCKET))

    @property
    def hello(self) -> Hello:
        """What the runtime said of itself; only after wait_for_hello."""
        return self._hello.result()

    @property
    def runtime_id(self) -> str:
        """See calls.Runtime."""
        return self.hello.runtime_id

    @property
    def can_stream(self) -> bool:
        """See calls.Runtime."""
        return self._has_streams and self.hello.streams and len(self._streams) < streams.MAX_STREAMS

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
            raise unavailable(self._lost.result())
        if len(self._calls) >= MAX_CHANNELS:
            self._refuse()
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

    async def watch(self, silence: float = SILENCE, timeout: float = SIGN_TIMEOUT) -> None:  # noqa: ASYNC109 - a bound
        """End the connection where the runtime is silent though calls are under way; returns when it is lost.

        Any byte is a sign of life, so a busy runtime is never asked.
        """
        while not self._lost.done():
            await asyncio.wait({self._lost}, timeout=silence)
            if self._calls and self._loop.time() - self._heard_at >= silence:
                await self._ask_for_a_sign(timeout)

    def count_backlog(self, count: int) -> None:
        """So many bytes more (or fewer) wait to be consumed."""
        self._backlog += count
        if self._backlog > MAX_BACKLOGS and self._calls:
            max(self._calls.values(), key=lambda call: call.backlog).overflow()

    @contextlib.asynccontextmanager
    async def stream(self, key: str) -> AsyncIterator[socket.socket]:
        """See calls.Call."""
        if self._stream_path is None or not self._has_streams:
            raise unavailable("a stream that was not offered")
        try:
            sock = await streams.dial(self._stream_path, key)
        except (OSError, TimeoutError) as error:
            self._has_streams = False
            raise unavailable(f"no stream to it: {error}") from error
        self._streams.add(sock)
        try:
            with sock:
                if self._lost.done():
                    raise unavailable(self._lost.result())
                enlarge_buffer(sock)
                yield sock
        finally:
            self._streams.discard(sock)

    def write(self, piece: bytes | memoryview) -> None:
        """Send soon; what is written in one turn of the loop leaves together."""
        self._frames.write(piece)
        if self._frames.unsent >= _FLUSH_AT:
            self.flush()
        elif not self._is_flush_due:
            self._is_flush_due = True
            self._loop.call_soon(self._flush_due)

    def flush(self) -> None:
        """Send now what was written."""
        self._frames.flush()
        if self._frames.unsent > MAX_DATA:
            self._writable.clear()

    async def drain(self) -> None:
        """Wait while the socket takes no more."""
        await self._writable.wait()

    def fail(self, reason: str) -> None:
        """End the connection and all its calls; the first reason counts."""
        if self._lost.done():
            return
        self._lost.set_result(reason)
        self._frames.close()
        if not self._hello.done():
            self._hello.set_exception(unavailable(reason))
            self._hello.exception()  # it may be that nobody waits any more
        for sock in self._streams:
            # Whoever waits there would not hear of the link.
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        calls = list(self._calls.values())
        self._calls.clear()
        for call in calls:
            call.finish(unavailable(reason))
        self._writable.set()

    def on_read(self) -> None:
        """See frame_socket.Receiver."""
        self._heard_at = self._loop.time()

    def on_round(self) -> None:
        """See frame_socket.Receiver."""

    def on_frame(self, frame: Frame) -> None:
        """See frame_socket.Receiver."""
        if self._lost.done():
            return
        try:
            self._receive(frame)
        except FrameError as error:
            _log.warning("the runtime broke the protocol: %s", error)
            raise
        except Exception as error:
            # A defect of ours; what follows on this connection could be taken for something else.
            _log.exception("a frame of the runtime could not be handled")
            raise FrameError("a frame that could not be handled") from error

    def _refuse(self) -> NoReturn:
        """There are too many calls; a runtime that leaves cancelled ones open is of no further use."""
        abandoned = sum(call.is_abandoned for call in self._calls.values())
        if abandoned > MAX_CHANNELS // 2:
            reason = f"the runtime did not end {abandoned} cancelled operations"
            self.fail(reason)
            raise unavailable(reason)
        raise OperationError("RESOURCE_EXHAUSTED", "TOO_MANY_CALLS", "too many operations are under way at once")

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

    async def _ask_for_a_sign(self, timeout: float) -> None:  # noqa: ASYNC109 - a bound
        asked_at = self._loop.time()
        asking = asyncio.ensure_future(self.call("status", {}))
        try:
            either: set[asyncio.Future[Any]] = {asking, self._lost}
            await asyncio.wait(either, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if not asking.done() and self._heard_at < asked_at:
                self.fail(f"the runtime gave no sign of life for {timeout:g} s")
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    def _flush_due(self) -> None:
        self._is_flush_due = False
        self.flush()


def _receive_notice(frame: Frame) -> None:
    if frame.type is not FrameType.EVENT:
        raise FrameError(f"{frame.type.name} on channel 0")
    if frame.json().get("type") == "hello":
        raise FrameError("a second hello")
