"""The local side of a folder's transfer: finds files, checks names, and creates files and folders."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import tempfile
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.models.workspace_status import FileFailure
from sandbox_client.transfer.files import publish

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_NOT_UNICODE: Final = "its name is not valid Unicode: rename it"
_RESERVED: Final = re.compile(
    r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?|.*[<>:\"|?*\\\x00-\x1f].*|.*[. ]", re.IGNORECASE | re.DOTALL
)
"""Names that Windows does not allow."""
_WHOLE_DISK: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE})
"""Errors that concern every file."""


@dataclass(slots=True)
class LocalFiles:
    """Content of a local folder.

    Attributes:
        files: Path, relative path and size of each regular file.
        skipped: Relative paths of what is neither a regular file nor a folder.
        failed: What cannot be transferred.
    """

    files: list[tuple[Path, str, int]] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: list[FileFailure] = field(default_factory=list)


def list_local(top: Path) -> LocalFiles:
    """List a folder with everything in it. Symlinks are not followed.

    Raises:
        NotADirectoryError: It is no folder.
        OSError: It cannot be read.
    """
    if not top.is_dir():
        raise NotADirectoryError(f"{top} is not a folder")
    found = LocalFiles()

    def fail(error: OSError) -> None:
        path = Path(error.filename)
        if path == top:
            raise error
        found.failed.append(FileFailure(_shown(_below(path, top)), describe_local(error)))

    for folder, folders, names in os.walk(top, onerror=fail):
        for name in sorted([*names, *(name for name in folders if Path(folder, name).is_symlink())]):
            _add(found, Path(folder, name), top)
    found.skipped.sort()
    return found


def _add(found: LocalFiles, path: Path, top: Path) -> None:
    below = _below(path, top)
    try:
        if path.is_symlink() or not path.is_file():
            found.skipped.append(_shown(below))
            return
        below.encode()
        found.files.append((path, below, path.stat().st_size))
    except UnicodeEncodeError:
        found.failed.append(FileFailure(_shown(below), _NOT_UNICODE))
    except OSError as error:
        found.failed.append(FileFailure(_shown(below), describe_local(error)))


def _below(path: Path, top: Path) -> str:
    return path.relative_to(top).as_posix()


def _shown(name: str) -> str:
    """Return a name as text that can be printed and sent. Bytes that are not Unicode become escapes."""
    return name.encode(errors="backslashreplace").decode()


def describe_local(error: OSError) -> str:
    """Return why a file on this machine cannot be read or written.

    Raises:
        OSError: The error itself, if it concerns every file, such as a full disk.
    """
    if error.errno in _WHOLE_DISK:
        raise error
    return f"{error.strerror or error} (on this machine)"


def local_name_problem(name: str, *, is_windows: bool = os.name == "nt") -> str:
    """Return why a relative path from the sandbox cannot be one on this machine, or "". User code chose the names."""
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\0" in name:
        return "it cannot be the name of a local file"
    if is_windows and any(_RESERVED.fullmatch(part) for part in parts):
        return "Windows does not allow this name: rename it in the sandbox"
    return ""


def find_collisions(names: Iterable[str]) -> dict[str, str]:
    """Return the names that are the same as an earlier one, where case and the form of accents do not count.

    Returns:
        The earlier name by the later one.
    """
    first: dict[str, str] = {}
    collisions = {}
    for name in names:
        key = unicodedata.normalize("NFC", name).casefold()
        if first.setdefault(key, name) != name:
            collisions[name] = first[key]
    return collisions


def distinguishes_case(folder: Path) -> bool:
    """Return whether `a` and `A` are two files in a folder.

    Raises:
        OSError: Nothing can be written there.
    """
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".case-") as probe:
        path = Path(probe.name)
        return not path.with_name(path.name.replace(".case-", ".CASE-")).exists()


def make_folder(folder: Path) -> str:
    """Create a folder and its parents. Returns why that is not possible, or ""."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return describe_local(error)
    return ""


def read_small(path: Path) -> tuple[bytes, int]:
    """Return a file's content and permission bits."""
    with path.open("rb") as file:
        return file.read(), os.fstat(file.fileno()).st_mode & 0o777


def write_small(target: Path, content: bytes, mode: int) -> None:
    """Write a whole file. It appears under its name when it is complete.

    Args:
        target: The file.
        content: Its bytes.
        mode: Permission bits in the sandbox.
    """
    descriptor, partial = tempfile.mkstemp(dir=target.parent, prefix=".download-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        publish(partial, target, mode)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial)  # noqa: PTH108 - a str from mkstemp
        raise


class TotalProgress:
    """Adds up the progress of many files.

    Attributes:
        done: Bytes transferred so far.
    """

    def __init__(self, total: int, on_progress: Callable[[int, int], Any] | None) -> None:
        self.done = 0
        self._total = total
        self._on_progress = on_progress

    def for_file(self) -> Callable[[int, int], None]:
        """Return the progress callback for one file."""
        counted = 0

        def report(done: int, _total: int) -> None:
            nonlocal counted
            self.done += done - counted
            counted = done
            if self._on_progress:
                self._on_progress(self.done, max(self._total, self.done))

        return report
