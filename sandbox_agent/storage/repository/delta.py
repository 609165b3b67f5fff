"""What a generation has otherwise than the manifest that HEAD names: a small change writes no manifest. Pure: no I/O.

Errors: ManifestError.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sandbox_agent.storage.repository.keys import NameRefusedError, check_path, printable
from sandbox_agent.storage.repository.manifest import (
    MAX_FILES,
    Entry,
    ManifestError,
    check_tree,
    encode_entry,
    read_entry,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST: Final = 256
"""Paths; with more, a manifest is written anew."""
LARGEST: Final = 64 << 10
"""Characters of them in HEAD, which a push writes twice: a request costs more than these do."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What replaces entries of a manifest."""

    changed: Mapping[str, Entry] = field(default_factory=dict)
    """By path: new ones too."""
    gone: frozenset[str] = frozenset()

    def apply(self, entries: Mapping[str, Entry]) -> dict[str, Entry]:
        """The entries with these changes, sorted by path.

        Raises:
            ManifestError: They do not go together.
        """
        if not self.changed and not self.gone:
            return dict(entries)
        merged = {**entries, **self.changed}
        for path in self.gone:
            merged.pop(path, None)
        check_tree(merged.values())
        return {path: merged[path] for path in sorted(merged)}


def find_changes(before: Changes, old: Mapping[str, Entry], new: Mapping[str, Entry]) -> Changes | None:
    """What a new generation has otherwise than the manifest.

    Args:
        before: What the old generation has otherwise.
        old: All entries of the old generation.
        new: All entries of the new one.

    Returns:
        None where that is so much that a new manifest is better.
    """
    # Nearly all are the same objects, which need no comparison.
    replaced = {path: entry for path, entry in new.items() if old.get(path) is not entry}
    changed = {path: entry for path, entry in replaced.items() if old.get(path) != entry}
    gone = old.keys() - new.keys()
    kept = {path: entry for path, entry in before.changed.items() if path not in gone}
    changes = Changes({**kept, **changed}, (before.gone - changed.keys()) | gone)
    if len(changes.changed) + len(changes.gone) > MOST or len(encode_changes(changes)) > LARGEST:
        return None
    return changes


def encode_changes(changes: Changes) -> str:
    """Changes as they stand in HEAD."""
    files = ",".join(map(encode_entry, changes.changed.values()))
    return f'{{"files":[{files}],"gone":{json.dumps(sorted(changes.gone), separators=(",", ":"))}}}'


def decode_changes(value: Any) -> Changes:
    """Changes as they stood in HEAD; none for None.

    Raises:
        ManifestError: They are none, or break a bound.
    """
    if value is None:
        return Changes()
    files, gone = (value.get("files"), value.get("gone")) if isinstance(value, dict) else (None, None)
    if not isinstance(files, list) or not isinstance(gone, list) or max(len(files), len(gone)) > MAX_FILES:
        raise ManifestError("HEAD's `changes` does not hold a list of files and one of paths")
    entries = [read_entry(item) for item in files]
    changed = {entry.path: entry for entry in entries}
    paths = frozenset(map(_read_path, gone))
    if len(changed) != len(entries) or not paths.isdisjoint(changed):
        raise ManifestError("HEAD's `changes` names a path twice")
    return Changes(changed, paths)


def _read_path(path: Any) -> str:
    if not isinstance(path, str):
        raise ManifestError("HEAD's `changes` has a path that is no text")
    try:
        return check_path(path)
    except NameRefusedError as error:
        raise ManifestError(f"HEAD's `changes`, {printable(path)!r}: {error}") from error
