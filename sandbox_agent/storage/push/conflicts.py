"""Files that changed here and in storage, when the sandbox is about to go: both versions are kept.

While a session runs, such a file stays as it is on both sides, and somebody settles it. At its end nobody will: the
sandbox's version is renamed to `<name>.conflict-<session>`, and is saved under that name like any other file.
"""

from __future__ import annotations

import itertools
import posixpath
from typing import TYPE_CHECKING, Final

from sandbox_agent.storage.base_state import CONFLICT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sandbox_agent.storage.sandbox.files import SandboxFiles

_NAME_MAX: Final = 255
"""Bytes of a name in a folder."""
_MOST_NAMES: Final = 100


async def keep_both(files: SandboxFiles, failures: Iterable[tuple[str, str]], session_name: str) -> int:
    """Rename the sandbox's version of each file that a push left alone for a conflict.

    Args:
        files: Of the sandbox.
        failures: Of that push: path and reason.
        session_name: Goes into the new names.

    Returns:
        How many were renamed.

    Raises:
        OperationError: As the runtime said it.
    """
    paths = [path for path, reason in failures if reason == CONFLICT]
    return sum([await _rename(files, path, session_name) for path in paths])


async def _rename(files: SandboxFiles, path: str, session_name: str) -> bool:
    for name in itertools.islice(conflict_names(path, session_name), _MOST_NAMES):
        if await files.rename(path, name):
            return True
    return False


def conflict_names(path: str, session_name: str) -> Iterator[str]:
    """Names for the sandbox's version, in the order in which they are tried. Pure.

    >>> next(conflict_names("data/report.csv", "one"))
    'data/report.csv.conflict-one'
    """
    folder, name = posixpath.split(path)
    for number in itertools.count(1):
        ending = f".conflict-{session_name}" + (f"-{number}" if number > 1 else "")
        room = max(1, _NAME_MAX - len(ending.encode()))
        yield posixpath.join(folder, name.encode()[:room].decode(errors="ignore") + ending)
