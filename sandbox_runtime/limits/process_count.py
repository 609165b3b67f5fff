"""Counts the threads of processes, as RLIMIT_NPROC does. Reads /proc."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_THREADS_FIELD: Final = 17
"""Position of `num_threads` in /proc/PID/stat, behind the name."""


def count_threads(pids: Iterable[int]) -> int:
    """Return how many threads the processes have. Each has at least one."""
    return sum(map(_read_threads, pids))


def _read_threads(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - many times a second
            return max(1, int(file.read().rsplit(b") ", 1)[1].split(b" ", _THREADS_FIELD + 1)[_THREADS_FIELD]))
    except (OSError, ValueError, IndexError):
        return 0
