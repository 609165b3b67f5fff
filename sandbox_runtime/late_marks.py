"""Marks output that came after the end of its cell, because another cell's call passes it on.

Pure: no I/O. The JavaScript interpreter does the same in javascript/late_marks.cjs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sandbox_link.frames import Stream

if TYPE_CHECKING:
    from collections.abc import Iterator

END: Final = b"[end of late output]\n"
"""The line after late output."""
_STREAMS: Final = (Stream.STDOUT, Stream.STDERR)


def heading(cell: int) -> bytes:
    """Return the line before late output of the cell with this number."""
    return b"[late output of cell %d]\n" % cell


def left_out(size: int) -> bytes:
    """Return the line that stands for late output which was not kept."""
    return b"[... %d bytes of late output left out ...]\n" % size


class LateMarks:
    """The lines around late output in the output of one call."""

    def __init__(self) -> None:
        self._open: tuple[int, Stream] | None = None
        self._is_inside_line = dict.fromkeys(_STREAMS, False)

    @property
    def is_open(self) -> bool:
        """True between the two lines."""
        return self._open is not None

    def switch(self, cell: int, stream: Stream) -> Iterator[tuple[Stream, bytes]]:
        """Yield the lines to write before the next piece of output.

        Args:
            cell: The cell that the piece belongs to, 0 for the one that runs.
            stream: Its stream.
        """
        wanted = (cell, stream) if cell else None
        if wanted == self._open:
            return
        if self._open is not None:
            yield self._open[1], self._on_new_line(self._open[1], END)
        self._open = wanted
        if wanted is not None:
            yield stream, self._on_new_line(stream, heading(cell))

    def note(self, stream: Stream, data: bytes | memoryview) -> None:
        """Remember whether a piece of output has ended its line."""
        if data:
            self._is_inside_line[stream] = data[-1:] != b"\n"

    def _on_new_line(self, stream: Stream, line: bytes) -> bytes:
        is_inside, self._is_inside_line[stream] = self._is_inside_line[stream], False
        return b"\n" + line if is_inside else line
