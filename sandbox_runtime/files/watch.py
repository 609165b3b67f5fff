"""`file.watch` and `workspace.watch`: report changes below a folder as they happen, with inotify.

A folder that appears is watched before it is read, so that nothing in it is missed. Whatever it already contains counts
as added. No symlink below the folder is followed. A new file is added, then modified once it has content. Part files
(`walk.PART_NAME`) are not reported: their rename is the new file's content.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sandbox_link import inotify
from sandbox_link.protocol import OperationError, invalid
from sandbox_runtime.files.arguments import take_bool, take_texts
from sandbox_runtime.files.confined.errors import PathError
from sandbox_runtime.files.confined.open_beneath import THROUGH
from sandbox_runtime.files.confined.path_checks import to_text
from sandbox_runtime.files.confined.roots import Place
from sandbox_runtime.files.confined.walk import FOLDER_FLAGS, PART_NAME, Identity, identify
from sandbox_runtime.files.globs import Globs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox_link.protocol import Channel
    from sandbox_runtime.files.confined.roots import Roots
    from sandbox_runtime.files.confined.threads import Threads

MAX_WATCHES: Final = 32
"""Watches that may be open at a time."""
MAX_FOLDERS: Final = 50_000
"""Folders that one watch may cover."""
_WINDOW_SECONDS: Final = 0.02
"""Changes of one path within this time are merged."""
_BATCH: Final = 500
_MAX_EVENT: Final = 900_000
_DISAPPEARED: Final = inotify.DELETE | inotify.MOVED_FROM
_APPEARED: Final = inotify.CREATE | inotify.MOVED_TO
_CHANGED: Final = inotify.MODIFY | inotify.CLOSE_WRITE | inotify.ATTRIB
Changes = dict[bytes, tuple[str, ...]]
"""The changes of each path, in order."""


@dataclass(slots=True)
class _Folder:
    path: bytes
    """Relative to the watched folder, with a slash at the end; empty for that folder itself."""
    names: set[bytes] = field(default_factory=set)


class Tree:
    """The folders of one watch. Its methods run in threads, one at a time.

    Attributes:
        has_overflowed: The kernel dropped events.
        has_disappeared: The folder itself was removed or moved away.
    """

    def __init__(self, place: Place, *, recursive: bool, excluded: Globs) -> None:
        self._place = place
        self._prefix = place.below
        self._recursive = recursive
        self._excluded = excluded
        self._folders: dict[int, _Folder] = {}
        self._identity: Identity | None = None
        self._part_cookie = 0
        self.queue = inotify.Inotify()
        self.has_overflowed = False
        self.has_disappeared = False

    def begin(self) -> None:
        """Watch the folder and, if the watch is recursive, those below it.

        Raises:
            OperationError: NOT_FOUND or NOT_A_DIRECTORY; RESOURCE_EXHAUSTED if there are too many folders.
        """
        with self._open_base() as base:
            self._identity = identify(os.fstat(base))
            self._enter(base, b"", {})

    def read(self) -> Changes:
        """Return the changes by path: `added`, `modified` or `removed`."""
        changes: Changes = {}
        for event in self.queue.read():
            if event.mask & inotify.OVERFLOW:
                self.has_overflowed = True
            elif (folder := self._folders.get(event.watch)) is not None:
                self._take(event, folder, changes)
        return changes

    def close(self) -> None:
        """Stop watching."""
        self.queue.close()

    @contextlib.contextmanager
    def _open_base(self) -> Iterator[int]:
        """Open the watched folder for a moment. While it is open, the kernel would not report its removal."""
        with self._place.locate(THROUGH) as location:
            base = os.open(location.name, FOLDER_FLAGS, dir_fd=location.folder)
            try:
                yield base
            finally:
                os.close(base)

    def _take(self, event: inotify.Event, folder: _Folder, changes: Changes) -> None:
        if event.mask & inotify.IGNORED:
            del self._folders[event.watch]
        if not event.name:
            if not folder.path and event.mask & (inotify.DELETE_SELF | inotify.MOVE_SELF):
                self.has_disappeared = True
            return
        path = folder.path + event.name
        if PART_NAME.fullmatch(event.name):
            self._part_cookie = event.cookie if event.mask & inotify.MOVED_FROM else self._part_cookie
            return
        if self._is_excluded(path):
            return
        is_folder = bool(event.mask & inotify.IS_FOLDER)
        if event.mask & _DISAPPEARED:
            folder.names.discard(event.name)
            self._add_change(changes, path, "removed")
            if is_folder and event.mask & inotify.MOVED_FROM:
                self._leave(path + b"/")
        elif event.mask & _APPEARED:
            self._add_change(changes, path, "modified" if event.name in folder.names else "added")
            folder.names.add(event.name)
            self._read_new(event, path, changes)
        elif event.mask & _CHANGED and not is_folder:
            self._add_change(changes, path, "modified")

    def _read_new(self, event: inotify.Event, path: bytes, changes: Changes) -> None:
        """Report the content of something that has appeared."""
        if event.cookie and event.cookie == self._part_cookie:
            self._add_change(changes, path, "modified")
        if event.mask & inotify.IS_FOLDER and self._recursive:
            self._enter_new(path + b"/", changes)

    def _add_change(self, changes: Changes, path: bytes, change: str) -> None:
        whole = self._prefix + path
        # The latest change comes last.
        before = changes.pop(whole, ())
        is_new = before[:1] == ("added",)
        if is_new and change == "modified":
            changes[whole] = ("added", "modified")
        elif before == ("removed",) and change == "added":
            changes[whole] = ("modified",)
        elif not (is_new and change == "removed"):
            changes[whole] = (change,)

    def _enter_new(self, path: bytes, changes: Changes) -> None:
        try:
            with self._open_base() as base:
                if identify(os.fstat(base)) == self._identity:
                    self._enter(base, path, changes)
        except OperationError as error:
            if error.code == "RESOURCE_EXHAUSTED":
                raise

    def _enter(self, base: int, path: bytes, changes: Changes) -> None:
        """Watch a folder and those below it. Whatever a new folder already contains counts as added and written."""
        waiting = [path]
        while waiting:
            path = waiting.pop()
            try:
                descriptor = _open_below(base, path)
            except OSError:
                continue  # removed or replaced meanwhile
            try:
                folder = self._watch(descriptor, path)
                with os.scandir(descriptor) as entries:
                    for entry in entries:
                        name = os.fsencode(entry.name)
                        if PART_NAME.fullmatch(name) or self._is_excluded(path + name):
                            continue
                        if path and name not in folder.names:
                            self._add_change(changes, path + name, "added")
                            if entry.is_file(follow_symlinks=False) and _has_content(entry):
                                self._add_change(changes, path + name, "modified")
                        folder.names.add(name)
                        if self._recursive and entry.is_dir(follow_symlinks=False):
                            waiting.append(path + name + b"/")
            except PermissionError:
                continue
            finally:
                os.close(descriptor)

    def _watch(self, descriptor: int, path: bytes) -> _Folder:
        if len(self._folders) >= MAX_FOLDERS:
            raise _too_many(f"there are more than {MAX_FOLDERS} folders")
        try:
            number = self.queue.add(descriptor)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise _too_many("the machine's limit of watched folders is reached") from error
            raise
        known = self._folders.get(number)
        folder = self._folders[number] = _Folder(path, known.names if known else set())
        return folder

    def _leave(self, path: bytes) -> None:
        for number, folder in list(self._folders.items()):
            if folder.path.startswith(path):
                self.queue.remove(number)
                del self._folders[number]

    def _is_excluded(self, path: bytes) -> bool:
        return bool(self._excluded) and self._excluded.matches_itself(to_text(path))


class WatchHandlers:
    """Handlers of watching."""

    def __init__(self, roots: Roots, threads: Threads) -> None:
        self._roots = roots
        self._threads = threads
        self._count = 0

    async def watch(self, channel: Channel) -> dict[str, Any]:
        """Handle `file.watch`. Ends when it is cancelled or the folder disappears."""
        place = self._roots.find(channel.arguments, default=".")
        recursive = take_bool(channel.arguments, "recursive")
        async with self._open(place, Globs(()), recursive=recursive) as tree:
            channel.send_event({"type": "watching"})
            while not tree.has_disappeared:
                await self._wait(tree)
                changes = await self._threads.run(tree.read)
                at_ns = time.time_ns()
                for batch in _cut(changes):
                    channel.send_event({"type": "changes", "at_ns": at_ns, "changes": batch})
                if tree.has_overflowed:
                    # Folders may have appeared unseen: the client must list them and watch again.
                    channel.send_event({"type": "overflow"})
                    return {"reason": "overflow"}
        return {"reason": "gone"}

    async def watch_all(self, channel: Channel) -> dict[str, Any]:
        """Handle `workspace.watch`. Reports only that something changed."""
        try:
            excluded = Globs(take_texts(channel.arguments, "exclude"))
        except ValueError as error:
            raise invalid("exclude", f"`exclude` is not possible: {error}") from error
        async with self._open(Place(self._roots.workspace, ()), excluded, recursive=True) as tree:
            channel.send_event({"type": "watching"})
            while not tree.has_overflowed:
                await self._wait(tree)
                if await self._threads.run(tree.read):
                    channel.send_event({"type": "changed"})
        return {"reason": "overflow"}

    @contextlib.asynccontextmanager
    async def _open(self, place: Place, excluded: Globs, *, recursive: bool) -> Any:
        if self._count >= MAX_WATCHES:
            raise _too_many(f"{MAX_WATCHES} watches are open, so end one first")
        try:
            tree = Tree(place, recursive=recursive, excluded=excluded)
        except OSError as error:
            message = (
                f"changes in {{path}} cannot be watched: {error.strerror}. List the files from time to time instead"
            )
            raise PathError("FAILED_PRECONDITION", "IO_ERROR", message, "path") from error
        self._count += 1
        try:
            await self._threads.run(tree.begin)
            yield tree
        finally:
            self._count -= 1
            tree.close()

    async def _wait(self, tree: Tree) -> None:
        """Wait for a change, and a moment longer, because changes come in bursts."""
        loop = asyncio.get_running_loop()
        arrived = loop.create_future()
        loop.add_reader(tree.queue.fileno(), lambda: None if arrived.done() else arrived.set_result(None))
        try:
            await arrived
        finally:
            loop.remove_reader(tree.queue.fileno())
        await asyncio.sleep(_WINDOW_SECONDS)


def _has_content(entry: os.DirEntry[str]) -> bool:
    with contextlib.suppress(OSError):
        return entry.stat(follow_symlinks=False).st_size > 0
    return False  # removed meanwhile


def _cut(changes: Changes) -> list[list[dict[str, str]]]:
    """Cut changes into pieces that fit into an event."""
    batches: list[list[dict[str, str]]] = []
    room = 0
    for path, change in ((path, change) for path, happened in changes.items() for change in happened):
        size = 6 * len(path) + 64
        if not batches or room < size or len(batches[-1]) >= _BATCH:
            batches.append([])
            room = _MAX_EVENT
        room -= size
        batches[-1].append({"path": to_text(path), "change": change})
    return batches


def _open_below(base: int, path: bytes) -> int:
    """Open a folder below an open one, without following a symlink on the way."""
    folder = os.dup(base)
    for name in path.split(b"/"):
        if not name:
            continue
        try:
            following = os.open(name, FOLDER_FLAGS, dir_fd=folder)
        finally:
            os.close(folder)
        folder = following
    return folder


def _too_many(why: str) -> OperationError:
    return PathError("RESOURCE_EXHAUSTED", "TOO_MANY_FILES", f"{{path}} cannot be watched as a whole: {why}", "path")
