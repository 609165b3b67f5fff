"""Standard input of a background process: a bounded queue in front of its pipe or terminal."""

from __future__ import annotations

import asyncio
import os
from typing import Final

from sandbox_link.protocol import OperationError

_ROOM: Final = 1 << 20
_PIECE: Final = 64 << 10
_END_OF_FILE: Final = b"\x04"


class ProcessInput:
    """What is to be written, and the descriptor, which it owns.

    Args:
        descriptor: The writing end.
        is_terminal: Its end of file is a character.
    """

    def __init__(self, descriptor: int, *, is_terminal: bool = False) -> None:
        self._descriptor = descriptor
        self._is_terminal = is_terminal
        self._loop = asyncio.get_running_loop()
        self._queue = bytearray()
        self._ending = False
        self._closed = False
        self._moved = asyncio.Event()
        self._turn = asyncio.Lock()
        os.set_blocking(descriptor, False)

    async def write(self, data: bytes, *, end: bool) -> None:
        """Queue all of `data`, once there is room for it; cancelled before that, nothing of it is queued.

        Raises:
            OperationError: FAILED_PRECONDITION, INPUT_CLOSED: it was ended, or the process does not read any more.
        """
        async with self._turn:
            while self._queue and len(self._queue) + len(data) > _ROOM and not self._closed:
                self._moved.clear()
                await self._moved.wait()
            if self._closed or self._ending:
                message = "the process's standard input is closed: it was ended before, or the process closed it"
                raise OperationError("FAILED_PRECONDITION", "INPUT_CLOSED", message, "data")
            was_empty = not self._queue
            self._queue += data
            if end and self._is_terminal:
                self._queue += _END_OF_FILE
            elif end:
                self._ending = True
            if was_empty:
                self._drain()
                if self._queue and not self._closed:
                    self._loop.add_writer(self._descriptor, self._drain)

    def close(self) -> None:
        """Drop what is queued and close the descriptor."""
        if not self._closed:
            self._closed = True
            self._loop.remove_writer(self._descriptor)
            os.close(self._descriptor)
            self._queue.clear()
            self._moved.set()

    def _drain(self) -> None:
        try:
            while self._queue:
                written = os.write(self._descriptor, self._queue[:_PIECE])
                del self._queue[:written]
        except BlockingIOError:
            self._moved.set()
            return
        except OSError:
            # Nobody reads any more.
            self.close()
            return
        self._moved.set()
        self._loop.remove_writer(self._descriptor)
        if self._ending:
            self.close()
