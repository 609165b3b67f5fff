"""Shows text as a terminal would show it at the end: a progress bar in its last state. Pure: no I/O."""

from __future__ import annotations

import re
from typing import Final

_REWRITES: Final = re.compile(r"\r(?!\n)|\x08|\x1b\[\d*A")
"""Characters that overwrite what was printed before."""
_MOVES_UP: Final = re.compile(r"\x1b\[\d*A")
_TOKEN: Final = re.compile(r"\r?\n|[\r\x08]|\x1b\[([0-9;?]*)([A-Za-z])|[^\r\n\x08\x1b]+|\x1b")
_LINES: Final = re.compile(r"[^\n]*\n|[^\n]+\Z")
_MAX_CONTROLS: Final = 100_000
"""Control characters that are followed one by one, which takes a microsecond each."""
_WIDTH: Final = 4
"""Bytes of a character in a row. All have the same, so that overwriting some of them copies only those."""


def last_state(text: str) -> str:
    """Return text with each line in its last state, as progress bars, spinners and overprinted words leave it.

    Colours and other control sequences of such lines are left out. Other text is returned unchanged.
    """
    if not _REWRITES.search(text):
        return text
    if text.count("\b") + text.count("\x1b") > _MAX_CONTROLS:
        return text
    if _MOVES_UP.search(text):
        return _replay(text)
    return "".join(_last_of_line(line) if _REWRITES.search(line) else line for line in _LINES.findall(text))


def _last_of_line(line: str) -> str:
    if "\b" in line or "\x1b" in line:
        return _replay(line)
    content = line.removesuffix("\r\n").removesuffix("\n")
    shown = ""
    for state in reversed(content.split("\r")):
        # The end of a longer state stays visible.
        shown += state[len(shown) :]
    return shown + line[len(content) :]


def _replay(text: str) -> str:
    rows = [bytearray()]
    endings = [""]
    row = column = 0
    for match in _TOKEN.finditer(text):
        piece, command = match[0], match[2]
        if piece in ("\n", "\r\n"):
            endings[row] = piece
            row, column = row + 1, 0
            if row == len(rows):
                rows.append(bytearray())
                endings.append("")
        elif piece == "\r":
            column = 0
        elif piece == "\b":
            column = max(0, column - 1)
        elif command == "A":
            row = max(0, row - _count(match[1]))
        elif command == "K":
            _erase(rows[row], column, match[1])
        elif command is None:
            column = _write(rows[row], column, piece)
    shown = (content.decode("utf-32-le", "surrogatepass") for content in rows)
    return "".join(line + ending for line, ending in zip(shown, endings, strict=True))


def _count(digits: str) -> int:
    # A longer number leads to the first row too.
    return int(digits[:9]) if digits.isdecimal() else 1


def _write(row: bytearray, column: int, text: str) -> int:
    """Overwrite a row from a column on. Return the column after the text."""
    start, end = column * _WIDTH, (column + len(text)) * _WIDTH
    if start > len(row):
        row += " ".encode("utf-32-le") * (column - len(row) // _WIDTH)
    row[start:end] = text.encode("utf-32-le", "surrogatepass")
    return column + len(text)


def _erase(row: bytearray, column: int, mode: str) -> None:
    if mode in ("", "0"):
        del row[column * _WIDTH :]
    elif mode == "2":
        row.clear()
