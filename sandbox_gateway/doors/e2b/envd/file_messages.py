"""Messages of E2B's filesystem service, made from our files. Pure: no I/O."""

from __future__ import annotations

import posixpath
import stat
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_client.models.file_info import FileInfo
    from sandbox_client.search import FileChange
    from sandbox_gateway.doors.e2b.envd.paths import Place

WATCH_STARTED: Final[dict[str, Any]] = {"start": {}}
WATCH_KEEPALIVE: Final[dict[str, Any]] = {"keepalive": {}}
_PREFIX: Final = "e2b."
"""Beginning of the names of E2B's extended attributes, after `user.`."""
_TYPES: Final = {"file": "FILE_TYPE_FILE", "directory": "FILE_TYPE_DIRECTORY"}
_EVENTS: Final = {"added": "EVENT_TYPE_CREATE", "modified": "EVENT_TYPE_WRITE", "removed": "EVENT_TYPE_REMOVE"}
_KINDS: Final = {"file": stat.S_IFREG, "directory": stat.S_IFDIR, "symlink": stat.S_IFLNK}


def entry(info: FileInfo, place: Place, target: FileInfo | None = None) -> dict[str, Any]:
    """Return a file, folder or symlink.

    Args:
        info: The path itself.
        place: Where the session's code runs.
        target: What a symlink points to, if that is known.
    """
    seen = target or info
    path = place.to_absolute(info.path)
    message: dict[str, Any] = {
        "name": posixpath.basename(path),
        "type": _TYPES.get(seen.type, "FILE_TYPE_UNSPECIFIED"),
        "path": path,
        "size": str(info.size),
        "mode": seen.mode & 0o777,
        "permissions": permissions(info),
        "owner": info.owner,
        "group": info.group,
    }
    if metadata := read_metadata(info.metadata):
        message["metadata"] = metadata
    if info.modified is not None:
        message["modifiedTime"] = info.modified.isoformat().replace("+00:00", "Z")
    if info.type == "symlink":
        message["isSymlink"] = True
        message["symlinkTarget"] = posixpath.normpath(posixpath.join(posixpath.dirname(path), info.symlink_target))
    return message


def read_metadata(attributes: Mapping[str, str]) -> dict[str, str]:
    """Return E2B's metadata among a file's extended attributes."""
    return {key.removeprefix(_PREFIX): value for key, value in attributes.items() if key.startswith(_PREFIX)}


def write_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return E2B's metadata as extended attributes."""
    return {_PREFIX + key.lower(): value for key, value in metadata.items()}


def permissions(info: FileInfo) -> str:
    """Return type and permissions as Go's `fs.FileMode` shows them, such as `-rw-r--r--`."""
    shown = stat.filemode(_KINDS.get(info.type, 0) | info.mode & 0o777)
    return "L" + shown[1:] if info.type == "symlink" else shown


def sort_entries(infos: list[FileInfo]) -> list[FileInfo]:
    """Return files in the order of E2B's lists: folders first, then by name."""
    return sorted(infos, key=lambda info: (info.type != "directory", posixpath.basename(info.path).lower(), info.path))


def event(change: FileChange, folder: str, changed: dict[str, Any] | None = None) -> dict[str, Any] | None:
    """Return a change below a watched folder, or None if E2B has no such event.

    Args:
        change: The change.
        folder: The watched folder, relative to the workspace.
        changed: The entry that changed, if the client asked for it and it exists.
    """
    kind = _EVENTS.get(change.change)
    if kind is None:
        return None
    message: dict[str, Any] = {"name": posixpath.relpath(change.path, folder), "type": kind}
    if changed is not None:
        message["entry"] = changed
    return message
