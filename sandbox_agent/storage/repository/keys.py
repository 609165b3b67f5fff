"""Maps paths of a workspace to keys in the bucket, and back. Pure: no I/O.

A path is kept byte for byte. Nothing is normalised, so NFC and NFD forms are distinct keys. A name that cannot be a
key, or that could lead to another place when it is restored, is refused and never changed.

Errors: NameRefusedError, whose text is the reason.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

FILES: Final = "code-interpreter/"
"""The files, under their own names, below the key prefix."""
BOOKKEEPING: Final = ".workspace/"
HEAD: Final = BOOKKEEPING + "HEAD"
PREVIOUS: Final = BOOKKEEPING + "previous/"
VARIABLES: Final = BOOKKEEPING + "variables/"
MAX_KEY_BYTES: Final = 1024
"""S3's limit for a whole key, its prefix included."""
MAX_PART_BYTES: Final = 255
"""The limit of file systems for one name."""
_REFUSED_CATEGORIES: Final = frozenset({"Cc", "Cs"})
_NONCHARACTERS: Final = frozenset({"\ufffe", "\uffff"})
"""Not allowed in XML, the format of S3's listings and deletions."""


class NameRefusedError(ValueError):
    """Refusal of a path that cannot be stored, or of a key that cannot be restored."""


def check_path(path: str) -> str:
    """Return the path if it can be stored.

    Args:
        path: Relative to the workspace root, from the runtime or a manifest.

    Raises:
        NameRefusedError: The path cannot be stored.
    """
    if not path:
        raise NameRefusedError("the name is empty")
    for character in path:
        if character < "\x7f" and character >= " ":
            continue
        if unicodedata.category(character) == "Cs":
            raise NameRefusedError("the name is not valid UTF-8")
        if unicodedata.category(character) in _REFUSED_CATEGORIES or character in _NONCHARACTERS:
            raise NameRefusedError(f"the name contains the control character U+{ord(character):04X}")
    for part in path.split("/"):
        if part in {"", ".", ".."}:
            raise NameRefusedError("the name is not a plain relative path")
        if len(part.encode()) > MAX_PART_BYTES:
            raise NameRefusedError(f"a part of the name is longer than {MAX_PART_BYTES} bytes")
    return path


def is_confined(path: str) -> bool:
    """Return whether a path is relative and has no empty, `.` or `..` part. The runtime may report no other path."""
    return all(part not in {"", ".", ".."} for part in path.split("/"))


def printable(text: str, limit: int = 4096) -> str:
    """Return a text for messages: valid UTF-8, at most `limit` characters, with control characters escaped."""
    return "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character) in _REFUSED_CATEGORIES
        else character
        for character in (text if len(text) <= limit else text[: limit - 1] + "…")
    )


def ancestors(path: str) -> list[str]:
    """Return the folders that contain a path, outermost first, without the root."""
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def folders_of(paths: Iterable[str]) -> set[str]:
    """Return the ancestors of all paths, without the root."""
    found: set[str] = set()
    for path in paths:
        end = path.rfind("/")
        while end > 0 and path[:end] not in found:
            found.add(path[:end])
            end = path.rfind("/", 0, end)
    return found


class Keys:
    """The keys of one workspace.

    Args:
        prefix: `<prefix>/<namespace>/<workspace>/`, with the final slash. Empty for the bucket's root.

    Raises:
        NameRefusedError: The prefix is not valid.
    """

    def __init__(self, prefix: str) -> None:
        if prefix:
            if not prefix.endswith("/"):
                raise NameRefusedError("the key prefix must end with a slash")
            check_path(prefix[:-1])
        self.prefix = prefix
        self.files = prefix + FILES
        self.bookkeeping = prefix + BOOKKEEPING
        self.head = prefix + HEAD
        self.backups = prefix + PREVIOUS

    def of_file(self, path: str) -> str:
        """Return the key of a file.

        Raises:
            NameRefusedError: The path cannot be stored.
        """
        key = self.files + check_path(path)
        if len(key.encode()) > MAX_KEY_BYTES:
            raise NameRefusedError(f"the name is too long: its key would have more than {MAX_KEY_BYTES} bytes")
        return key

    def of_manifest(self, name: str) -> str:
        """Return the key of a manifest. HEAD contains the manifest's name."""
        return self.bookkeeping + name

    def of_backup(self, generation: int, sha256: str) -> str:
        """Return the key of the backup of a file's content.

        Args:
            generation: The generation of the push that replaces the file.
            sha256: The content's digest.
        """
        return f"{self.backups}{generation:010d}-{sha256}"

    def read_backup(self, key: str) -> tuple[int, str]:
        """Return the generation and the sha256 in a backup's key. The generation of an older agent's backup is 0."""
        generation, _, sha256 = key.removeprefix(self.backups).rpartition("-")
        return (int(generation) if generation.isdecimal() else 0), sha256

    def path_of(self, key: str) -> str:
        """Return the path of a file's key.

        Raises:
            NameRefusedError: The key is not one that `of_file` returns.
        """
        if not key.startswith(self.files):
            raise NameRefusedError("the key is not below the workspace's files")
        return check_path(key[len(self.files) :])
