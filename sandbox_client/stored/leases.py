"""Shows which workspaces of a folder are in use by local sessions.

Each session holds a shared lock on a file below the store, so the lock ends with its process, however it dies. For a
session with a name, which may be suspended, the file has the path of its record, which exists as long as the session.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER: Final = ".sessions"
"""Folder of the lock files, at the top of the store."""


@contextlib.contextmanager
def hold_workspace(store: Path | None, name: str, record: Path | None = None) -> Iterator[None]:
    """Mark a workspace of a folder as in use. Does nothing for a temporary store.

    Args:
        store: The folder; None for a temporary one.
        name: The workspace's name.
        record: The file that describes the session, JSON with a field `store`. None if the session ends with this.
    """
    if store is None:
        yield
        return
    folder = store / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        if record is not None:
            _write(folder / name, os.fsencode(record))
        yield
    finally:
        os.close(descriptor)


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        # A full disk: the error of a write does not name the file.
        error.filename = error.filename or str(path)
        raise


def held_workspaces(store: Path) -> list[str]:
    """Return the names of the workspaces that sessions of this machine use, also suspended ones."""
    folder = store / FOLDER
    names = sorted(os.listdir(folder)) if folder.is_dir() else []  # noqa: PTH208 - names, not paths
    return [name for name in names if _is_held(folder / name) or _is_kept(folder / name, store)]


def _is_held(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _is_kept(path: Path, store: Path) -> bool:
    """Return whether there is a session with a name that uses the store, although it may not run."""
    try:
        record = json.loads(Path(os.fsdecode(path.read_bytes())).read_bytes())
        return store.samefile(record["store"])
    except (OSError, ValueError, KeyError, TypeError):
        # The session was deleted, or never had a name.
        return False
