"""A file on its way in: written beside its target under a name that nothing lists, then renamed over it. Blocking I/O.

Whatever goes wrong before the rename leaves the target as it was and nothing beside it.
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
from sandbox_runtime.files.confined.errors import is_a_directory, not_a_file, translating
from sandbox_runtime.files.confined.info import Info, observe
from sandbox_runtime.files.confined.open_beneath import Location, Lookup
from sandbox_runtime.files.confined.path_checks import Parts, join

if TYPE_CHECKING:
    from sandbox_runtime.files.confined.open_beneath import Workspace

_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DEFAULT_MODE: Final = 0o644


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be there at the end.

    Attributes:
        parts: Where.
        lookup: How that is found; missing parents are to be made.
        mode: Permission bits; 0 for those of the replaced file, or 0644.
        sha256: What the digest must be; empty for any.
        max_bytes: 0 for no limit.
        mtime_ns: Modification time; None for now.
        is_restored: It comes from storage: whatever is no folder is replaced, and the info is detailed.
    """

    parts: Parts
    lookup: Lookup
    mode: int = 0
    sha256: str = ""
    max_bytes: int = 0
    mtime_ns: int | None = None
    is_restored: bool = False


def part_name() -> bytes:
    """A new name that `tree.PART_NAME` matches."""
    return f".{os.urandom(8).hex()}.sandbox-part".encode()


class PartFile:
    """One upload: `begin`, `write`, `commit` in this order, each in a thread, and `abort` at the end in any case."""

    def __init__(self, workspace: Workspace, target: Target) -> None:
        self._workspace = workspace
        self._target = target
        self._folder = -1
        self._descriptor = -1
        self._name = b""
        self._part = b""
        self._written = 0
        self._digest = hashlib.sha256()

    @property
    def is_open(self) -> bool:
        """Whether `abort` has something to do."""
        return self._folder >= 0 or self._descriptor >= 0

    def begin(self) -> None:
        """Make the parents and the part file.

        Raises:
            OperationError: The target is a folder, or nothing that a file may replace.
        """
        with self._workspace.locate(self._target.parts, self._target.lookup) as location:
            self._replaced_mode(location)
            self._folder = os.dup(location.folder)
            part = part_name()
            self._descriptor = os.open(part, _CREATE, 0o600, dir_fd=location.folder)
            self._part = part
            self._name = location.name

    def write(self, data: bytes | memoryview) -> None:
        """Append.

        Raises:
            OperationError: FILE_TOO_LARGE or DISK_FULL.
        """
        self._written += len(data)
        limit = self._target.max_bytes
        if limit and self._written > limit:
            raise OperationError(
                "RESOURCE_EXHAUSTED", "FILE_TOO_LARGE", f"The file is larger than the limit of {limit} bytes.", "path"
            )
        self._digest.update(data)
        view = memoryview(data)
        with translating():
            while view:
                view = view[os.write(self._descriptor, view) :]

    def commit(self) -> tuple[Info, str]:
        """Put it in its place: its info and digest.

        Raises:
            OperationError: DIGEST_MISMATCH, or the target has become a folder.
        """
        target, digest = self._target, self._digest.hexdigest()
        if target.sha256 and digest != target.sha256:
            raise OperationError(
                "DATA_LOSS", "DIGEST_MISMATCH", f"What arrived has the digest {digest}; send the file again.", "sha256"
            )
        location = Location(self._folder, self._name)
        with translating():
            os.fchmod(self._descriptor, target.mode or self._replaced_mode(location))
            if target.mtime_ns is not None:
                os.utime(self._descriptor, ns=(target.mtime_ns, target.mtime_ns))
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)  # where a network file system tells that the disk is full
            os.rename(self._part, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
            self._part = b""
            return observe(join(target.parts), location, detailed=target.is_restored), digest

    def abort(self) -> None:
        """Close what is open and remove the part file where it is still there."""
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
        """Permission bits of the file that is replaced, or the default ones."""
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
