"""File permissions that apply to a test, even if it runs as root."""

from __future__ import annotations

import contextlib
import ctypes
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_VERSION = 0x20080522
_DAC_OVERRIDE, _DAC_READ_SEARCH = 1 << 1, 1 << 2


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Rights(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


@contextlib.contextmanager
def obeying_permissions() -> Iterator[None]:
    """Take away root's right to open any file, from this thread and from those that it starts meanwhile."""
    libc = ctypes.CDLL(None, use_errno=True)
    header, rights = _Header(_VERSION, 0), (_Rights * 2)()
    if libc.capget(ctypes.byref(header), rights) != 0:
        raise OSError(ctypes.get_errno(), "capget")
    before = rights[0].effective
    rights[0].effective = before & ~(_DAC_OVERRIDE | _DAC_READ_SEARCH)
    if libc.capset(ctypes.byref(header), rights) != 0:
        raise OSError(ctypes.get_errno(), "capset")
    try:
        yield
    finally:
        rights[0].effective = before
        if libc.capset(ctypes.byref(header), rights) != 0:
            raise OSError(ctypes.get_errno(), "capset")


def make_unreadable(path: os.PathLike[str]) -> None:
    """Take every permission from a file or folder."""
    os.chmod(path, 0)  # noqa: PTH101 - any path
