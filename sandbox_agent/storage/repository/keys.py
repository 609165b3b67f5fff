"""Paths of a workspace, and the keys they have in the bucket. Pure: no I/O.

A path is kept byte for byte: nothing is normalised, so NFC and NFD forms are distinct keys. What cannot be a key, or
could mean another place on the way back, is refused, never changed.

Errors: NameRefusedError, whose text is the reason.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

FILES: Final = "code-interpreter/"
"""Below the key prefix: the files, under their own names."""
BOOKKEEPING: Final = ".workspace/"
HEAD: Final = BOOKKEEPING + "HEAD"
PREVIOUS: Final = BOOKKEEPING + "previous/"
VARIABLES: Final = BOOKKEEPING + "variables/"
MAX_KEY_BYTES: Final = 1024
"""What S3 allows for a whole key, its prefix included."""
MAX_PART_BYTES: Final = 255
"""What file systems allow for one name."""
_REFUSED_CATEGORIES: Final = frozenset({"Cc", "Cs"})
_NONCHARACTERS: Final = frozenset({"\ufffe", "\uffff"})
"""Not allowed in XML, which S3's listings and deletions are."""


class NameRefusedError(ValueError):
    """A path that is not stored, or a key that is not restored."""


def check_path(path: str) -> str:
    """The path itself, if it can be stored.

    Args:
        path: Relative to the workspace root, as the runtime or a manifest gave it.

    Raises:
        NameRefusedError: It cannot.
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
    """Whether a path is relative and has no empty, `.` or `..` component: what the runtime may ever say."""
    return all(part not in {"", ".", ".."} for part in path.split("/"))


def printable(text: str) -> str:
    """A text that UTF-8 can hold and a terminal does not act on, for messages and lists of failures."""
    return "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character) in _REFUSED_CATEGORIES
        else character
        for character in text[:4096]
    )


def ancestors(path: str) -> list[str]:
    """The folders that a path lies in, outermost first, the root left out."""
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def folders_of(paths: Iterable[str]) -> set[str]:
    """The ancestors of all of them, the root left out."""
    found: set[str] = set()
    for path in paths:
        end = path.rfind("/")
        while end > 0 and path[:end] not in found:
            found.add(path[:end])
            end = path.rfind("/", 0, end)
    return found


class Keys:
    """Keys of one workspace.

    Args:
        prefix: `<prefix>/<namespace>/<workspace>/`; ends with a slash (an empty one is the bucket's root).

    Raises:
        NameRefusedError: The prefix is not such a text.
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
        self.previous = prefix + PREVIOUS

    def of_file(self, path: str) -> str:
        """The key of a file.

        Raises:
            NameRefusedError: The path cannot be stored.
        """
        key = self.files + check_path(path)
        if len(key.encode()) > MAX_KEY_BYTES:
            raise NameRefusedError(f"the name is too long: its key would have more than {MAX_KEY_BYTES} bytes")
        return key

    def of_manifest(self, name: str) -> str:
        """The key of a manifest, by the name that HEAD has."""
        return self.bookkeeping + name

    def of_previous(self, generation: int, sha256: str) -> str:
        """Where a file's content is kept while the push that makes a generation replaces it."""
        return f"{self.previous}{generation:010d}-{sha256}"

    def previous_of(self, key: str) -> tuple[int, str]:
        """The generation and the sha256 of a key that `of_previous` gave; 0 in those of an older version's agent."""
        generation, _, sha256 = key.removeprefix(self.previous).rpartition("-")
        return (int(generation) if generation.isdecimal() else 0), sha256

    def path_of(self, key: str) -> str:
        """The path of a file's key.

        Raises:
            NameRefusedError: The key is not one that `of_file` gives.
        """
        if not key.startswith(self.files):
            raise NameRefusedError("the key is not below the workspace's files")
        return check_path(key[len(self.files) :])
