"""Paths as E2B's clients write them, and where they lie in the workspace. Pure: no I/O."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import Final

from sandbox_client.errors import InvalidArgument

HOME: Final = "/home/user"
"""The home folder of E2B's sandboxes. Its paths mean the workspace."""


@dataclass(frozen=True, slots=True)
class Place:
    """The surroundings of a session's code.

    Attributes:
        root: The absolute path of the workspace.
    """

    root: str

    def to_files(self, path: str, field: str = "path") -> str:
        """Return a path as our files take it: relative to the workspace, or absolute if it lies elsewhere.

        The file service decides which other folders it gives access to.

        Args:
            path: Absolute, relative to the workspace, or beginning with `~`, which is the workspace too.
            field: The argument's name, for errors.

        Raises:
            InvalidArgument: It leads out of the workspace by `..`, or cannot be a path.
        """
        if "\0" in path:
            raise InvalidArgument(f"{field} must not contain a NUL", reason="INVALID_ARGUMENT", field=field)
        if path.startswith("/"):
            normal = posixpath.normpath("/" + path.lstrip("/"))
            base = next((base for base in (self.root, HOME) if normal == base or normal.startswith(f"{base}/")), None)
            return normal if base is None else normal[len(base) :].lstrip("/") or "."
        if path == "~" or path.startswith("~/"):
            path = path[2:].lstrip("/")
        normal = posixpath.normpath(path or ".")
        if normal == ".." or normal.startswith("../"):
            message = f"{path} is outside of the workspace {self.root}: give an absolute path"
            raise InvalidArgument(message, reason="PATH_OUTSIDE_WORKSPACE", field=field)
        return normal

    def to_absolute(self, path: str) -> str:
        """Return the absolute path of a file whose path is one of ours."""
        return self.root if path in {"", "."} else posixpath.join(self.root, path)
