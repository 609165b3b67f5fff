"""The few Linux calls that the standard library lacks. A docstring says so if a call is best effort.

`open_beneath` and `rename_without_replacing` are only the fast or atomic way. Callers have a portable one for ENOSYS,
EINVAL and EPERM (gVisor, an old kernel, a seccomp filter).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
import resource
import signal
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_CHILD_SUBREAPER: Final = 36
_ENV_START: Final = 49
"""Index of env_start among the fields of /proc/self/stat, counted from 0."""

TREE_VARIABLE: Final = "SANDBOX_TREE"
"""Environment variable that marks every process of one tree (`process_tree`)."""
TREE_PLACEHOLDER: Final = "0" * 16
_LIMIT_BASE: Final = 1 << 61

_SYS_OPENAT2: Final = 437
"""The same on every architecture, since Linux 5.6."""
_RESOLVE_NO_MAGICLINKS: Final = 0x02
_RESOLVE_BENEATH: Final = 0x08
_RENAME_NOREPLACE: Final = 1

libc = ctypes.CDLL(None, use_errno=True)
# A handle of its own, so that the result type does not change the other users of `libc.syscall`.
_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long
_renameat2 = getattr(libc, "renameat2", None)


def become_subreaper() -> None:
    """Make orphans of this process tree children of this process, as they are of PID 1."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def shut_off() -> None:
    """Keep this process's memory and descriptors from other processes of its user, until it calls exec."""
    _prctl(_PR_SET_DUMPABLE, 0)


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies, so that no process survives a killed runtime."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def limit_processes(processes: int) -> None:
    """Set RLIMIT_NPROC, which counts all processes of the user id.

    Callers apply it only if no other program uses the user id. Best effort: a lower hard limit stays.
    """
    hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    limit = processes if hard == resource.RLIM_INFINITY else min(processes, hard)
    resource.setrlimit(resource.RLIMIT_NPROC, (limit, limit))


@functools.cache
def find_placeholder() -> int:
    """Return the address of the placeholder for a tree's mark in this process's memory, or 0 if there is none.

    The address stays valid after forks. Best effort: without /proc the other ways of finding a tree remain.
    """
    try:
        environment = Path("/proc/self/environ").read_bytes()
        fields = Path("/proc/self/stat").read_text().rsplit(") ", 1)[1].split()
        # The fields after the command name start with the third one.
        start = int(fields[_ENV_START - 2])
    except (OSError, IndexError, ValueError):
        return 0
    marker = f"{TREE_VARIABLE}=".encode()
    position = environment.find(marker + TREE_PLACEHOLDER.encode())
    return start + position + len(marker) if start and position >= 0 else 0


def set_environment_mark(tree: str) -> None:
    """Write `tree` over the placeholder in this process's initial environment.

    /proc/PID/environ of a forked process shows its parent's environment, whatever it puts into os.environ. Without the
    mark there, nothing would identify children that it forks and that become daemons.
    """
    address = find_placeholder()
    if address and len(tree) == len(TREE_PLACEHOLDER):
        ctypes.memmove(address, tree.encode(), len(tree))


def set_limit_mark(tree: str) -> None:
    """Write `tree` into the limit on a file's size, as a number that exceeds the size of any file.

    Children inherit it through fork and exec. Unlike an environment it cannot be cleared: a process may only lower it.
    Best effort: if the limit is lower already, the mark in the environment remains.
    """
    number = limit_mark(tree)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_FSIZE, (number, number))


def limit_mark(tree: str) -> int:
    """Return the limit on file sizes that marks a tree."""
    return _LIMIT_BASE | int(tree, 16) % _LIMIT_BASE


def limit_files(pid: int, size: int) -> None:
    """Make writes of a process fail with EFBIG if a file would exceed `size` bytes.

    Sets only the soft limit, because the hard one may be the mark of its tree. Best effort: a lower limit stays.
    """
    with contextlib.suppress(OSError, ValueError):
        hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
        soft = size if hard == resource.RLIM_INFINITY else min(size, hard)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


def die_first() -> None:
    """Have the kernel kill this process and its children first when memory runs out, and not the runtime."""
    # Not with Path: in a child of the zygote that would copy a hundred shared pages.
    with contextlib.suppress(OSError):
        descriptor = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        os.write(descriptor, b"1000")
        os.close(descriptor)


def read_limit_mark(pid: int) -> int:
    """Return the limit on file sizes that marks a process's tree, or 0 if it has no mark.

    Raises:
        OSError: The process has ended, or belongs to another user.
    """
    number = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
    return number if _LIMIT_BASE <= number < 2 * _LIMIT_BASE else 0


def _prctl(option: int, value: int) -> None:
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        _raise(ctypes.get_errno())


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_beneath(path: bytes, flags: int, dir_fd: int) -> int:
    """Open a path with openat2, refusing symlinks and `..` that lead out of `dir_fd`.

    Raises:
        OSError: EXDEV: the path leads out, or has an absolute symlink. ENOSYS: the kernel lacks the call.
    """
    how = _OpenHow(flags | os.O_CLOEXEC, 0, _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS)
    descriptor: int = _syscall(
        ctypes.c_long(_SYS_OPENAT2),
        ctypes.c_int(dir_fd),
        ctypes.c_char_p(path),
        ctypes.byref(how),
        ctypes.c_size_t(ctypes.sizeof(how)),
    )
    if descriptor < 0:
        _raise(ctypes.get_errno())
    return descriptor


def rename_without_replacing(source_fd: int, source: bytes, destination_fd: int, destination: bytes) -> None:
    """Rename with renameat2, atomically refusing a destination that exists.

    Raises:
        OSError: EEXIST: the destination exists. ENOSYS: the C library lacks the call.
    """
    if _renameat2 is None:
        _raise(errno.ENOSYS)
    elif _renameat2(
        ctypes.c_int(source_fd),
        ctypes.c_char_p(source),
        ctypes.c_int(destination_fd),
        ctypes.c_char_p(destination),
        ctypes.c_uint(_RENAME_NOREPLACE),
    ):
        _raise(ctypes.get_errno())


def _raise(number: int) -> None:
    raise OSError(number, os.strerror(number))
