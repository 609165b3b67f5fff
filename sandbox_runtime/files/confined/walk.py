"""Walks a tree of any depth with two open folders.

The walk goes back up through `..`, but only if that is the folder it came from (same device and inode). If a folder was
moved meanwhile, the walk starts again at the base, and leaves out what it no longer finds.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from sandbox_runtime.files.confined.metadata import NO_METADATA, path_of, read_metadata
from sandbox_runtime.files.confined.path_checks import MAX_PATH_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_PART_SUFFIX: Final = b".sandbox-part"
PART_NAME: Final = re.compile(rb"\.[0-9a-f]{16}" + re.escape(_PART_SUFFIX))
"""The name of a part file, which is being written. It is never listed and never saved."""
FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_REMOVED: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EINVAL})
"""Errors that mean that something was removed or replaced since its folder was read."""
_ENCODING: Final = sys.getfilesystemencoding()
"""Encoding of the names from scandir. There are many, and os.fsencode takes five times as long."""
Identity = tuple[int, int]


class Visit(NamedTuple):
    """One file or folder that was found. A tuple, because there are many.

    Attributes:
        path: Relative to the base.
        status: The status, without following a symlink.
        target: The target of a symlink.
        leaving: True for the second visit of a folder, after everything below it. Each entered folder has one.
        metadata: The metadata of a regular file, if the walk reads it.
    """

    path: bytes
    status: os.stat_result
    target: bytes = b""
    leaving: bool = False
    metadata: Mapping[str, str] = NO_METADATA


@dataclass(frozen=True, slots=True)
class Walk:
    """The options of a walk.

    Attributes:
        depth: Largest number of levels; 0 for all.
        after: Visit only what sorts after this path.
        is_skipped: Returns True for a path to leave out, with everything below it.
        max_path: Largest size of a path in bytes. Longer ones are left out, with everything below them.
        on_left_out: Called with the path, and the reason, of what is left out because it is too long or unreadable.
            Not called for what was removed during the walk.
        on_part: Called with the open folder and the name of each part file.
        entry_filter: Called with the path of each folder and a slash, empty for the base. It may return a function that
            is called with each entry there. That function returns True for an entry to leave out.
        is_sorted: Visit in the order of the paths as bytes. If False, files come before the folders beside them, in
            the order of the directory, which is faster.
        with_metadata: Read the metadata of regular files.
    """

    depth: int = 0
    after: bytes = b""
    is_skipped: Callable[[bytes], bool] = field(default=lambda _path: False)
    max_path: int = MAX_PATH_BYTES
    on_left_out: Callable[[bytes, OSError], None] = field(default=lambda _path, _error: None)
    on_part: Callable[[int, bytes], None] = field(default=lambda _folder, _name: None)
    entry_filter: Callable[[bytes], Callable[[os.DirEntry[str]], bool] | None] = field(default=lambda _path: None)
    is_sorted: bool = True
    with_metadata: bool = False


@dataclass(slots=True)
class _Level:
    name: bytes
    prefix: bytes
    identity: Identity
    status: os.stat_result
    names: list[bytes] = field(default_factory=list)
    """Still to visit, the next one last. A name with a slash stands for the folder's content, which may sort after the
    folder's neighbour "name-2"."""
    others: list[tuple[bytes, os.DirEntry[str]]] = field(default_factory=list)
    """Everything but folders, if the walk is not sorted."""


def visit_tree(base: int, walk: Walk) -> Iterator[Visit]:
    """Visit everything in the folder `base`, which the caller closes.

    Raises:
        OSError: The base cannot be read.
    """
    cursor = _Cursor(base, walk)
    try:
        yield from cursor.visit()
    finally:
        cursor.close()


def identify(status: os.stat_result) -> Identity:
    """Return the device and inode, which identify a folder."""
    return status.st_dev, status.st_ino


