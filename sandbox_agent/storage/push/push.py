"""Pushes the sandbox's changes: find them, lock the workspace, upload, commit a snapshot, release the lock.

Errors: OperationError of the runtime, StorageError of the store. A file that cannot be saved is a failure of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sandbox_agent.storage.base_state import Base
from sandbox_agent.storage.concurrency import for_each, run_alongside
from sandbox_agent.storage.push.local_changes import find_local_changes
from sandbox_agent.storage.push.upload import UploadedFile, Uploader
from sandbox_agent.storage.repository.delta import Delta, find_delta
from sandbox_agent.storage.repository.head import Head
from sandbox_agent.storage.repository.interrupted_push import InterruptedPush
from sandbox_agent.storage.repository.lock import Lock, check_available
from sandbox_agent.storage.repository.manifest import Manifest
from sandbox_agent.storage.repository.undo_journal import UndoJournal
from sandbox_link.protocol import OperationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sandbox_agent.storage.base_state import BaseTracker
    from sandbox_agent.storage.context import WorkspaceContext
    from sandbox_agent.storage.progress import ProgressMeter
    from sandbox_agent.storage.push.local_changes import LocalChanges
    from sandbox_agent.storage.repository.manifest import Entry
    from sandbox_agent.storage.repository.repository import HeadState
    from sandbox_agent.storage.sandbox.file_info import LocalEntry
    from sandbox_agent.storage.sandbox.scanner import Scanned


@dataclass(slots=True)
class PushResult:
    """The outcome of a push."""

    base: Base
    saved: int = 0
    """Files and symlinks of the push that are stored."""
    uploaded: int = 0
    uploaded_bytes: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    is_obstructed: bool = False
    """The key of a file was blocked by another stored file, which this push deleted. One more push saves the file."""


@dataclass(frozen=True, slots=True)
class _Saved:
    """A finished push: the new base and the uploads."""

    base: Base
    uploaded: Mapping[str, UploadedFile] = field(default_factory=dict)
    prune: tuple[Head, Sequence[str] | None] | None = None
    """Arguments for Pruner.start; None if nothing is to be deleted."""


async def push_changes(
    context: WorkspaceContext, tracker: BaseTracker, paths: Sequence[str], meter: ProgressMeter
) -> PushResult:
    """Save what the sandbox changed since its base.

    Args:
        context: The workspace's.
        tracker: Holds the base, and gets the new one.
        paths: The paths to push, as the client gave them; empty for everything.
        meter: Measures the progress.

    Raises:
        BaseMovedError: Another writer committed a snapshot since the base.
        OperationError: ABORTED, WORKSPACE_CONFLICT: another writer is pushing. NOT_FOUND, INVALID_ARGUMENT: `paths`.
    """
    result = await _push_once(context, tracker, paths, meter)
    if result.is_obstructed:
        first, result = result, await _push_once(context, tracker, paths, meter)
        result.uploaded += first.uploaded
        result.uploaded_bytes += first.uploaded_bytes
    return result


async def _push_once(
    context: WorkspaceContext, tracker: BaseTracker, paths: Sequence[str], meter: ProgressMeter
) -> PushResult:
    # The sandbox scans its files while storage is asked for HEAD.
    async with run_alongside(_scan(context, paths)) as scanning:
        state = await context.repository.read_head()
        base = tracker.resolve_uncertain_commit(state) or await tracker.adopt(state)
        check_available(state, base, context.writer)
        scanned = await scanning
    with tracker.pushing():
        changes = await find_local_changes(context, base, scanned, meter, is_whole=not paths)
        await context.repository.pruner.wait()
        if changes.uploads or state.head.lock or changes.differ(base.entries, changes.merge(base.entries)):
            saved = await _save(context, tracker, state, changes, meter)
        else:
            saved = _keep(context, state, changes)
    result = _make_result(changes, saved, is_whole=not paths)
    await tracker.save(result.base)
    if saved.prune is not None:
        context.repository.pruner.start(*saved.prune)
    tracker.saved_bytes += result.uploaded_bytes
    return result


async def _scan(context: WorkspaceContext, paths: Sequence[str]) -> Scanned:
    """Scan the sandbox's files at `paths`, or everywhere if there are none.

    Raises:
        OperationError: The runtime refused. NOT_FOUND, INVALID_ARGUMENT: `paths`.
    """
    if not paths:
        return await context.files.scanner.scan_again(context.excluded)
    try:
        return await context.files.scanner.scan(paths, ())
    except OperationError as error:
        if error.code in {"NOT_FOUND", "INVALID_ARGUMENT"}:
            raise OperationError(error.code, error.reason, error.message, "paths") from error
        raise


def _keep(context: WorkspaceContext, state: HeadState, changes: LocalChanges) -> _Saved:
    """Finish a push that has nothing to save."""
    is_pruned = not state.head.generation or context.repository.pruner.last_pruned == state.head.commit
    base = replace(
        changes.base,
        signatures=changes.signatures,
        in_sandbox=changes.in_sandbox(),
        conflicts=frozenset(changes.problems.conflicts),
    )
    return _Saved(base, prune=None if is_pruned else (state.head, None))


async def _save(
    context: WorkspaceContext, tracker: BaseTracker, state: HeadState, changes: LocalChanges, meter: ProgressMeter
) -> _Saved:
    """Lock the workspace, store the changes and commit them."""
    base, pruner = changes.base, context.repository.pruner
    is_pruned = state.head.lock is None and (not state.etag or pruner.last_pruned == state.head.commit)
    pruner.last_pruned = None
    uploads = {local.path: base.entries.get(local.path) for local in changes.uploads}
    tracker.uploading = frozenset(uploads)
    interrupted = InterruptedPush(context.store, context.keys, state.head, is_tagged=state.is_tagged)
    lock = Lock(context, state, writes_tags=interrupted.wrote_tags)
    journal = UndoJournal(context, lock, interrupted, uploads)
    # Some stores ignore a copy's condition. With this check, only a short race remains there. It writes nothing, so it
    # may run before the lock is acquired.
    async with run_alongside(journal.find_changed()) as finding:
        await lock.acquire(journal.undo())
        changed = await finding
    async with lock.refreshing():
        if state.head.interrupted:
            await journal.find_leftovers()
        if state.head.removed:
            await pruner.delete_dropped(state.head.removed, state.modified)
        await journal.back_up(changed)
        uploaded = await _upload(Uploader(context, lock, journal, base.entries, meter), changes)
        repaired = await journal.repair(base.entries, uploaded)
    changes.add_uploads(uploaded, repaired)
    stored = {**base.entries, **repaired} if repaired else base.entries
    merged = changes.merge(stored)
    if not changes.differ(stored, merged) and stored == base.entries:
        await lock.abandon()
        conflicts = frozenset(changes.problems.conflicts)
        return _Saved(replace(base, signatures=changes.signatures, conflicts=conflicts), uploaded)
    head = await _make_head(context, state.head, changes, stored, merged)
    conflicts = frozenset(changes.problems.conflicts & merged.keys())
    in_sandbox = changes.in_sandbox() & merged.keys()
    base = tracker.unconfirmed = Base(head.commit, merged, merged, changes.signatures, in_sandbox, conflicts)
    await lock.commit(head)
    await lock.release()
    old_manifests = {state.head.manifest} - {"", head.manifest}
    obsolete = [*sorted(journal.backup_keys), *map(context.keys.of_manifest, old_manifests)]
    return _Saved(base, uploaded, (head, obsolete if is_pruned else None))


async def _upload(uploader: Uploader, changes: LocalChanges) -> dict[str, UploadedFile]:
    uploaded: dict[str, UploadedFile] = {}

    async def upload(local: LocalEntry) -> None:
        with changes.problems.collecting(local.path):
            file = await uploader.upload(local)
            if file is None:
                changes.problems.add_conflict(local.path)
            else:
                uploaded[local.path] = file

    await for_each(changes.uploads, upload)
    return uploaded


async def _make_head(
    context: WorkspaceContext,
    old: Head,
    changes: LocalChanges,
    stored: Mapping[str, Entry],
    merged: dict[str, Entry],
) -> Head:
    """Return the HEAD of the next snapshot. If much has changed, write its manifest first."""
    now, generation = context.now(), old.generation + 1
    committed = changes.base.committed
    delta = None if committed is None or not old.manifest else find_delta(old.delta, committed, merged)
    manifest = old.manifest
    if delta is None:
        delta = Delta()
        content = Manifest(generation, now, context.writer, tuple(merged.values()))
        manifest = await context.repository.write_manifest(content)
    removed = {path: stored[path].etag for path in _list_removed(changes, stored, merged)}
    return Head(generation, manifest, context.writer, now, removed=removed, delta=delta)


def _list_removed(changes: LocalChanges, stored: Mapping[str, Entry], merged: Mapping[str, Entry]) -> Iterator[str]:
    """Yield the paths whose object does not belong to the next snapshot."""
    for path in stored.keys() - merged.keys():
        if stored[path].type == "file":
            yield path
    for path in changes.metadata_only:
        entry = stored.get(path)
        if entry is not None and entry.type == "file" and path in merged:
            yield path


def _make_result(changes: LocalChanges, saved: _Saved, *, is_whole: bool) -> PushResult:
    base, problems, entries = saved.base, changes.problems, saved.base.entries
    if problems.resolved_by_deletion:
        # The next check for remote changes then finds the stored version, and fetches it.
        entries = {path: entry for path, entry in entries.items() if path not in problems.resolved_by_deletion}
    unchanged = changes.find_unchanged(entries, is_whole=is_whole)
    return PushResult(
        replace(base, entries=entries, unchanged=unchanged),
        saved=sum(1 for entry in changes.entries.values() if entry.type != "directory"),
        uploaded=len(saved.uploaded),
        uploaded_bytes=sum(file.entry.size for file in saved.uploaded.values()),
        failed=sorted(problems.failed),
        is_obstructed=problems.is_obstructed and base.generation > changes.base.generation,
    )
