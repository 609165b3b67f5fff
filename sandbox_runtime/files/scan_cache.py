"""What the last scan of the whole workspace found, so that the next one tells the differences alone. Pure: no I/O.

Every scan still looks at every file: remembered is what each looked like, never that it is the same.
"""

from __future__ import annotations

import secrets
import stat
import struct
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

MAX_REMEMBERED: Final = 100_000
"""Entries that are remembered, at about 250 bytes each; of a larger workspace, everything is told each time."""
_ENCODING: Final = sys.getfilesystemencoding()
_pack: Final = struct.Struct("<qqqqQ").pack


@dataclass(frozen=True, slots=True)
class Remembered:
    """One scan.

    Attributes:
        token: Names it; empty: there was none.
        excluded: The patterns that it left out.
        marks: What each path looked like.
    """

    token: str = ""
    excluded: tuple[str, ...] = ()
    marks: Mapping[str, bytes] = field(default_factory=dict)


class Comparison:
    """One scan, compared with an earlier one.

    Args:
        before: The earlier one; of another token, nothing is known.
        since: The token of the scan that the agent has.
        excluded: The patterns that this one leaves out.

    Attributes:
        last_passed: The prefix of the last file that a passer knew.
    """

    def __init__(self, before: Remembered, since: str, excluded: tuple[str, ...]) -> None:
        self.is_difference = bool(since) and since == before.token and excluded == before.excluded
        self._before = before.marks if self.is_difference else {}
        self._excluded = excluded
        self._marks: dict[str, bytes] = {}
        self.last_passed = ""

    def is_known(self, path: str, status: os.stat_result, target: bytes = b"") -> bool:
        """Remember what a path looks like, a folder as one that is empty; whether it looked so before."""
        mark = _mark(status) + (b"/" if stat.S_ISDIR(status.st_mode) else target)
        if self.is_difference or len(self._marks) <= MAX_REMEMBERED:
            self._marks[path] = mark
        return self._before.get(path) == mark

    def passer(self, prefix: str) -> Callable[[os.DirEntry[str]], bool] | None:
        """What tells whether an entry of a folder is a file that looks as before, and remembers it; None: none does.

        It is called for every file: what it saves is most of a scan. That the earlier scan found a path says that no
        pattern excludes it.

        Args:
            prefix: The folder's path and a slash, nothing for the root.
        """
        if not self._before or _ENCODING != "utf-8":
            return None  # a name would not be the path's text
        before, marks = self._before, self._marks

        def passes(entry: os.DirEntry[str]) -> bool:
            path = prefix + entry.name
            mark = before.get(path)
            if mark is None:
                return False
            try:
                if _mark(entry.stat(follow_symlinks=False)) != mark:
                    return False
            except OSError:
                return False
            marks[path] = mark
            self.last_passed = prefix
            return True

        return passes

    def gone(self) -> list[str]:
        """Paths of the earlier scan that this one has not found; once it has ended."""
        return list(self._before.keys() - self._marks.keys())

    def remember(self) -> Remembered:
        """This scan, which has ended."""
        if len(self._marks) > MAX_REMEMBERED:
            return Remembered()
        return Remembered(secrets.token_hex(8), self._excluded, self._marks)


def _mark(status: os.stat_result) -> bytes:
    return _pack(status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
