"""The two system calls that Python does not have: openat2 and renameat2. Errors: OSError, ENOSYS where there is none.

They are the fast or atomic way only: callers have a portable one for ENOSYS, EINVAL and EPERM (gVisor, an old kernel, a
seccomp filter).
"""

from __future__ import annotations

import ctypes
import errno
import os
from typing import Final

_SYS_OPENAT2: Final = 437
"""The same on every architecture that Linux has had since 5.6."""
_RESOLVE_NO_MAGICLINKS: Final = 0x02
_RESOLVE_BENEATH: Final = 0x08
_RENAME_NOREPLACE: Final = 1


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_renameat2 = getattr(_libc, "renameat2", None)


def open_beneath(path: bytes, flags: int, dir_fd: int) -> int:
    """Open a path that no symlink and no `..` leads out of `dir_fd`.

    Raises:
        OSError: EXDEV where it leads out, or has an absolute symlink.
    """
    how = _OpenHow(flags | os.O_CLOEXEC, 0, _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS)
    descriptor: int = _libc.syscall(
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
    """Rename, atomically refusing a destination that exists.

    Raises:
        OSError: EEXIST where there is one.
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
