"""Finds what the sandbox changed since its base. A file that cannot be read is a failure of its own.

Errors: OperationError of the runtime.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sandbox_agent.storage.concurrency import for_each
from sandbox_agent.storage.errors import KeyObstructedError, ObjectRefusedError
from sandbox_agent.storage.push.conflicts import CONFLICT
from sandbox_agent.storage.push.plan import (
    is_described,
    is_same,
    list_differing,
    merge_entries,
    merge_metadata,
    plan_push,
)
from sandbox_agent.storage.repository.keys import NameRefusedError, ancestors
from sandbox_agent.storage.sandbox.file_info import sign
from sandbox_link.protocol import OperationError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from sandbox_agent.storage.base_state import Base
    from sandbox_agent.storage.context import WorkspaceContext
    from sandbox_agent.storage.progress import ProgressMeter
    from sandbox_agent.storage.push.upload import UploadedFile
    from sandbox_agent.storage.repository.manifest import Entry, Metadata
    from sandbox_agent.storage.sandbox.file_info import LocalEntry, Signature
    from sandbox_agent.storage.sandbox.scanner import Scanned


@dataclass(slots=True)
class Problems:
    """Files that a push does not save, and why."""

    failed: list[tuple[str, str]] = field(default_factory=list)
    """Paths and reasons."""
    conflicts: set[str] = field(default_factory=set)
    """Paths that are in conflict after this push."""
    resolved_by_deletion: set[str] = field(default_factory=set)
    """Paths whose conflict has ended because the sandbox deleted its version."""
    is_obstructed: bool = False
    """Another stored file blocked the key of a file."""

    @contextlib.contextmanager
    def collecting(self, path: str) -> Iterator[None]:
        """Turn an error of the body into a failure of this path, unless the sandbox is unavailable.

        A file that was removed since the scan is no failure.
        """
        try:
            yield
        except OperationError as error:
            if error.code == "UNAVAILABLE":
                raise
            if error.code == "NOT_FOUND":
                return
            self.failed.append((path, f"{error.reason}: {error.message}"))
        except ObjectRefusedError as error:
            self.failed.append((path, f"storage refuses it: {error}"))
        except KeyObstructedError:
            self.is_obstructed = True
            self.failed.append((path, "a stored file or folder blocks its name; push it again"))

    def add_conflict(self, path: str) -> None:
        """Record that a file changed here and in storage."""
        self.conflicts.add(path)
        self.failed.append((path, CONFLICT))


@dataclass(slots=True)
class LocalChanges:
    """The sandbox's files compared with the base. The push adds its uploads when they are stored."""

    base: Base
    scanned: Mapping[str, LocalEntry]
    entries: dict[str, Entry]
    """The sandbox's files by path, as the next snapshot lists them. Files to upload are missing until `add_uploads`."""
    signatures: dict[str, Signature]
    metadata_only: list[str]
    """Paths of symlinks and empty folders."""
    problems: Problems
    uploads: list[LocalEntry] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)

    def add_uploads(self, uploaded: Mapping[str, UploadedFile], repaired: Mapping[str, Entry]) -> None:
        """Add what was stored.

        Args:
            uploaded: Uploaded files by path.
            repaired: Entries of objects that were restored after an interrupted push, and so have another etag.
        """
        for path, known in repaired.items():
            entry = self.entries.get(path)
            if entry is not None and known.sha256 == entry.sha256:
                self.entries[path] = replace(entry, etag=known.etag)
        for path, file in uploaded.items():
            metadata = self.merge_metadata(file.local)
            self.entries[path] = replace(file.entry, metadata=metadata) if metadata else file.entry
            self.signatures[path] = file.signature

    def merge_metadata(self, local: LocalEntry) -> Metadata:
        """Return the metadata to store for a file."""
        return merge_metadata(local, self.base.entries.get(local.path), self.base.signatures.get(local.path))

    def merge(self, stored: Mapping[str, Entry]) -> dict[str, Entry]:
        """Return the entries of the next snapshot."""
        is_tree = self.base.entries is self.base.committed
        return merge_entries(stored, self.entries, self.deleted, is_tree=is_tree)

    def differ(self, stored: Mapping[str, Entry], merged: Mapping[str, Entry]) -> bool:
        """Return whether the next snapshot would differ from what is stored."""
        if merged.keys() != stored.keys():
            return True
        # Nearly all entries are the same objects.
        replaced = [(path, entry) for path, entry in self.entries.items() if stored.get(path) is not entry]
        return any(not is_same(entry, stored[path]) for path, entry in replaced if path in merged)

    def in_sandbox(self) -> frozenset[str]:
        """Return the stored paths that the sandbox has."""
        if not self.deleted and self.entries.keys() <= self.base.in_sandbox:
            return self.base.in_sandbox
        return self.base.in_sandbox.union(self.entries).difference(self.deleted)

    def find_unchanged(self, entries: Mapping[str, Entry], *, is_whole: bool) -> Mapping[str, LocalEntry]:
        """Return the next base's `unchanged`: files that no push compares again until they change.

        Args:
            entries: The next base's entries.
            is_whole: All of the sandbox was scanned.
        """
        before = self.base.unchanged
        unchanged = dict(self.scanned if is_whole else before)
        for path, local in self.scanned.items():
            if before.get(path) is local:
                continue
            entry = self.entries.get(path)
            if entry is not None and is_described(local, entry, self.signatures.get(path)):
                unchanged[path] = local
            else:
                unchanged.pop(path, None)
        if unchanged.keys() <= entries.keys():
            return unchanged
        return {path: local for path, local in unchanged.items() if path in entries}


