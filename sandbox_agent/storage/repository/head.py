"""HEAD: which snapshot is current, and how to undo a push that is running or was interrupted. Pure: no I/O.

    pushing null                         the snapshot is as HEAD says
    pushing.generation > generation      a push is running or was interrupted: `undo` says what was there before
    pushing.generation == generation     committed; the writer is deleting the files in `removed`

Version 2 added `changes`. An agent that knows only version 1 refuses it.

Errors: ManifestError.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sandbox_agent.storage.errors import ManifestError
from sandbox_agent.storage.repository.delta import Delta, decode_delta, encode_delta
from sandbox_agent.storage.repository.keys import NameRefusedError, check_path, printable
from sandbox_agent.storage.repository.manifest import (
    MAX_FILES,
    decode_object,
    is_sha256,
    manifest_generation,
    take_generation,
    take_text,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION: Final = 2

CommitId = tuple[int, str, str]
"""Identifies a commit: generation, writer, and when it was committed (ISO 8601)."""


@dataclass(frozen=True, slots=True)
class PreviousObject:
    """An object as it was before a push touched it. Both texts are empty if it did not exist."""

    sha256: str = ""
    etag: str = ""

    @property
    def exists(self) -> bool:
        """True if there was an object."""
        return bool(self.etag)


ABSENT: Final = PreviousObject()


@dataclass(frozen=True, slots=True)
class LockRecord:
    """A push's lock on the workspace, as HEAD stores it under `pushing`."""

    generation: int
    """The generation that the push makes."""
    writer: str
    since: str
    undo: Mapping[str, PreviousObject] = field(default_factory=dict)
    """The undo journal: every object that the push may replace or add, as it was before, by path."""
    writes_tags: bool = True
    """The push tags each object that it uploads with its generation."""


@dataclass(frozen=True, slots=True)
class Head:
    """HEAD. The default is the HEAD of an empty workspace."""

    generation: int = 0
    manifest: str = ""
    writer: str = ""
    committed_at: str = ""
    lock: LockRecord | None = None
    removed: Mapping[str, str] = field(default_factory=dict)
    """Etags by path of objects that the snapshot no longer has, and that may not be deleted yet."""
    delta: Delta = field(default_factory=Delta)
    """The difference between the snapshot and the manifest, which may be that of an older snapshot."""

    @property
    def commit(self) -> CommitId:
        """The commit's identity."""
        return (self.generation, self.writer, self.committed_at)

    @property
    def interrupted(self) -> LockRecord | None:
        """The lock of a push that is not committed. None if there is no such push."""
        return self.lock if self.lock and self.lock.generation > self.generation else None


def encode_head(head: Head) -> bytes:
    """Encode HEAD for storage."""
    pushing: dict[str, Any] | None = None
    if head.lock is not None:
        pushing = {
            "generation": head.lock.generation,
            "writer": head.lock.writer,
            "since": head.lock.since,
            "marked": head.lock.writes_tags,
            "undo": {path: {"sha256": before.sha256, "etag": before.etag} for path, before in head.lock.undo.items()},
        }
    value = {
        "version": VERSION,
        "generation": head.generation,
        "manifest": head.manifest,
        "writer": head.writer,
        "committed_at": head.committed_at,
        "pushing": pushing,
        "removed": dict(head.removed),
    }
    frame = json.dumps(value, separators=(",", ":"))
    return f'{frame[:-1]},"changes":{encode_delta(head.delta)}}}'.encode()


def decode_head(data: bytes) -> Head:
    """Return HEAD from its stored bytes.

    Raises:
        ManifestError: The bytes are not a HEAD.
    """
    value = decode_object(data, "HEAD", VERSION)
    generation = take_generation(value)
    manifest = take_text(value, "manifest", 64)
    if not (0 < manifest_generation(manifest) <= generation if generation else manifest == ""):
        raise ManifestError("HEAD names a manifest that belongs neither to its generation nor to an older one")
    removed = _paths(value, "removed")
    if not all(isinstance(etag, str) for etag in removed.values()):
        raise ManifestError("HEAD's `removed` has a value that is not an etag")
    return Head(
        generation,
        manifest,
        take_text(value, "writer", 512),
        take_text(value, "committed_at", 64),
        _read_lock(value.get("pushing"), generation),
        removed,
        decode_delta(value.get("changes")),
    )


def _read_lock(value: Any, generation: int) -> LockRecord | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise ManifestError("HEAD's `pushing` is neither null nor an object")
    lock_generation = take_generation(value)
    if lock_generation not in {generation, generation + 1}:
        raise ManifestError("HEAD's `pushing` is neither of this generation nor of the next")
    undo = {path: _read_previous(item) for path, item in _paths(value, "undo").items()}
    writer, since = take_text(value, "writer", 512), take_text(value, "since", 64)
    return LockRecord(lock_generation, writer, since, undo, value.get("marked") is True)


def _read_previous(item: Any) -> PreviousObject:
    if not isinstance(item, dict):
        raise ManifestError("HEAD's `undo` has a value that is not an object")
    before = PreviousObject(take_text(item, "sha256", 64), take_text(item, "etag", 1024))
    if (before.sha256 or before.etag) and not (is_sha256(before.sha256) and before.etag):
        raise ManifestError("HEAD's `undo` has an entry without a valid digest or etag")
    return before


def _paths(value: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = value.get(name) or {}
    if not isinstance(found, dict) or len(found) > 2 * MAX_FILES:
        raise ManifestError(f"HEAD's `{name}` is not an object of at most {2 * MAX_FILES} paths")
    for path in found:
        try:
            check_path(path)
        except NameRefusedError as error:
            raise ManifestError(f"HEAD's `{name}`, {printable(path)!r}: {error}") from error
    return found
