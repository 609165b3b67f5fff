"""Collects what a scan cannot describe, such as unreadable folders, so that a push can name it. Pure: no I/O."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, Final

from sandbox_runtime.files.confined.errors import to_operation_error
from sandbox_runtime.files.confined.path_checks import to_text

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_STORED_PATH: Final = 4096
"""Largest size of a path in bytes that a scan describes. No store has longer keys."""
MAX_NAMED: Final = 500
"""Paths that a scan names. It counts the others."""
_PER_EVENT: Final = 20
"""With every byte of each path escaped, their JSON still fits into a frame."""
_TOO_LONG: Final = f"the path is longer than {MAX_STORED_PATH} bytes: move it, with what is below, to a shorter path"


class LeftOut:
    """The paths that one scan left out, and the reasons.

    Attributes:
        count: How many there are, named or not.
    """

    def __init__(self) -> None:
        self.count = 0
        self._named: list[dict[str, str]] = []

    def add(self, path: bytes, error: OSError) -> None:
        """Add a path. An unreadable folder stands for everything below it."""
        self.count += 1
        if len(self._named) < MAX_NAMED:
            text = to_text(path[:MAX_STORED_PATH]) or "."
            self._named.append({"path": text, "reason": _explain(text, error)})

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield the events that name the paths."""
        for start in range(0, len(self._named), _PER_EVENT):
            yield {"type": "left_out", "paths": self._named[start : start + _PER_EVENT]}


def _explain(path: str, error: OSError) -> str:
    if error.errno == errno.ENAMETOOLONG:
        return _TOO_LONG
    failure = to_operation_error(error, subject=path)
    return f"{failure.reason}: {failure.message}"
