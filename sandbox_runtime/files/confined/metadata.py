"""The metadata of regular files: extended attributes of the namespace `user`, as a small map of texts. Blocking I/O.

Attributes that are not text, or exceed the bounds, are left out of answers.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any, Final

from sandbox_link.protocol import OperationError, invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_KEYS: Final = 64
MAX_KEY: Final = 200
"""Bytes. The kernel allows 255 for the name with its namespace."""
MAX_BYTES: Final = 3_000
"""Bytes of all keys and values. Some file systems give a file one block of 4 KiB for them."""
NO_METADATA: Final[Mapping[str, str]] = {}
_NAMESPACE: Final = "user."
_UNSUPPORTED: Final = frozenset({errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})


def take_metadata(arguments: Mapping[str, Any]) -> dict[str, str] | None:
    """Return the argument `metadata`. Returns None if it is missing.

    Raises:
        OperationError: It is not a map of texts within the bounds. Field `metadata`.
    """
    value = arguments.get("metadata")
    if value is None:
        return None
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise invalid("metadata", "`metadata` must map texts to texts.")
    try:
        sizes = [(len(key.encode()), len(text.encode())) for key, text in value.items()]
    except UnicodeEncodeError:
        raise invalid("metadata", "`metadata` has characters that are not Unicode text: remove them") from None
    if any(not 0 < key <= MAX_KEY for key, _ in sizes) or any("\0" in key + text for key, text in value.items()):
        raise invalid("metadata", f"a key of `metadata` has 1 to {MAX_KEY} bytes and no NUL character: change it")
    if len(sizes) > MAX_KEYS or sum(map(sum, sizes)) > MAX_BYTES:
        message = f"`metadata` has at most {MAX_KEYS} keys and {MAX_BYTES} bytes: use a file for more"
        raise invalid("metadata", message)
    return value


def read_metadata(file: int | bytes) -> Mapping[str, str]:
    """Return the metadata of a file, sorted by key.

    Args:
        file: An open file, or a path from `path_of`. A symlink is not followed.
    """
    follow = isinstance(file, int)
    try:
        names = os.listxattr(file, follow_symlinks=follow)
        if not names:
            return NO_METADATA
        found: dict[str, str] = {}
        room = MAX_BYTES
        for name in sorted(name for name in names if name.startswith(_NAMESPACE)):
            key, text = _decode(name, os.getxattr(file, name, follow_symlinks=follow))
            room -= len(key) + len(text)
            if key and room >= 0 and len(found) < MAX_KEYS:
                found[key.decode()] = text.decode()
    except OSError:
        return NO_METADATA  # the file system has none, or the file was removed meanwhile
    return found


def path_of(folder: int, name: bytes) -> bytes:
    """Return a path of a name in an open folder, for calls that take no folder."""
    return b"/proc/self/fd/%d/%s" % (folder, name)


def write_metadata(descriptor: int, metadata: Mapping[str, str]) -> None:
    """Give an open new file its metadata.

    Raises:
        OperationError: FAILED_PRECONDITION, NO_METADATA: its file system has none.
        OSError: It does not fit (ENOSPC).
    """
    try:
        for key, text in metadata.items():
            os.setxattr(descriptor, _NAMESPACE + key, text.encode())
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        message = "the file system keeps no metadata of files: leave `metadata` out, or choose another path"
        raise OperationError("FAILED_PRECONDITION", "NO_METADATA", message, "metadata") from error


def _decode(name: str, value: bytes) -> tuple[bytes, bytes]:
    """Return key and value if both are text of an acceptable size; otherwise an empty key."""
    try:
        key = name[len(_NAMESPACE) :].encode()
        value.decode()
    except UnicodeError:
        return b"", b""
    return (key, value) if 0 < len(key) <= MAX_KEY and b"\0" not in value else (b"", b"")
