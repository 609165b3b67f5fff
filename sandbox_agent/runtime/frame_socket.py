"""A non-blocking socket that speaks frames: the supervisor's end of an interpreter's control socket.

Neither side grants credit on it: the socket's own back pressure does, because an interpreter runs one cell at a time.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Final, Protocol

from sandbox_agent.link.frames import Frame, FrameDecoder, FrameError

if TYPE_CHECKING:
    from collections.abc import Callable

_RECEIVE: Final = 1 << 20
_PEEK: Final = socket.MSG_PEEK


class Receiver(Protocol):
    """Whoever the frames are for."""

    def on_read(self) -> None:
        """Frames of one read follow."""

    def on_frame(self, frame: Frame) -> None:
        """A frame."""

    def on_round(self) -> None:
        """The frames of one read have all been given."""


class FrameSocket:
    """Sends bytes, and hands on frames.

    Args:
        sock: A connected stream socket; owned from here on.
        receiver: Gets the frames.
        on_end: Called once, at end of file or a violation of the framing.
    """

    def __init__(
        self,
        sock: socket.socket,
        receiver: Receiver,
        on_end: Callable[[], None],
    ) -> None:
        sock.setblocking(False)  # noqa: FBT003 - the standard library's signature
        self._socket = sock
        self._receiver = receiver
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._decoder = FrameDecoder()
        self._unsent = bytearray()
        self._paused = False
        self._open = True
        self._loop.add_reader(sock, self.receive)

    def send(self, data: bytes) -> None:
        """Send, keeping what does not fit now."""
        if not self._open:
            return
        if self._unsent:
            self._unsent += data
            return
        sent = self._try_send(data)
        if sent < len(data):
            self._unsent += memoryview(data)[sent:]
            self._loop.add_writer(self._socket, self._send_rest)

    def pause(self) -> None:
        """Stop reading, so that the other side has to wait."""
        if self._open and not self._paused:
            self._paused = True
            self._loop.remove_reader(self._socket)

    def resume(self) -> None:
        """Read again."""
        if self._open and self._paused:
            self._paused = False
            self._loop.add_reader(self._socket, self.receive)

    def receive(self) -> None:
        """Read once."""
        if not self._open:
            return
        try:
            data = self._socket.recv(_RECEIVE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        self._receiver.on_read()
        try:
            for frame in self._decoder.feed(data):
                self._receiver.on_frame(frame)
        except FrameError:
            data = b""
        self._receiver.on_round()
        if not data:
            self._end()

    def drain(self) -> None:
        """Read all that is left of a peer that has ended."""
        while self._open:
            try:
                if not self._socket.recv(1, _PEEK):
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

    def _end(self) -> None:
        if self._open:
            self.close()
            self._on_end()

    def _try_send(self, data: bytes | bytearray) -> int:
        try:
            return self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            # The reading side will see the end.
            return len(data)

    def _send_rest(self) -> None:
        del self._unsent[: self._try_send(self._unsent)]
        if not self._unsent:
            self._loop.remove_writer(self._socket)
