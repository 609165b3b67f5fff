"""Plans a restore: which object or backup each file comes from, and what is ignored. Pure: no I/O."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from sandbox_agent.storage.repository.head import PreviousObject
from sandbox_agent.storage.repository.manifest import Entry

if TYPE_CHECKING:
    from sandbox_agent.storage.backends.object_store import ObjectInfo
    from sandbox_agent.storage.repository.repository import StoredState


@dataclass(frozen=True, slots=True)
class Fetch:
    """A file to fetch into the sandbox."""

    path: str
    key: str
    etag: str
    """The object's etag. If the object has another one when it is fetched, this plan is outdated."""
    entry: Entry
    """The file to write. Its sha256 is empty if another writer stored the object, whose content is unknown."""


@dataclass(slots=True)
class RestorePlan:
    """The work of a restore."""

    fetch: list[Fetch] = field(default_factory=list)
    make: list[Entry] = field(default_factory=list)
    """Empty folders, then symlinks."""


def plan_restore(stored: StoredState) -> RestorePlan:
    """Return what the sandbox needs for the snapshot that HEAD names, and what other writers added to it."""
    plan = RestorePlan()
    entries = stored.manifest.by_path()
    for entry in stored.manifest.files:
        if entry.type == "file":
            _plan_entry(plan, stored, entry)
    for path, info in stored.objects.items():
        entry_of_path = entries.get(path)
        if entry_of_path is not None and entry_of_path.type == "file":
            continue
        before = stored.undo.get(path)
        if before is not None:
            _plan_undo(plan, stored, path, before)
        elif not _is_dropped(stored, path, info):
            plan.fetch.append(_fetch_foreign(info, path))
    taken = {fetch.path for fetch in plan.fetch}
    order: tuple[Literal["directory", "symlink"], ...] = ("directory", "symlink")
    for kind in order:
        plan.make += [entry for entry in stored.manifest.files if entry.type == kind and entry.path not in taken]
    return plan


def _plan_entry(plan: RestorePlan, stored: StoredState, entry: Entry) -> None:
    info = stored.objects.get(entry.path)
    if info is not None and info.etag == entry.etag:
        plan.fetch.append(Fetch(entry.path, info.key, info.etag, entry))
        return
    before = stored.undo.get(entry.path, PreviousObject(entry.sha256, entry.etag))
    is_undone = bool(stored.state.head.interrupted) and entry.path not in stored.foreign
    if before.exists and is_undone and _fetch_backup(plan, stored, before, entry):
        return
    # If another writer deleted the object, the file is not restored.
    if before.exists and info is not None:
        plan.fetch.append(_fetch_foreign(info, entry.path, entry))


def _plan_undo(plan: RestorePlan, stored: StoredState, path: str, before: PreviousObject) -> None:
    """Plan for an object that is not in the manifest, and that the interrupted push may have written."""
    if not before.exists:
        return
    info = stored.objects[path]
    entry = _fetch_foreign(info, path).entry
    if info.etag != before.etag and _fetch_backup(plan, stored, before, entry):
        return
    plan.fetch.append(_fetch_foreign(info, path))


def _fetch_backup(plan: RestorePlan, stored: StoredState, before: PreviousObject, entry: Entry) -> bool:
    """Plan to fetch the backup of an object. Return False if there is none."""
    backup = stored.backups.get(before.sha256)
    if backup is None:
        return False
    wanted = replace(entry, sha256=before.sha256, etag=before.etag, size=backup.size)
    plan.fetch.append(Fetch(entry.path, backup.key, backup.etag, wanted))
    return True


def _fetch_foreign(info: ObjectInfo, path: str, entry: Entry | None = None) -> Fetch:
    """Return the fetch of an object that another writer stored."""
    mode = entry.mode if entry else 0o644
    mtime_ns = int(info.last_modified.timestamp()) * 1_000_000_000
    return Fetch(path, info.key, info.etag, Entry(path, "file", info.size, mode, mtime_ns, "", info.etag))


def _is_dropped(stored: StoredState, path: str, info: ObjectInfo) -> bool:
    """Return whether the commit dropped an object that is not deleted yet. A later one is another writer's new file."""
    etag = stored.state.head.removed.get(path)
    # HEAD's time comes from a header, in whole seconds; the listings of some stores have fractions.
    is_older = int(info.last_modified.timestamp()) <= int(stored.state.modified)
    return etag is not None and etag == info.etag and is_older
