"""One restore: the stored generation, and what others put beside it, into the sandbox.

It may be interrupted anywhere and run again: what is there already is left alone.

Errors: OperationError of the runtime, StorageError of the store, ManifestError. A file that cannot be restored is a
failure of its own.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from sandbox_agent.storage.backends.object_store import ObjectNotFoundError, StorageUnavailableError
from sandbox_agent.storage.base_state import CONFLICT, Knowledge, Parts
from sandbox_agent.storage.progress import Memory, Meter, beside, for_each
from sandbox_agent.storage.push.plan import Local, is_same, is_unchanged, sign
from sandbox_agent.storage.restore.plan import Fetch, RestorePlan, plan_restore
from sandbox_link.protocol import OperationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox_agent.storage.repository.manifest import Entry
    from sandbox_agent.storage.repository.repository import Observed

ATTEMPTS: Final = 6
"""Looks at a workspace that others change meanwhile."""
_SHARE: Final = 2 << 20
"""Bytes that one streamed download holds."""


@dataclass(slots=True)
class RestoreResult:
    """What a restore did."""

    knowledge: Knowledge
    committed_at: str
    files: int = 0
    """Written; those that were there already are not counted."""
    size: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)


class Restore:
    """One restore.

    Args:
        parts: Of the workspace.
        known: What is known so far.
        meter: Is told how far it is.
        only_news: Bring only what changed in storage since then, and not over files that changed here too.
    """

    def __init__(self, parts: Parts, known: Knowledge | None, meter: Meter, *, only_news: bool = False) -> None:
        self._parts = parts
        self._meter = meter
        self._only_news = only_news
        self._memory = Memory()
        self._known = dict(known.entries) if known else {}
        self._signatures = dict(known.signatures) if known else {}
        self._had = set(known.held) if known else set()
        self._disputed = known.conflicts if known else frozenset()
        self._conflicts: set[str] = set()
        self._locals: dict[str, Local] = {}
        self._held: set[str] = set()
        self._failed: dict[str, str] = {}
        self._moved = False
        self._files = 0
        self._size = 0

    async def run(self) -> RestoreResult:
        """Restore what HEAD names when this ends."""
        # The sandbox looks through its files while storage is asked for its own.
        async with beside(self._parts.files.scan((), ())) as scanning:
            observed = await self._parts.generations.observe()
            # Once: from here on each file that is written is noted there.
            self._locals = {local.path: local for local in await scanning}
        for attempt in range(ATTEMPTS):
            if attempt:
                observed = await self._parts.generations.observe()
            if observed is not None and (result := await self._bring_all(observed)) is not None:
                return result
        raise StorageUnavailableError("others keep changing the stored workspace; try again")

    async def _bring_all(self, observed: Observed) -> RestoreResult | None:
        """Restore one state of storage; None where it moved on meanwhile."""
        state, stored = observed.state, observed.stored
        self._failed = dict(observed.refused)
        self._moved = False
        self._conflicts = set()
        entries = await self._apply(plan_restore(stored))
        if self._moved:
            return None
        held, conflicts = frozenset(self._held), frozenset(self._conflicts)
        committed = stored.manifest.by_path()
        entries = committed if entries == committed else entries
        knowledge = Knowledge(state.head.commit, entries, committed, self._signatures, held, conflicts)
        failed = sorted(self._failed.items())
        return RestoreResult(knowledge, state.head.committed_at, self._files, self._size, failed)

    async def _apply(self, plan: RestorePlan) -> dict[str, Entry]:
        """Carry a plan out; what is known to be stored then."""
        entries: dict[str, Entry] = {entry.path: entry for entry in plan.make}
        self._held = set()
        self._meter.expect(len(plan.fetch) + len(plan.make), sum(fetch.entry.size for fetch in plan.fetch))

        async def fetch(item: Fetch) -> None:
            if item.entry.sha256:
                entries[item.path] = item.entry
            with self._failing_alone(item.path):
                known = await (self._bring_news(item) if self._only_news else self._bring(item))
                if known is not None:
                    entries[item.path] = known

        await for_each(plan.fetch, fetch)
        for entry in plan.make:
            with self._failing_alone(entry.path):
                await self._make(entry)
        return entries

    async def _bring(self, item: Fetch) -> Entry | None:
        """Have the file in the sandbox; its entry, or None where the object is another one by now."""
        local, known = self._locals.get(item.path), self._known.get(item.path)
        if known is not None and is_unchanged(local, item.entry, known, self._signatures.get(item.path)):
            entry: Entry | None = known
        elif local is not None and await self._has_content(local, item.entry):
            entry = item.entry
        else:
            entry = await self._download(item)
        if entry is not None:
            self._held.add(item.path)
            self._had.add(item.path)
        return entry

    async def _bring_news(self, item: Fetch) -> Entry | None:
        """The same, over no version of the sandbox that storage never had."""
        path = item.path
        local, known = self._locals.get(path), self._known.get(path)
        is_known = known is not None and known.type == "file" and known.etag == item.entry.etag
        if is_known and path not in self._disputed:
            if path in self._had:
                self._held.add(path)
            return known
        if local is None or (path not in self._disputed and await self._is_as_known(local, known)):
            return await self._bring(item)
        theirs = await self._identify(item)
        if theirs is not None and await self._digest_of(local) == theirs.sha256:
            self._held.add(path)
        elif theirs is not None:
            self._conflicts.add(path)
            self._failed[path] = CONFLICT
        return theirs

    async def _is_as_known(self, local: Local, known: Entry | None) -> bool:
        """Whether the sandbox's file is the version that was stored before."""
        if known is None or local.type != "file" or known.type != "file":
            return known is not None and is_same(local.as_entry(), known)
        signature = self._signatures.get(local.path)
        if signature is not None and signature.is_settled and signature.times == local.times:
            return True
        return local.size == known.size and await self._digest_of(local) == known.sha256

    async def _digest_of(self, local: Local) -> str:
        return (await self._parts.files.hash(local.path))[0] if local.type == "file" else ""

    async def _identify(self, item: Fetch) -> Entry | None:
        """What is stored, with its digest; None where the object is another one by now."""
        if item.entry.sha256:
            return item.entry
        digest = hashlib.sha256()
        try:
            async with self._parts.store.get(item.key) as stored:
                async for chunk in stored.chunks:
                    digest.update(chunk)
                if stored.info.etag == item.etag:
                    return replace(item.entry, sha256=digest.hexdigest())
        except ObjectNotFoundError:
            pass
        self._moved = True
        return None

    async def _has_content(self, local: Local, entry: Entry) -> bool:
        """Whether the sandbox's file is as stored, by its digest."""
        if not entry.sha256 or local.type != "file" or (local.size, local.mode) != (entry.size, entry.mode & 0o777):
            return False
        seen = time.time_ns()
        digest, now = await self._parts.files.hash(local.path)
        if digest != entry.sha256:
            return False
        self._signatures[local.path] = sign(now, seen)
        return True

    async def _download(self, item: Fetch) -> Entry | None:
        try:
            async with (
                self._memory.share(min(item.entry.size, _SHARE)),
                self._parts.store.get(item.key) as stored,
            ):
                if stored.info.etag != item.etag:
                    self._moved = True
                    return None
                written = await self._parts.files.write(item.entry, stored.chunks)
        except ObjectNotFoundError:
            self._moved = True
            return None
        self._locals[item.path] = written.local
        self._signatures[item.path] = written.signature
        entry = replace(item.entry, sha256=written.sha256, size=written.size)
        self._known[item.path] = entry
        self._count(written.size)
        return entry

    async def _make(self, entry: Entry) -> None:
        """An empty folder or a symlink."""
        local, known = self._locals.get(entry.path), self._known.get(entry.path)
        is_there = local is not None and is_same(local.as_entry(), entry)
        if not is_there and self._only_news:
            if known is not None and is_same(entry, known):
                if entry.path in self._had:
                    self._held.add(entry.path)
                return
            if local is not None and not await self._is_as_known(local, known):
                self._conflicts.add(entry.path)
                self._failed[entry.path] = CONFLICT
                return
        if not is_there:
            written = await self._parts.files.write(entry, None)
            self._locals[entry.path] = written.local
            if entry.type == "symlink":
                self._count(0)
        self._held.add(entry.path)

    def _count(self, size: int) -> None:
        self._files += 1
        self._size += size
        self._meter.add(size)

    @contextlib.contextmanager
    def _failing_alone(self, path: str) -> Iterator[None]:
        try:
            yield
        except OperationError as error:
            if error.code == "UNAVAILABLE":
                raise
            self._failed[path] = f"{error.reason}: {error.message}"
