"""Writes a file beside its target, under a name that no listing shows, and renames it into place. Blocking I/O.

A failure before the rename leaves the target unchanged and nothing beside it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sandbox_link.protocol import OperationError
from sandbox_runtime.files.arguments import PERMISSION_BITS
from sandbox_runtime.files.confined.errors import PathError, is_a_directory, not_a_file, translating
from sandbox_runtime.files.confined.info import Info, observe
from sandbox_runtime.files.confined.metadata import path_of, read_metadata, write_metadata
from sandbox_runtime.files.confined.open_beneath import Location, Lookup

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_runtime.files.confined.roots import Place

_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DEFAULT_MODE: Final = 0o644
_MIN_HOLE: Final = 4096
"""Bytes of zeros that become a hole at least, the block of most file systems."""
_ZEROS: Final = bytes(_MIN_HOLE)


@dataclass(frozen=True, slots=True)
class Target:
    """The file to write.

    Attributes:
        place: Its path.
        lookup: How to find its folder. Must create missing parents.
        mode: Permission bits; 0 for those of the replaced file, or 0644.
        sha256: The expected digest; empty for any.
        max_bytes: Largest size; 0 for no limit.
        mtime_ns: Modification time; None for now.
        is_restored: The file comes from storage: it replaces anything but a folder, and its info is detailed.
        metadata: The file's metadata; None for that of the replaced file.
    """

    place: Place
    lookup: Lookup
    mode: int = 0
    sha256: str = ""
    max_bytes: int = 0
    mtime_ns: int | None = None
    is_restored: bool = False
    metadata: Mapping[str, str] | None = None


def _is_hole(piece: memoryview) -> bool:
    """Return whether a piece has only zeros. A sparse file, whose holes are stored as zeros, is restored with them."""
    # One comparison in C, which ends at the first byte that differs.
    return len(piece) >= _MIN_HOLE and bytes(piece[:_MIN_HOLE]) == _ZEROS and bytes(piece) == bytes(len(piece))


def part_name() -> bytes:
    """Return a new name that `walk.PART_NAME` matches."""
    return f".{os.urandom(8).hex()}.sandbox-part".encode()


class PartFile:
    """One upload: `begin`, `write` and `commit` in this order, each in a thread, and always `abort` at the end."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._folder = -1
        self._descriptor = -1
        self._name = b""
        self._part = b""
        self._written = 0
        self._ends_in_hole = False
        self._digest = hashlib.sha256()

    @property
    def is_open(self) -> bool:
        """True if `abort` has something to close."""
        return self._folder >= 0 or self._descriptor >= 0

    def begin(self) -> None:
        """Create the parents and the part file.

        Raises:
            OperationError: The target is a folder, or something else that a file may not replace.
        """
        with self._target.place.locate(self._target.lookup) as location:
            self._replaced_mode(location)
            self._folder = os.dup(location.folder)
            part = part_name()
            self._descriptor = os.open(part, _CREATE, 0o600, dir_fd=location.folder)
            self._part = part
            self._name = location.name

    def write(self, data: bytes | memoryview) -> None:
        """Append to the part file.

        Raises:
            OperationError: FILE_TOO_LARGE or DISK_FULL.
        """
        self._written += len(data)
        limit = self._target.max_bytes
        if limit and self._written > limit:
            message = f"{{path}} would be larger than {limit} bytes, the session's limit for a file: split the file"
            raise PathError("RESOURCE_EXHAUSTED", "FILE_TOO_LARGE", message, "path")
        self._digest.update(data)
        view = memoryview(data)
        with translating():
            if self._target.is_restored and _is_hole(view):
                os.lseek(self._descriptor, len(view), os.SEEK_CUR)
                self._ends_in_hole = True
                return
            self._ends_in_hole = False
            while view:
                view = view[os.write(self._descriptor, view) :]

    def commit(self) -> tuple[Info, str]:
        """Rename the part file into place and return the file's info and digest.

        Raises:
            OperationError: DIGEST_MISMATCH, or the target has become a folder.
        """
        target, digest = self._target, self._digest.hexdigest()
        if target.sha256 and digest != target.sha256:
            message = f"the content that arrived has the digest {digest}, not {target.sha256}: send the file again"
            raise OperationError("DATA_LOSS", "DIGEST_MISMATCH", message, "sha256")
        location = Location(self._folder, self._name)
        with translating():
            if self._ends_in_hole:
                os.ftruncate(self._descriptor, self._written)
            # First the metadata: the final mode may forbid it, even to the owner.
            self._write_metadata(location)
            os.fchmod(self._descriptor, target.mode or self._replaced_mode(location))
            if target.mtime_ns is not None:
                os.utime(self._descriptor, ns=(target.mtime_ns, target.mtime_ns))
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)  # a network file system reports a full disk only here
            os.rename(self._part, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
            self._part = b""
            return observe(target.place.text, location, detailed=target.is_restored), digest

    def _write_metadata(self, location: Location) -> None:
        if self._target.metadata is not None and not self._target.is_restored:
            write_metadata(self._descriptor, self._target.metadata)
            return
        metadata = self._target.metadata
        if metadata is None:
            metadata = read_metadata(path_of(location.folder, location.name))
        # A file system without metadata must not lose the file as well.
        with contextlib.suppress(OperationError, OSError):
            write_metadata(self._descriptor, metadata)

    def abort(self) -> None:
        """Close what is open, and remove the part file if it still exists."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
        if self._part:
            with contextlib.suppress(OSError):
                os.unlink(self._part, dir_fd=self._folder)
        if self._folder >= 0:
            os.close(self._folder)
        self._descriptor = self._folder = -1
        self._part = b""

    def _replaced_mode(self, location: Location) -> int:
        """Return the permission bits of the file to replace, or the default ones."""
        if location.name == b".":
            raise is_a_directory()
        try:
            status = location.stat()
        except FileNotFoundError:
            return _DEFAULT_MODE
        if stat.S_ISDIR(status.st_mode):
            raise is_a_directory()
        if stat.S_ISREG(status.st_mode):
            return stat.S_IMODE(status.st_mode) & PERMISSION_BITS
        if not self._target.is_restored and not stat.S_ISLNK(status.st_mode):
            raise not_a_file()
        return _DEFAULT_MODE
