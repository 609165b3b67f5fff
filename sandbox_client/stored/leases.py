"""Shows which workspaces of a folder are in use by local sessions.

Each session holds a shared lock on a file below the store, so the lock ends with its process, however it dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FOLDER: Final = ".sessions"
"""Folder of the lock files, at the top of the store."""


@contextlib.contextmanager
def hold_workspace(store: Path | None, name: str) -> Iterator[None]:
    """Mark a workspace of a folder as in use. Does nothing for a temporary store.

    Args:
        store: The folder; None for a temporary one.
        name: The workspace's name.
    """
    if store is None:
        yield
        return
    folder = store / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


def held_workspaces(store: Path) -> list[str]:
    """Return the names of the workspaces that sessions of this machine hold."""
    folder = store / FOLDER
    names = sorted(os.listdir(folder)) if folder.is_dir() else []  # noqa: PTH208 - names, not paths
    return [name for name in names if _is_held(folder / name)]


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
