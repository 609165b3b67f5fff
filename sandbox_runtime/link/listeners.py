"""Unix sockets that the agent connects to: the link itself, and the bulk streams for large files."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import stat
from typing import TYPE_CHECKING, Final

from sandbox_link.bulk_streams import DIAL_TIMEOUT, KEY_SIZE
from sandbox_link.frame_socket import enlarge_buffer
from sandbox_link.protocol import OperationError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_MAX_UNKNOWN: Final = 64
"""Connections that have not sent a key yet."""


def listen(path: Path, accept: Callable[[socket.socket], None]) -> Callable[[], None]:
    """Listen at a path on the running loop, also for the agent's container.

    Args:
        path: An existing file is replaced. Its folder must exist.
        accept: Takes each connection, which does not block.

    Returns:
        A function that stops listening.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    # Only the common group of the two containers may connect, from the first moment on.
    mask = os.umask(0o117)
    try:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        listener.bind(str(path))
        listener.listen()
    except BaseException:
        listener.close()
        raise
    finally:
        os.umask(mask)
    _admit_agent(path)
    loop = asyncio.get_running_loop()

    def accept_one() -> None:
        # The connection may have been closed again.
        with contextlib.suppress(OSError):
            connection = listener.accept()[0]
            connection.setblocking(False)  # noqa: FBT003 - the standard library's signature
            accept(connection)

    loop.add_reader(listener, accept_one)

    def stop() -> None:
        loop.remove_reader(listener)
        listener.close()
        with contextlib.suppress(OSError):
            path.unlink()

    return stop


def _admit_agent(path: Path) -> None:
    """Let the agent's container connect under gVisor, which does not give a folder's group to a new socket.

    Under gVisor the group alone would not suffice, because gVisor opens the socket on the node with its own rights.
    Only the pod's two containers mount the folder, and everything in this one has the same user id.
    """
    folder = path.parent.stat()
    if folder.st_mode & stat.S_ISGID and path.stat().st_gid != folder.st_gid:
        os.chown(path, -1, folder.st_gid)
        path.chmod(0o666)


class BulkStreams:
    """The runtime's end of the sockets for large files. A key assigns each connection to its operation."""

    def __init__(self) -> None:
        self._expected: dict[str, asyncio.Future[socket.socket]] = {}
        self._admitting: set[asyncio.Task[None]] = set()

    def listen(self, path: Path) -> Callable[[], None]:
        """Start to listen at a path.

        Returns:
            A function that stops listening.
        """
        return listen(path, self._accept)

    async def take(self, announce: Callable[[str], None]) -> socket.socket:
        """Return a non-blocking connection for one operation, which the caller has to close.

        Args:
            announce: Sends the key to the agent.

        Raises:
            OperationError: ABORTED: the agent did not connect in time.
        """
        key = secrets.token_hex(KEY_SIZE // 2)
        arrived: asyncio.Future[socket.socket] = asyncio.get_running_loop().create_future()
        self._expected[key] = arrived
        try:
            announce(key)
            async with asyncio.timeout(DIAL_TIMEOUT):
                return await arrived
        except BaseException as error:
            if arrived.done() and not arrived.cancelled():
                arrived.result().close()
            if isinstance(error, TimeoutError):
                message = "the agent did not connect for the file's content"
                raise OperationError("ABORTED", "RUNTIME_UNAVAILABLE", message) from None
            raise
        finally:
            del self._expected[key]

    def _accept(self, sock: socket.socket) -> None:
        if len(self._admitting) >= _MAX_UNKNOWN:
            sock.close()
            return
        task = asyncio.get_running_loop().create_task(self._admit(sock))
        self._admitting.add(task)
        task.add_done_callback(self._admitting.discard)

    async def _admit(self, sock: socket.socket) -> None:
        arrived = None
        try:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(DIAL_TIMEOUT):
                    arrived = self._expected.get(await _receive_key(sock))
        finally:
            if arrived is None or arrived.done():
                sock.close()
            else:
                enlarge_buffer(sock)
                arrived.set_result(sock)


async def _receive_key(sock: socket.socket) -> str:
    key = b""
    loop = asyncio.get_running_loop()
    while len(key) < KEY_SIZE and (more := await loop.sock_recv(sock, KEY_SIZE - len(key))):
        key += more
    return key.decode("latin-1")
