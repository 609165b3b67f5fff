"""Distinguishes the processes that one cell of an interpreter started from those of earlier cells.

Orphans have lost their ancestors, and their age does not say for which cell they work: a server of an earlier cell may
have started one during a later cell. Limits are inherited through forks and exec, so the soft limit on a file's
size is the mark. The first cell has the session's own limit, each later one a byte less.
"""

from __future__ import annotations

import contextlib
import resource
from typing import Final

_MAX_CELLS: Final = 1 << 16
"""Cells that are distinguished, and so the most bytes that the limit loses. Those after them count as one."""
_MIN_LIMIT: Final = 1 << 20
"""Bytes. A smaller limit is not changed."""


class CellMark:
    """The mark of an interpreter's running cell. Best effort: code that changes its own limit ends the marking."""

    def __init__(self) -> None:
        self._first = self._current = 0

    def begin(self, pid: int) -> None:
        """Mark what the process starts from now on as the next cell's."""
        with contextlib.suppress(OSError, ValueError):
            soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            if not self._first and soft >= _MIN_LIMIT:
                self._first = self._current = soft
            elif soft != self._current or self._first - soft >= _MAX_CELLS:
                return
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft - 1, hard))
            self._current = soft - 1

    def is_earlier(self, pid: int) -> bool:
        """Return True if a process belongs to an earlier cell. Returns False if that is not known."""
        try:
            soft = resource.prlimit(pid, resource.RLIMIT_FSIZE)[0]
        except OSError:
            return False
        return self._current < soft <= self._first
