"""Which push wrote a file of a directory store, as an extended attribute; a file system that has none tells nothing."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_NAME: Final = "user.sandbox.push"


def write_mark(path: Path, push: int, etag: str) -> None:
    """Mark a file, where that can be done.

    Args:
        path: The file.
        push: Generation of the push.
        etag: The file's.
    """
    try:
        os.setxattr(path, _NAME, f"{push} {etag}".encode())
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise


def read_mark(path: Path, etag: str) -> int | None:
    """The push whose file this is, 0 for nobody's; None: it cannot be known.

    Whoever writes into the same file leaves its attributes alone: it has another etag than its mark says then.
    """
    try:
        push, _, marked = os.getxattr(path, _NAME, follow_symlinks=False).decode(errors="replace").partition(" ")
    except FileNotFoundError:
        raise
    except OSError as error:
        # What may not be read is not ours either.
        return None if error.errno == errno.ENOTSUP else 0
    return int(push) if push.isdecimal() and marked == etag else 0
