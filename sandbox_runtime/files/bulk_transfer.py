"""File contents over a socket of their own, moved by a thread while the other side keeps up.

A thread works for one transfer for _TURN at most, and does not wait for a side that does not keep up: that is left to
the loop. So neither many large files nor slow readers hold the threads that small files need.
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

_TURN: Final = 0.05
"""Seconds."""
_PATIENCE: Final = 5
"""Milliseconds that a thread waits for the other side, which is cheaper than going back to the loop."""
_BUFFER: Final = 256 << 10
"""Bytes taken at once; a socket's buffer holds less, and the processor's cache all of it."""
_SENT_AT_ONCE: Final = 1 << 20
_NO_SENDFILE: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})


@dataclass(slots=True)
class Outgoing:
    """A part of a file on its way out.

    Attributes:
        descriptor: The file.
        position: The byte that is sent next.
        end: The byte behind the last; smaller than it was where the file has become shorter.
    """

    descriptor: int
    position: int
    end: int
    _copies: bool = False

    def send_some(self, sock: socket.socket) -> None:
        """One turn. Blocks for the disk, hardly for the socket.

        Raises:
            OSError: The disk failed.
            ConnectionError: Nobody receives any more.
        """
        until = time.monotonic() + _TURN
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
        size = min(self.end - self.position, _SENT_AT_ONCE)
        if not self._copies:
            try:
                # The pages of the file themselves: nothing is copied here.
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
        Bytes sent; fewer than asked for where the file has become shorter.

    Raises:
        OperationError: The disk failed, or nobody receives any more.
    """
    start = outgoing.position
    with _told():
        while outgoing.position < outgoing.end:
            await threads.run(outgoing.send_some, sock)
            if outgoing.position < outgoing.end:
                await _until_ready(sock, writing=True)
    return outgoing.position - start


async def receive_file(sock: socket.socket, write: Callable[[memoryview], None], threads: Threads) -> None:
    """Receive until the other side says that this was all.

    Args:
        sock: Where from.
        write: Takes each piece, in a thread; the memory is used again after it.
        threads: Where.

    Raises:
        OperationError: As `write` says, or the connection broke.
    """
    buffer = memoryview(bytearray(_BUFFER))
    with _told():
        while not await threads.run(_receive_some, sock, buffer, write):
            await _until_ready(sock, writing=False)


def _receive_some(sock: socket.socket, buffer: memoryview, write: Callable[[memoryview], None]) -> bool:
    """One turn; whether it was the end."""
    until = time.monotonic() + _TURN
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
    return bool(poll.poll(_PATIENCE))


async def _until_ready(sock: socket.socket, *, writing: bool) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    add, remove = (loop.add_writer, loop.remove_writer) if writing else (loop.add_reader, loop.remove_reader)
    add(sock, _tell, ready)
    try:
        await ready
    finally:
        remove(sock)


def _tell(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    with translating():
        try:
            yield
        except ConnectionError:
            raise OperationError("CANCELLED", "CANCELLED", "the agent went away") from None
