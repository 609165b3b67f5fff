"""The manifest: the list of a snapshot's files. Pure: no I/O.

Others may write to storage too, so every value of a stored manifest is checked before use.

Errors: ManifestError, which says what is wrong.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from sandbox_agent.storage.errors import ManifestError
from sandbox_agent.storage.repository.keys import NameRefusedError, ancestors, check_path, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

VERSION: Final = 1
MAX_FILES: Final = 200_000
MAX_BYTES: Final = 128 << 20
"""Bytes of a manifest or HEAD."""
MAX_TARGET: Final = 4096
MAX_METADATA: Final = 4096
"""Characters of all keys and values of one file."""
MAX_METADATA_KEYS: Final = 64
_MAX_SIZE: Final = 1 << 50
_MAX_GENERATION: Final = 9_999_999_999
_MODE: Final = 0o7777
_I64: Final = (1 << 63) - 1
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_NAME: Final = re.compile(r"manifest-([0-9]{10})(-[0-9a-f]{16})?\.json")
_ETAG_LENGTH: Final = 1024
_quote: Final = json.encoder.encode_basestring_ascii
_TYPES: Final = frozenset({"file", "symlink", "directory"})

Metadata = tuple[tuple[str, str], ...]
"""Extended attributes of a file: keys and values, sorted by key."""
EntryType = Literal["file", "symlink", "directory"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, symlink or empty folder. Only files have an object, and with it size, sha256 and etag."""

    path: str
    type: EntryType
    size: int = 0
    mode: int = 0
    mtime_ns: int = 0
    sha256: str = ""
    etag: str = ""
    symlink_target: str = ""
    metadata: Metadata = ()


@dataclass(frozen=True, slots=True)
class Manifest:
    """A snapshot. `files` is sorted by path."""

    generation: int
    created_at: str
    """ISO 8601 with a zone."""
    writer: str
    files: tuple[Entry, ...] = ()

    def by_path(self) -> dict[str, Entry]:
        """Return the entries by path."""
        return {entry.path: entry for entry in self.files}


def manifest_name(generation: int, token: str) -> str:
    """Return the name of a generation's manifest.

    Args:
        generation: The generation.
        token: 16 random hex digits, different for each manifest. A writer that has lost its lock without knowing it
            therefore cannot overwrite another writer's manifest.
    """
    return f"manifest-{generation:010d}-{token}.json"


def manifest_generation(name: str) -> int:
    """Return the generation from a manifest's name, or 0 if it is not such a name."""
    found = _NAME.fullmatch(name)
    return int(found[1]) if found else 0


def encode_manifest(manifest: Manifest) -> bytes:
    """Encode a manifest for storage."""
    value = {
        "version": VERSION,
        "generation": manifest.generation,
        "created_at": manifest.created_at,
        "writer": manifest.writer,
        "files": [],
    }
    frame = json.dumps(value, separators=(",", ":"))
    return f"{frame[:-2]}{','.join(map(encode_entry, manifest.files))}]}}".encode()


def encode_entry(entry: Entry) -> str:
    """Encode an entry for storage. json.dumps of an object takes three times as long, and there are many entries."""
    texts = (entry.path, entry.type, entry.sha256, entry.etag, entry.symlink_target)
    path, kind, sha256, etag, target = map(_quote, texts)
    return (
        f'{{"path":{path},"type":{kind},"size":{entry.size},"mode":{entry.mode},"mtime_ns":{entry.mtime_ns},'
        f'"sha256":{sha256},"etag":{etag},"symlink_target":{target}{_encode_metadata(entry.metadata)}}}'
    )


def _encode_metadata(metadata: Metadata) -> str:
    if not metadata:
        return ""
    return f',"metadata":{json.dumps(dict(metadata), separators=(",", ":"))}'


def decode_manifest(data: bytes, generation: int) -> Manifest:
    """Return a manifest from its stored bytes.

    Args:
        data: The stored bytes.
        generation: The generation in the manifest's name.

    Raises:
        ManifestError: The bytes are not a manifest of that generation, or exceed a bound.
    """
    value = decode_object(data, "manifest")
    if take_integer(value, "generation", _MAX_GENERATION) != generation:
        raise ManifestError(f"the manifest does not belong to generation {generation}")
    items = value.get("files")
    if not isinstance(items, list) or len(items) > MAX_FILES:
        raise ManifestError(f"`files` is not a list of at most {MAX_FILES}")
    entries = [read_entry(item) for item in items]
    check_tree(entries)
    entries.sort(key=lambda entry: entry.path)
    return Manifest(generation, take_text(value, "created_at", 64), take_text(value, "writer", 512), tuple(entries))


