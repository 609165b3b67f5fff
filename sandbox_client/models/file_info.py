"""The metadata of one path. Pure: no I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sandbox_client.models.readable import Readable, format_time
from sandbox_client.models.sizes import format_size
from sandbox_client.models.timestamps import read_time
from sandbox_proto.v1 import types_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

_TYPES: Final[dict[int, str]] = {
    types_pb2.FILE_TYPE_FILE: "file",
    types_pb2.FILE_TYPE_DIRECTORY: "directory",
    types_pb2.FILE_TYPE_SYMLINK: "symlink",
}


@dataclass(frozen=True, slots=True, repr=False)
class FileInfo(Readable):
    """Metadata of one path.

    Attributes:
        path: Relative to the workspace root, separated by `/`. Absolute outside the workspace.
        type: `file`, `directory`, `symlink` or `other`.
        size: Bytes.
        mode: Permission bits.
        modified: Aware, in UTC; None if unknown.
        symlink_target: The path that a symlink points to, "" for other types.
        owner: Name of the owner, or the number if it has no name; "" if unknown.
        group: The same of the group.
        metadata: Extended attributes of a regular file, without the prefix `user.`.
    """

    path: str
    type: str
    size: int = 0
    mode: int = 0
    modified: datetime | None = None
    symlink_target: str = ""
    owner: str = ""
    group: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)

    def row(self) -> dict[str, str]:
        """Return the texts of a listing."""
        name = f"{self.path}/" if self.type == "directory" else self.path
        if self.symlink_target:
            name = f"{name} -> {self.symlink_target}"
        size = format_size(self.size) if self.type == "file" else self.type
        return {"path": name, "size": size, "modified": format_time(self.modified)}


def read_file_info(message: types_pb2.FileInfo) -> FileInfo:
    """Convert a protocol message."""
    type_ = _TYPES.get(message.type, "other")
    return FileInfo(
        message.path,
        type_,
        message.size,
        message.mode,
        read_time(message, "modified"),
        message.symlink_target,
        message.owner,
        message.group,
        dict(message.metadata),
    )
