"""Remembers the last scan of the whole workspace, so that the next one can report only differences. Pure: no I/O.

Every scan still calls stat for every file. The cache only has the results of the last scan to compare with.
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

MAX_ENTRIES: Final = 100_000
"""Entries to remember, about 250 bytes each. Every scan of a larger workspace reports everything."""
_ENCODING: Final = sys.getfilesystemencoding()
_pack: Final = struct.Struct("<qqqqQ").pack


@dataclass(frozen=True, slots=True)
class ScanCache:
    """The result of one scan.

    Attributes:
        token: Identifies the scan; empty if there was none.
        excluded: The patterns that the scan left out.
        signatures: The status of each path, encoded.
    """

    token: str = ""
    excluded: tuple[str, ...] = ()
    signatures: Mapping[str, bytes] = field(default_factory=dict)


class Comparison:
    """A scan in progress, compared with an earlier one.

    Args:
        before: The earlier scan. It is ignored if its token is not `since`.
        since: The token of the scan that the agent has.
        excluded: The patterns that this scan leaves out.

    Attributes:
        is_difference: The scan reports only what differs from the earlier one.
        last_unchanged: The folder, as a prefix, of the last file that an entry filter found unchanged.
    """

    def __init__(self, before: ScanCache, since: str, excluded: tuple[str, ...]) -> None:
        self.is_difference = bool(since) and since == before.token and excluded == before.excluded
        self._before = before.signatures if self.is_difference else {}
        self._excluded = excluded
        self._signatures: dict[str, bytes] = {}
        self.last_unchanged = ""

    def is_unchanged(self, path: str, status: os.stat_result, target: bytes = b"") -> bool:
        """Record the status of a path, and return True if it was the same before. A folder counts as empty."""
        signature = _signature(status) + (b"/" if stat.S_ISDIR(status.st_mode) else target)
        if self.is_difference or len(self._signatures) <= MAX_ENTRIES:
            self._signatures[path] = signature
        return self._before.get(path) == signature

    def entry_filter(self, prefix: str) -> Callable[[os.DirEntry[str]], bool] | None:
        """Return a function that returns True for a folder's entry that is an unchanged file, and records that file.

        Called for every file, it saves most of a scan's time. A path that the earlier scan found is not excluded by any
        pattern. Returns None if no file can be unchanged.

        Args:
            prefix: The folder's path and a slash; empty for the root.
        """
        if not self._before or _ENCODING != "utf-8":
            return None  # a name would differ from the path's text
        before, signatures = self._before, self._signatures

        def is_unchanged_file(entry: os.DirEntry[str]) -> bool:
            path = prefix + entry.name
            signature = before.get(path)
            if signature is None:
                return False
            try:
                if _signature(entry.stat(follow_symlinks=False)) != signature:
                    return False
            except OSError:
                return False
            signatures[path] = signature
            self.last_unchanged = prefix
            return True

        return is_unchanged_file

    def deleted(self) -> list[str]:
        """Return the paths that only the earlier scan found. Valid once this scan has ended."""
        return list(self._before.keys() - self._signatures.keys())

    def to_cache(self) -> ScanCache:
        """Return the result of this scan, which has ended."""
        if len(self._signatures) > MAX_ENTRIES:
            return ScanCache()
        return ScanCache(secrets.token_hex(8), self._excluded, self._signatures)


def _signature(status: os.stat_result) -> bytes:
    values = status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
    try:
        return _pack(*values)
    except struct.error:  # a time after the year 2262
        return repr(values).encode()
