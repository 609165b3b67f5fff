"""HEAD: which generation counts, and what a push that is under way must be able to undo. Pure: no I/O.

    pushing null                         the generation is what it says
    pushing.generation > generation      a push is under way, or was interrupted: `undo` tells what was there before
    pushing.generation == generation     committed; its writer is deleting the files in `removed`

Version 2 has `changes`, which version 1 never had: an agent that does not know of them refuses it.

Errors: ManifestError.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sandbox_agent.storage.repository.delta import Changes, decode_changes, encode_changes
from sandbox_agent.storage.repository.keys import NameRefusedError, check_path, printable
from sandbox_agent.storage.repository.manifest import (
    MAX_FILES,
    ManifestError,
    decode_object,
    is_sha256,
    manifest_generation,
    take_generation,
    take_text,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION: Final = 2


@dataclass(frozen=True, slots=True)
class Before:
    """What an object was before a push touched it; empty texts: it was not there."""

    sha256: str = ""
    etag: str = ""


@dataclass(frozen=True, slots=True)
class Pushing:
    """A push's claim on the workspace."""

    generation: int
    """The one it makes."""
    writer: str
    since: str
    undo: Mapping[str, Before] = field(default_factory=dict)
    """By path: every object the push may replace or add."""
    is_marked: bool = True
    """What it uploads has its generation as a mark."""


@dataclass(frozen=True, slots=True)
class Head:
    """HEAD; the default is what an empty workspace has."""

    generation: int = 0
    manifest: str = ""
    writer: str = ""
    committed_at: str = ""
    pushing: Pushing | None = None
    removed: Mapping[str, str] = field(default_factory=dict)
    """Etags by path of objects that the generation no longer has, while they may not be deleted yet."""
    changes: Changes = field(default_factory=Changes)
    """What the generation has otherwise than the manifest, which may be an older one's."""

    @property
    def commit(self) -> tuple[int, str, str]:
        """What tells one commit from another."""
        return (self.generation, self.writer, self.committed_at)

    @property
    def interrupted(self) -> Pushing | None:
        """The push that is not committed, if there is one."""
        return self.pushing if self.pushing and self.pushing.generation > self.generation else None


def encode_head(head: Head) -> bytes:
    """HEAD as it is stored."""
    pushing: dict[str, Any] | None = None
    if head.pushing is not None:
        pushing = {
            "generation": head.pushing.generation,
            "writer": head.pushing.writer,
            "since": head.pushing.since,
            "marked": head.pushing.is_marked,
            "undo": {
                path: {"sha256": before.sha256, "etag": before.etag} for path, before in head.pushing.undo.items()
            },
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
    return f'{frame[:-1]},"changes":{encode_changes(head.changes)}}}'.encode()


def decode_head(data: bytes) -> Head:
    """HEAD as it was stored.

    Raises:
        ManifestError: It is not a HEAD.
    """
    value = decode_object(data, "HEAD", VERSION)
    generation = take_generation(value)
    manifest = take_text(value, "manifest", 64)
    if not (0 < manifest_generation(manifest) <= generation if generation else manifest == ""):
        raise ManifestError("HEAD names a manifest that is neither its generation's nor an older one's")
    removed = _paths(value, "removed")
    if not all(isinstance(etag, str) for etag in removed.values()):
        raise ManifestError("HEAD's `removed` does not hold etags")
    return Head(
        generation,
        manifest,
        take_text(value, "writer", 512),
        take_text(value, "committed_at", 64),
        _read_pushing(value.get("pushing"), generation),
        removed,
        decode_changes(value.get("changes")),
    )


def _read_pushing(value: Any, generation: int) -> Pushing | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise ManifestError("HEAD's `pushing` is neither null nor an object")
    pushing_generation = take_generation(value)
    if pushing_generation not in {generation, generation + 1}:
        raise ManifestError("HEAD's `pushing` is not about this generation or the next")
    undo = {path: _read_before(item) for path, item in _paths(value, "undo").items()}
    writer, since = take_text(value, "writer", 512), take_text(value, "since", 64)
    return Pushing(pushing_generation, writer, since, undo, value.get("marked") is True)


def _read_before(item: Any) -> Before:
    if not isinstance(item, dict):
        raise ManifestError("HEAD's `undo` does not hold objects")
    before = Before(take_text(item, "sha256", 64), take_text(item, "etag", 1024))
    if (before.sha256 or before.etag) and not (is_sha256(before.sha256) and before.etag):
        raise ManifestError("HEAD's `undo` does not hold digests with etags")
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
