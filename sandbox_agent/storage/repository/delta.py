"""The difference between a snapshot and the manifest that HEAD names: a small change writes no manifest. Pure: no I/O.

Errors: ManifestError.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sandbox_agent.storage.errors import ManifestError
from sandbox_agent.storage.repository.keys import NameRefusedError, check_path, printable
from sandbox_agent.storage.repository.manifest import MAX_FILES, Entry, check_tree, encode_entry, read_entry

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_PATHS: Final = 256
"""Paths in a delta. A larger change writes a new manifest."""
MAX_BYTES: Final = 64 << 10
"""Bytes of a delta in HEAD. A push writes HEAD twice, and up to this size that costs less than a manifest's request."""


@dataclass(frozen=True, slots=True)
class Delta:
    """Changes to the entries of a manifest. In HEAD they are called `changes`."""

    changed: Mapping[str, Entry] = field(default_factory=dict)
    """Changed and new entries by path."""
    deleted: frozenset[str] = frozenset()
    """Paths that the snapshot no longer has. In HEAD they are called `gone`."""

    def apply(self, entries: Mapping[str, Entry]) -> dict[str, Entry]:
        """Return a manifest's entries with this delta applied, sorted by path.

        Raises:
            ManifestError: The delta does not fit the manifest.
        """
        if not self.changed and not self.deleted:
            return dict(entries)
        merged = {**entries, **self.changed}
        for path in self.deleted:
            merged.pop(path, None)
        check_tree(merged.values())
        return {path: merged[path] for path in sorted(merged)}


def find_delta(before: Delta, old: Mapping[str, Entry], new: Mapping[str, Entry]) -> Delta | None:
    """Return the delta of a new snapshot. Returns None if it exceeds a bound, so that a new manifest is needed.

    Args:
        before: The delta of the old snapshot, to the same manifest.
        old: All entries of the old snapshot.
        new: All entries of the new snapshot.
    """
    # Nearly all entries are the same objects and need no comparison.
    replaced = {path: entry for path, entry in new.items() if old.get(path) is not entry}
    changed = {path: entry for path, entry in replaced.items() if old.get(path) != entry}
    deleted = old.keys() - new.keys()
    kept = {path: entry for path, entry in before.changed.items() if path not in deleted}
    delta = Delta({**kept, **changed}, (before.deleted - changed.keys()) | deleted)
    if len(delta.changed) + len(delta.deleted) > MAX_PATHS or len(encode_delta(delta)) > MAX_BYTES:
        return None
    return delta


def encode_delta(delta: Delta) -> str:
    """Encode a delta for HEAD."""
    files = ",".join(map(encode_entry, delta.changed.values()))
    return f'{{"files":[{files}],"gone":{json.dumps(sorted(delta.deleted), separators=(",", ":"))}}}'


def decode_delta(value: Any) -> Delta:
    """Return a delta from HEAD. An older HEAD has None, which means an empty delta.

    Raises:
        ManifestError: The value is not a delta, or exceeds a bound.
    """
    if value is None:
        return Delta()
    files, gone = (value.get("files"), value.get("gone")) if isinstance(value, dict) else (None, None)
    if not isinstance(files, list) or not isinstance(gone, list) or max(len(files), len(gone)) > MAX_FILES:
        raise ManifestError("HEAD's `changes` does not hold a list of files and a list of paths")
    entries = [read_entry(item) for item in files]
    changed = {entry.path: entry for entry in entries}
    paths = frozenset(map(_read_path, gone))
    if len(changed) != len(entries) or not paths.isdisjoint(changed):
        raise ManifestError("HEAD's `changes` names a path twice")
    return Delta(changed, paths)


def _read_path(path: Any) -> str:
    if not isinstance(path, str):
        raise ManifestError("HEAD's `changes` has a path that is not text")
    try:
        return check_path(path)
    except NameRefusedError as error:
        raise ManifestError(f"HEAD's `changes`, {printable(path)!r}: {error}") from error
