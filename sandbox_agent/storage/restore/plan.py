"""What a restore has to do: of what storage holds, what is the generation's, what others added, what to undo. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from sandbox_agent.storage.repository.head import Before
from sandbox_agent.storage.repository.manifest import Entry

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sandbox_agent.storage.backends.object_store import ObjectInfo
    from sandbox_agent.storage.repository.head import Head
    from sandbox_agent.storage.repository.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Fetch:
    """A file to bring into the sandbox."""

    path: str
    key: str
    etag: str
    """What the object has while this plan holds."""
    entry: Entry
    """What it is to be; where somebody else wrote the object, sha256 is empty: nothing is known of the content."""


@dataclass(slots=True)
class RestorePlan:
    """What a restore does."""

    fetch: list[Fetch] = field(default_factory=list)
    make: list[Entry] = field(default_factory=list)
    """Empty folders, then symlinks."""
    missing: list[str] = field(default_factory=list)
    """In the manifest, but somebody removed the object."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What storage holds."""

    head: Head
    manifest: Manifest
    objects: Mapping[str, ObjectInfo]
    """By path."""
    previous: Mapping[str, ObjectInfo]
    """By sha256."""
    undo: Mapping[str, Before]
    """By path, what was there before an interrupted push; without what others replaced since."""
    foreign: Collection[str]
    """What others replaced since an interrupted push."""
    head_modified: float
    """Unix time of HEAD, by the store's clock."""


def plan_restore(stored: Stored) -> RestorePlan:
    """What the sandbox has to get for the generation that HEAD names, and what others added to it."""
    plan = RestorePlan()
    known = stored.manifest.by_path()
    undo = stored.undo
    for entry in stored.manifest.files:
        if entry.type == "file":
            _plan_known(plan, stored, entry)
    for path, info in stored.objects.items():
        entry_of_path = known.get(path)
        if entry_of_path is not None and entry_of_path.type == "file":
            continue
        before = undo.get(path)
        if before is not None:
            _plan_undone(plan, stored, path, before)
        elif not _is_leftover(stored, path, info):
            plan.fetch.append(_as_it_is(info, path))
    taken = {fetch.path for fetch in plan.fetch}
    order: tuple[Literal["directory", "symlink"], ...] = ("directory", "symlink")
    for kind in order:
        plan.make += [entry for entry in stored.manifest.files if entry.type == kind and entry.path not in taken]
    return plan


def _plan_known(plan: RestorePlan, stored: Stored, entry: Entry) -> None:
    info = stored.objects.get(entry.path)
    if info is not None and info.etag == entry.etag:
        plan.fetch.append(Fetch(entry.path, info.key, info.etag, entry))
        return
    before = stored.undo.get(entry.path, Before(entry.sha256, entry.etag))
    is_undone = bool(stored.head.interrupted) and entry.path not in stored.foreign
    if before.sha256 and is_undone and _fetch_previous(plan, stored, before, entry):
        return
    if before != Before() and info is not None:
        plan.fetch.append(_as_it_is(info, entry.path, entry))
    else:
        plan.missing.append(entry.path)


def _plan_undone(plan: RestorePlan, stored: Stored, path: str, before: Before) -> None:
    """An object that the manifest does not know, and that the interrupted push may have written."""
    if before == Before():
        return
    info = stored.objects[path]
    entry = _as_it_is(info, path).entry
    if info.etag != before.etag and _fetch_previous(plan, stored, before, entry):
        return
    plan.fetch.append(_as_it_is(info, path))


def _fetch_previous(plan: RestorePlan, stored: Stored, before: Before, entry: Entry) -> bool:
    kept = stored.previous.get(before.sha256)
    if kept is None:
        return False
    wanted = replace(entry, sha256=before.sha256, etag=before.etag, size=kept.size)
    plan.fetch.append(Fetch(entry.path, kept.key, kept.etag, wanted))
    return True


def _as_it_is(info: ObjectInfo, path: str, entry: Entry | None = None) -> Fetch:
    """Somebody else wrote this object."""
    mode = entry.mode if entry else 0o644
    mtime_ns = int(info.last_modified.timestamp()) * 1_000_000_000
    return Fetch(path, info.key, info.etag, Entry(path, "file", info.size, mode, mtime_ns, "", info.etag))


def _is_leftover(stored: Stored, path: str, info: ObjectInfo) -> bool:
    """Dropped by the commit, and not deleted yet; what was written after the commit is somebody's new file."""
    etag = stored.head.removed.get(path)
    # HEAD's time is from a header, in whole seconds; listings of some stores have parts of them.
    is_older = int(info.last_modified.timestamp()) <= int(stored.head_modified)
    return etag is not None and etag == info.etag and is_older
