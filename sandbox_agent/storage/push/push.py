"""One push: from the scan to the commit of a generation.

Errors: OperationError of the runtime, StorageError of the store. A file that cannot be saved is a failure of its own.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sandbox_agent.storage.backends.object_store import KeyObstructedError
from sandbox_agent.storage.base_state import CONFLICT, Knowledge, Parts
from sandbox_agent.storage.progress import Meter, for_each
from sandbox_agent.storage.push.plan import Local, before_of, is_same, is_settled, merge_entries, plan_push, sign
from sandbox_agent.storage.push.upload import Uploads
from sandbox_agent.storage.repository.delta import Changes, find_changes
from sandbox_agent.storage.repository.head import Head
from sandbox_agent.storage.repository.keys import NameRefusedError
from sandbox_agent.storage.repository.lock import Claim
from sandbox_agent.storage.repository.manifest import Manifest
from sandbox_link.protocol import OperationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sandbox_agent.storage.repository.manifest import Entry
    from sandbox_agent.storage.repository.repository import HeadState


@dataclass(slots=True)
class PushResult:
    """What a push did."""

    knowledge: Knowledge
    saved: int = 0
    moved: int = 0
    moved_bytes: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    obstructed: bool = False
    """A file was not saved for another one that is gone now: one more push saves it."""


class Push:
    """One push.

    Attributes:
        intended: What will be known if the commit holds; set just before it, for when its answer is lost.
        uploads: Paths that it writes in storage, once that is known.
        garbage: What to remove behind it, as for Garbage.remove; None: nothing.
    """

    def __init__(self, parts: Parts, known: Knowledge, meter: Meter) -> None:
        self._parts = parts
        self._old = known
        self._meter = meter
        self._known = dict(known.entries)
        self._signatures = dict(known.signatures)
        self._current: dict[str, Entry] = {}
        self._settled: dict[str, Local] = {}
        self._unsettled: dict[str, Local] = {}
        self._described: list[str] = []
        self._failed: list[tuple[str, str]] = []
        self._conflicts: set[str] = set()
        self._forgotten: set[str] = set()
        self._obstructed = False
        self._uploaded: dict[str, Entry] = {}
        self._uploads: Uploads | None = None
        self.intended: Knowledge | None = None
        self.uploads: frozenset[str] = frozenset()
        self.garbage: tuple[Head, Sequence[str] | None] | None = None

    async def run(self, paths: Sequence[str], state: HeadState, scanned: Mapping[str, Local]) -> PushResult:
        """Push `paths`, or everything where there are none.

        Args:
            paths: As the client gave them.
            state: HEAD, of the commit that the knowledge is about.
            scanned: What the sandbox has there.
        """
        settled = self._old.settled
        kept = {path: self._known[path] for path, local in scanned.items() if settled.get(path) is local}
        rest = [local for path, local in scanned.items() if path not in kept and self._is_storable(local)]
        if self._old.conflicts:
            await self._settle_conflicts({local.path: local for local in rest}, is_whole=not paths)
            rest = [local for local in rest if local.path not in self._conflicts]
        missing = self._old.held.difference(scanned) if not paths else ()
        plan = plan_push(rest, self._known, self._signatures, missing)
        self._settled = dict(settled if paths else scanned)
        self._unsettled = {path: local for path, local in scanned.items() if path not in kept}
        self._described = [entry.path for entry in plan.describe]
        self._current = {**kept, **{entry.path: entry for entry in (*plan.keep, *plan.describe)}}
        uploads = plan.upload + await self._compare(plan.compare)
        dropped = await self._find_dropped(plan.gone)
        count = len(kept) + len(rest)
        self._meter.expect(count, sum(local.size for local in uploads))
        self._meter.add(0, count - len(uploads))
        garbage = self._parts.generations.garbage
        await garbage.settle()
        if uploads or state.head.pushing or self._has_changed(dropped):
            return await self._save(state, uploads, dropped)
        if state.head.generation and garbage.tidy != state.head.commit:
            self.garbage = (state.head, None)
        held_now, conflicts = self._held(dropped), frozenset(self._conflicts)
        return self._result(replace(self._old, signatures=self._signatures, held=held_now, conflicts=conflicts))

    async def _save(self, state: HeadState, uploads: Sequence[Local], dropped: Sequence[str]) -> PushResult:
        parts = self._parts
        claim = Claim(parts.store, parts.keys, parts.generations, parts.writer, parts.now)
        self._uploads = Uploads(parts, claim, self._known, self._signatures, self._meter)
        self.uploads = frozenset(local.path for local in uploads)
        self._uploaded = self._uploads.entries
        stored = {local.path: self._known.get(local.path) for local in uploads}
        await claim.take(state, {path: before_of(entry) for path, entry in stored.items()})
        async with claim.kept_alive():
            await claim.look_at_leavings(state)
            await claim.keep_replaced(stored)
            await for_each(uploads, self._upload)
            await claim.repair(self._known, self._uploaded)
        self._refresh_etags(claim.repaired)
        self._current.update(self._uploaded)
        if not self._has_changed(dropped) and self._known == self._old.entries:
            await claim.abandon()
            conflicts = frozenset(self._conflicts)
            return self._result(
                replace(self._old, entries=self._known, signatures=self._signatures, conflicts=conflicts)
            )
        knowledge, head = await self._describe(state.head, dropped)
        self.intended = knowledge
        await claim.commit(head)
        self.garbage = (head, await claim.release(state.head.manifest))
        return self._result(knowledge)

    async def _describe(self, old: Head, dropped: Sequence[str]) -> tuple[Knowledge, Head]:
        """The knowledge and the HEAD of the next generation; where much has changed, its manifest is written first."""
        now, writer, generation = self._parts.now(), self._parts.writer, old.generation + 1
        entries = self._merge(dropped)
        committed = self._old.committed
        changes = None if committed is None or not old.manifest else find_changes(old.changes, committed, entries)
        manifest = old.manifest
        if changes is None:
            changes = Changes()
            content = Manifest(generation, now, writer, tuple(entries.values()))
            manifest = await self._parts.generations.write_manifest(content)
        removed = {path: self._known[path].etag for path in self._list_removed(entries)}
        head = Head(generation, manifest, writer, now, removed=removed, changes=changes)
        held = self._held(dropped) & entries.keys()
        conflicts = frozenset(self._conflicts & entries.keys())
        return Knowledge(head.commit, entries, entries, self._signatures, held, conflicts), head

    def _list_removed(self, entries: Mapping[str, Entry]) -> Iterator[str]:
        """Paths whose object is not of the next generation."""
        for path in self._known.keys() - entries.keys():
            if self._known[path].type == "file":
                yield path
        for path in self._described:
            known = self._known.get(path)
            if known is not None and known.type == "file" and path in entries:
                yield path

    def _refresh_etags(self, repaired: Iterable[str]) -> None:
        """An object that was brought back after an interrupted push has another etag than when the plan was made."""
        for path in repaired:
            entry, known = self._current.get(path), self._known[path]
            if entry is not None and known.sha256 == entry.sha256:
                self._current[path] = replace(entry, etag=known.etag)

    def _is_storable(self, local: Local) -> bool:
        known = self._known.get(local.path)
        if known is not None and known.type == "file":
            return True
        try:
            self._parts.keys.of_file(local.path)
        except NameRefusedError as error:
            self._failed.append((local.path, str(error)))
            return False
        return True

    async def _compare(self, candidates: Sequence[Local]) -> list[Local]:
        """Those whose content is not what is stored."""
        differing: list[Local] = []

        async def compare(local: Local) -> None:
            with self._failing_alone(local.path):
                seen = time.time_ns()
                digest, now = await self._parts.files.hash(local.path)
                known = self._known[local.path]
                if digest != known.sha256:
                    differing.append(now)
                    return
                self._current[local.path] = now.as_entry(known.sha256, known.etag)
                self._signatures[local.path] = sign(now, seen)

        await for_each(candidates, compare)
        return differing

    async def _find_dropped(self, gone: Sequence[str]) -> list[str]:
        """Of the paths that a scan did not find, those that are not there: others may be excluded."""
        dropped: list[str] = []

        async def look(path: str) -> None:
            if not await self._parts.files.is_there(path, self._known[path].type):
                dropped.append(path)

        await for_each(gone, look)
        return dropped

    async def _settle_conflicts(self, scanned: Mapping[str, Local], *, is_whole: bool) -> None:
        """Tell those that are still there; one is over where both are the same, or the sandbox's is gone.

        Args:
            scanned: What the sandbox has, of what is to be pushed.
            is_whole: All of the sandbox was scanned.
        """

        async def settle(path: str) -> None:
            local = scanned.get(path)
            if local is None:
                if not is_whole or await self._parts.files.is_there(path, "file"):
                    self._conflicts.add(path)
                else:
                    self._forgotten.add(path)
                return
            known = self._known[path]
            with self._failing_alone(path):
                if local.type == known.type == "file":
                    is_settled = (await self._parts.files.hash(path))[0] == known.sha256
                else:
                    is_settled = is_same(local.as_entry(), known)
                if not is_settled:
                    self._note_conflict(path)

        await for_each([path for path in self._old.conflicts if path in self._known], settle)

    def _note_conflict(self, path: str) -> None:
        self._conflicts.add(path)
        self._failed.append((path, CONFLICT))

    async def _upload(self, local: Local) -> None:
        with self._failing_alone(local.path):
            if self._uploads is not None and not await self._uploads.upload(local):
                self._note_conflict(local.path)

    @contextlib.contextmanager
    def _failing_alone(self, path: str) -> Iterator[None]:
        try:
            yield
        except OperationError as error:
            if error.code == "UNAVAILABLE":
                raise
            self._failed.append((path, f"{error.reason}: {error.message}"))
        except KeyObstructedError:
            self._obstructed = True
            self._failed.append((path, "a stored file or folder is in the way of its name; push it again"))

    def _has_changed(self, dropped: Sequence[str]) -> bool:
        known = self._known
        if any(not is_same(entry, known.get(path)) for path, entry in self._uploaded.items()):
            return True
        entries = self._merge(dropped)
        if entries.keys() != known.keys():
            return True
        # Nearly all are the same objects.
        replaced = [(path, entry) for path, entry in self._current.items() if known.get(path) is not entry]
        return any(not is_same(entry, known[path]) for path, entry in replaced if path in entries)

    def _merge(self, dropped: Sequence[str]) -> dict[str, Entry]:
        is_tree = self._old.entries is self._old.committed
        return merge_entries(self._known, self._current, dropped, is_tree=is_tree)

    def _held(self, dropped: Sequence[str]) -> frozenset[str]:
        if not dropped and self._current.keys() <= self._old.held:
            return self._old.held
        return self._old.held.union(self._current).difference(dropped)

    def _result(self, knowledge: Knowledge) -> PushResult:
        if self._forgotten:
            # The sandbox's version is gone: the next look finds the stored one to be news.
            entries = {path: entry for path, entry in knowledge.entries.items() if path not in self._forgotten}
            knowledge = replace(knowledge, entries=entries)
        return PushResult(
            replace(knowledge, settled=self._settle(knowledge.entries)),
            saved=sum(1 for entry in self._current.values() if entry.type != "directory"),
            moved=len(self._uploaded),
            moved_bytes=sum(entry.size for entry in self._uploaded.values()),
            failed=sorted(self._failed),
            obstructed=self._obstructed and knowledge.generation > self._old.generation,
        )

    def _settle(self, entries: Mapping[str, Entry]) -> Mapping[str, Local]:
        """What need not be looked at again while it stays as it is."""
        settled = self._settled
        for path, local in self._unsettled.items():
            entry = self._current.get(path)
            if entry is not None and is_settled(local, entry, self._signatures.get(path)):
                settled[path] = local
            else:
                settled.pop(path, None)
        if settled.keys() <= entries.keys():
            return settled
        return {path: local for path, local in settled.items() if path in entries}


async def scan(parts: Parts, paths: Sequence[str]) -> Mapping[str, Local]:
    """What the sandbox has at `paths`, or everywhere where there are none, by path.

    Raises:
        OperationError: As the runtime said it; NOT_FOUND, INVALID_ARGUMENT: `paths`.
    """
    if not paths:
        return await parts.files.scan_again(parts.excluded)
    try:
        return {local.path: local for local in await parts.files.scan(paths, ())}
    except OperationError as error:
        if error.code in {"NOT_FOUND", "INVALID_ARGUMENT"}:
            raise OperationError(error.code, error.reason, error.message, "paths") from error
        raise
