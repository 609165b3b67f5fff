"""Plans a push, and makes the comparisons that pushes and restores share. Pure: no I/O, no clock.

They compare the sandbox's files (LocalEntry) with the stored ones (Entry). A signature shows that a file's content is
the stored one without reading it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sandbox_agent.storage.repository.keys import ancestors, folders_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from sandbox_agent.storage.repository.manifest import Entry, Metadata
    from sandbox_agent.storage.sandbox.file_info import LocalEntry, Signature


@dataclass(slots=True)
class PushPlan:
    """The work of a push. A file is in exactly one of `upload`, `hash_first` and `keep`."""

    upload: list[LocalEntry] = field(default_factory=list)
    """Files that are new or have other content."""
    hash_first: list[LocalEntry] = field(default_factory=list)
    """Files that may be unchanged: the digest decides."""
    keep: list[Entry] = field(default_factory=list)
    """Files whose content is stored, described as they are in the sandbox."""
    metadata_only: list[Entry] = field(default_factory=list)
    """Symlinks and empty folders."""
    deleted: list[str] = field(default_factory=list)
    """Stored paths that the scan did not find. A file that scans exclude may still exist."""


def plan_push(
    scanned: Iterable[LocalEntry],
    stored: Mapping[str, Entry],
    signatures: Mapping[str, Signature],
    missing: Iterable[str],
) -> PushPlan:
    """Compare the sandbox with what is stored.

    Args:
        scanned: The sandbox's files, as far as they are pushed.
        stored: The stored entries by path.
        signatures: Signatures of files that are known to have the stored content.
        missing: Paths that the sandbox had and that the scan did not find.
    """
    plan = PushPlan()
    for local in scanned:
        entry = stored.get(local.path)
        if local.type != "file":
            plan.metadata_only.append(local.as_entry())
        elif entry is None or entry.type != "file" or entry.size != local.size:
            plan.upload.append(local)
        elif has_signature(local, signatures.get(local.path)):
            metadata = merge_metadata(local, entry, signatures.get(local.path))
            is_current = (entry.mtime_ns, entry.mode, entry.metadata) == (local.mtime_ns, local.mode, metadata)
            plan.keep.append(entry if is_current else local.as_entry(entry.sha256, entry.etag, metadata))
        else:
            plan.hash_first.append(local)
    plan.upload.sort(key=lambda local: local.path)
    plan.deleted = [path for path in missing if path in stored]
    return plan


def has_signature(local: LocalEntry, signature: Signature | None) -> bool:
    """Return whether a file certainly has the content that it had when it was signed."""
    return signature is not None and signature.is_reliable and signature.times == local.times


def merge_metadata(local: LocalEntry, entry: Entry | None, signature: Signature | None) -> Metadata:
    """Return the metadata to store for a file: the stored one, unless the sandbox changed it since the signature.

    A file system may keep no metadata, or too little. What it lacks was then not deleted in the sandbox.

    Args:
        local: The file.
        entry: Its stored entry.
        signature: The signature that belongs to the entry, even one that is not reliable.
    """
    if entry is None or entry.type != "file" or signature is None:
        return local.metadata
    is_kept = signature.metadata == local.metadata and signature.ino == local.ino
    return entry.metadata if is_kept else local.metadata


def is_described(local: LocalEntry, entry: Entry | None, signature: Signature | None) -> bool:
    """Return whether an entry describes a scanned file, so that no push compares the two again until it changes."""
    if local.type != "file" or entry is None:
        return local.as_entry() == entry
    if not has_signature(local, signature):
        return False
    described = (entry.mtime_ns, entry.mode, entry.metadata)
    metadata = merge_metadata(local, entry, signature)
    return entry.type == "file" and described == (local.mtime_ns, local.mode, metadata)


def is_same(new: Entry, old: Entry | None) -> bool:
    """Return whether two entries are equal apart from their times, so that no new snapshot is needed."""
    if old is None:
        return False
    if new is old:
        return True
    mode = old.mode if new.type == "symlink" else new.mode
    return replace(new, mtime_ns=old.mtime_ns, mode=mode) == old


def merge_entries(
    stored: Mapping[str, Entry], local: Mapping[str, Entry], deleted: Collection[str], *, is_tree: bool = False
) -> dict[str, Entry]:
    """Return the entries of the next snapshot: the stored ones, except deleted ones, updated with the sandbox's.

    If two of them exclude each other, such as a file and a folder of the same name, the sandbox's wins.

    Args:
        stored: The stored entries.
        local: The sandbox's entries.
        deleted: Paths of `stored` that the sandbox deleted.
        is_tree: `stored` is a committed snapshot: its paths are sorted and do not exclude each other.
    """
    if is_tree and not deleted and local.keys() <= stored.keys():
        return {**stored, **local}
    folders = folders_of(local)
    leaves = {path for path, entry in local.items() if entry.type != "directory"}
    hidden = folders.union(deleted)
    # Usually no file has replaced a folder, and the ancestors of each path need no check.
    blocked = leaves & folders_of(stored)
    merged = {
        path: entry
        for path, entry in stored.items()
        if path not in hidden and not (blocked and any(above in blocked for above in ancestors(path)))
    }
    merged.update(local)
    filled = folders_of(merged)
    return {path: merged[path] for path in sorted(merged) if path not in filled}


def is_unchanged(local: LocalEntry | None, entry: Entry, known: Entry | None, signature: Signature | None) -> bool:
    """Return whether the sandbox certainly has the version of a file that is to be restored. Its content is not read.

    Args:
        local: The sandbox's file; None if there is none.
        entry: The file to restore.
        known: The entry that the signature belongs to.
        signature: The file's signature.
    """
    if local is None or known is None or local.type != "file" or not has_signature(local, signature):
        return False
    same_content = known.etag == entry.etag and entry.sha256 in {"", known.sha256}
    metadata = merge_metadata(local, known, signature)
    return same_content and (local.mode & 0o777, metadata) == (entry.mode & 0o777, entry.metadata)


def list_differing(
    scanned: Iterable[LocalEntry], stored: Mapping[str, Entry], signatures: Mapping[str, Signature]
) -> Iterable[str]:
    """Yield paths that seem to differ from what is stored. No content is read, so a file may have the same content."""
    for local in scanned:
        entry = stored.get(local.path)
        if local.type != "file":
            if not is_same(local.as_entry(), entry):
                yield local.path
            continue
        signature = signatures.get(local.path)
        described = (local.mode, merge_metadata(local, entry, signature))
        if entry is None or entry.type != "file" or (entry.mode, entry.metadata) != described:
            yield local.path
        elif signature is not None:
            if signature.times != local.times:
                yield local.path
        elif (entry.size, entry.mtime_ns) != (local.size, local.mtime_ns):
            yield local.path