async def find_local_changes(
    context: WorkspaceContext, base: Base, scan: Scanned, meter: ProgressMeter, *, is_whole: bool
) -> LocalChanges:
    """Compare a scan with the base. Files whose times do not decide are read by the runtime.

    Args:
        context: The workspace's.
        base: The remote state that the sandbox last saw.
        scan: The sandbox's files, as far as they are pushed.
        meter: Gets the number of files, and the size of those to upload.
        is_whole: All of the sandbox was scanned.
    """
    problems = Problems(failed=list(scan.left_out))
    scanned = scan.found
    kept = {path: base.entries[path] for path, local in scanned.items() if base.unchanged.get(path) is local}
    rest = {
        path: local
        for path, local in scanned.items()
        if path not in kept and _check_storable(context, base, local, problems)
    }
    if base.conflicts:
        await _check_conflicts(context, base, rest, problems, is_whole=is_whole)
        rest = {path: local for path, local in rest.items() if path not in problems.conflicts}
    missing = base.in_sandbox.difference(scanned) if is_whole else ()
    plan = plan_push(rest.values(), base.entries, base.signatures, missing)
    entries = {**kept, **{entry.path: entry for entry in (*plan.keep, *plan.metadata_only)}}
    metadata_only = [entry.path for entry in plan.metadata_only]
    changes = LocalChanges(base, scanned, entries, dict(base.signatures), metadata_only, problems)
    changes.uploads = plan.upload + await _hash(context, changes, plan.hash_first)
    _leave_out_excess(changes, context.max_bytes)
    changes.deleted = await _find_deleted(context, base, plan.deleted, problems)
    count = len(kept) + len(rest)
    meter.expect(count, sum(local.size for local in changes.uploads))
    meter.add(0, count - len(changes.uploads))
    return changes


def _leave_out_excess(changes: LocalChanges, max_bytes: int) -> None:
    """Drop the largest uploads that would make the stored workspace larger than its volume. Each is a failure.

    Sparse files and hard links can have more bytes than the volume. Restored as they are stored, they would not fit.
    """
    total = sum(entry.size for entry in changes.entries.values()) + sum(local.size for local in changes.uploads)
    if not max_bytes or total <= max_bytes:
        return
    dropped: set[str] = set()
    for local in sorted(changes.uploads, key=lambda local: local.size, reverse=True):
        if total <= max_bytes:
            break
        dropped.add(local.path)
        total -= local.size
        reason = f"with its {local.size} bytes the workspace would be larger than its volume of {max_bytes} bytes"
        changes.problems.failed.append((local.path, reason))
    changes.uploads = [local for local in changes.uploads if local.path not in dropped]


