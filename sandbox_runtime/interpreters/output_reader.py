"""Reads a child's output from a pipe or terminal."""

from __future__ import annotations

import asyncio
import errno
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_RECEIVE: Final = 1 << 18
_DRAIN_ROUNDS: Final = 8


class OutputReader:
    """Reads a descriptor on the running loop.

    Args:
        descriptor: The reading end, which it owns.
        on_data: Called with the bytes read. May call `pause`.
        is_paused: True if reading starts only with `resume`.
    """

    def __init__(self, descriptor: int, on_data: Callable[[bytes], None], *, is_paused: bool = False) -> None:
        self._on_data = on_data
        self._read = descriptor
        os.set_blocking(self._read, False)
        self._loop = asyncio.get_running_loop()
        self._paused = True
        self._open = True
        if not is_paused:
            self.resume()

    def pause(self) -> None:
        """Stop reading, so that writers have to wait."""
        if self._open and not self._paused:
            self._paused = True
            self._loop.remove_reader(self._read)

    def resume(self) -> None:
        """Continue reading."""
        if self._open and self._paused:
            self._paused = False
            self._loop.add_reader(self._read, self._receive)

    def drain(self) -> None:
        """Read the bytes that are available now. Bounded, because a child may write faster than this reads."""
        for _ in range(_DRAIN_ROUNDS):
            if not self._receive():
                return

    def discard(self) -> None:
        """Discard the rest. It is still read to its end, so that processes which still write do not fail."""
        self._on_data = _ignore
        self.resume()

    def close(self) -> None:
        """Close the descriptor."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._read)
            os.close(self._read)

    def _receive(self) -> bool:
        if not self._open:
            return False
        try:
            data = os.read(self._read, _RECEIVE)
        except BlockingIOError:
            return False
        except OSError as error:
            # EIO: all processes have closed the terminal.
            if error.errno != errno.EIO:
                raise
            data = b""
        if not data:
            self.close()
            return False
        self._on_data(data)
        return True


class OutputPipe(OutputReader):
    """A pipe. Its `write_fd` is for the child. Call `close_write` once the child has it.

    Args:
        on_data: Called with the bytes read. May call `pause`.
        is_paused: True if reading starts only with `resume`.
    """

    def __init__(self, on_data: Callable[[bytes], None], *, is_paused: bool = False) -> None:
        read, self.write_fd = os.pipe2(os.O_CLOEXEC)
        super().__init__(read, on_data, is_paused=is_paused)

    def close_write(self) -> None:
        """Close the child's end here."""
        if self.write_fd >= 0:
            os.close(self.write_fd)
            self.write_fd = -1

    def close(self) -> None:
        """Close both ends."""
        self.close_write()
        super().close()


def _ignore(data: bytes) -> None:
    del data
