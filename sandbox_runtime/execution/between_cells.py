"""Keeps what happens in a context while no cell runs, for the next cell to report."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from sandbox_link.frames import Stream

if TYPE_CHECKING:
    from sandbox_runtime.execution.execution import Execution

_MAX_PIECES: Final = 64
_MAX_PIECE: Final = 4 << 10


class BetweenCells:
    """Output of children and C code, and the end of the process."""

    def __init__(self) -> None:
        self._output: deque[tuple[Stream, bytes]] = deque(maxlen=_MAX_PIECES)
        self._loss = ""

    def keep(self, stream: Stream, data: bytes) -> None:
        """Keep the end of a piece of output."""
        self._output.append((stream, data[-_MAX_PIECE:]))

    def lose(self, cause: str) -> None:
        """Remember that the process has ended, and its variables with it."""
        self._loss = f"{cause} Its variables are lost.\n"

    def report(self, execution: Execution) -> None:
        """Write what was kept to an execution that begins. Only a cell, and no internal task, learns of a loss."""
        for stream, data in self._output:
            execution.write(stream, data)
        self._output.clear()
        if self._loss and execution.task is None:
            execution.follows_loss = True
            execution.write(Stream.STDERR, self._loss.encode())
            self._loss = ""
