"""Files of the sandbox, as the runtime reports them. The values are checked for type and bounds. Pure: no I/O.

Errors: OperationError INTERNAL if the runtime's answer breaks docs/link.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from sandbox_agent.storage.repository.keys import is_confined, printable
from sandbox_agent.storage.repository.manifest import MAX_TARGET, Entry, EntryType, Metadata, read_metadata
from sandbox_link.protocol import OperationError

if TYPE_CHECKING:
    from collections.abc import Mapping

_I64: Final = (1 << 63) - 1
_U64: Final = (1 << 64) - 1
MODE: Final = 0o777
"""Permission bits that are stored. Set-id and sticky bits are not, because those of a folder come from the volume."""
RACY_NS: Final = 100_000_000
"""A file that changed fewer nanoseconds before it was seen may change again and keep its times. Kernels advance file
times in steps of a few milliseconds."""
_MAX_KEY: Final = 200
"""Bytes of a key of a file's metadata, as in the runtime."""
_MAX_METADATA: Final = 3_000
"""Bytes of all keys and values of one file's metadata, as in the runtime."""
_TYPES: Final = frozenset({"file", "symlink", "directory"})


@dataclass(frozen=True, slots=True)
class LocalEntry:
    """A file, symlink or folder in the sandbox, as a scan found it."""

    path: str
    type: EntryType
    size: int
    mode: int
    mtime_ns: int
    ctime_ns: int
    ino: int
    symlink_target: str = ""
    metadata: Metadata = ()

    @property
    def times(self) -> tuple[int, int, int, int]:
        """Values of which at least one changes when the file's content changes."""
        return (self.size, self.mtime_ns, self.ctime_ns, self.ino)

    def as_entry(self, sha256: str = "", etag: str = "", metadata: Metadata | None = None) -> Entry:
        """Return the entry of a manifest that describes this file.

        Args:
            sha256: The content's digest, of a file.
            etag: The stored object's etag, of a file.
            metadata: Metadata to store instead of the sandbox's.
        """
        size = self.size if self.type == "file" else 0
        metadata = self.metadata if metadata is None else metadata
        return Entry(self.path, self.type, size, self.mode, self.mtime_ns, sha256, etag, self.symlink_target, metadata)


@dataclass(frozen=True, slots=True)
class Signature:
    """The times that a file had when its content was the stored one."""

    times: tuple[int, int, int, int]
    is_reliable: bool
    """False if a later change might leave the times as they are. The content is then compared instead."""
    metadata: Metadata = ()
    """The sandbox's metadata at that time. Less than what is stored, where the file system keeps none."""

    @property
    def ino(self) -> int:
        """The file's inode number."""
        return self.times[3]


def sign(local: LocalEntry, seen_ns: int) -> Signature:
    """Return the signature of a file that was seen or read at `seen_ns` (Unix time, the sandbox's clock)."""
    is_reliable = seen_ns - max(local.ctime_ns, local.mtime_ns) > RACY_NS
    return Signature(local.times, is_reliable, local.metadata)


def read_local(info: Any, path: str | None = None) -> LocalEntry:
    """Return a checked `info` object.

    Args:
        info: The object that the runtime sent.
        path: The path that it must have; None for any path inside the workspace.

    Raises:
        OperationError: INTERNAL: the object breaks the contract.
    """
    if not isinstance(info, dict):
        raise breach("an info is not an object")
    name = info.get("path")
    if not isinstance(name, str) or len(name) > MAX_TARGET or not is_confined(name):
        raise breach("an info has a path outside the workspace")
    if path is not None and name != path:
        raise breach("an info has another path than requested")
    kind = info.get("type")
    target = info.get("symlink_target")
    target = "" if target is None else target
    if not isinstance(kind, str) or kind not in _TYPES or not isinstance(target, str) or len(target) > MAX_TARGET:
        raise breach(f"the info of {printable(name)} is malformed")
    return LocalEntry(
        path=name,
        type=cast("EntryType", kind),
        size=_integer(info, "size", 0, _I64),
        mode=_integer(info, "mode", 0, 0o7777) & MODE,
        mtime_ns=_integer(info, "mtime_ns", -_I64, _I64),
        ctime_ns=_integer(info, "ctime_ns", -_I64, _I64),
        ino=_integer(info, "ino", 0, _U64),
        symlink_target=target if kind == "symlink" else "",
        metadata=_read_metadata(info, name) if kind == "file" else (),
    )


def _read_metadata(info: Mapping[str, Any], name: str) -> Metadata:
    value = info.get("metadata")
    metadata = () if value is None else read_metadata(value)
    if metadata is None or not _is_restorable(metadata):
        raise breach(f"the metadata of {printable(name)} is malformed")
    return metadata


def _is_restorable(metadata: Metadata) -> bool:
    """Return whether a runtime would take this metadata of a file."""
    try:
        sizes = [(len(key.encode()), len(text.encode())) for key, text in metadata]
    except UnicodeEncodeError:
        return False
    is_text = not any("\0" in key + text for key, text in metadata)
    return is_text and all(0 < key <= _MAX_KEY for key, _ in sizes) and sum(map(sum, sizes)) <= _MAX_METADATA


def breach(what: str) -> OperationError:
    """Return the error for an answer of the runtime that breaks the link's contract."""
    return OperationError("INTERNAL", "RUNTIME_UNAVAILABLE", f"the sandbox's answer is not usable: {what}")


def _integer(value: Mapping[str, Any], name: str, low: int, high: int) -> int:
    found = value.get(name, 0)
    if isinstance(found, bool) or not isinstance(found, int) or not low <= found <= high:
        raise breach(f"`{name}` is out of bounds")
    return found
