"""A push's claim on the workspace: HEAD says what is about to change, so that whoever comes after a crash can undo it.

The order of steps is that of docs/pod-contract.md, section Storage.

Errors: StorageError; PreconditionFailedError: somebody else has the workspace.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sandbox_agent.storage.backends.object_store import ObjectNotFoundError, PreconditionFailedError, StorageError
from sandbox_agent.storage.progress import beside, for_each
from sandbox_agent.storage.repository.head import Before, Head, Pushing
from sandbox_agent.storage.repository.repository import LEASE
from sandbox_agent.storage.repository.undo_journal import Leavings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, MutableMapping

    from sandbox_agent.storage.backends.object_store import ObjectInfo, ObjectStore
    from sandbox_agent.storage.repository.keys import Keys
    from sandbox_agent.storage.repository.manifest import Entry
    from sandbox_agent.storage.repository.repository import Generations, HeadState

_BEAT: Final = LEASE / 5
_log = logging.getLogger(__name__)


class Claim:
    """One push's hold on the workspace, from `take` to `release`.

    Attributes:
        state: HEAD as it is now.
        repaired: Paths whose object was brought back after an interrupted push, so that it has another etag.
    """

    def __init__(
        self, store: ObjectStore, keys: Keys, generations: Generations, writer: str, now: Callable[[], str]
    ) -> None:
        self._store = store
        self._keys = keys
        self._generations = generations
        self._writer = writer
        self._now = now
        self._undo: dict[str, Before] = {}
        self._leavings: Leavings
        self._left: dict[str, str] = {}
        self._found: dict[str, Before] = {}
        self._given: set[str] = set()
        self._aside: set[str] = set()
        self._previous: Mapping[str, ObjectInfo] = {}
        self._announcing = asyncio.Lock()
        self._kept: set[str] = set()
        self._moved: set[str] = set()
        self._is_tidy = False
        self.state: HeadState
        self.repaired: set[str] = set()

    async def take(self, state: HeadState, uploads: Mapping[str, Before]) -> None:
        """Say in HEAD what will be uploaded, over what. An interrupted push's undo goes on to hold."""
        self._leavings = Leavings(self._store, self._keys, state.head, is_marked=state.is_marked)
        self._undo = {**uploads, **self._leavings.undo}
        garbage = self._generations.garbage
        self._is_tidy = state.head.pushing is None and (not state.etag or garbage.tidy == state.head.commit)
        garbage.tidy = None
        self.state = state
        # Some stores ignore a copy's condition: looking before it leaves them a short race. It touches nothing.
        async with beside(self._find_moved(uploads)) as looking:
            await self._announce()
            self._moved = await looking

    async def look_at_leavings(self, before: HeadState) -> None:
        """Find what an interrupted push left, and what others stored under its names since.

        Args:
            before: HEAD as it was taken.
        """
        if before.head.interrupted:
            listing = await self._generations.list_all()
            self._left, foreign = await self._leavings.tell_apart(listing.objects)
            if foreign:
                await self.give_way(foreign)
            # After the files: whoever replaced one that was seen had copied it aside.
            self._previous = await self._generations.list_previous(before.head)
        if before.head.removed:
            await self._remove_leftovers(before.head.removed, before.modified)

    async def keep_replaced(self, known: Mapping[str, Entry | None]) -> None:
        """Copy what will be replaced to where it can be taken from after a crash.

        Args:
            known: What is known to be stored, by path.
        """
        moved: list[str] = []

        async def keep(path: str) -> None:
            before = self._undo[path]
            if before == Before() or before.sha256 in self._previous:
                return
            if path in self._moved:
                moved.append(path)
                return
            try:
                await self._copy_aside(path, before, known[path])
            except (PreconditionFailedError, ObjectNotFoundError):
                moved.append(path)

        async def keep_anew(path: str) -> None:
            """What was written anew with the content that is known may be replaced, too."""
            before, entry = self._undo[path], known[path]
            if entry is not None and before.sha256 and before.sha256 == entry.sha256:
                with contextlib.suppress(PreconditionFailedError, ObjectNotFoundError):
                    await self._copy_aside(path, before, entry)

        await for_each(known, keep)
        if moved:
            await self.give_way(moved)
            await for_each(moved, keep_anew)

    @property
    def generation(self) -> int:
        """The one that the push makes."""
        return self.state.head.generation + 1

    def etag_left(self, path: str) -> str | None:
        """The etag of what an interrupted push left there, which an upload may replace; None: that left nothing there.

        Empty where it replaced an object and nothing is there now.
        """
        return self._left.get(path)

    async def give_way(self, paths: Collection[str]) -> None:
        """Another object is there than this sandbox saw: where it is somebody's, a crash has to bring that back.

        It may be this push's own, uploaded by a request whose answer was lost.
        """
        before = {path: self._undo[path] for path in paths}
        await for_each(paths, self._look_anew)
        if any(self._undo[path] != before[path] for path in paths):
            await self._announce()

    async def confirm(self) -> None:
        """Make sure that the claim still holds: a mark does not tell whose push of a generation wrote an object.

        Raises:
            PreconditionFailedError: It is another's.
        """
        await self._announce()

    def is_aside(self, sha256: str) -> bool:
        """Whether a content could be brought back after a crash."""
        return sha256 in self._aside or sha256 in self._previous

    def digest_of(self, path: str) -> str:
        """SHA-256 of what is there instead of what this push uploads, as far as is known; empty where nothing is."""
        return self._found.get(path, self._undo[path]).sha256

    def etag_of(self, path: str) -> str:
        """The etag of the same."""
        return self._found.get(path, self._undo[path]).etag

    async def repair(self, known: MutableMapping[str, Entry], uploaded: Iterable[str]) -> None:
        """Undo what an interrupted push did to files that this one has not uploaded again."""
        done = self._given.union(uploaded)
        there: dict[str, str] = {}
        added: list[str] = []

        async def look(path: str) -> None:
            # Now and not before: a request of that push may have come late.
            etag = await self._leavings.find(path)
            if etag is not None and etag != self._undo[path].etag:
                there[path] = etag

        async def bring_back(path: str) -> None:
            before, entry = self._undo[path], known.get(path)
            if await self._leavings.find(path) != there[path]:
                return  # somebody else's by now
            if before == Before():
                added.append(self._keys.of_file(path))
            if before == Before() or before.sha256 not in self._previous:
                return
            etag = await self._store.copy(self._previous[before.sha256].key, self._keys.of_file(path))
            if entry is not None and entry.sha256 == before.sha256:
                known[path] = replace(entry, etag=etag)
                self.repaired.add(path)

        await for_each([path for path in self._leavings.undo if path not in done], look)
        if there:
            self._previous = await self._generations.list_previous(self.state.head)
            await for_each(list(there), bring_back)
            await self._store.delete_many(added)

    @contextlib.asynccontextmanager
    async def kept_alive(self) -> AsyncIterator[None]:
        """While the body runs, HEAD is written from time to time, so that nobody takes this push for interrupted."""
        ended = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._beat(ended))
                yield
                ended.set()
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def commit(self, head: Head) -> None:
        """The one step that makes a new generation count. It gives the claim back, unless files are to be deleted."""
        if head.removed:
            head = replace(head, pushing=Pushing(head.generation, self._writer, self._now()))
        self.state = await self._generations.move_head(self.state, head)

    async def release(self, old_manifest: str) -> list[str] | None:
        """Delete what the generation dropped, and give the claim back. Whatever fails here is left to the next push.

        Returns:
            Keys of all that no generation needs any more; None where others may have left more of it.
        """
        committed = self.state.head
        try:
            if committed.pushing is not None:
                modified = (await self._store.stat(self._keys.head)).last_modified.timestamp()
                await self._remove_leftovers(committed.removed, modified)
                head = replace(committed, pushing=None, removed={})
                self.state = await self._generations.move_head(self.state, head)
        except StorageError as error:
            _log.warning("deleting files behind a push failed", extra={"error": str(error)})
        if not self._is_tidy:
            return None
        manifests = {old_manifest} - {"", committed.manifest}
        return [*sorted(self._kept), *map(self._keys.of_manifest, manifests)]

    async def abandon(self) -> None:
        """Give the claim back with nothing changed."""
        head = self.state.head
        await self._generations.garbage.collect(head, head.generation + 1)
        self.state = await self._generations.move_head(self.state, replace(head, pushing=None, removed={}))
        self._generations.garbage.tidy = head.commit

    async def _announce(self) -> None:
        async with self._announcing:
            head = self.state.head
            undo, can_tell = dict(self._undo), self._leavings.can_tell
            pushing = Pushing(head.generation + 1, self._writer, self._now(), undo, can_tell)
            self.state = await self._generations.move_head(self.state, replace(head, pushing=pushing))

    async def _beat(self, ended: asyncio.Event) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_BEAT):
                    await ended.wait()
            if ended.is_set():
                return
            await self._announce()

    async def _find_moved(self, paths: Iterable[str]) -> set[str]:
        """Paths whose object is not the one that is to be replaced."""
        moved: set[str] = set()

        async def look(path: str) -> None:
            try:
                if (await self._store.stat(self._keys.of_file(path))).etag != self._undo[path].etag:
                    moved.add(path)
            except ObjectNotFoundError:
                moved.add(path)

        await for_each([path for path in paths if self._undo[path] != Before()], look)
        return moved

    async def _copy_aside(self, path: str, before: Before, known: Entry | None) -> None:
        size = known.size if known is not None and known.sha256 == before.sha256 else None
        kept = self._keys.of_previous(self.state.head.generation + 1, before.sha256)
        self._kept.add(kept)
        await self._store.copy(self._keys.of_file(path), kept, if_match=before.etag, size=size)
        self._aside.add(before.sha256)

    async def _look_anew(self, path: str) -> None:
        digest, found, is_own = hashlib.sha256(), Before(), False
        with contextlib.suppress(ObjectNotFoundError):
            async with self._store.get(self._keys.of_file(path)) as stored:
                async for chunk in stored.chunks:
                    digest.update(chunk)
                found, is_own = Before(digest.hexdigest(), stored.info.etag), stored.info.push == self.generation
        self._found[path] = found
        if is_own:
            self._left[path] = found.etag
        else:
            self._undo[path] = found
            self._left.pop(path, None)
            self._given.add(path)

    async def _remove_leftovers(self, removed: Mapping[str, str], modified: float) -> None:
        """Delete what a generation dropped, unless somebody wrote it since: that is another file."""
        garbage: list[str] = []

        async def look(path: str) -> None:
            with contextlib.suppress(ObjectNotFoundError):
                info = await self._store.stat(self._keys.of_file(path))
                if info.etag == removed[path] and info.last_modified.timestamp() <= modified:
                    garbage.append(info.key)

        await for_each(removed, look)
        await self._store.delete_many(garbage)