def read_entry(item: Any) -> Entry:
    """Return an entry from its decoded JSON.

    Raises:
        ManifestError: The value is not an entry.
    """
    if not isinstance(item, dict):
        raise ManifestError("an entry of `files` is not an object")
    path = take_text(item, "path", 4096)
    try:
        check_path(path)
        return _read_checked(path, item)
    except (NameRefusedError, ManifestError) as error:
        raise ManifestError(f"entry {printable(path)!r}: {error}") from error


def _read_checked(path: str, item: Mapping[str, Any]) -> Entry:
    kind = item.get("type")
    if not isinstance(kind, str) or kind not in _TYPES:
        raise ManifestError("`type` is neither file, symlink nor directory")
    entry = Entry(
        path=path,
        type=cast("EntryType", kind),
        size=take_integer(item, "size", _MAX_SIZE),
        mode=take_integer(item, "mode", _MODE),
        mtime_ns=take_integer(item, "mtime_ns", _I64, -_I64),
        sha256=take_text(item, "sha256", 64),
        etag=take_text(item, "etag", _ETAG_LENGTH),
        symlink_target=take_text(item, "symlink_target", MAX_TARGET),
        metadata=_read_stored_metadata(item),
    )
    if entry.type == "file" and (not entry.etag or not is_sha256(entry.sha256)):
        raise ManifestError("a file needs `etag` and `sha256`")
    if entry.type == "symlink" and (not entry.symlink_target or "\0" in entry.symlink_target):
        raise ManifestError("a symlink needs `symlink_target`")
    return entry


def _read_stored_metadata(item: Mapping[str, Any]) -> Metadata:
    value = item.get("metadata")
    metadata = () if value is None else read_metadata(value)
    if metadata is None:
        raise ManifestError("`metadata` is not a small map of texts")
    return metadata


def read_metadata(value: Any) -> Metadata | None:
    """Return decoded metadata, sorted by key. Returns None if it is not a map of texts, or exceeds a bound."""
    if not isinstance(value, dict) or len(value) > MAX_METADATA_KEYS:
        return None
    if not all(isinstance(text, str) for text in value.values()):
        return None
    if sum(len(key) + len(text) for key, text in value.items()) > MAX_METADATA:
        return None
    return tuple(sorted(value.items()))


def check_tree(entries: Iterable[Entry]) -> None:
    """Check that no path occurs twice, and that no path lies below one that is not a folder.

    Raises:
        ManifestError: A path occurs twice, or lies below a file or symlink.
    """
    kinds: dict[str, str] = {}
    for entry in entries:
        if entry.path in kinds:
            raise ManifestError(f"entry {printable(entry.path)!r} occurs twice")
        kinds[entry.path] = entry.type
    for path in kinds:
        for ancestor in ancestors(path):
            if kinds.get(ancestor, "directory") != "directory":
                raise ManifestError(
                    f"entry {printable(path)!r} lies below {printable(ancestor)!r}, which is not a folder"
                )


def is_sha256(text: str) -> bool:
    """Return whether a text is a SHA-256 in lower-case hex."""
    return _SHA256.fullmatch(text) is not None


def decode_object(data: bytes, what: str, newest: int = VERSION) -> dict[str, Any]:
    """Return a JSON object of a known version.

    Args:
        data: The stored bytes.
        what: The object's name in error messages.
        newest: The newest known version.

    Raises:
        ManifestError: The bytes are not such an object.
    """
    if len(data) > MAX_BYTES:
        raise ManifestError(f"the {what} is larger than {MAX_BYTES} bytes")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"the {what} is not JSON") from error
    if not isinstance(value, dict):
        raise ManifestError(f"the {what} is not an object")
    version = value.get("version")
    if isinstance(version, bool) or version not in range(VERSION, newest + 1):
        raise ManifestError(f"the {what} has version {version!r:.40}; this agent knows {newest}")
    return value


def take_integer(value: Mapping[str, Any], name: str, high: int, low: int = 0) -> int:
    """Return an integer within bounds, or 0 if it is missing.

    Raises:
        ManifestError: The value is not such an integer.
    """
    found = value.get(name, 0)
    if isinstance(found, bool) or not isinstance(found, int) or not low <= found <= high:
        raise ManifestError(f"`{name}` is not an integer from {low} to {high}")
    return found


def take_text(value: Mapping[str, Any], name: str, max_length: int) -> str:
    """Return a text, or "" if it is missing or null.

    Raises:
        ManifestError: The value is not a text, or is longer than `max_length` characters.
    """
    found = value.get(name)
    if found is None:
        return ""
    if not isinstance(found, str) or len(found) > max_length:
        raise ManifestError(f"`{name}` is not a text of at most {max_length} characters")
    return found


def take_generation(value: Mapping[str, Any]) -> int:
    """Return the value of `generation`.

    Raises:
        ManifestError: The value is not a valid generation.
    """
    return take_integer(value, "generation", _MAX_GENERATION)
