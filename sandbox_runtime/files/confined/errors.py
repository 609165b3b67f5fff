"""What an OSError means to a caller: one table from errno to OperationError. Pure: no I/O."""

from __future__ import annotations

import contextlib
import errno
from typing import TYPE_CHECKING, Final

from sandbox_link.protocol import OperationError

if TYPE_CHECKING:
    from collections.abc import Iterator

_OF_ERRNO: Final[dict[int, tuple[str, str, str]]] = {
    errno.ENOENT: ("NOT_FOUND", "FILE_NOT_FOUND", "There is no such file or folder."),
    errno.EISDIR: ("FAILED_PRECONDITION", "IS_A_DIRECTORY", "The path is a folder."),
    errno.ENOTDIR: ("FAILED_PRECONDITION", "NOT_A_DIRECTORY", "The path, or a part of it, is not a folder."),
    errno.ENXIO: ("FAILED_PRECONDITION", "NOT_A_FILE", "The path is not a regular file."),
    errno.EEXIST: ("ALREADY_EXISTS", "ALREADY_EXISTS", "Something has that name already."),
    errno.ENOTEMPTY: ("ALREADY_EXISTS", "ALREADY_EXISTS", "The folder is not empty."),
    errno.ENOSPC: ("RESOURCE_EXHAUSTED", "DISK_FULL", "The workspace's disk is full; remove files and try again."),
    errno.EDQUOT: ("RESOURCE_EXHAUSTED", "DISK_FULL", "The workspace's quota is used up; remove files and try again."),
    errno.EFBIG: ("RESOURCE_EXHAUSTED", "FILE_TOO_LARGE", "The file is larger than the file system allows."),
    errno.EMFILE: ("RESOURCE_EXHAUSTED", "RUNTIME_UNAVAILABLE", "Too many files are open in the sandbox; try again."),
    errno.ENFILE: ("RESOURCE_EXHAUSTED", "RUNTIME_UNAVAILABLE", "Too many files are open in the sandbox; try again."),
    errno.EACCES: ("PERMISSION_DENIED", "PERMISSION_DENIED", "Its permissions forbid that."),
    errno.EPERM: ("PERMISSION_DENIED", "PERMISSION_DENIED", "Its permissions forbid that."),
    errno.EROFS: ("PERMISSION_DENIED", "PERMISSION_DENIED", "The file system is read-only."),
    errno.ENAMETOOLONG: ("INVALID_ARGUMENT", "INVALID_ARGUMENT", "A name of the path is too long."),
    errno.EINVAL: ("INVALID_ARGUMENT", "INVALID_ARGUMENT", "The file system refuses that."),
    errno.EXDEV: ("FAILED_PRECONDITION", "INVALID_ARGUMENT", "The two paths are on different file systems."),
    errno.ELOOP: ("ABORTED", "INVALID_ARGUMENT", "The path changed while it was used; try again."),
}


def to_operation_error(error: OSError, field: str = "path", subject: str = "") -> OperationError:
    """The OperationError for an OSError, with its `__cause__` left to `raise ... from`.

    Args:
        error: As a system call raised it.
        field: The request's field that holds the path.
        subject: A path to name in the message, where the field does not tell which.
    """
    code, reason, message = _OF_ERRNO.get(
        error.errno or 0, ("INTERNAL", "IO_ERROR", f"The file system failed: {error.strerror or error}.")
    )
    if subject:
        message = f"{subject}: {message}"
    return OperationError(code, reason, message, field)


@contextlib.contextmanager
def translating(field: str = "path", subject: str = "") -> Iterator[None]:
    """Raise the body's OSError as OperationError."""
    try:
        yield
    except OSError as error:
        raise to_operation_error(error, field, subject) from error


def invalid(message: str, field: str) -> OperationError:
    """The error for an argument that is out of bounds."""
    return OperationError("INVALID_ARGUMENT", "INVALID_ARGUMENT", message, field)


def is_a_directory(field: str = "path") -> OperationError:
    """The error for a folder where a file is needed."""
    return to_operation_error(IsADirectoryError(errno.EISDIR, ""), field)


def not_a_file(field: str = "path") -> OperationError:
    """The error for a FIFO, a device, a socket or a symlink where a regular file is needed."""
    return to_operation_error(OSError(errno.ENXIO, ""), field)
