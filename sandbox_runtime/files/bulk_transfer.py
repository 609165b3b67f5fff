"""Moves the content of a large file over a socket of its own.

A thread works on one transfer for at most `_TURN_SECONDS`. If the other side is slow, the event loop does the waiting.
So neither many large files nor slow readers occupy the threads that small files need.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import select
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sandbox_link.protocol import OperationError
from sandbox_runtime.files.confined.errors import translating

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from sandbox_runtime.files.confined.threads import Threads

_TURN_SECONDS: Final = 0.05
_POLL_MS: Final = 5
"""How long a thread waits for the other side before it returns to the loop, which costs more than a short wait."""
_BUFFER: Final = 256 << 10
"""Bytes per read. More than fits into a socket's buffer, and small enough for the processor's cache."""
_MAX_SEND: Final = 1 << 20
_NO_SENDFILE: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})


@dataclass(slots=True)
class Outgoing:
    """A part of a file that is being sent.

    Attributes:
        descriptor: The file.
        position: Offset of the next byte to send.
        end: Offset after the last byte. It shrinks if the file becomes shorter.
    """

    descriptor: int
    position: int
    end: int
    _copies: bool = False

    def send_some(self, sock: socket.socket) -> None:
        """Send for one turn. Blocks on the disk, but only briefly on the socket.

        Raises:
            OSError: The disk failed.
            ConnectionError: The receiver has closed the socket.
        """
        until = time.monotonic() + _TURN_SECONDS
        while self.position < self.end and time.monotonic() < until:
            try:
                sent = self._send(sock)
            except BlockingIOError:
                if not _is_ready(sock, select.POLLOUT):
                    return
                continue
            if not sent:
                self.end = self.position
            self.position += sent

    def _send(self, sock: socket.socket) -> int:
        size = min(self.end - self.position, _MAX_SEND)
        if not self._copies:
            try:
                # The kernel sends the file's pages, without a copy in this process.
                return os.sendfile(sock.fileno(), self.descriptor, self.position, size)
            except OSError as error:
                if error.errno not in _NO_SENDFILE:
                    raise
                self._copies = True
        data = os.pread(self.descriptor, min(size, _BUFFER), self.position)
        return sock.send(data) if data else 0


async def send_file(sock: socket.socket, outgoing: Outgoing, threads: Threads) -> int:
    """Send a part of a file.

    Returns:
        Bytes sent, fewer than requested if the file has become shorter.

    Raises:
        OperationError: The disk failed, or the receiver has closed the socket.
    """
    start = outgoing.position
    with _translating_errors():
        while outgoing.position < outgoing.end:
            await threads.run(outgoing.send_some, sock)
            if outgoing.position < outgoing.end:
                await _until_ready(sock, writing=True)
    return outgoing.position - start


async def receive_file(sock: socket.socket, write: Callable[[memoryview], None], threads: Threads) -> None:
    """Receive until the other side ends its half of the connection.

    Args:
        sock: The socket to read from.
        write: Called in a thread with each piece. The buffer is reused after the call.
        threads: The threads to use.

    Raises:
        OperationError: The connection broke, or `write` raised it.
    """
    buffer = memoryview(bytearray(_BUFFER))
    with _translating_errors():
        while not await threads.run(_receive_some, sock, buffer, write):
            await _until_ready(sock, writing=False)


def _receive_some(sock: socket.socket, buffer: memoryview, write: Callable[[memoryview], None]) -> bool:
    """Receive for one turn. Returns True at the end of the file."""
    until = time.monotonic() + _TURN_SECONDS
    while time.monotonic() < until:
        try:
            received = sock.recv_into(buffer)
        except BlockingIOError:
            if not _is_ready(sock, select.POLLIN):
                return False
            continue
        if not received:
            return True
        write(buffer[:received])
    return False


def _is_ready(sock: socket.socket, event: int) -> bool:
    poll = select.poll()
    poll.register(sock, event)
    return bool(poll.poll(_POLL_MS))


async def _until_ready(sock: socket.socket, *, writing: bool) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    add, remove = (loop.add_writer, loop.remove_writer) if writing else (loop.add_reader, loop.remove_reader)
    add(sock, _wake, ready)
    try:
        await ready
    finally:
        remove(sock)


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


@contextlib.contextmanager
def _translating_errors() -> Iterator[None]:
    with translating():
        try:
            yield
        except ConnectionError:
            raise OperationError("CANCELLED", "CANCELLED", "the agent closed the connection") from None
