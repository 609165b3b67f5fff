"""Where the compared cells come from: files of cells, and the examples in docstrings."""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

CELLS = Path(__file__).parent / "cells"
NOTEBOOKS = Path(__file__).parent / "notebooks"
_MARK = re.compile(r"^# %%[ \t]*(.*)\n", re.MULTILINE)


@dataclass(frozen=True)
class Cell:
    """One cell: its name, which is unique among all cells, and its code."""

    name: str
    code: str


def read_cells(path):
    """Return the cells of a file. `# %% name` begins a cell; a name that comes again gets a number."""
    pieces = _MARK.split(path.read_text())[1:]
    seen, cells = Counter(), []
    for name, code in zip(pieces[::2], pieces[1::2], strict=True):
        words = f"{path.stem}: {name.strip() or 'cell'}"
        seen[words] += 1
        suffix = f" {seen[words]}" if seen[words] > 1 or not name.strip() else ""
        cells.append(Cell(words + suffix, code.strip("\n")))
    return cells
