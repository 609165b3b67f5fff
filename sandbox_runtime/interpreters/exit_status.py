"""Reads how cells and interpreters ended."""

from __future__ import annotations

import json
import os
import signal
from functools import lru_cache
from typing import Final

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


def describe_end(number: int, exit_code: int, *, oom: bool) -> str:
    """Describe in a sentence how an interpreter ended between two cells.

    Args:
        number: The signal that ended it, or 0.
        exit_code: Its exit code.
        oom: True if it was killed because memory ran out.
    """
    if oom:
        return "The interpreter was killed since the previous cell, because it ran out of memory."
    if number:
        name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
        return f"The interpreter was killed since the previous cell, by {name}."
    return f"The interpreter has ended since the previous cell, with exit code {exit_code}."
