"""Restores the stored snapshot into the sandbox, including what other writers have added to it.

A restore may be interrupted at any point and run again. It leaves files alone that the sandbox already has.

Errors: OperationError of the runtime, StorageError of the store, ManifestError. A file that cannot be restored is a
failure of its own.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from sandbox_agent.storage.base_state import Base
from sandbox_agent.storage.concurrency import ByteBudget, for_each, run_alongside
from sandbox_agent.storage.errors import ObjectNotFoundError, StorageUnavailableError
from sandbox_agent.storage.push.conflicts import CONFLICT
from sandbox_agent.storage.push.plan import has_signature, is_same, is_unchanged, merge_metadata
from sandbox_agent.storage.restore.plan import Fetch, RestorePlan, plan_restore
from sandbox_agent.storage.sandbox.file_info import sign
from sandbox_link.protocol import OperationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox_agent.storage.context import WorkspaceContext
    from sandbox_agent.storage.progress import ProgressMeter
    from sandbox_agent.storage.repository.manifest import Entry
    from sandbox_agent.storage.repository.repository import StoredState
    from sandbox_agent.storage.sandbox.file_info import LocalEntry, Signature

ATTEMPTS: Final = 6
"""Attempts, if other writers change the stored workspace meanwhile. Each one observes it again."""
_DOWNLOAD_BYTES: Final = 2 << 20
"""Bytes that one streamed download holds in memory."""


@dataclass(slots=True)
class RestoreResult:
    """The outcome of a restore."""

    base: Base
    files: int = 0
    """Files and symlinks that were written. Those that the sandbox already had do not count."""
    size: int = 0
    """Bytes of the written files."""
    failed: list[tuple[str, str]] = field(default_factory=list)
    """Paths and reasons."""


@dataclass(slots=True)
class _SandboxState:
    """The sandbox's files and what is known of their content. Files that the restore writes are added."""

    entries: dict[str, Entry]
    """The entries that the sandbox's files had when they were last saved or restored, by path."""
    signatures: dict[str, Signature]
    was_in_sandbox: set[str]
    """Paths that the sandbox has or had. If the sandbox lacks one, it was deleted there."""
    local: dict[str, LocalEntry] = field(default_factory=dict)


@dataclass(slots=True)
class _Attempt:
    """The attempt to restore one observed state of storage."""

    failed: dict[str, str]
    in_sandbox: set[str] = field(default_factory=set)
    conflicts: set[str] = field(default_factory=set)
    is_outdated: bool = False
    """Another writer replaced an object after the observation."""


