"""Files of local sessions: where they are, how they are written and removed, and locks that end with their process."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import time
from pathlib import Path
from typing import Final

from sandbox_client.errors import SandboxError, SessionFailed

_POLL: Final = 0.02
"""Seconds between two attempts to get a lock."""


def data_home() -> Path:
    """Return the folder for files that outlive sessions: `$XDG_DATA_HOME/sandbox`, usually in `~/.local/share`."""
    return _xdg("XDG_DATA_HOME", ".local/share") / "sandbox"


def state_home() -> Path:
    """Return the folder for the state of running sessions: `$XDG_STATE_HOME/sandbox`, usually in `~/.local/state`."""
    return _xdg("XDG_STATE_HOME", ".local/state") / "sandbox"


def _xdg(variable: str, default: str) -> Path:
    # The specification ignores relative paths.
    given = Path(os.environ.get(variable, ""))
    if given.is_absolute():
        return given
    try:
        return Path.home() / default
    except RuntimeError:
        raise SessionFailed(f"this user has no home folder: set {variable}", reason="NO_HOME") from None


def write_private(path: Path, content: bytes) -> None:
    """Write a file at once, readable for this user only. An OSError names the file."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        part.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            part.unlink()
        if isinstance(error, OSError) and error.filename is None:
            # A full disk: the error of a write does not name the file.
            error.filename = str(path)
        raise


def lock(descriptor: int, seconds: float) -> bool:
    """Lock an open file exclusively. Return False if another process still holds it after this time."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL)
        except OSError as error:
            raise _no_locks(error) from error
        else:
            return True


def is_locked(path: Path) -> bool:
    """Return whether a process holds the lock of this file. False if there is no file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError as error:
        raise _no_locks(error) from error
    finally:
        os.close(descriptor)
    return False


def wait_unlocked(path: Path, seconds: float) -> bool:
    """Wait until no process holds the lock of this file. Return False if one still does after this time."""
    deadline = time.monotonic() + seconds
    while is_locked(path):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL)
    return True


def remove_tree(folder: Path) -> None:
    """Remove a folder, including folders that are read-only. What cannot be removed stays."""
    shutil.rmtree(folder, ignore_errors=True)
    if not folder.exists():
        return
    folder.chmod(0o700)
    # From above, so that each folder can be read when its turn comes.
    for path, names, _ in os.walk(folder):
        for name in names:
            below = Path(path, name)
            if not below.is_symlink():
                with contextlib.suppress(OSError):
                    below.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)


def is_same_file(descriptor: int, path: Path) -> bool:
    """Return whether an open file is the one that the path names now."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _no_locks(error: OSError) -> SandboxError:
    advice = "set XDG_STATE_HOME to a folder on a local disk"
    name = errno.errorcode.get(error.errno or 0, "")
    return SessionFailed(f"the folder of local sessions does not support locks ({name}): {advice}", reason="NO_LOCKS")
