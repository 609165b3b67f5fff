"""Translates an OSError into an OperationError, with one table of errno values. Pure: no I/O."""

from __future__ import annotations

import contextlib
import errno
from typing import TYPE_CHECKING, Final

from sandbox_link.protocol import OperationError

if TYPE_CHECKING:
    from collections.abc import Iterator

_BY_ERRNO: Final[dict[int, tuple[str, str, str]]] = {
    errno.ENOENT: ("NOT_FOUND", "FILE_NOT_FOUND", "There is no such file or folder."),
    errno.EISDIR: ("FAILED_PRECONDITION", "IS_A_DIRECTORY", "The path is a folder."),
    errno.ENOTDIR: ("FAILED_PRECONDITION", "NOT_A_DIRECTORY", "The path, or a part of it, is not a folder."),
    errno.ENXIO: ("FAILED_PRECONDITION", "NOT_A_FILE", "The path is not a regular file."),
    errno.EEXIST: ("ALREADY_EXISTS", "ALREADY_EXISTS", "Something has that name already."),
    errno.ENOTEMPTY: ("ALREADY_EXISTS", "ALREADY_EXISTS", "The folder is not empty."),
    errno.ENOSPC: ("RESOURCE_EXHAUSTED", "DISK_FULL", "The workspace's disk is full. Remove files and try again."),
    errno.EDQUOT: ("RESOURCE_EXHAUSTED", "DISK_FULL", "The workspace's quota is used up. Remove files and try again."),
    errno.EFBIG: ("RESOURCE_EXHAUSTED", "FILE_TOO_LARGE", "The file is larger than the file system allows."),
    errno.EMFILE: (
        "RESOURCE_EXHAUSTED",
        "RUNTIME_UNAVAILABLE",
        "The sandbox has too many open files. Close some and try again.",
    ),
    errno.ENFILE: (
        "RESOURCE_EXHAUSTED",
        "RUNTIME_UNAVAILABLE",
        "The sandbox has too many open files. Close some and try again.",
    ),
    errno.EACCES: ("PERMISSION_DENIED", "PERMISSION_DENIED", "The permissions do not allow that."),
    errno.EPERM: ("PERMISSION_DENIED", "PERMISSION_DENIED", "The permissions do not allow that."),
    errno.EROFS: ("PERMISSION_DENIED", "PERMISSION_DENIED", "The file system is read-only."),
    errno.ENAMETOOLONG: ("INVALID_ARGUMENT", "INVALID_ARGUMENT", "A name in the path is too long."),
    errno.EINVAL: ("INVALID_ARGUMENT", "INVALID_ARGUMENT", "The file system refuses that."),
    errno.EXDEV: ("FAILED_PRECONDITION", "INVALID_ARGUMENT", "The two paths are on different file systems."),
    errno.ELOOP: ("ABORTED", "INVALID_ARGUMENT", "The path changed during the operation. Try again."),
}


def to_operation_error(error: OSError, field: str = "path", subject: str = "") -> OperationError:
    """Return the OperationError for an OSError. The caller sets the cause with `raise ... from`.

    Args:
        error: The error of a system call.
        field: The request's field that contains the path.
        subject: A path to name in the message, if the field does not say which one failed.
    """
    code, reason, message = _BY_ERRNO.get(
        error.errno or 0, ("INTERNAL", "IO_ERROR", f"The file system failed: {error.strerror or error}.")
    )
    if subject:
        message = f"{subject}: {message}"
    return OperationError(code, reason, message, field)


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
