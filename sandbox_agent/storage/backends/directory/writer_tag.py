"""Writer tags of a directory store: an extended attribute names the push that wrote a file."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_NAME: Final = "user.sandbox.push"


def write_tag(path: Path, generation: int, etag: str) -> None:
    """Tag a file, if the file system has extended attributes.

    Args:
        path: The file.
        generation: The generation of the push.
        etag: The file's etag.
    """
    try:
        os.setxattr(path, _NAME, f"{generation} {etag}".encode())
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise


def read_tag(path: Path, etag: str) -> int | None:
    """Return the generation of the push that wrote a file. Returns 0 if it was no push, and None if that is unknown.

    A program that writes into the file keeps its attributes, but changes the etag, which the tag contains.
    """
    try:
        generation, _, tagged = os.getxattr(path, _NAME, follow_symlinks=False).decode(errors="replace").partition(" ")
    except FileNotFoundError:
        raise
    except OSError as error:
        # A tag that we cannot read is not ours.
        return None if error.errno == errno.ENOTSUP else 0
    return int(generation) if generation.isdecimal() and tagged == etag else 0
