"""Builds the `info` objects of docs/link.md from the result of stat. I/O: only symlinks' targets and metadata."""

from __future__ import annotations

import functools
import grp
import os
import pwd
import stat
from typing import TYPE_CHECKING, Any, Final

from sandbox_runtime.files.confined.metadata import NO_METADATA, path_of, read_metadata
from sandbox_runtime.files.confined.path_checks import to_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_runtime.files.confined.open_beneath import Location

Info = dict[str, Any]
_MAX_NS: Final = (1 << 63) - 1
"""The largest time in an info: the year 2262. A file may have any time, later ones count as this one."""


def kind_of(mode: int) -> str:
    """Return `file`, `directory`, `symlink`, or `other` for anything that is never opened."""
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "directory"
    return "symlink" if stat.S_ISLNK(mode) else "other"


def build_info(
    path: str,
    status: os.stat_result,
    target: bytes = b"",
    *,
    metadata: Mapping[str, str] = NO_METADATA,
    detailed: bool = False,
) -> Info:
    """Build an `info` object.

    Args:
        path: Relative to the workspace root.
        status: The status, without following a symlink.
        target: The target of a symlink.
        metadata: The metadata of a regular file.
        detailed: Include `ino` and `ctime_ns`, from which the agent sees that a file changed, in place of the owner.
    """
    info: Info = {
        "path": path,
        "type": kind_of(status.st_mode),
        "size": status.st_size,
        "mode": stat.S_IMODE(status.st_mode),
        "mtime_ns": _bounded(status.st_mtime_ns),
        "symlink_target": to_text(target),
    }
    if metadata:
        info["metadata"] = dict(metadata)
    if detailed:
        info["ino"] = status.st_ino
        info["ctime_ns"] = _bounded(status.st_ctime_ns)
    else:
        info["owner"] = _name_of(status.st_uid, is_group=False)
        info["group"] = _name_of(status.st_gid, is_group=True)
    return info


@functools.lru_cache(maxsize=256)
def _name_of(number: int, *, is_group: bool) -> str:
    """Return a user's or a group's name, or the number if it has none."""
    try:
        return grp.getgrgid(number).gr_name if is_group else pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _bounded(nanoseconds: int) -> int:
    return min(max(nanoseconds, -_MAX_NS), _MAX_NS)


def observe(path: str, location: Location, *, detailed: bool = False) -> Info:
    """Return the `info` of the file at a location.

    Raises:
        OSError: Nothing is there.
    """
    status = location.stat()
    target, metadata = read_extras(status, location)
    return build_info(path, status, target, metadata=metadata, detailed=detailed)


def read_extras(status: os.stat_result, location: Location) -> tuple[bytes, Mapping[str, str]]:
    """Return the target of the symlink, or the metadata of the regular file, with this status.

    Raises:
        OSError: The symlink is gone.
    """
    if stat.S_ISLNK(status.st_mode):
        return os.readlink(location.name, dir_fd=location.folder), NO_METADATA
    if stat.S_ISREG(status.st_mode):
        return b"", read_metadata(path_of(location.folder, location.name))
    return b"", NO_METADATA
