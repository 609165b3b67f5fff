"""The few Linux calls that the standard library lacks. Each is best effort where a comment says so."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import resource
import signal
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_ENV_START: Final = 49
"""Index of env_start among the fields of /proc/self/stat, counted from 0."""

TREE_VARIABLE: Final = "SANDBOX_TREE"
"""Environment variable that marks every process of one tree; see `process_tree`."""
TREE_PLACEHOLDER: Final = "0" * 16
_LIMIT_BASE: Final = 1 << 61

libc = ctypes.CDLL(None, use_errno=True)


def become_subreaper() -> None:
    """Make orphans of this process tree children of this process, as they are of PID 1."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies, so that a killed runtime leaves nothing behind."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def limit_processes(processes: int) -> None:
    """Set RLIMIT_NPROC, which counts all processes of the user id.

    Callers apply it only where the user id belongs to the sandbox alone. Best effort: a lower hard limit stays.
    """
    hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    limit = processes if hard == resource.RLIM_INFINITY else min(processes, hard)
    resource.setrlimit(resource.RLIMIT_NPROC, (limit, limit))


@functools.cache
def find_mark() -> int:
    """Where the placeholder of a tree's mark is in this process's memory, before and after forks; 0 if nowhere.

    Best effort: without /proc the other ways of finding a tree remain.
    """
    try:
        environment = Path("/proc/self/environ").read_bytes()
        fields = Path("/proc/self/stat").read_text().rsplit(") ", 1)[1].split()
        # The fields after the command name start with the third of all.
        start = int(fields[_ENV_START - 2])
    except (OSError, IndexError, ValueError):
        return 0
    marker = f"{TREE_VARIABLE}=".encode()
    position = environment.find(marker + TREE_PLACEHOLDER.encode())
    return start + position + len(marker) if start and position >= 0 else 0


def mark_tree(tree: str) -> None:
    """Write `tree` over the placeholder in this process's initial environment.

    A forked process shows its parent's environment in /proc/PID/environ whatever it puts into os.environ; children
    that it forks and that daemonize would carry no mark.
    """
    address = find_mark()
    if address and len(tree) == len(TREE_PLACEHOLDER):
        ctypes.memmove(address, tree.encode(), len(tree))


def mark_limit(tree: str) -> None:
    """Write `tree` into the limit on a file's size, where it limits nothing: it is beyond any file.

    Children inherit it through fork and exec, and unlike an environment it cannot be cleared: a process may only lower
    it. Best effort: where the limit is lower already, the environment's mark remains.
    """
    number = tree_limit(tree)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_FSIZE, (number, number))


def tree_limit(tree: str) -> int:
    """The limit that marks a tree."""
    return _LIMIT_BASE | int(tree, 16) % _LIMIT_BASE


def limit_files(pid: int, size: int) -> None:
    """Have a process fail with EFBIG where it would make a file larger than `size` bytes.

    The soft limit only: the hard one may be the mark of its tree. Best effort: a lower limit stays.
    """
    with contextlib.suppress(OSError, ValueError):
        hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
        soft = size if hard == resource.RLIM_INFINITY else min(size, hard)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


def die_first() -> None:
    """Have the kernel prefer this process, and what it starts, when memory runs out: never the runtime itself."""
    # Not by Path: in a child of the zygote it would copy a hundred shared pages.
    with contextlib.suppress(OSError):
        descriptor = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        os.write(descriptor, b"1000")
        os.close(descriptor)


def read_limit(pid: int) -> int:
    """The limit that marks a process's tree, or 0 where it has none.

    Raises:
        OSError: The process is gone, or another user's.
    """
    number = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
    return number if _LIMIT_BASE <= number < 2 * _LIMIT_BASE else 0


def _prctl(option: int, value: int) -> None:
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
