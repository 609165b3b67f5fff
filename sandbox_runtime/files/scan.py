"""Finds what a push saves: regular files, symlinks as links, and folders that contain neither. Blocking I/O."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import stat
import time
from typing import TYPE_CHECKING, Final

from sandbox_link.protocol import OperationError
from sandbox_runtime.files.confined.errors import to_operation_error
from sandbox_runtime.files.confined.info import Info, build_info, read_extras
from sandbox_runtime.files.confined.left_out import MAX_STORED_PATH
from sandbox_runtime.files.confined.metadata import NO_METADATA
from sandbox_runtime.files.confined.open_beneath import STRICT
from sandbox_runtime.files.confined.path_checks import Parts, join, to_text
from sandbox_runtime.files.confined.walk import FOLDER_FLAGS, Walk, visit_tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from sandbox_runtime.files.confined.left_out import LeftOut
    from sandbox_runtime.files.confined.open_beneath import FileRoot, Location
    from sandbox_runtime.files.globs import Globs
    from sandbox_runtime.files.scan_cache import Comparison


_PART_FILE_MAX_SECONDS: Final = 3600
"""Age from which a part file counts as abandoned, because the runtime that wrote it was killed."""


def scan(
    workspace: FileRoot,
    tops: Iterable[Parts],
    excluded: Globs,
    left_out: LeftOut,
    comparison: Comparison | None = None,
) -> Iterator[Info]:
    """Yield detailed infos of everything at or below `tops`, in no order. Skips FIFOs, devices and sockets.

    Args:
        workspace: The workspace to scan.
        tops: Where to start. An empty one means the root.
        excluded: Paths to leave out, with everything below them.
        left_out: Gets the paths that cannot be described, because they are unreadable or too long.
        comparison: Records what is found, and leaves out what has not changed since the earlier scan.

    Raises:
        OperationError: A top is missing.
    """
    for parts in _outermost(tops):
        if parts and excluded.matches(join(parts)):
            continue
        try:
            with workspace.locate(parts, STRICT, "paths") as location:
                yield from _scan_top(parts, location, _Scan(excluded, left_out, comparison))
        except OperationError as error:
            if error.code != "PERMISSION_DENIED" or not isinstance(error.__cause__, OSError):
                raise
            left_out.add(b"/".join(parts), error.__cause__)


def _outermost(tops: Iterable[Parts]) -> list[Parts]:
    """Drop duplicates, and tops that lie below another."""
    kept: list[Parts] = []
    for parts in sorted(set(tops)):
        if not kept or parts[: len(kept[-1])] != kept[-1]:
            kept.append(parts)
    return kept


def _scan_top(parts: Parts, location: Location, scan: _Scan) -> Iterator[Info]:
    try:
        status = location.stat()
    except FileNotFoundError as error:
        raise to_operation_error(error, "paths", join(parts)) from error
    if not stat.S_ISDIR(status.st_mode):
        yield from scan.include(b"/".join(parts), status, *read_extras(status, location))
        return
    base = os.open(location.name, FOLDER_FLAGS, dir_fd=location.folder)
    try:
        yield from scan.scan_folder(base, b"".join(part + b"/" for part in parts))
    finally:
        os.close(base)
    if scan.last is None and parts:
        yield from scan.include(b"/".join(parts), status)


class _Scan:
    """One scan below one top.

    Attributes:
        last: Path of the last thing included, or left out; None if there was nothing.
    """

    def __init__(self, excluded: Globs, left_out: LeftOut, comparison: Comparison | None) -> None:
        self._excluded = excluded
        self._left_out = left_out
        self._comparison = comparison
        self.last: bytes | None = None

    def scan_folder(self, base: int, prefix: bytes) -> Iterator[Info]:
        """Yield the infos below the folder `base`, whose path has this prefix."""
        walk = self._plan_walk(prefix)
        try:
            for visit in visit_tree(base, walk):
                path = prefix + visit.path
                if not stat.S_ISDIR(visit.status.st_mode):
                    yield from self.include(path, visit.status, visit.target, visit.metadata)
                elif visit.leaving and not self._includes_below(path):
                    yield from self.include(path, visit.status)
        except PermissionError as error:
            self.leave_out(prefix[:-1], error)

    def leave_out(self, path: bytes, error: OSError) -> None:
        """Report something that a push cannot save. Its folder does not count as empty."""
        self.last = path
        self._left_out.add(path, error)

    def include(
        self, path: bytes, status: os.stat_result, target: bytes = b"", metadata: Mapping[str, str] = NO_METADATA
    ) -> Iterator[Info]:
        """Yield the info of something that a push saves, unless it is unchanged."""
        if len(path) > MAX_STORED_PATH:  # only a path that the caller named
            self.leave_out(path, OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG)))
        elif _is_saved(status):
            self.last, text = path, to_text(path)
            if self._comparison is None or not self._comparison.is_unchanged(text, status, target):
                yield build_info(text, status, target, metadata=metadata, detailed=True)

    def _plan_walk(self, prefix: bytes) -> Walk:
        comparison = self._comparison

        def is_skipped(path: bytes) -> bool:
            return self._excluded.matches_itself(to_text(prefix + path))

        walk = Walk(
            max_path=MAX_STORED_PATH - len(prefix),
            on_left_out=lambda path, error: self.leave_out(prefix + path, error),
            on_part=_remove_stale,
            is_sorted=False,
            with_metadata=True,
        )
        if comparison is not None:
            walk = dataclasses.replace(walk, entry_filter=lambda path: comparison.entry_filter(to_text(prefix + path)))
        return dataclasses.replace(walk, is_skipped=is_skipped) if self._excluded else walk

    def _includes_below(self, path: bytes) -> bool:
        """Return True if the scan found something below a folder that it is leaving, even if unchanged."""
        top = path + b"/"
        if self._comparison is not None and self._comparison.last_unchanged.startswith(to_text(top)):
            return True
        return self.last is not None and self.last.startswith(top)


def _remove_stale(folder: int, name: bytes) -> None:
    with contextlib.suppress(OSError):
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if time.time() - status.st_mtime > _PART_FILE_MAX_SECONDS:
            os.unlink(name, dir_fd=folder)


def _is_saved(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode) or stat.S_ISDIR(status.st_mode)