class Restore:
    """One restore.

    Args:
        context: The workspace's.
        base: The remote state that the sandbox last saw. None if unknown.
        meter: Measures the progress.
        changes_only: Fetch only what changed in storage since the base. A file that also changed in the sandbox
            becomes a conflict.
    """

    def __init__(
        self, context: WorkspaceContext, base: Base | None, meter: ProgressMeter, *, changes_only: bool = False
    ) -> None:
        base = base or Base()
        self._context = context
        self._meter = meter
        self._changes_only = changes_only
        self._budget = ByteBudget()
        self._earlier_conflicts = base.conflicts
        self._sandbox = _SandboxState(dict(base.entries), dict(base.signatures), set(base.in_sandbox))
        self._attempt = _Attempt({})
        self._files = 0
        self._size = 0

    async def run(self) -> RestoreResult:
        """Restore the snapshot that HEAD names when the restore ends.

        Raises:
            StorageUnavailableError: Others changed the workspace during every attempt.
        """
        # The sandbox scans its files while storage lists its own.
        async with run_alongside(self._context.files.scanner.scan((), ())) as scanning:
            observed = await self._context.repository.observe()
            # One scan is enough: each file that is written from here on is added to it.
            self._sandbox.local = dict((await scanning).found)
        for attempt in range(ATTEMPTS):
            if attempt:
                observed = await self._context.repository.observe()
            if observed is not None and (result := await self._restore(observed)) is not None:
                return result
        raise StorageUnavailableError("other writers keep changing the stored workspace; try again")

    async def _restore(self, stored: StoredState) -> RestoreResult | None:
        """Restore one observed state of storage. Returns None if it is outdated."""
        attempt = self._attempt = _Attempt(dict(stored.refused))
        entries = await self._apply(plan_restore(stored))
        if attempt.is_outdated:
            return None
        in_sandbox, conflicts = frozenset(attempt.in_sandbox), frozenset(attempt.conflicts)
        committed = stored.manifest.by_path()
        entries = committed if entries == committed else entries
        base = Base(stored.state.head.commit, entries, committed, self._sandbox.signatures, in_sandbox, conflicts)
        return RestoreResult(base, self._files, self._size, sorted(attempt.failed.items()))

    async def _apply(self, plan: RestorePlan) -> dict[str, Entry]:
        """Carry out a plan, and return the stored entries by path."""
        entries: dict[str, Entry] = {entry.path: entry for entry in plan.make}
        self._meter.expect(len(plan.fetch) + len(plan.make), sum(fetch.entry.size for fetch in plan.fetch))

        async def fetch(item: Fetch) -> None:
            if item.entry.sha256:
                entries[item.path] = item.entry
            with self._collecting_failure(item.path):
                fetch_file = self._fetch_if_unmodified_here if self._changes_only else self._fetch
                entry = await fetch_file(item)
                if entry is not None:
                    entries[item.path] = entry

        await for_each(plan.fetch, fetch)
        for entry in plan.make:
            with self._collecting_failure(entry.path):
                await self._make(entry)
        return entries

    async def _fetch(self, item: Fetch) -> Entry | None:
        """Fetch a file unless the sandbox has it. Returns its entry, or None if the plan is outdated."""
        sandbox = self._sandbox
        local, known = sandbox.local.get(item.path), sandbox.entries.get(item.path)
        if known is not None and is_unchanged(local, item.entry, known, sandbox.signatures.get(item.path)):
            entry: Entry | None = known
        elif local is not None and await self._has_content(local, item.entry):
            entry = item.entry
        else:
            entry = await self._download(item)
        if entry is not None:
            self._attempt.in_sandbox.add(item.path)
            sandbox.was_in_sandbox.add(item.path)
        return entry

    async def _fetch_if_unmodified_here(self, item: Fetch) -> Entry | None:
        """Fetch a file that changed in storage, unless the sandbox has changes that were never saved.

        Such a file becomes a conflict. Returns the stored entry, or None if the plan is outdated.
        """
        path, attempt = item.path, self._attempt
        local, known = self._sandbox.local.get(path), self._sandbox.entries.get(path)
        is_in_conflict = path in self._earlier_conflicts
        if known is not None and known.type == "file" and known.etag == item.entry.etag and not is_in_conflict:
            if path in self._sandbox.was_in_sandbox:
                attempt.in_sandbox.add(path)
            return known
        if local is None or (not is_in_conflict and await self._is_as_known(local, known)):
            return await self._fetch(item)
        entry = await self._identify(item)
        if entry is not None and await self._digest_of(local) == entry.sha256:
            attempt.in_sandbox.add(path)
        elif entry is not None:
            self._add_conflict(path)
        return entry

    async def _is_as_known(self, local: LocalEntry, known: Entry | None) -> bool:
        """Return whether the sandbox's file is the version that was saved or restored last."""
        if known is None or local.type != "file" or known.type != "file":
            return known is not None and is_same(local.as_entry(), known)
        if has_signature(local, self._sandbox.signatures.get(local.path)):
            return True
        return local.size == known.size and await self._digest_of(local) == known.sha256

    async def _digest_of(self, local: LocalEntry) -> str:
        return (await self._context.files.hash(local))[0] if local.type == "file" else ""

    async def _identify(self, item: Fetch) -> Entry | None:
        """Return the stored entry with its digest, which may need a download. Returns None if the plan is outdated."""
        if item.entry.sha256:
            return item.entry
        digest = hashlib.sha256()
        try:
            async with self._context.store.get(item.key) as stored:
                async for chunk in stored.chunks:
                    digest.update(chunk)
                if stored.info.etag == item.etag:
                    return replace(item.entry, sha256=digest.hexdigest())
        except ObjectNotFoundError:
            pass
        self._attempt.is_outdated = True
        return None

    async def _has_content(self, local: LocalEntry, entry: Entry) -> bool:
        """Return whether the sandbox's file has the stored content, by its digest."""
        known, signature = self._sandbox.entries.get(local.path), self._sandbox.signatures.get(local.path)
        described = (local.size, local.mode, merge_metadata(local, known, signature))
        if not entry.sha256 or local.type != "file" or described != (entry.size, entry.mode & 0o777, entry.metadata):
            return False
        seen = time.time_ns()
        digest, now = await self._context.files.hash(local)
        if digest != entry.sha256:
            return False
        # Metadata that changed since the scan is a change in the sandbox.
        self._sandbox.signatures[local.path] = replace(sign(now, seen), metadata=local.metadata)
        return True

    async def _download(self, item: Fetch) -> Entry | None:
        """Download a file into the sandbox. Returns its entry, or None if the plan is outdated."""
        try:
            async with (
                self._budget.reserve(min(item.entry.size, _DOWNLOAD_BYTES)),
                self._context.store.get(item.key) as stored,
            ):
                if stored.info.etag != item.etag:
                    self._attempt.is_outdated = True
                    return None
                written = await self._context.files.write(item.entry, stored.chunks)
        except ObjectNotFoundError:
            self._attempt.is_outdated = True
            return None
        self._sandbox.local[item.path] = written.local
        self._sandbox.signatures[item.path] = written.signature
        entry = replace(item.entry, sha256=written.sha256, size=written.size)
        self._sandbox.entries[item.path] = entry
        self._count(written.size)
        return entry

    async def _make(self, entry: Entry) -> None:
        """Make an empty folder or a symlink."""
        sandbox = self._sandbox
        local, known = sandbox.local.get(entry.path), sandbox.entries.get(entry.path)
        is_there = local is not None and is_same(local.as_entry(), entry)
        if not is_there and self._changes_only:
            if known is not None and is_same(entry, known):
                if entry.path in sandbox.was_in_sandbox:
                    self._attempt.in_sandbox.add(entry.path)
                return
            if local is not None and not await self._is_as_known(local, known):
                self._add_conflict(entry.path)
                return
        if not is_there:
            written = await self._context.files.write(entry, None)
            sandbox.local[entry.path] = written.local
            if entry.type == "symlink":
                self._count(0)
        self._attempt.in_sandbox.add(entry.path)

    def _count(self, size: int) -> None:
        self._files += 1
        self._size += size
        self._meter.add(size)

    def _add_conflict(self, path: str) -> None:
        self._attempt.conflicts.add(path)
        self._attempt.failed[path] = CONFLICT

    @contextlib.contextmanager
    def _collecting_failure(self, path: str) -> Iterator[None]:
        """Turn an error of the body into a failure of this path, unless the sandbox is unavailable."""
        try:
            yield
        except OperationError as error:
            if error.code == "UNAVAILABLE":
                raise
            self._attempt.failed[path] = f"{error.reason}: {error.message}"
