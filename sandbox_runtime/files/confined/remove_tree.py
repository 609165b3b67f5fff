"""Removes a tree of any depth with few open folders, and without following links. Blocking I/O."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sandbox_runtime.files.confined.walk import FOLDER_FLAGS, Identity, identify, reopen_parent

if TYPE_CHECKING:
    from sandbox_runtime.files.confined.open_beneath import Location
    from sandbox_runtime.files.confined.threads import StopFlag

_ATTEMPTS: Final = 5
"""How often to empty a folder again if something else fills it meanwhile."""
_OWNER_ALL: Final = 0o700


@dataclass(slots=True)
class _Level:
    name: bytes
    identity: Identity
    folders: list[bytes] | None = None
    """Subfolders still to remove; None if the folder must be read (again)."""
    attempts: int = 0


def remove_tree(location: Location, flag: StopFlag) -> None:
    """Remove a folder and everything below it.

    Raises:
        OSError: Something cannot be removed, or the tree was moved meanwhile.
        Stopped: The operation was cancelled.
    """
    removal = _Removal(location, flag)
    try:
        removal.run()
    finally:
        removal.close()


class _Removal:
    def __init__(self, location: Location, flag: StopFlag) -> None:
        self._flag = flag
        self._outer = location.folder
        self._levels: list[_Level] = []
        self._folder = os.dup(location.folder)
        try:
            self._enter(location.name)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        os.close(self._folder)

    def run(self) -> None:
        while self._levels:
            self._flag.check()
            level = self._levels[-1]
            if level.folders is None:
                level.folders = self._remove_files()
            if level.folders:
                self._go_down(level.folders.pop())
            else:
                self._go_up(level)

    def _enter(self, name: bytes) -> None:
        folder = os.open(name, FOLDER_FLAGS, dir_fd=self._folder)
        os.close(self._folder)
        self._folder = folder
        status = os.fstat(folder)
        if stat.S_IMODE(status.st_mode) & _OWNER_ALL != _OWNER_ALL:
            # Package caches have read-only folders. Their owner may remove them.
            with contextlib.suppress(PermissionError):
                os.fchmod(folder, stat.S_IMODE(status.st_mode) | _OWNER_ALL)
        self._levels.append(_Level(name, identify(status)))

    def _go_down(self, name: bytes) -> None:
        try:
            self._enter(name)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            self._unlink(name)  # it is no longer a folder

    def _go_up(self, level: _Level) -> None:
        if len(self._levels) == 1:
            parent: int | None = os.dup(self._outer)
        else:
            parent = reopen_parent(self._folder, self._levels[-2].identity)
        if parent is None:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        try:
            os.rmdir(level.name, dir_fd=parent)
        except FileNotFoundError:
            pass
        except OSError as error:
            os.close(parent)
            level.attempts += 1
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or level.attempts >= _ATTEMPTS:
                raise
            level.folders = None
            return
        os.close(self._folder)
        self._folder = parent
        self._levels.pop()

    def _remove_files(self) -> list[bytes]:
        """Unlink everything but the folders, and return the names of those."""
        folders: list[bytes] = []
        files: list[bytes] = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                names = folders if entry.is_dir(follow_symlinks=False) else files
                names.append(os.fsencode(entry.name))
        for number, name in enumerate(files):
            if number % 1000 == 0:
                self._flag.check()
            self._unlink(name)
        return folders

    def _unlink(self, name: bytes) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._folder)
