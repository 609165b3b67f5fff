"""The runtime's end of the sockets for large files (link/streams.py): a key says which operation has dialled."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from typing import TYPE_CHECKING, Final

from sandbox_link.bulk_streams import DIAL_TIMEOUT, KEY_SIZE
from sandbox_link.frame_socket import enlarge_buffer
from sandbox_link.protocol import OperationError
from sandbox_runtime.link.listeners import listen

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

_MAX_UNKNOWN: Final = 64
"""Connections that have not told a key yet."""


class Streams:
    """Waits for the agent to dial."""

    def __init__(self) -> None:
        self._expected: dict[str, asyncio.Future[socket.socket]] = {}
        self._admitting: set[asyncio.Task[None]] = set()

    def listen(self, path: Path) -> Callable[[], None]:
        """Listen there from now on.

        Returns:
            Stops listening.
        """
        return listen(path, self._accept)

    async def take(self, announce: Callable[[str], None]) -> socket.socket:
        """A connection for one operation, not blocking; whoever takes it closes it.

        Args:
            announce: Tells the agent the key.

        Raises:
            OperationError: The agent did not dial in time.
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
                message = "the agent did not come for the file's content"
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
