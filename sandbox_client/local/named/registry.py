"""The local sessions of this user: a folder with one folder per session, and the locks that keep changes apart.

A session's folder holds its record (session.json), its logs, HOME, and the workspace unless the user chose another one.
Two locks tell the state, because the kernel releases them in any case, even after SIGKILL or a restart of the machine:
the keeper holds `keeper.lock` as long as it lives, and a client holds `change.lock` while it changes the session.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import stat
from typing import TYPE_CHECKING, Final

from sandbox_client.errors import Conflict, FailedPrecondition, NotFound, SessionFailed
from sandbox_client.local.named.record import Phase, Record, load_record
from sandbox_client.local.named.state_files import is_locked, is_same_file, lock, remove_tree, state_home

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


CHANGE_LOCK: Final = "change.lock"
KEEPER_LOCK: Final = "keeper.lock"
INCOMPLETE: Final = "INCOMPLETE"
"""Reason of the error for a session without a record."""


def not_found(name: str) -> NotFound:
    """Return the error for a session that does not exist."""
    return NotFound(
        f"there is no session local/{name}. `sandbox list --local` lists them, `sandbox create --local {name}` "
        "creates it",
        reason="NOT_FOUND",
    )


class Registry:
    """The folder of all local sessions of this user.

    Args:
        root: The folder. Default: `$XDG_STATE_HOME/sandbox/sessions`, usually in `~/.local/state`.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or state_home() / "sessions"

    def folder(self, name: str) -> Path:
        """Return a session's folder, which need not exist."""
        return self.root / name

    def open(self) -> None:
        """Create the root, readable for this user only.

        Raises:
            SessionFailed: The root belongs to another user.
        """
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = self.root.stat()
        if facts.st_uid != os.geteuid():
            raise SessionFailed(
                f"{self.root} belongs to user {facts.st_uid}, and this is user {os.geteuid()}: set XDG_STATE_HOME to a "
                "folder of your own",
                reason="FOREIGN_REGISTRY",
            )
        if stat.S_IMODE(facts.st_mode) != 0o700:  # noqa: PLR2004 - only this user
            self.root.chmod(0o700)

    def names(self) -> list[str]:
        """Return the names of all sessions."""
        if not self.root.is_dir():
            return []
        return sorted(path.name for path in self.root.iterdir() if path.is_dir() and path.name[0] != ".")

    def add(self, name: str) -> Path:
        """Create the folder of a new session. Of two callers, one succeeds.

        Raises:
            Conflict: There is a session of that name.
        """
        self.open()
        folder = self.folder(name)
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            raise Conflict(
                f"local/{name} exists already. Use it, or delete it first: sandbox delete local/{name}",
                reason="ALREADY_EXISTS",
            ) from None
        return folder

    def read(self, name: str, *, is_changing: bool | None = None) -> Record:
        """Return a session with its real phase. `Suspended` may mean that its processes are still ending.

        Args:
            name: The session's name.
            is_changing: Whether another program changes the session. Found out if None.

        Raises:
            NotFound: There is no session of that name.
            SessionFailed: Its record cannot be read.
        """
        folder = self.folder(name)
        if is_changing is None:
            is_changing = is_locked(folder / CHANGE_LOCK)
        is_alive = self.is_alive(name)
        try:
            record = load_record(folder)
        except FileNotFoundError:
            if folder.is_dir():
                raise SessionFailed(
                    f"local/{name} is being created, or its creation was interrupted. If so, delete it: sandbox delete "
                    f"local/{name}",
                    reason=INCOMPLETE,
                ) from None
            raise not_found(name) from None
        if is_alive:
            return record
        if is_changing:
            return dataclasses.replace(record, phase=Phase.PENDING)
        if record.phase is Phase.SUSPENDED:
            return record
        problem = record.problem or (
            "its processes ended without a suspend: they were killed, this machine restarted, or its disk was full"
        )
        return dataclasses.replace(record, phase=Phase.FAILED, problem=problem)

    def is_alive(self, name: str) -> bool:
        """Return whether a session's keeper runs."""
        return is_locked(self.folder(name) / KEEPER_LOCK)

    @contextlib.contextmanager
    def changing(self, name: str) -> Iterator[Path]:
        """Hold the lock for changes of a session, and yield the session's folder.

        Raises:
            NotFound: There is no session of that name.
            FailedPrecondition: Another program changes the session.
        """
        folder = self.folder(name)
        try:
            descriptor = os.open(folder / CHANGE_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            raise not_found(name) from None
        try:
            if not lock(descriptor, 0):
                raise FailedPrecondition(f"another command is changing local/{name}. Try again", reason="BUSY")
            if not is_same_file(descriptor, folder / CHANGE_LOCK):
                raise not_found(name)
            yield folder
        finally:
            os.close(descriptor)

    def remove(self, name: str) -> None:
        """Remove a session's folder. The name is free at once."""
        with contextlib.suppress(FileNotFoundError):
            self.folder(name).rename(self.root / f".deleted-{name}-{os.urandom(4).hex()}")
        # Also those of earlier removals that were interrupted.
        for doomed in self.root.glob(".deleted-*"):
            remove_tree(doomed)
