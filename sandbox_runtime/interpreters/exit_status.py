"""How cells and interpreters end, as the supervisor reads it; who listens to an interpreter that is being killed."""

from __future__ import annotations

import json
import os
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox_link.frames import Frame, Stream

_SIGNAL_EXIT: Final = 128
_STATUSES: Final = frozenset({"OK", "ERROR", "INTERRUPTED"})


@lru_cache(maxsize=16)
def read_status(payload: bytes) -> str:
    """The status in an interpreter's CLOSE; ERROR for anything that it may not say."""
    try:
        status = json.loads(payload)["ok"]["status"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return "ERROR"
    return status if status in _STATUSES else "ERROR"


def read_end(status: int | None) -> tuple[int, int]:
    """Signal (or 0) and exit code, as a shell says it, of a wait status; None: it never started, or nobody knows."""
    if status is None:
        return 0, 0
    code = os.waitstatus_to_exitcode(status)
    return (-code, _SIGNAL_EXIT - code) if code < 0 else (0, code)


class LastOutput:
    """Listens to an interpreter that is being killed: its output counts, its frames and its end no longer do.

    Args:
        on_output: Gets the output that was in the pipes.
    """

    def __init__(self, on_output: Callable[[Stream, bytes], None]) -> None:
        self._on_output = on_output

    def on_ready(self) -> None:
        """Too late."""

    def on_frame(self, frame: Frame) -> None:
        """Too late."""

    def on_output(self, stream: Stream, data: bytes) -> None:
        """Output that was in the pipes."""
        self._on_output(stream, data)

    def on_read(self) -> None:
        """Nothing to hold."""

    def on_round(self) -> None:
        """Nothing to send."""

    def on_exit(self, status: int | None) -> None:
        """Expected."""
