"""The folders that a client's path may lead into: the workspace, /tmp and the home folder.

User code may touch all of them. Only the workspace is saved; no operation of storage takes another root.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sandbox_link.protocol import OperationError, invalid
from sandbox_runtime.files.confined.open_beneath import THROUGH, FileRoot
from sandbox_runtime.files.confined.path_checks import OUTSIDE, outside

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from sandbox_runtime.files.confined.open_beneath import Location, Lookup
    from sandbox_runtime.files.confined.path_checks import Parts

TEMPORARY: Final = "/tmp"  # noqa: S108 - the folder that user code calls so
_ROOT_FIELDS: Final = {"path": "root", "source": "source_root", "destination": "destination_root"}


@dataclass(frozen=True, slots=True)
class Place:
    """A path and the root that it is in."""

    root: FileRoot
    parts: Parts

    @property
    def text(self) -> str:
        """The path in answers."""
        return self.root.describe(self.parts)

    @property
    def below(self) -> bytes:
        """The text before a relative path below this one, in answers."""
        return self.root.prefix + b"".join(part + b"/" for part in self.parts)

    def locate(self, lookup: Lookup = THROUGH, field: str = "path") -> AbstractContextManager[Location]:
        """Open the folder of the last component, as `FileRoot.locate` does."""
        return self.root.locate(self.parts, lookup, field)


class Roots:
    """The roots of a session.

    Args:
        workspace: The workspace's folder.
        home: HOME of user code; None for a session without one.

    Attributes:
        workspace: The root that is saved, and that relative paths are in.
    """

    def __init__(self, workspace: Path, home: Path | None = None, temporary: Path | None = None) -> None:
        self.workspace = FileRoot(workspace)
        self._by_name = {"workspace": self.workspace}
        if home is not None:
            self._by_name["home"] = FileRoot(home, f"the home folder ({home})", is_workspace=False)
        if temporary is not None:
            self._by_name["tmp"] = FileRoot(temporary, str(temporary), is_workspace=False)

    def find(self, arguments: Mapping[str, Any], field: str = "path", default: str | None = None) -> Place:
        """Return the place that an operation's path names.

        Args:
            arguments: The operation's arguments. `root` (for a move `source_root` and `destination_root`) may name the
                root. Otherwise an absolute path decides, and a relative one is in the workspace.
            field: The argument with the path.
            default: Stands for an empty path.

        Raises:
            OperationError: PATH_OUTSIDE_WORKSPACE: the path is in none of the roots.
        """
        text = arguments.get(field) or default
        root_field = _ROOT_FIELDS[field]
        name = arguments.get(root_field) or ""
        if name:
            root = self._by_name.get(name) if isinstance(name, str) else None
            if root is None:
                raise invalid(root_field, f"there is no root {str(name)[:64]!r}: use {', '.join(self._by_name)}")
            return Place(root, root.confine(text, field))
        if not isinstance(text, str) or not text.startswith("/"):
            return Place(self.workspace, self.workspace.confine(text, field))
        return self._find_absolute(text, field)

    def _find_absolute(self, text: str, field: str) -> Place:
        # A path in the workspace stays one if it is spelled through a symlink in another root.
        if (below := self.workspace.find_below(text, itself=False)) is not None:
            return Place(self.workspace, self.workspace.confine(below, field))
        error: OperationError = outside(OUTSIDE, field)
        for root in self._by_name.values():
            with contextlib.suppress(OperationError):
                return Place(root, root.spelled(text, field))
        for root in self._by_name.values():
            try:
                return Place(root, root.confine(text, field))
            except OperationError as refused:
                error = refused
        raise error
