"""A folder in place of a bucket: the store of local sessions. An object's key is its path below the folder."""

# ruff: noqa: D102 - Objects documents its methods
from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import os
import stat
from typing import TYPE_CHECKING, Final

from sandbox_client.errors import SandboxUnavailable
from sandbox_client.stored.leases import FOLDER, held_workspaces
from sandbox_client.stored.objects import StoredObject

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_LOCK: Final = ".lock"
"""The agents take this lock for each change."""
_OWN: Final = frozenset({".incoming", _LOCK, FOLDER})
"""Entries at the top of the store that hold no workspace."""


class DirectoryObjects:
    """`Objects` in a folder."""

    def __init__(self, root: Path) -> None:
        self.place = str(root)
        self._root = root

    def folders(self, prefix: str) -> list[str]:
        with self._errors():
            try:
                entries = sorted(os.scandir(self._root / prefix), key=lambda entry: entry.name)
            except FileNotFoundError:
                return []
            names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        return [name for name in names if prefix or name not in _OWN]

    def list(self, prefix: str) -> Iterator[StoredObject]:
        base = len(os.fspath(self._root)) + 1
        for folder, _, names in os.walk(self._root / prefix):
            for name in names:
                path = os.path.join(folder, name)  # noqa: PTH118 - a Path for each file is slow
                with contextlib.suppress(FileNotFoundError):
                    found = os.lstat(path)
                    if stat.S_ISREG(found.st_mode):
                        modified = dt.datetime.fromtimestamp(found.st_mtime, dt.UTC)
                        yield StoredObject(path[base:], found.st_size, modified)

    def read(self, key: str) -> bytes | None:
        with self._errors():
            try:
                return (self._root / key).read_bytes()
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                return None

    def delete(self, keys: Sequence[str]) -> None:
        with self._errors(), self._lock():
            for key in keys:
                path = self._root / key
                path.unlink(missing_ok=True)
                for folder in path.parents:
                    if folder == self._root or not _remove_empty(folder):
                        break

    def in_use(self, namespace: str) -> dict[str, str]:
        if namespace != "local":
            return {}
        return {name: f"a session of this machine (local/{name})" for name in held_workspaces(self._root)}

    def close(self) -> None:
        """Do nothing: a folder has no connections."""

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        descriptor = os.open(self._root / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SandboxUnavailable(f"store {self.place}: {error}", reason="STORAGE_UNAVAILABLE") from error


def _remove_empty(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return False
    return True
