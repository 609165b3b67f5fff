"""Keeps the order where user code writes past sys.stdout: to descriptors 1 and 2, or with the C library.

Text of Python usually travels as frames, and descriptors 1 and 2 are pipes. `os.write` first sends what was printed
before. Code may also open such a pipe itself, call C code that prints, or have children that live. Then each line of
Python is written to the same pipe. That is slower, so it lasts as long as the cell or the children, and with C code as
long as the context. Before Python goes from one pipe to the other, it waits until the first has been read.
"""

from __future__ import annotations

import contextlib
import functools
import os
import posix
import struct
import sys
from ctypes import c_size_t, c_void_p
from fcntl import ioctl
from os import P_ALL, WEXITED, WNOHANG, WNOWAIT, dup, dup2, fstat, waitid
from os import write as write_descriptor
from select import POLLOUT, poll
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Final

from sandbox_runtime.linux.syscalls import libc

if TYPE_CHECKING:
    from collections.abc import Callable

_OUTPUTS: Final = (1, 2)
_PATHS: Final = frozenset(
    f"{start}{end}"
    for start, ends in (("/dev/", ("stdout", "stderr")), ("/dev/fd/", "12"), ("/proc/self/fd/", "12"))
    for end in ends
)
_C_WRITERS: Final = frozenset(
    {"printf", "vprintf", "puts", "putchar", "putc", "fputs", "fputc", "fprintf", "fwrite", "perror", "write"}
)
_FIONREAD: Final = 0x541B
_NONE_UNREAD: Final = struct.pack("i", 0)
_READ_SECONDS: Final = 1.0
_REST_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.00005
_BUFFER_LINES: Final = 1
"""_IOLBF of stdio.h."""


class SharedDescriptors:
    """Descriptors 0 to 2, the pipes behind 1 and 2, and what user code does with them.

    Args:
        before_write: Called before user code writes to a pipe. It sends everything so far.
        share: Called when user code may write to a pipe unseen, with `for_context=True` if later cells may too.
    """

    def __init__(self, before_write: Callable[[], None], share: Callable[..., None]) -> None:
        self._before_write = before_write
        self._share = share
        self._next_wait = 0.0
        self._own: dict[int, int] = {}
        self._identities: dict[int, tuple[int, int]] = {}
        self._last_written = 1

    def install(self) -> None:
        """Keep copies of the descriptors, and notice when user code uses them."""
        for number in (0, *_OUTPUTS):
            with contextlib.suppress(OSError):
                self._own[number] = dup(number)
                self._identities[number] = _identity(number)
        for name, notice in (("write", self._before_write), ("dup", self._share), ("dup2", self._share)):
            wrapped = _wrap(getattr(os, name), notice)
            # Both, because pickles name the second one.
            setattr(os, name, wrapped)
            setattr(posix, name, wrapped)

    def restore(self) -> None:
        """Open the descriptors again if an earlier cell has closed or replaced them."""
        for number, own in self._own.items():
            try:
                if _identity(number) == self._identities[number]:
                    continue
            except OSError:
                pass
            with contextlib.suppress(OSError):
                dup2(own, number)

    def write(self, number: int, data: memoryview) -> int:
        """Write to the pipe that was descriptor 1 or 2 in the beginning. Returns the number of bytes: all of them."""
        if number != self._last_written:
            self._wait_until_read(self._last_written)
            self._last_written = number
        done = 0
        while done < len(data):
            descriptor = self._own.get(number, number)
            try:
                done += write_descriptor(descriptor, data[done:])
            except BlockingIOError:
                # A child such as Node has made the pipe non-blocking for all that share it.
                room = poll()
                room.register(descriptor, POLLOUT)
                room.poll()
        return done

    def _wait_until_read(self, number: int) -> None:
        """Wait until the supervisor has read all that is in a pipe, at most 1 s, and that not all the time."""
        now = monotonic()
        if now < self._next_wait:
            return
        deadline = now + _READ_SECONDS
        with contextlib.suppress(OSError):
            while ioctl(self._own.get(number, number), _FIONREAD, _NONE_UNREAD) != _NONE_UNREAD:
                if monotonic() > deadline:
                    # A child fills the pipe without a pause. Then there is no order to keep.
                    self._next_wait = deadline + _REST_SECONDS
                    return
                sleep(_POLL_SECONDS)

    def audit(self, event: str, arguments: Any) -> None:
        """Look at an audit event."""
        first = arguments[0] if arguments else None
        if event == "open":
            if (type(first) is int and first in _OUTPUTS) or (type(first) is str and first in _PATHS):
                self._share()
        elif event == "ctypes.dlsym":
            if len(arguments) > 1 and arguments[1] in _C_WRITERS:
                self._share_with_c()
        elif event == "ctypes.dlopen" and _is_own_library(first):
            self._share_with_c()

    def _share_with_c(self) -> None:
        self._share(for_context=True)
        with contextlib.suppress(AttributeError, ValueError):
            stdout = c_void_p(c_void_p.in_dll(libc, "stdout").value)
            libc.setvbuf(stdout, None, _BUFFER_LINES, c_size_t(0))


def _wrap(function: Any, notice: Callable[[], None]) -> Any:
    @functools.wraps(function)
    def wrapped(descriptor: Any, *arguments: Any, **options: Any) -> Any:
        if descriptor in _OUTPUTS:
            notice()
        return function(descriptor, *arguments, **options)

    return wrapped


def _identity(number: int) -> tuple[int, int]:
    status = fstat(number)
    return status.st_dev, status.st_ino


def _is_own_library(name: Any) -> bool:
    """Return whether a library was built by user code, and is not the system's or a package's."""
    return (
        isinstance(name, str)
        and "/" in name
        and "-packages/" not in name
        and not name.startswith(("/usr/", "/lib", "/opt/", f"{sys.base_prefix}/"))
    )


def has_children() -> bool:
    """Return True if the process has children, also ended ones that it has not waited for."""
    try:
        waitid(P_ALL, 0, WEXITED | WNOHANG | WNOWAIT)
    except ChildProcessError:
        return False
    return True
