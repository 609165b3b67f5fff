"""One push: from the scan to the commit of a generation.

Errors: OperationError of the runtime, StorageError of the store. A file that cannot be saved is a failure of its own.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from sandbox_agent.link.calls import OperationError
from sandbox_agent.storage.claim import Claim
from sandbox_agent.storage.head import Head
from sandbox_agent.storage.manifest import Manifest, manifest_name
from sandbox_agent.storage.names import NameRefusedError
from sandbox_agent.storage.object_store import KeyObstructedError
from sandbox_agent.storage.sandbox_files import FileChangedError
from sandbox_agent.storage.sync_plan import Local, Signature, before_of, is_same, merge_entries, plan_push, sign
from sandbox_agent.storage.transfers import Memory, Meter, for_each

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sandbox_agent.storage.generations import Generations, HeadState
    from sandbox_agent.storage.manifest import Entry
    from sandbox_agent.storage.names import Keys
    from sandbox_agent.storage.object_store import ObjectStore
    from sandbox_agent.storage.sandbox_files import SandboxFiles

ATTEMPTS: Final = 3
"""Readings of a file that changes meanwhile."""
DEFAULT_EXCLUDE: Final = (
    ".cache",
    "__pycache__",
    "node_modules",
    ".venv",
    ".ipynb_checkpoints",
    "*.sandbox-part",
)


@dataclass(frozen=True, slots=True)
class Parts:
    """What pushes and restores of a workspace work with."""

    store: ObjectStore
    keys: Keys
    generations: Generations
    files: SandboxFiles
    writer: str
    exclude: tuple[str, ...]
    now: Callable[[], str]
    """ISO 8601 with a zone."""


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What this sandbox knows of storage. Replaced as a whole, never changed."""

    commit: tuple[int, str, str]
    """Which commit it is about."""
    entries: dict[str, Entry] = field(default_factory=dict)
    """What is stored, others' additions included, by path."""
    signatures: dict[str, Signature] = field(default_factory=dict)
    held: frozenset[str] = frozenset()
    """Paths of it that the sandbox has had."""

    @property
    def generation(self) -> int:
        """The generation it is about."""
        return self.commit[0]


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
    """

    def __init__(self, parts: Parts, known: Knowledge, meter: Meter) -> None:
        self._parts = parts
        self._old = known
        self._meter = meter
        self._memory = Memory()
        self._known = dict(known.entries)
        self._signatures = dict(known.signatures)
        self._current: dict[str, Entry] = {}
        self._uploaded: dict[str, Entry] = {}
        self._failed: list[tuple[str, str]] = []
        self._obstructed = False
        self.intended: Knowledge | None = None

    async def run(self, paths: Sequence[str], state: HeadState) -> PushResult:
        """Push `paths`, or everything where there are none.

        Args:
            paths: As the client gave them.
            state: HEAD, of the commit that the knowledge is about.
        """
        scanned = [local for local in await self._scan(paths) if self._is_storable(local)]
        held = self._old.held if not paths else ()
        plan = plan_push(scanned, self._known, self._signatures, held)
        self._current = {entry.path: entry for entry in (*plan.keep, *plan.describe)}
        uploads = plan.upload + await self._compare(plan.compare)
        dropped = await self._find_dropped(plan.gone)
        self._meter.expect(len(scanned), sum(local.size for local in uploads))
        self._meter.add(0, len(scanned) - len(uploads))
        if not uploads and not state.head.pushing and not self._has_changed(dropped):
            return self._result(replace(self._old, signatures=self._signatures, held=self._held(dropped)))
        return await self._save(state, uploads, dropped)

    async def _save(self, state: HeadState, uploads: Sequence[Local], dropped: Sequence[str]) -> PushResult:
        parts = self._parts
        claim = Claim(parts.store, parts.keys, parts.generations, parts.writer, parts.now)
        await claim.take(state, {local.path: before_of(self._known.get(local.path)) for local in uploads})
        async with claim.kept_alive():
            await claim.keep_replaced([local.path for local in uploads])
            await for_each(uploads, self._upload)
            await claim.repair(self._known, self._uploaded)
        self._current.update(self._uploaded)
        if not self._has_changed(dropped) and self._known == self._old.entries:
            await claim.abandon()
            return self._result(replace(self._old, entries=self._known, signatures=self._signatures))
        knowledge, head = await self._describe(state.head.generation + 1, dropped)
        self.intended = knowledge
        await claim.commit(head)
        await claim.release(state.head.manifest)
        return self._result(knowledge)

    async def _describe(self, generation: int, dropped: Sequence[str]) -> tuple[Knowledge, Head]:
        """Write the manifest; the knowledge and the HEAD that go with it."""
        now, writer = self._parts.now(), self._parts.writer
        self._refresh_etags()
        entries = merge_entries(self._known, self._current, dropped)
        await self._parts.generations.write_manifest(Manifest(generation, now, writer, tuple(entries.values())))
        removed = {
            path: entry.etag
            for path, entry in self._known.items()
            if entry.type == "file" and (path not in entries or entries[path].type != "file")
        }
        head = Head(generation, manifest_name(generation), writer, now, removed=removed)
        held = self._held(dropped) & entries.keys()
        return Knowledge(head.commit, entries, self._signatures, held), head

    def _refresh_etags(self) -> None:
        """An object that was brought back after an interrupted push has another etag than when the plan was made."""
        for path, entry in self._current.items():
            known = self._known.get(path)
            if path not in self._uploaded and known is not None and known.sha256 == entry.sha256:
                self._current[path] = replace(entry, etag=known.etag)

    async def _scan(self, paths: Sequence[str]) -> list[Local]:
        exclude = () if paths else (*DEFAULT_EXCLUDE, *self._parts.exclude)
        try:
            return await self._parts.files.scan(paths, exclude)
        except OperationError as error:
            if paths and error.code in {"NOT_FOUND", "INVALID_ARGUMENT"}:
                raise OperationError(error.code, error.reason, error.message, "paths") from error
            raise

    def _is_storable(self, local: Local) -> bool:
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

    async def _upload(self, local: Local) -> None:
        with self._failing_alone(local.path):
            for _ in range(ATTEMPTS):
                try:
                    await self._upload_once(local)
                except FileChangedError:
                    local = await self._look_again(local.path)
                else:
                    return
            raise OperationError("ABORTED", "FILE_CHANGED", "it kept changing while it was read; push it again")

    async def _upload_once(self, local: Local) -> None:
        async with self._memory.share(local.size):
            reading = await self._parts.files.open(local)
            async with contextlib.aclosing(reading.chunks()) as chunks:
                etag = await self._parts.store.put(self._parts.keys.of_file(local.path), chunks)
        self._uploaded[local.path] = reading.local.as_entry(reading.sha256, etag)
        self._signatures[local.path] = reading.signature
        self._meter.add(local.size)

    async def _look_again(self, path: str) -> Local:
        for local in await self._parts.files.scan([path], ()):
            if local.path == path and local.type == "file":
                return local
        raise OperationError("FAILED_PRECONDITION", "NOT_A_FILE", "it is no regular file any more")

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
        entries = merge_entries(self._known, self._current, dropped)
        if entries.keys() != self._known.keys():
            return True
        return any(not is_same(entry, self._known[path]) for path, entry in self._current.items() if path in entries)

    def _held(self, dropped: Sequence[str]) -> frozenset[str]:
        return (self._old.held | self._current.keys()).difference(dropped)

    def _result(self, knowledge: Knowledge) -> PushResult:
        return PushResult(
            knowledge,
            saved=sum(1 for entry in self._current.values() if entry.type != "directory"),
            moved=len(self._uploaded),
            moved_bytes=sum(entry.size for entry in self._uploaded.values()),
            failed=sorted(self._failed),
            obstructed=self._obstructed and knowledge.generation > self._old.generation,
        )
