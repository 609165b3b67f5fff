"""Removes the marks around late output, where all output is late: `python` and `node` print none."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

_HEADING: Final = "[late output of cell "
_END: Final = "[end of late output]"
_MARK: Final = re.compile(rf"{re.escape(_HEADING)}\d+\]|{re.escape(_END)}")
_BEGUN: Final = re.compile(rf"{re.escape(_HEADING)}\d+\]?")


class Writer(Protocol):
    """Something that takes the two streams of a program, as text."""

    def write_stdout(self, text: str, /) -> None:
        """Write to standard output."""

    def write_stderr(self, text: str, /) -> None:
        """Write to standard error."""


class Unmarked:
    """A writer that passes everything on but the lines that mark late output.

    Args:
        target: Gets the rest.
    """

    def __init__(self, target: Writer) -> None:
        self._stdout = _Lines(target.write_stdout)
        self._stderr = _Lines(target.write_stderr)

    def write_stdout(self, text: str, /) -> None:
        """Write to standard output."""
        self._stdout.write(text)

    def write_stderr(self, text: str, /) -> None:
        """Write to standard error."""
        self._stderr.write(text)

    def finish(self) -> None:
        """Write what only looked like the beginning of a mark."""
        self._stdout.finish()
        self._stderr.finish()


class _Lines:
    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._held = ""

    def write(self, text: str) -> None:
        *whole, last = (self._held + text).split("\n")
        self._held = last if _may_become_mark(last) else ""
        kept = "".join(f"{line}\n" for line in whole if not _MARK.fullmatch(line)) + last.removesuffix(self._held)
        if kept:
            self._write(kept)

    def finish(self) -> None:
        held, self._held = self._held, ""
        if held:
            self._write(held)


def _may_become_mark(line: str) -> bool:
    return bool(line) and (_HEADING.startswith(line) or _END.startswith(line) or bool(_BEGUN.fullmatch(line)))
