"""Keeps both versions of files that changed here and in storage, when the sandbox is about to end.

While a session runs, neither version replaces the other until a user resolves the conflict. When the session ends, the
sandbox's version is renamed to `<name>.conflict-<session>` and saved under that name like any other file.
"""

from __future__ import annotations

import itertools
import posixpath
from typing import TYPE_CHECKING, Final

from sandbox_link.protocol import OperationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sandbox_agent.storage.sandbox.files import SandboxFiles

CONFLICT: Final = (
    "WORKSPACE_CONFLICT: it changed here and in storage, and neither replaces the other: "
    "rename yours to keep both, or restore to take the stored one"
)
"""The reason why a push or restore leaves a file in conflict alone."""
_MAX_NAME_BYTES: Final = 255
_MAX_ATTEMPTS: Final = 100
"""Names that are tried for one file."""


async def keep_both(files: SandboxFiles, failures: Iterable[tuple[str, str]], session_name: str) -> int:
    """Rename the sandbox's version of each file that a push left alone because of a conflict.

    Args:
        files: The sandbox's files.
        failures: Paths and reasons, from that push.
        session_name: Part of the new names.

    Returns:
        The number of renamed files. A file that cannot be renamed stays as it is.

    Raises:
        OperationError: UNAVAILABLE: the sandbox does not respond.
    """
    paths = [path for path, reason in failures if reason == CONFLICT]
    return sum([await _rename(files, path, session_name) for path in paths])


async def _rename(files: SandboxFiles, path: str, session_name: str) -> bool:
    for name in itertools.islice(conflict_names(path, session_name), _MAX_ATTEMPTS):
        try:
            if await files.rename(path, name):
                return True
        except OperationError as error:
            if error.code == "UNAVAILABLE":
                raise
            return False
    return False


def conflict_names(path: str, session_name: str) -> Iterator[str]:
    """Yield names for the sandbox's version, in the order in which they are tried. Pure.

    >>> next(conflict_names("data/report.csv", "one"))
    'data/report.csv.conflict-one'
    """
    folder, name = posixpath.split(path)
    for number in itertools.count(1):
        ending = f".conflict-{session_name}" + (f"-{number}" if number > 1 else "")
        room = max(1, _MAX_NAME_BYTES - len(ending.encode()))
        yield posixpath.join(folder, name.encode()[:room].decode(errors="ignore") + ending)
