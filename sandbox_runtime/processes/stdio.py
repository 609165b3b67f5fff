"""Standard input and output of a background process: three pipes, or a terminal."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import struct
import termios
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from sandbox_link.frames import Stream
from sandbox_link.protocol import OperationError
from sandbox_runtime.interpreters.output_reader import OutputPipe, OutputReader
from sandbox_runtime.processes.start import open_input

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    OnOutput = Callable[[Stream, bytes], None]

_MAX_QUEUE: Final = 1 << 20
_PIECE: Final = 64 << 10
_END_OF_FILE: Final = b"\x04"


class ProcessInput:
    """Standard input: a bounded queue in front of a pipe or terminal.

    Args:
        descriptor: The writing end, which it owns.
        is_terminal: True if a character marks the end of file.
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
        """Queue all of `data` once there is room. If cancelled earlier, it queues nothing.

        Raises:
            OperationError: FAILED_PRECONDITION, INPUT_CLOSED: it was ended, or the process closed it.
        """
        async with self._turn:
            while self._queue and len(self._queue) + len(data) > _MAX_QUEUE and not self._closed:
                self._moved.clear()
                await self._moved.wait()
            if self._closed or self._ending:
                message = "the process's standard input is closed: start the process again"
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
            # The process has closed its end.
            self.close()
            return
        self._moved.set()
        self._loop.remove_writer(self._descriptor)
        if self._ending:
            self.close()


class ProcessIO(Protocol):
    """The common interface of Pipes and Terminal.

    Attributes:
        input: Standard input. None if it was complete at the start.
        readers: The reading ends of the output. They are paused at first.
    """

    input: ProcessInput | None
    readers: Sequence[OutputReader]

    def descriptors(self) -> list[int]:
        """Return the child's 0, 1 and 2. Call `close_child` once the child has them."""
        ...

    def close_child(self) -> None:
        """Close the child's ends here."""
        ...

    def close(self) -> None:
        """Close everything."""
        ...


class Pipes:
    """Three pipes.

    Args:
        on_output: Called with output.
        stdin: The beginning of standard input. The caller writes it unless `end_input`.
        end_input: True if standard input ends after `stdin`.
    """

    def __init__(self, on_output: OnOutput, stdin: bytes, *, end_input: bool) -> None:
        self.input: ProcessInput | None = None
        if end_input:
            self._source = open_input(stdin)
        else:
            self._source, write = os.pipe2(os.O_CLOEXEC)
            self.input = ProcessInput(write)
        self._pipes = [
            OutputPipe(partial(on_output, stream), is_paused=True) for stream in (Stream.STDOUT, Stream.STDERR)
        ]
        self.readers: Sequence[OutputReader] = self._pipes

    def descriptors(self) -> list[int]:
        """Return the child's 0, 1 and 2."""
        return [self._source, *(pipe.write_fd for pipe in self._pipes)]

    def close_child(self) -> None:
        """Close the child's ends here."""
        if self._source >= 0:
            os.close(self._source)
            self._source = -1
        for pipe in self._pipes:
            pipe.close_write()

    def close(self) -> None:
        """Close everything. Idempotent."""
        self.close_child()
        if self.input is not None:
            self.input.close()
        for pipe in self._pipes:
            pipe.close()


class Terminal:
    """A pseudo terminal.

    Args:
        on_output: Called with output, which is all standard output.
        rows: Height in characters.
        columns: Width in characters.

    Raises:
        OSError: The system has no terminal left.
    """

    def __init__(self, on_output: OnOutput, rows: int, columns: int) -> None:
        self._master, self._child = os.openpty()
        self.resize(rows, columns)
        self.input: ProcessInput | None = ProcessInput(os.dup(self._master), is_terminal=True)
        self.readers: Sequence[OutputReader] = [
            OutputReader(os.dup(self._master), partial(on_output, Stream.STDOUT), is_paused=True)
        ]

    @property
    def foreground(self) -> int:
        """The process group in the foreground, or 0 if unknown."""
        with contextlib.suppress(OSError):
            return os.tcgetpgrp(self._master)
        return 0

    def resize(self, rows: int, columns: int) -> None:
        """Change the size. The foreground job gets SIGWINCH."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def descriptors(self) -> list[int]:
        """Return the child's 0, 1 and 2."""
        return [self._child] * 3

    def close_child(self) -> None:
        """Close the child's end here."""
        if self._child >= 0:
            os.close(self._child)
            self._child = -1

    def close(self) -> None:
        """Close everything. Idempotent."""
        self.close_child()
        if self.input is not None:
            self.input.close()
        for reader in self.readers:
            reader.close()
        if self._master >= 0:
            os.close(self._master)
            self._master = -1
