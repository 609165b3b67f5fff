"""The cells that ran in a context's process, for the type check of the next one. Pure.

Bounded: past the limits the oldest cells are dropped, and `is_complete` becomes false.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

MAX_CELLS: Final = 1000
MAX_BYTES: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell that was handed to the interpreter.

    Attributes:
        number: Its number in the context, from 1.
        language: `javascript` or `typescript`.
        code: Its source.
    """

    number: int
    language: str
    code: str


class CellHistory:
    """The cells of one process.

    Attributes:
        generation: Number of the process, which increases with each new process.
        is_complete: False if cells were dropped.
        cells: The cells, the oldest first.
    """

    def __init__(self) -> None:
        self.generation = 0
        self.is_complete = True
        self.cells: deque[Cell] = deque()
        self._process: object = None
        self._size = 0

    def follow(self, process: object) -> None:
        """Start an empty history if the process is not the previous one."""
        if process is self._process:
            return
        self._process = process
        self.generation += 1
        self.cells.clear()
        self._size = 0
        self.is_complete = True

    def add(self, cell: Cell) -> None:
        """Add a cell that is about to run."""
        self.cells.append(cell)
        self._size += len(cell.code)
        while self.cells and (self._size > MAX_BYTES or len(self.cells) > MAX_CELLS):
            self._size -= len(self.cells.popleft().code)
            self.is_complete = False
