"""One connection of the agent to the runtime: routes frames to calls. Treats every byte from the runtime as hostile.

The connection ends on DATA beyond its credit, frames on channels that are not open, malformed JSON and a second hello.
In this package these are FrameErrors; the calls fail with RUNTIME_UNAVAILABLE. The connection also ends if the runtime
is silent during a call and does not answer a probe.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self

from sandbox_link import bulk_streams
from sandbox_link.client_call import ClientCall, unavailable
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
"""Bytes that may wait to be consumed in all calls together."""
PROBE_AFTER: Final = 20.0
"""Seconds without a byte from the runtime, while calls are running, after which the agent probes it."""
PROBE_TIMEOUT: Final = 60.0
"""Seconds that the runtime has to answer a probe. They are many because the machine may be overloaded."""
_MIN_READ: Final = 1 << 10
"""Bytes per second that the runtime has to read while something waits to be sent."""
_FLUSH_AT: Final = 64 << 10
_TOO_LONG: Final = "the arguments are too long: pass them in a file, or as standard input"

_log = logging.getLogger(__name__)


class ClientConnection:
    """One connection, from its hello to its loss. The greeting uses it as a `protocol.Runtime`.

    Args:
        sock: A socket connected to the runtime. The connection owns it.
        bulk_path: The runtime's socket for bulk streams. None: offer no bulk streams.
    """

    def __init__(self, sock: socket.socket, bulk_path: Path | None = None) -> None:
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._hello: asyncio.Future[Hello] = loop.create_future()
        self._lost: asyncio.Future[str] = loop.create_future()
        self._calls: dict[int, ClientCall] = {}
        self._backlog = 0
        self._heard_at = loop.time()
        self._last_channel = 0
        self._is_flush_due = False
        self._bulk_path = bulk_path
        self._bulk_streams: set[socket.socket] = set()
        self._has_bulk_streams = bulk_path is not None
        self._writable = asyncio.Event()
        self._writable.set()
        self._frames = FrameSocket(sock, self, self.fail)
        self._frames.on_sent = self._writable.set

    @classmethod
    async def dial(cls, path: Path) -> Self:
        """Connect to the runtime's socket.

        Raises:
            OSError: The socket does not accept connections.
        """
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            await asyncio.get_running_loop().sock_connect(sock, str(path))
        except BaseException:
            sock.close()
            raise
        return cls(sock, path.with_name(bulk_streams.SOCKET_NAME))

    @property
    def hello(self) -> Hello:
        """The runtime's hello. Available only after `wait_for_hello`."""
        return self._hello.result()

    @property
    def runtime_id(self) -> str:
        """Random id of this run of the runtime."""
        return self.hello.runtime_id

    @property
    def can_stream(self) -> bool:
        """True if an operation may be offered a bulk stream now."""
        return self._has_bulk_streams and self.hello.streams and len(self._bulk_streams) < bulk_streams.MAX_STREAMS

    @property
    def is_lost(self) -> bool:
        """True once the connection has ended."""
        return self._lost.done()

    async def wait_for_hello(self) -> Hello:
        """Wait for the runtime's hello.

        Raises:
            OperationError: The connection was lost first.
        """
        return await asyncio.shield(self._hello)

    async def wait_until_lost(self) -> str:
        """Wait until the connection has ended, and return the reason."""
        return await asyncio.shield(self._lost)

    async def open(self, op: str, arguments: dict[str, Any]) -> ClientCall:
        """Start an operation.

        Raises:
            OperationError: UNAVAILABLE: the connection is lost. RESOURCE_EXHAUSTED: too many calls, or the arguments
                are too long.
        """
        if self._lost.done():
            raise unavailable(self._lost.result())
        if not self._writable.is_set():
            await self._wait_until_read()
        if len(self._calls) >= MAX_CHANNELS:
            self._refuse()
        channel = self._last_channel + 1
        try:
            frame = encode_json(FrameType.OPEN, channel, {"op": op, **arguments})
        except FrameError:
            raise OperationError("RESOURCE_EXHAUSTED", "INVALID_ARGUMENT", _TOO_LONG) from None
        self._last_channel = channel
        call = ClientCall(self, channel)
        self._calls[channel] = call
        self.write(frame)
        return call

    async def call(self, op: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Run an operation without data, ignore its events, and return its `ok` object."""
        call = await self.open(op, arguments)
        try:
            while await call.batch():
                pass
        except BaseException:
            call.discard()
            raise
        return call.result

    async def watch(self, silence: float = PROBE_AFTER, timeout: float = PROBE_TIMEOUT) -> None:  # noqa: ASYNC109 - a bound
        """End the connection if the runtime becomes silent while calls are running, or reads nothing.

        Any byte counts as a sign of life, so a busy runtime is never probed. Returns once the connection is lost.

        Args:
            silence: Seconds of silence before a probe.
            timeout: Seconds that the runtime has to answer a probe, and that it may read nothing.
        """
        stalled = 0.0
        while not self._lost.done():
            sent = self._frames.sent
            await asyncio.wait({self._lost}, timeout=silence)
            has_read = not self._frames.unsent or self._frames.sent - sent >= _MIN_READ * silence
            stalled = 0.0 if has_read else stalled + silence
            if stalled > timeout:
                self.fail(f"the runtime read nothing for {stalled:g} s")
            elif self._calls and self._loop.time() - self._heard_at >= silence:
                await self._probe(timeout)

    def count_backlog(self, count: int) -> None:
        """Add to the bytes that wait to be consumed. Above MAX_BACKLOGS, the call with the most bytes fails."""
        self._backlog += count
        if self._backlog > MAX_BACKLOGS and self._calls:
            max(self._calls.values(), key=lambda call: call.backlog).overflow()

    @contextlib.asynccontextmanager
    async def stream(self, key: str) -> AsyncIterator[socket.socket]:
        """Open a bulk stream.

        Raises:
            OperationError: UNAVAILABLE: none was offered, the runtime does not listen, or the link was lost.
        """
        if self._bulk_path is None or not self._has_bulk_streams:
            raise unavailable("the runtime asked for a stream that was not offered")
        try:
            sock = await bulk_streams.dial(self._bulk_path, key)
        except (OSError, TimeoutError) as error:
            self._has_bulk_streams = False
            raise unavailable(f"its stream socket does not answer: {error}") from error
        self._bulk_streams.add(sock)
        try:
            with sock:
                if self._lost.done():
                    raise unavailable(self._lost.result())
                enlarge_buffer(sock)
                yield sock
        finally:
            self._bulk_streams.discard(sock)

    def write(self, piece: bytes | memoryview) -> None:
        """Queue a frame or a piece of one. Everything written in one round of the loop is sent together."""
        self._frames.write(piece)
        if self._frames.unsent >= _FLUSH_AT:
            self.flush()
        elif not self._is_flush_due:
            self._is_flush_due = True
            self._loop.call_soon(self._flush_due)

    def flush(self) -> None:
        """Send the queue now."""
        self._frames.flush()
        if self._frames.unsent > MAX_DATA:
            self._writable.clear()

    async def drain(self) -> None:
        """Wait until the socket accepts more."""
        await self._writable.wait()

    def fail(self, reason: str) -> None:
        """End the connection and all its calls. Only the first reason counts."""
        if self._lost.done():
            return
        self._lost.set_result(reason)
        self._frames.close()
        if not self._hello.done():
            self._hello.set_exception(unavailable(reason))
            self._hello.exception()  # retrieved here, in case no task waits for the hello
        for sock in self._bulk_streams:
            # A transfer that waits on its stream would not notice the loss of the link.
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        calls = list(self._calls.values())
        self._calls.clear()
        for call in calls:
            call.finish(unavailable(reason))
        self._writable.set()

    def on_read(self) -> None:
        """Note that the runtime is alive."""
        self._heard_at = self._loop.time()

    def on_round(self) -> None:
        """Do nothing: calls wake their consumers themselves."""

    def on_frame(self, frame: Frame) -> None:
        """Route a frame to its call."""
        if self._lost.done():
            return
        try:
            self._receive(frame)
        except FrameError as error:
            _log.warning("the runtime broke the protocol: %s", error)
            raise
        except Exception as error:
            # A bug in the agent: the frames that follow could be misinterpreted.
            _log.exception("a frame of the runtime could not be handled")
            raise FrameError("a frame that could not be handled") from error

    def _refuse(self) -> NoReturn:
        """Refuse one more call, and end the connection if the runtime leaves cancelled calls open."""
        abandoned = sum(call.is_abandoned for call in self._calls.values())
        if abandoned > MAX_CHANNELS // 2:
            reason = f"the runtime did not end {abandoned} cancelled operations"
            self.fail(reason)
            raise unavailable(reason)
        raise OperationError(
            "RESOURCE_EXHAUSTED", "TOO_MANY_CALLS", "too many operations are running at once; wait for one to end"
        )

    def _receive(self, frame: Frame) -> None:
        if not self._hello.done():
            self._hello.set_result(read_hello(frame))
            return
        call = self._calls.get(frame.channel)
        if call is not None:
            # Remove the call only afterwards: a malformed CLOSE must fail it too.
            call.receive(frame)
            if frame.type is FrameType.CLOSE:
                del self._calls[frame.channel]
        elif frame.channel == 0:
            _receive_notice(frame)
        elif frame.type is not FrameType.WINDOW or frame.channel > self._last_channel:
            raise FrameError(f"{frame.type.name} on channel {frame.channel}, which is not open")

    async def _wait_until_read(self) -> None:
        """Wait until the runtime has read what is queued: one that reads nothing must not fill the memory.

        Raises:
            OperationError: UNAVAILABLE: the connection was lost first.
        """
        while not self._writable.is_set():
            await self._writable.wait()
        if self._lost.done():
            raise unavailable(self._lost.result())

    async def _probe(self, timeout: float) -> None:  # noqa: ASYNC109 - a bound
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
