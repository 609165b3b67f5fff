"""Detects changes below a folder with inotify, in a few microseconds. Without inotify it assumes changes."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

from sandbox_link import inotify

if TYPE_CHECKING:
    from pathlib import Path

_FOLDER: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class FolderWatch:
    """A watch of one folder and everything below it.

    Call `start_watching`, then read the folder. `is_unchanged` then detects every change since `start_watching`.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._queue: inotify.Inotify | None = None
        self._quiet = False

    @property
    def is_watching(self) -> bool:
        """True if `is_unchanged` can detect changes."""
        return self._queue is not None

    def is_unchanged(self) -> bool:
        """Return whether it is certain that nothing changed since the last `start_watching`. Never blocks."""
        if self._queue is None:
            return False
        # Always read, so that the queue does not overflow between calls of `start_watching`.
        try:
            while events := self._queue.read():
                if any(not event.mask & inotify.IGNORED for event in events):
                    self._quiet = False
        except OSError:  # another thread closed it
            return False
        return self._quiet

    def start_watching(self) -> None:
        """Watch every existing folder. Blocks while it walks them. A folder created later counts as a change."""
        self._quiet = True
        try:
            if self._queue is None:
                self._root.mkdir(parents=True, exist_ok=True)
                self._queue = inotify.Inotify()
            self._add(self._queue, os.fspath(self._root))
        except OSError:
            self.close()

    def close(self) -> None:
        """Stop watching. Idempotent."""
        queue, self._queue = self._queue, None
        if queue is not None:
            queue.close()

    def _add(self, queue: inotify.Inotify, top: str) -> None:
        waiting = [top]
        while waiting:
            path = waiting.pop()
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                folder = os.open(path, _FOLDER)
                try:
                    queue.add(folder)
                finally:
                    os.close(folder)
                # Read after the watch was added: anything created in between is an event.
                with os.scandir(path) as entries:
                    waiting += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
