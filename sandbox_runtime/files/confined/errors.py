"""Translates an OSError into an OperationError, with one table of errno values. Pure: no I/O."""

from __future__ import annotations

import contextlib
import errno
from typing import TYPE_CHECKING, Any, Final

from sandbox_link.protocol import OperationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_MAX_SHOWN: Final = 200
"""Characters of a path in a message."""
_FULL: Final = "remove files and try again"
_DENIED: Final = "the permissions of {path} do not allow that: change them, or choose another path"
_OPEN_FILES: Final = "the sandbox has too many open files: close some and try again"
_BY_ERRNO: Final[dict[int, tuple[str, str, str]]] = {
    errno.ENOENT: (
        "NOT_FOUND",
        "FILE_NOT_FOUND",
        "there is no file or folder {path} in {root}: list the folder to see what there is",
    ),
    errno.EISDIR: (
        "FAILED_PRECONDITION",
        "IS_A_DIRECTORY",
        "{path} is a folder, not a file: name a file, or use the call for folders (list; remove with `recursive`)",
    ),
    errno.ENOTDIR: (
        "FAILED_PRECONDITION",
        "NOT_A_DIRECTORY",
        "{path}, or a part of that path, is not a folder: name a folder",
    ),
    errno.ENXIO: (
        "FAILED_PRECONDITION",
        "NOT_A_FILE",
        "{path} is neither a file nor a folder: use a command to read or write it",
    ),
    errno.EEXIST: ("ALREADY_EXISTS", "ALREADY_EXISTS", "{path} exists already: remove it, or choose another name"),
    errno.ENOTEMPTY: (
        "ALREADY_EXISTS",
        "ALREADY_EXISTS",
        "the folder {path} is not empty: remove its contents, or choose another name",
    ),
    errno.ENOSPC: ("RESOURCE_EXHAUSTED", "DISK_FULL", f"the disk is full at {{path}}: {_FULL}"),
    errno.EDQUOT: ("RESOURCE_EXHAUSTED", "DISK_FULL", f"the quota of the disk is used up at {{path}}: {_FULL}"),
    errno.EFBIG: (
        "RESOURCE_EXHAUSTED",
        "FILE_TOO_LARGE",
        "{path} would be larger than the file system allows: split the file",
    ),
    errno.EMFILE: ("RESOURCE_EXHAUSTED", "RUNTIME_UNAVAILABLE", _OPEN_FILES),
    errno.ENFILE: ("RESOURCE_EXHAUSTED", "RUNTIME_UNAVAILABLE", _OPEN_FILES),
    errno.EACCES: ("PERMISSION_DENIED", "PERMISSION_DENIED", _DENIED),
    errno.EPERM: ("PERMISSION_DENIED", "PERMISSION_DENIED", _DENIED),
    errno.EROFS: (
        "PERMISSION_DENIED",
        "PERMISSION_DENIED",
        "{path} is on a file system that is read-only: choose another path",
    ),
    errno.ENAMETOOLONG: (
        "INVALID_ARGUMENT",
        "INVALID_ARGUMENT",
        "a name in {path} is too long: use at most 255 bytes for each name",
    ),
    errno.EINVAL: ("INVALID_ARGUMENT", "INVALID_ARGUMENT", "the file system refuses {path}: choose another name"),
    errno.EXDEV: (
        "FAILED_PRECONDITION",
        "INVALID_ARGUMENT",
        "{path} is on another file system: copy the file, and remove the first one",
    ),
    errno.ELOOP: ("ABORTED", "INVALID_ARGUMENT", "{path} changed during the operation: try again"),
}


class PathError(OperationError):
    """An error at a path. Its message names the path that the operation was given, or `subject` in place of that.

    Args:
        code: As in OperationError.
        reason: As in OperationError.
        template: The message, with `{path}` for the path.
        field: The request's field that contains the path.
        subject: Another path that failed, such as one below the path of the request.
    """

    def __init__(self, code: str, reason: str, template: str, field: str, subject: str = "") -> None:
        super().__init__(code, reason, _fill(template, subject), field)
        self._template = template
        self._subject = subject

    def describe(self, arguments: Mapping[str, Any]) -> str:
        """Return the message with the path in it."""
        path = arguments.get(self.field)
        return _fill(self._template, self._subject or (path if isinstance(path, str) else ""))


def _fill(template: str, path: str) -> str:
    return template.replace("{path}", quote(path) if path else "the path")


def quote(path: str) -> str:
    """Return a path for a message: in quotes, printable, and not too long."""
    return repr(path if len(path) <= _MAX_SHOWN else f"{path[:_MAX_SHOWN]}...")


def to_operation_error(
    error: OSError, field: str = "path", subject: str = "", root: str = "the workspace"
) -> OperationError:
    """Return the OperationError for an OSError. The caller sets the cause with `raise ... from`.

    Args:
        error: The error of a system call.
        field: The request's field that contains the path.
        subject: A path to name in the message, if the field does not say which one failed.
        root: The root in which the path was looked up.
    """
    code, reason, template = _BY_ERRNO.get(
        error.errno or 0,
        ("INTERNAL", "IO_ERROR", f"the file system failed at {{path}}: {error.strerror or error}. Try again"),
    )
    return PathError(code, reason, template.replace("{root}", root), field, subject)


@contextlib.contextmanager
def translating(field: str = "path", subject: str = "") -> Iterator[None]:
    """Turn an OSError of the body into an OperationError."""
    try:
        yield
    except OSError as error:
        raise to_operation_error(error, field, subject) from error


def is_a_directory(field: str = "path") -> OperationError:
    """Return the error for a folder where a file is needed."""
    return to_operation_error(IsADirectoryError(errno.EISDIR, ""), field)


def not_a_file(field: str = "path") -> OperationError:
    """Return the error for a FIFO, a device, a socket or a symlink where a regular file is needed."""
    return to_operation_error(OSError(errno.ENXIO, ""), field)
