"""The ends of a background process's input and output: three pipes, or a terminal."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import termios
from functools import partial
from typing import TYPE_CHECKING, Protocol

from sandbox_link.frames import Stream
from sandbox_runtime.processes.pipe import OutputPipe, OutputReader
from sandbox_runtime.processes.process_input import ProcessInput
from sandbox_runtime.processes.start import open_input

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    OnOutput = Callable[[Stream, bytes], None]


class ProcessIO(Protocol):
    """What Pipes and Terminal have in common.

    Attributes:
        input: Standard input; None where it ended at the start.
        readers: Where output arrives; nothing is read before they are resumed.
    """

    input: ProcessInput | None
    readers: Sequence[OutputReader]

    def descriptors(self) -> list[int]:
        """The child's 0, 1 and 2, to be closed by `close_child` once the child has them."""
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
        stdin: What standard input begins with.
        end_input: It ends behind `stdin`.
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
        """See ProcessIO."""
        return [self._source, *(pipe.write_fd for pipe in self._pipes)]

    def close_child(self) -> None:
        """See ProcessIO."""
        if self._source >= 0:
            os.close(self._source)
            self._source = -1
        for pipe in self._pipes:
            pipe.close_write()

    def close(self) -> None:
        """See ProcessIO."""
        self.close_child()
        if self.input is not None:
            self.input.close()
        for pipe in self._pipes:
            pipe.close()


class Terminal:
    """A pseudo terminal.

    Args:
        on_output: Called with output, all of it as standard output.
        rows: Its height.
        columns: Its width.

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
        """The process group in the foreground, or 0."""
        with contextlib.suppress(OSError):
            return os.tcgetpgrp(self._master)
        return 0

    def resize(self, rows: int, columns: int) -> None:
        """Change its size; the foreground job gets SIGWINCH."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def descriptors(self) -> list[int]:
        """See ProcessIO."""
        return [self._child] * 3

    def close_child(self) -> None:
        """See ProcessIO."""
        if self._child >= 0:
            os.close(self._child)
            self._child = -1

    def close(self) -> None:
        """See ProcessIO."""
        self.close_child()
        if self.input is not None:
            self.input.close()
        for reader in self.readers:
            reader.close()
        if self._master >= 0:
            os.close(self._master)
            self._master = -1
