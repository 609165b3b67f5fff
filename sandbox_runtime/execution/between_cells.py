"""Keeps what happens in a context while no cell runs, for the next cell to report."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from sandbox_link.frames import Stream
from sandbox_runtime.late_marks import LateMarks, left_out

if TYPE_CHECKING:
    from sandbox_runtime.execution.execution import Execution

_MAX_KEPT: Final = 256 << 10
_MAX_PIECES: Final = 1024


class BetweenCells:
    """Output of children and C code, and the end of the process."""

    def __init__(self) -> None:
        self._output: deque[tuple[int, Stream, bytes]] = deque()
        self._size = 0
        self._dropped = 0
        self._loss = ""

    def keep(self, cell: int, stream: Stream, data: bytes) -> None:
        """Keep the end of the output.

        Args:
            cell: Number of the cell that ran last.
            stream: The stream of the output.
            data: A piece of the output.
        """
        self._output.append((cell, stream, data))
        self._size += len(data)
        while self._size > _MAX_KEPT or len(self._output) > _MAX_PIECES:
            first, kind, oldest = self._output.popleft()
            dropped = min(len(oldest), max(self._size - _MAX_KEPT, 0)) or len(oldest)
            if rest := oldest[dropped:]:
                self._output.appendleft((first, kind, rest))
            self._size -= dropped
            self._dropped += dropped

    def lose(self, cause: str) -> None:
        """Remember that the process has ended, and its variables with it."""
        self._loss = f"{cause} Its variables are lost.\n"

    def report(self, execution: Execution) -> None:
        """Write what was kept to a cell that begins. An internal task leaves it to the next cell."""
        if execution.task is not None:
            return
        self._report_output(execution)
        if self._loss:
            execution.follows_loss = True
            execution.write(Stream.STDERR, self._loss.encode())
            self._loss = ""

    def _report_output(self, execution: Execution) -> None:
        if not self._output:
            return
        marks = LateMarks()
        if self._dropped:
            cell, stream, _ = self._output[0]
            self._output.appendleft((cell, stream, left_out(self._dropped)))
        for cell, stream, data in self._output:
            for marked, line in marks.switch(cell, stream):
                execution.write(marked, line)
            execution.write(stream, data)
            marks.note(stream, data)
        for marked, line in marks.switch(0, Stream.STDOUT):
            execution.write(marked, line)
        self._output.clear()
        self._size = self._dropped = 0
