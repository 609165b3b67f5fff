"""Where a cell's last statement begins. Pure.

A cell's value is that of its last expression. To find it in the tree of the whole cell costs more than all of compiling
does, since the tree is made of Python objects; so only the end is parsed, and the rest compiled as it is.
"""

from __future__ import annotations

from typing import Final

_NO_START: Final = frozenset(" \t\f\r#)]}")


def split_last_statement(source: str) -> tuple[str, str] | None:
    """What comes before the last line that may begin a statement, and the rest, its lines where they were.

    The split is right if both parts are Python by themselves: then no string, bracket or continued line is open at the
    end of the first, and the second begins a statement. Else, and where this is None, look at the whole.
    """
    lines = source.split("\n")
    for number in range(len(lines) - 1, 0, -1):
        line = lines[number]
        if line and line[0] not in _NO_START:
            if lines[number - 1].endswith("\\"):
                return None
            # What must come first in a file would be accepted at the start of the second part, too.
            rest = "\n".join(lines[number:])
            return None if "__future__" in rest else ("\n".join(lines[:number]) + "\n", "\n" * number + rest)
    return None