class _Cursor:
    def __init__(self, base: int, walk: Walk) -> None:
        self._base = base
        self._walk = walk
        self._levels: list[_Level] = []
        self._folder = os.open(b".", FOLDER_FLAGS, dir_fd=base)

    def _leave_out(self, path: bytes, error: OSError) -> None:
        if error.errno not in _REMOVED:
            self._walk.on_left_out(path, error)

    def close(self) -> None:
        os.close(self._folder)

    def visit(self) -> Iterator[Visit]:
        self._levels.append(self._read_level(self._folder, b"", b""))
        while self._levels:
            level = self._levels[-1]
            if level.others:
                yield from self._visit_others(level)
            if not level.names:
                yield from self._leave()
                continue
            name = level.names.pop()
            if name.endswith(b"/"):
                self._enter(level, name[:-1])
            elif (found := self._stat(level.prefix + name, name)) is not None:
                yield found

    def _stat(self, path: bytes, name: bytes) -> Visit | None:
        try:
            status = os.stat(name, dir_fd=self._folder, follow_symlinks=False)
        except OSError as error:
            self._leave_out(path, error)
            return None
        return self._describe(path, name, status)

    def _describe(self, path: bytes, name: bytes, status: os.stat_result) -> Visit | None:
        target = b""
        if stat.S_ISLNK(status.st_mode):
            try:
                target = os.readlink(name, dir_fd=self._folder)
            except OSError as error:
                self._leave_out(path, error)
                return None
        if self._walk.with_metadata and stat.S_ISREG(status.st_mode):
            return Visit(path, status, target, metadata=read_metadata(path_of(self._folder, name)))
        return Visit(path, status, target)

    def _visit_others(self, level: _Level) -> Iterator[Visit]:
        """Yield the visits of the unsorted entries. Their folder must be open: an entry calls stat relative to it."""
        others, level.others = level.others, []
        for path, entry in others:
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError as error:
                self._leave_out(path, error)
                continue
            found = self._describe(path, path[len(level.prefix) :], status)
            if found is not None:
                yield found

    def _enter(self, level: _Level, name: bytes) -> None:
        path = level.prefix + name
        try:
            folder = os.open(name, FOLDER_FLAGS, dir_fd=self._folder)
        except OSError as error:
            self._leave_out(path, error)
            return
        try:
            content = self._read_level(folder, name, path + b"/")
        except BaseException as error:
            os.close(folder)
            if not isinstance(error, OSError):
                raise
            self._leave_out(path, error)
            return
        os.close(self._folder)
        self._folder = folder
        self._levels.append(content)

    def _read_level(self, folder: int, name: bytes, prefix: bytes) -> _Level:
        status = os.fstat(folder)
        level = _Level(name, prefix, identify(status), status)
        is_deepest = len(self._levels) + 1 == self._walk.depth
        skips = self._walk.entry_filter(prefix)
        with os.scandir(folder) as entries:
            for entry in entries:
                if skips is None or not skips(entry):
                    self._plan(folder, level, entry, is_deepest=is_deepest)
        level.names.sort(reverse=True)
        return level

    def _plan(self, folder: int, level: _Level, entry: os.DirEntry[str], *, is_deepest: bool) -> None:
        name = entry.name.encode(_ENCODING, "surrogateescape")
        path = level.prefix + name
        if name.endswith(_PART_SUFFIX) and PART_NAME.fullmatch(name):
            self._walk.on_part(folder, name)
            return
        if self._walk.is_skipped(path):
            return
        if len(path) > self._walk.max_path:
            self._walk.on_left_out(path, OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG)))
            return
        is_folder = _is_folder(entry)
        if not is_folder and not self._walk.is_sorted:
            level.others.append((path, entry))
            return
        after = self._walk.after
        if path > after:
            level.names.append(name)
        if is_deepest or not is_folder:
            return
        content = path + b"/"
        if content > after or after.startswith(content):
            level.names.append(name + b"/")

    def _leave(self) -> Iterator[Visit]:
        level = self._levels.pop()
        if not self._levels:
            return
        yield Visit(level.prefix[:-1], level.status, leaving=True)
        folder = reopen_parent(self._folder, self._levels[-1].identity)
        while folder is None and self._levels:
            folder = self._walk_again()
        if folder is not None:
            os.close(self._folder)
            self._folder = folder

    def _walk_again(self) -> int | None:
        """Open the folder of the last level again from the base. Drops levels that are no longer in their place."""
        folder = os.dup(self._base)
        for number, level in enumerate(self._levels):
            following = None
            with contextlib.suppress(OSError):
                following = os.open(level.name or b".", FOLDER_FLAGS, dir_fd=folder)
            os.close(folder)
            if following is None or identify(os.fstat(following)) != level.identity:
                if following is not None:
                    os.close(following)
                del self._levels[number:]
                return None
            folder = following
        return folder


def reopen_parent(folder: int, identity: Identity) -> int | None:
    """Open the parent of a folder. Returns None if it is not the identified one."""
    try:
        parent = os.open(b"..", FOLDER_FLAGS, dir_fd=folder)
    except OSError:
        return None
    if identify(os.fstat(parent)) == identity:
        return parent
    os.close(parent)
    return None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False
