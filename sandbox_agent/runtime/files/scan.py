"""What a push saves: regular files, symlinks as links, and folders that hold none of these. Blocking I/O."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import stat
import time
from typing import TYPE_CHECKING, Final

from sandbox_agent.runtime.files.errors import to_operation_error
from sandbox_agent.runtime.files.info import Info, build_info
from sandbox_agent.runtime.files.paths import Parts, join, to_text
from sandbox_agent.runtime.files.resolve import STRICT
from sandbox_agent.runtime.files.tree import FOLDER_FLAGS, Visit, Walk, visit_tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sandbox_agent.runtime.files.globs import Globs
    from sandbox_agent.runtime.files.resolve import Location, Workspace


_STALE: Final = 3600
"""Seconds after which nobody writes to a part file any more: its runtime was killed."""


def scan(workspace: Workspace, tops: Iterable[Parts], excluded: Globs) -> Iterator[Info]:
    """Detailed infos of what is at or below `tops`; FIFOs, devices and sockets are left out.

    Raises:
        OperationError: A top is missing, or a folder may not be read: leaving it out would lose it.
    """
    for parts in _outermost(tops):
        if parts and excluded.matches(join(parts)):
            continue
        try:
            with workspace.locate(parts, STRICT, "paths") as location:
                yield from _scan_top(parts, location, excluded)
        except OSError as error:  # pragma: no cover - locate translates all of them
            raise to_operation_error(error, "paths") from error


def _outermost(tops: Iterable[Parts]) -> list[Parts]:
    """The same without repetitions and without what lies below another."""
    kept: list[Parts] = []
    for parts in sorted(set(tops)):
        if not kept or parts[: len(kept[-1])] != kept[-1]:
            kept.append(parts)
    return kept


def _scan_top(parts: Parts, location: Location, excluded: Globs) -> Iterator[Info]:
    try:
        status = location.stat()
    except FileNotFoundError as error:
        raise to_operation_error(error, "paths", join(parts)) from error
    if not stat.S_ISDIR(status.st_mode):
        target = os.readlink(location.name, dir_fd=location.folder) if stat.S_ISLNK(status.st_mode) else b""
        yield from _keep(Visit(b"/".join(parts), status, target), b"")
        return
    is_empty = True
    prefix = b"".join(part + b"/" for part in parts)
    base = os.open(location.name, FOLDER_FLAGS, dir_fd=location.folder)
    try:
        for info in _scan_folder(base, prefix, excluded):
            is_empty = False
            yield info
    finally:
        os.close(base)
    if is_empty and parts:
        yield build_info(join(parts), status, detailed=True)


def _scan_folder(base: int, prefix: bytes, excluded: Globs) -> Iterator[Info]:
    def is_skipped(path: bytes) -> bool:
        return excluded.matches_itself(to_text(prefix + path))

    last = b""
    walk = Walk(is_strict=True, on_part=_remove_stale)
    if excluded:
        walk = dataclasses.replace(walk, is_skipped=is_skipped)
    try:
        for visit in visit_tree(base, walk):
            if stat.S_ISDIR(visit.status.st_mode):
                if not visit.leaving or last.startswith(visit.path + b"/"):
                    continue
                last = visit.path + b"/"
                yield build_info(to_text(prefix + visit.path), visit.status, detailed=True)
            else:
                for info in _keep(visit, prefix):
                    last = visit.path
                    yield info
    except PermissionError as error:
        subject = to_text(prefix + os.fsencode(error.filename or b""))
        raise to_operation_error(error, "paths", subject) from error


def _remove_stale(folder: int, name: bytes) -> None:
    with contextlib.suppress(OSError):
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if time.time() - status.st_mtime > _STALE:
            os.unlink(name, dir_fd=folder)


def _keep(visit: Visit, prefix: bytes) -> Iterator[Info]:
    if stat.S_ISREG(visit.status.st_mode) or stat.S_ISLNK(visit.status.st_mode):
        yield build_info(to_text(prefix + visit.path), visit.status, visit.target, detailed=True)
