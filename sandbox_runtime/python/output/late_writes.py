"""Separates the text of threads and tasks of earlier cells from that of the running one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class WatchedWrite:
    """The `write` of a stream that marks the text of an earlier cell. Its lines stay whole, whatever else is printed.

    Args:
        write: The stream's own function.
        late_cell: Returns the number of the caller's cell, or 0 for the running one.
        write_late: Takes whole lines, and the number of their cell.
    """

    def __init__(
        self, write: Callable[[str], int], late_cell: Callable[[], int], write_late: Callable[[str, int], None]
    ) -> None:
        self._write = write
        self._late_cell = late_cell
        self._write_late = write_late
        self._begun: dict[int, str] = {}

    def __call__(self, text: str, /) -> int:
        """Write a text."""
        cell = self._late_cell()
        if not cell or not isinstance(text, str):
            return self._write(text)
        whole, line_break, rest = (self._begun.pop(cell, "") + text).rpartition("\n")
        if rest:
            self._begun[cell] = rest
        if line_break:
            self._write_late(whole + line_break, cell)
        return len(text)

    def finish(self) -> None:
        """Write the lines that were only begun."""
        while self._begun:
            cell, text = self._begun.popitem()
            self._write_late(text, cell)