async def is_dirty(context: WorkspaceContext, base: Base) -> bool:
    """Return whether a push of everything would find a change or a conflict. No content is read.

    A file whose times have changed may still have the stored content, so the result may be a false alarm.
    """
    if base.conflicts:
        return True
    scan = await context.files.scanner.scan_again(context.excluded)
    scanned = scan.found
    if scan.left_out or any(True for _ in list_differing(scanned.values(), base.entries, base.signatures)):
        return True
    for path in base.in_sandbox.difference(scanned):
        entry = base.entries.get(path)
        if entry is not None and not await context.files.is_there(path, entry.type):
            return True
    return False


def _check_storable(context: WorkspaceContext, base: Base, local: LocalEntry, problems: Problems) -> bool:
    """Return whether a file, symlink or folder can be stored. If not, record the failure."""
    largest = context.store.max_object_bytes
    if local.type == "file" and local.size > largest:
        problems.failed.append(
            (local.path, f"it has {local.size} bytes, and storage takes at most {largest}: split it")
        )
        return False
    entry = base.entries.get(local.path)
    if entry is not None and entry.type == "file":
        return True
    try:
        context.keys.of_file(local.path)
    except NameRefusedError as error:
        problems.failed.append((local.path, str(error)))
        return False
    return True


async def _check_conflicts(
    context: WorkspaceContext, base: Base, scanned: Mapping[str, LocalEntry], problems: Problems, *, is_whole: bool
) -> None:
    """Record which conflicts remain. A conflict ends if both versions are equal, or if the sandbox deleted its own."""

    async def check(path: str) -> None:
        local, entry = scanned.get(path), base.entries[path]
        if local is None:
            is_there = True
            with problems.collecting(path):
                is_there = not is_whole or await context.files.is_there(path, "file")
            (problems.conflicts if is_there else problems.resolved_by_deletion).add(path)
            return
        problems.conflicts.add(path)
        with problems.collecting(path):
            if local.type == entry.type == "file":
                is_resolved = (await context.files.hash(local))[0] == entry.sha256
            else:
                is_resolved = is_same(local.as_entry(), entry)
            if is_resolved:
                problems.conflicts.discard(path)
            else:
                problems.add_conflict(path)

    await for_each([path for path in base.conflicts if path in base.entries], check)


async def _hash(context: WorkspaceContext, changes: LocalChanges, candidates: Sequence[LocalEntry]) -> list[LocalEntry]:
    """Return the candidates whose content is not the stored one, and add the others to the entries."""
    differing: list[LocalEntry] = []

    async def compare(local: LocalEntry) -> None:
        with changes.problems.collecting(local.path):
            seen = time.time_ns()
            digest, now = await context.files.hash(local)
            entry = changes.base.entries[local.path]
            if digest != entry.sha256:
                differing.append(now)
                return
            changes.entries[local.path] = now.as_entry(entry.sha256, entry.etag, changes.merge_metadata(now))
            changes.signatures[local.path] = sign(now, seen)

    await for_each(candidates, compare)
    return differing


def _is_below(path: str, folders: Collection[str]) -> bool:
    """Return whether a path is one of the folders, or below one. The root is `.`."""
    return "." in folders or path in folders or any(folder in folders for folder in ancestors(path))


async def _find_deleted(
    context: WorkspaceContext, base: Base, candidates: Sequence[str], problems: Problems
) -> list[str]:
    """Return the candidates that no longer exist in the sandbox. Others may exist although a scan did not find them.

    The stored version of a file that cannot be looked at stays.
    """
    deleted: list[str] = []

    async def check(path: str) -> None:
        with problems.collecting(path):
            if not await context.files.is_there(path, base.entries[path].type):
                deleted.append(path)

    left_out = {path for path, _ in problems.failed}
    await for_each([path for path in candidates if not _is_below(path, left_out)], check)
    return deleted
