"""Sends and receives frames over a non-blocking stream socket on the running loop.

Both ends of the link use it, and the runtime also uses it for an interpreter's control socket. Large data is not joined
with its header before it is sent, nor copied out of the receive buffer. asyncio's own transports do both, several
times. The socket does not know about credit: the caller decides what may be sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from sandbox_link.frames import Frame, FrameDecoder, FrameError

if TYPE_CHECKING:
    from collections.abc import Callable

_RECEIVE: Final = 256 << 10
_JOIN: Final = 64 << 10
"""A queue of up to this many bytes is joined: one copy is cheaper than a list of many small pieces."""
_PIECES: Final = 256
"""Pieces per system call. The kernel's limit is 1,024."""
_SEND_BUFFER: Final = 1 << 20
"""Requested bytes. The kernel grants less, but more than its default. A small buffer costs more process switches."""


class Receiver(Protocol):
    """Handles the frames of a FrameSocket."""

    def on_read(self) -> None:
        """Handle the start of a read, before any byte is read."""

    def on_frame(self, frame: Frame) -> None:
        """Handle a frame. A FrameError ends the connection."""

    def on_round(self) -> None:
        """Handle the end of a read, after its frames."""


def enlarge_buffer(sock: socket.socket) -> None:
    """Enlarge a socket's send buffer, as far as the kernel permits."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)


class FrameSocket:
    """A socket that sends bytes and receives frames.

    Args:
        sock: A connected stream socket. The FrameSocket owns it.
        receiver: Handles the frames.
        on_end: Called once with the reason, at end of file, an error or a violation of the framing.

    Attributes:
        unsent: Bytes that the kernel has not accepted yet.
        sent: Bytes that the kernel has accepted.
        on_sent: Called once the kernel has accepted everything that had to wait.
    """

    def __init__(self, sock: socket.socket, receiver: Receiver, on_end: Callable[[str], None]) -> None:
        sock.setblocking(False)  # noqa: FBT003 - the standard library's signature
        enlarge_buffer(sock)
        self.unsent = self.sent = 0
        self.on_sent: Callable[[], None] = lambda: None
        self._socket = sock
        self._receiver = receiver
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._decoder = FrameDecoder()
        self._queue: deque[bytes | memoryview] = deque()
        self._waits = False
        self._paused = False
        self._open = True
        self._loop.add_reader(sock, self.receive)

    def send(self, data: bytes | memoryview) -> None:
        """Send bytes. Those that do not fit now stay in the queue."""
        self.write(data)
        self.flush()

    def write(self, data: bytes | memoryview) -> None:
        """Queue bytes, which must not change afterwards. `flush` sends them."""
        if self._open:
            self._queue.append(data)
            self.unsent += len(data)

    def flush(self) -> None:
        """Send the queue. Bytes that do not fit now stay in it."""
        if self._waits or not self._queue:
            return
        self._send_queue()
        if self._queue and self._open:
            self._waits = True
            self._loop.add_writer(self._socket, self._send_rest)

    def pause(self) -> None:
        """Stop reading, so that the other side has to wait once the buffers are full."""
        if self._open and not self._paused:
            self._paused = True
            self._loop.remove_reader(self._socket)

    def resume(self) -> None:
        """Continue reading after `pause`."""
        if self._open and self._paused:
            self._paused = False
            self._loop.add_reader(self._socket, self.receive)

    def receive(self) -> None:
        """Read once."""
        if not self._open:
            return
        reason = "the other side closed the connection"
        self._receiver.on_read()
        try:
            data = self._socket.recv(_RECEIVE)
        except (BlockingIOError, InterruptedError):
            self._receiver.on_round()
            return
        except OSError as error:
            data, reason = b"", str(error)
        try:
            for frame in self._decoder.feed(data):
                self._receiver.on_frame(frame)
        except FrameError as error:
            data, reason = b"", f"the other side broke the protocol: {error}"
        self._receiver.on_round()
        if not data:
            self._end(reason)

    def drain(self) -> None:
        """Read everything that a peer sent before it ended."""
        while self._open:
            try:
                if not self._socket.recv(1, socket.MSG_PEEK):
                    break
            except OSError:
                break
            self.receive()

    def close(self) -> None:
        """Close without calling `on_end`."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._socket.close()
            self._queue.clear()
            self.unsent = 0

    def _end(self, reason: str) -> None:
        if self._open:
            self.close()
            self._on_end(reason)

    def _send_rest(self) -> None:
        self._send_queue()
        if not self._queue and self._open:
            self._waits = False
            self._loop.remove_writer(self._socket)
            self.on_sent()

    def _send_queue(self) -> None:
        queue = self._queue
        if len(queue) > 1 and self.unsent <= _JOIN:
            joined = b"".join(queue)
            queue.clear()
            queue.append(joined)
        while queue:
            pieces = list(queue) if len(queue) <= _PIECES else [queue[number] for number in range(_PIECES)]
            try:
                sent = self._socket.send(pieces[0]) if len(pieces) == 1 else self._socket.sendmsg(pieces)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                # The reader notices the end of the connection.
                queue.clear()
                self.unsent = 0
                return
            self.unsent -= sent
            self.sent += sent
            while queue and sent >= len(queue[0]):
                sent -= len(queue.popleft())
            if sent:
                queue[0] = memoryview(queue[0])[sent:]
