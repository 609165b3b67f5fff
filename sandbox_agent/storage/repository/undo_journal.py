"""The undo journal of a push: what each object was before the push touched it.

The journal is stored in HEAD with the lock, and backups of replaced objects under `previous/`. If the push is
interrupted, the next push uses both to restore the objects, and a restore reads the backups instead of the objects.
docs/storage.md describes the order of the steps.

Errors: StorageError; PreconditionFailedError if another writer has taken over the lock.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sandbox_agent.storage.concurrency import for_each
from sandbox_agent.storage.errors import ObjectNotFoundError, PreconditionFailedError
from sandbox_agent.storage.repository.head import ABSENT, PreviousObject
from sandbox_agent.storage.repository.interrupted_push import Leftover

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from sandbox_agent.storage.backends.object_store import ObjectInfo
    from sandbox_agent.storage.context import WorkspaceContext
    from sandbox_agent.storage.repository.interrupted_push import InterruptedPush
    from sandbox_agent.storage.repository.lock import Lock
    from sandbox_agent.storage.repository.manifest import Entry


@dataclass(slots=True)
class ReplacedObject:
    """An object that a push may replace or add."""

    before: PreviousObject
    """The object that an undo restores."""
    now: PreviousObject | None = None
    """The object when it was last read again. None if it was not, which means that it is assumed to be `before`."""
    leftover: Leftover | None = None
    """An upload of an interrupted push, or one of this push whose answer was lost."""
    is_foreign: bool = False
    """Another writer changed the object since the push, or the interrupted one, first saw it."""


class UndoJournal:
    """The undo journal of one push. It continues the journal of an interrupted push.

    Args:
        context: The workspace's.
        lock: The push's lock, which stores the journal in HEAD.
        interrupted: The push that was interrupted before this one, if any.
        uploads: The entries of the files that will be uploaded, by path; None for a new file.

    Attributes:
        backup_keys: Keys of the backups that this push made, or tried to make.
    """

    def __init__(
        self,
        context: WorkspaceContext,
        lock: Lock,
        interrupted: InterruptedPush,
        uploads: Mapping[str, Entry | None],
    ) -> None:
        self._context = context
        self._lock = lock
        self._interrupted = interrupted
        self._uploads = uploads
        undo = {path: _previous(entry) for path, entry in uploads.items()} | dict(interrupted.undo)
        self._objects = {path: ReplacedObject(before) for path, before in undo.items()}
        self._backed_up: set[str] = set()
        self._older_backups: Mapping[str, ObjectInfo] = {}
        self.backup_keys: set[str] = set()

    def undo(self) -> dict[str, PreviousObject]:
        """Return the journal as HEAD stores it."""
        return {path: replaced.before for path, replaced in self._objects.items()}

    def leftover(self, path: str) -> Leftover | None:
        """Return what an upload may replace, although nothing backed it up. Returns None if there is no leftover."""
        return self._objects[path].leftover

    def current(self, path: str) -> PreviousObject:
        """Return the object at a path, as this push last saw it. Uploads of this push do not count."""
        replaced = self._objects[path]
        return replaced.before if replaced.now is None else replaced.now

    def is_backed_up(self, sha256: str) -> bool:
        """Return whether a backup has this content."""
        return sha256 in self._backed_up or sha256 in self._older_backups

    async def find_changed(self) -> set[str]:
        """Return the paths of uploads whose object is not the expected one. This only reads."""
        changed: set[str] = set()

        async def check(path: str) -> None:
            expected = self._objects[path].before.etag
            try:
                if (await self._context.store.stat(self._context.keys.of_file(path))).etag != expected:
                    changed.add(path)
            except ObjectNotFoundError:
                changed.add(path)

        await for_each([path for path in self._uploads if self._objects[path].before.exists], check)
        return changed

    async def find_leftovers(self) -> None:
        """Find what the interrupted push left, and record what other writers have stored at its paths since."""
        repository = self._context.repository
        listing = await repository.list_all()
        leftovers, foreign = await self._interrupted.find_all(listing.objects)
        for path, leftover in leftovers.items():
            self._objects[path].leftover = leftover
        if foreign:
            await self.record_foreign_objects(foreign)
        # Listed after the files: each object that was seen to be replaced had been backed up before.
        self._older_backups = await repository.list_backups(self._lock.state.head)

    async def back_up(self, changed: Collection[str]) -> None:
        """Back up every object that an upload will replace.

        Args:
            changed: Paths from `find_changed`, whose objects are first read again.
        """
        unexpected: list[str] = []

        async def back_up(path: str) -> None:
            before = self._objects[path].before
            if not before.exists or before.sha256 in self._older_backups:
                return
            if path in changed:
                unexpected.append(path)
                return
            try:
                await self._copy(path, before)
            except (PreconditionFailedError, ObjectNotFoundError):
                unexpected.append(path)

        async def back_up_known_content(path: str) -> None:
            """Back up an object that was written again with the content that this sandbox knows: it may be replaced."""
            before, entry = self._objects[path].before, self._uploads[path]
            if entry is not None and before.sha256 and before.sha256 == entry.sha256:
                with contextlib.suppress(PreconditionFailedError, ObjectNotFoundError):
                    await self._copy(path, before)

        await for_each(self._uploads, back_up)
        if unexpected:
            await self.record_foreign_objects(unexpected)
            await for_each(unexpected, back_up_known_content)

    async def record_foreign_objects(self, paths: Collection[str]) -> None:
        """Read objects again that another writer has replaced, and record them in the journal.

        If this push is interrupted, the undo then restores that writer's version. An object may also turn out to be
        this push's own, uploaded by a request whose answer was lost.
        """
        before = {path: self._objects[path].before for path in paths}
        await for_each(paths, self._read_again)
        if any(self._objects[path].before != before[path] for path in paths):
            await self._lock.acquire(self.undo())

    async def repair(self, entries: Mapping[str, Entry], uploaded: Iterable[str]) -> dict[str, Entry]:
        """Undo what the interrupted push did to files that this push has not uploaded.

        Args:
            entries: All entries of the base.
            uploaded: Paths that this push has uploaded.

        Returns:
            The entries of restored objects, with their new etags.
        """
        done = {path for path, replaced in self._objects.items() if replaced.is_foreign}.union(uploaded)
        leftovers: dict[str, Leftover] = {}
        repaired: dict[str, Entry] = {}
        added: list[str] = []

        async def find(path: str) -> None:
            # Checked here and not earlier: a request of the interrupted push may have arrived late.
            leftover = await self._interrupted.find(path)
            if leftover is not None and leftover.etag != self._objects[path].before.etag:
                leftovers[path] = leftover

        async def undo_change(path: str) -> None:
            before, entry = self._objects[path].before, entries.get(path)
            if await self._interrupted.find(path) != leftovers[path]:
                return  # another writer has replaced it
            key = self._context.keys.of_file(path)
            if not before.exists:
                added.append(key)
            elif before.sha256 in self._older_backups:
                etag = await self._context.store.copy(self._older_backups[before.sha256].key, key)
                if entry is not None and entry.sha256 == before.sha256:
                    repaired[path] = replace(entry, etag=etag)

        await for_each([path for path in self._interrupted.undo if path not in done], find)
        if leftovers:
            self._older_backups = await self._context.repository.list_backups(self._lock.state.head)
            await for_each(list(leftovers), undo_change)
            await self._context.store.delete_many(added)
        return repaired

    async def _copy(self, path: str, before: PreviousObject) -> None:
        entry, keys = self._uploads[path], self._context.keys
        size = entry.size if entry is not None and entry.sha256 == before.sha256 else None
        backup = keys.of_backup(self._lock.generation, before.sha256)
        self.backup_keys.add(backup)
        await self._context.store.copy(keys.of_file(path), backup, if_match=before.etag, size=size)
        self._backed_up.add(before.sha256)

    async def _read_again(self, path: str) -> None:
        digest, found, is_own = hashlib.sha256(), ABSENT, False
        with contextlib.suppress(ObjectNotFoundError):
            async with self._context.store.get(self._context.keys.of_file(path)) as stored:
                async for chunk in stored.chunks:
                    digest.update(chunk)
                found = PreviousObject(digest.hexdigest(), stored.info.etag)
                is_own = stored.info.writer_tag == self._lock.generation
        replaced = self._objects[path]
        replaced.now = found
        if is_own:
            replaced.leftover = Leftover(found.etag)
        else:
            replaced.before, replaced.leftover, replaced.is_foreign = found, None, True


def _previous(entry: Entry | None) -> PreviousObject:
    if entry is None or entry.type != "file":
        return ABSENT
    return PreviousObject(entry.sha256, entry.etag)
