"""Whether anything below a folder changed since it was last looked at, by inotify: asking costs some microseconds.

Where there is no inotify, or not enough of it, the answer is always "perhaps".
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

from sandbox_link import inotify

if TYPE_CHECKING:
    from pathlib import Path

_FOLDER: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class FolderWatch:
    """Watches one folder and all below it.

    `attend`, then look, then ask `is_quiet`: what happens from `attend` on is told, unless the look had to see it.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._queue: inotify.Inotify | None = None
        self._quiet = False

    @property
    def is_watching(self) -> bool:
        """Whether `is_quiet` can say more than "perhaps"."""
        return self._queue is not None

    def is_quiet(self) -> bool:
        """Whether surely nothing changed since the last `attend`. Never blocks."""
        if self._queue is None:
            return False
        # Read in any case, so that the queue does not overflow while nobody attends.
        try:
            while events := self._queue.read():
                if any(not event.mask & inotify.IGNORED for event in events):
                    self._quiet = False
        except OSError:  # closed by a thread meanwhile
            return False
        return self._quiet

    def attend(self) -> None:
        """Watch every folder that is there by now. Blocks for a walk; folders made later are seen to be new."""
        self._quiet = True
        try:
            if self._queue is None:
                self._root.mkdir(parents=True, exist_ok=True)
                self._queue = inotify.Inotify()
            self._add(self._queue, os.fspath(self._root))
        except OSError:
            self.close()

    def close(self) -> None:
        """Watch no more. Idempotent."""
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
                # Read only now: what is made in between is an event.
                with os.scandir(path) as entries:
                    waiting += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
