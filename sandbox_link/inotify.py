"""Binds Linux's inotify with ctypes: watches on open folders, and events without blocking. Standard library only.

Both sides of the link use it, each for its own folders. Linux only: elsewhere `Inotify` raises OSError (ENOSYS).
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from dataclasses import dataclass
from typing import Final

MODIFY: Final = 0x0000_0002
ATTRIB: Final = 0x0000_0004
CLOSE_WRITE: Final = 0x0000_0008
MOVED_FROM: Final = 0x0000_0040
MOVED_TO: Final = 0x0000_0080
CREATE: Final = 0x0000_0100
DELETE: Final = 0x0000_0200
DELETE_SELF: Final = 0x0000_0400
MOVE_SELF: Final = 0x0000_0800
OVERFLOW: Final = 0x0000_4000
"""The kernel dropped events: read the folders again."""
IGNORED: Final = 0x0000_8000
"""The kernel has removed the watch."""
IS_FOLDER: Final = 0x4000_0000
CHANGES: Final = MODIFY | ATTRIB | CLOSE_WRITE | MOVED_FROM | MOVED_TO | CREATE | DELETE | DELETE_SELF | MOVE_SELF
"""All events that change a folder's entries or their contents."""

_ONLY_FOLDERS: Final = 0x0100_0000
_HEADER: Final = struct.Struct("iIII")
_BUFFER: Final = 256 << 10
_libc: Final = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a watched folder."""

    watch: int
    """The watch's number; -1 for OVERFLOW."""
    mask: int
    name: bytes
    """Name of the folder's entry; empty if the event is about the folder itself."""
    cookie: int = 0
    """Number that MOVED_FROM and MOVED_TO of one rename share; 0 for other events."""


class Inotify:
    """One queue of events.

    Raises:
        OSError: The system has no inotify, or this user has too many queues (EMFILE).
    """

    def __init__(self) -> None:
        try:
            self._descriptor: int = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        except AttributeError:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from None
        if self._descriptor < 0:
            _raise()

    def fileno(self) -> int:
        """Return the descriptor, which is readable while events wait."""
        return self._descriptor

    def add(self, folder: int, mask: int = CHANGES) -> int:
        """Watch an open folder, even if it was renamed since. Returns the watch's number, one per folder.

        Raises:
            OSError: ENOSPC: this user has too many watches.
        """
        path = f"/proc/self/fd/{folder}".encode()
        number: int = _libc.inotify_add_watch(self._descriptor, path, ctypes.c_uint32(mask | _ONLY_FOLDERS))
        if number < 0:
            _raise()
        return number

    def remove(self, watch: int) -> None:
        """Remove a watch. It is not an error if the kernel has removed it already."""
        _libc.inotify_rm_watch(self._descriptor, watch)

    def read(self) -> list[Event]:
        """Return the waiting events, at most 256 KiB of them. Never blocks."""
        try:
            data = os.read(self._descriptor, _BUFFER)
        except BlockingIOError:
            return []
        events: list[Event] = []
        position = 0
        while position < len(data):
            watch, mask, cookie, length = _HEADER.unpack_from(data, position)
            position += _HEADER.size
            name = data[position : position + length].rstrip(b"\0")
            position += length
            events.append(Event(watch, mask, name, cookie))
        return events

    def close(self) -> None:
        """Close the queue and its watches. Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _raise() -> None:
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number))
