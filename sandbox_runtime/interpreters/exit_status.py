"""Reads how cells and interpreters ended."""

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
    """Return the status in an interpreter's CLOSE, or ERROR if it is not one that an interpreter may report."""
    try:
        status = json.loads(payload)["ok"]["status"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return "ERROR"
    return status if status in _STATUSES else "ERROR"


def read_end(status: int | None) -> tuple[int, int]:
    """Return the signal (or 0) and the exit code, as a shell reports it.

    Args:
        status: A wait status. None if the process never started, or its status is unknown: then both are 0.
    """
    if status is None:
        return 0, 0
    code = os.waitstatus_to_exitcode(status)
    return (-code, _SIGNAL_EXIT - code) if code < 0 else (0, code)


class LastOutput:
    """Listener of an interpreter that is being killed: passes on its output and ignores its frames and its end.

    Args:
        on_output: Gets the output that is still in the pipes.
    """

    def __init__(self, on_output: Callable[[Stream, bytes], None]) -> None:
        self._on_output = on_output

    def on_ready(self) -> None:
        """Ignore it."""

    def on_frame(self, frame: Frame) -> None:
        """Ignore it."""

    def on_output(self, stream: Stream, data: bytes) -> None:
        """Pass it on."""
        self._on_output(stream, data)

    def on_exit(self, status: int | None) -> None:
        """Ignore it."""
