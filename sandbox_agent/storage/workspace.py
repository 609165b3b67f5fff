"""A session's workspace in object storage: push, restore, what others put there, status, and what is stored.

Errors: OperationError alone. UNAVAILABLE, STORAGE_UNAVAILABLE: nothing is lost, try again; ABORTED,
WORKSPACE_CONFLICT: another writer has been there, restore first.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sandbox_agent.storage import messages as reports
from sandbox_agent.storage.autosave import OnChange, Syncing
from sandbox_agent.storage.backends.s3.client import read_settings
from sandbox_agent.storage.backends.s3.store import S3Store
from sandbox_agent.storage.base_state import Knowledge, Parts
from sandbox_agent.storage.browse import StoredFiles
from sandbox_agent.storage.errors import translating
from sandbox_agent.storage.knowing import Recollection
from sandbox_agent.storage.progress import Meter, attended, beside
from sandbox_agent.storage.push.conflicts import keep_both
from sandbox_agent.storage.push.dirtiness import is_dirty
from sandbox_agent.storage.push.push import Push, PushResult, scan
from sandbox_agent.storage.repository.admission import MovedError, check_free
from sandbox_agent.storage.repository.repository import Generations
from sandbox_agent.storage.restore.remote_changes import Looks, Ways
from sandbox_agent.storage.restore.restore import Restore
from sandbox_agent.storage.sandbox.files import SandboxFiles
from sandbox_agent.storage.saved_variables import Place, Variables
from sandbox_link.protocol import OperationError
from sandbox_proto import tracing
from sandbox_proto.v1 import workspace_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence

    from sandbox_agent.storage.autosave import Pace
    from sandbox_agent.storage.backends.object_store import ObjectStore
    from sandbox_agent.storage.push.plan import Local
    from sandbox_agent.storage.repository.keys import Keys
    from sandbox_agent.storage.repository.repository import HeadState
    from sandbox_agent.storage.restore.restore import RestoreResult
    from sandbox_link.protocol import Runtime
    from sandbox_proto.v1 import session_pb2


class Workspace:
    """A session's workspace. Pushes and restores of it run one after the other.

    Args:
        store: The bucket.
        keys: Where in it.
        runtime: Has the files.
        writer: As for `opening.build_workspace`.
        exclude: What a push of everything leaves out, besides the default.
        interval: Seconds that a look for what others stored is good for; 0: every call looks; negative: none does.
        pace: How soon changes are saved unasked; None: never.

    Attributes:
        on_change: What saves changes unasked, where that was asked for and `start` was called.
        saved_bytes: Of files that pushes have uploaded, since Bind.
    """

    def __init__(
        self,
        store: ObjectStore,
        keys: Keys,
        runtime: Runtime,
        writer: str,
        exclude: tuple[str, ...] = (),
        interval: float = 0.0,
        pace: Pace | None = None,
    ) -> None:
        self._store = store
        files, generations = SandboxFiles(runtime), Generations(store, keys)
        self._parts = Parts(store, keys, generations, files, writer, exclude, _now)
        self._stored = StoredFiles(store, keys)
        self._recollection = Recollection(self._parts)
        self._push_under_way: Push | None = None
        self._looks = Looks(self._parts, self._recollection, Ways(self._known, self._uploads, self.refresh), interval)
        self._freshness = self._looks.freshness
        self._pace = pace
        self.on_change: OnChange | None = None
        self.saved_bytes = 0
        self._lock = asyncio.Lock()
        self._push_failed = False
        self._last_error = ""

    def is_fresh(self) -> bool:
        """Whether nothing was stored by others since the last look, surely; else a call awaits `freshen` first."""
        return self._freshness is None or self._freshness.is_fresh()

    async def freshen(self) -> None:
        """Bring what others stored before this call began. Never fails: see freshness.py."""
        if self._freshness is not None:
            await self._freshness.freshen()

    def start(self, ready: Callable[[], Awaitable[object]]) -> None:
        """Save changes unasked from when `ready` returns, where the session was bound so."""
        if self._pace is not None and self.on_change is None:
            watched = Syncing(self._parts.files.runtime, self._parts.excluded, ready, self._save, self._pace)
            self.on_change = OnChange(watched)
            self.on_change.start()

    async def push(
        self, paths: Sequence[str] = (), *, follow: bool = False
    ) -> AsyncGenerator[workspace_pb2.PushResponse, None]:
        """Save `paths`, or everything; progress, then exactly one `done`.

        Args:
            paths: Relative to the workspace root; empty: everything.
            follow: What another session saved since the last look is brought first; else it is an error. No look at
                every stored file precedes a push: an upload's own condition tells whose object it would replace.
        """
        meter = Meter()
        task = asyncio.create_task(self._push(paths, meter, follow=follow))
        async with contextlib.aclosing(attended(task, meter)) as steps:
            async for step in steps:
                if isinstance(step, workspace_pb2.Progress):
                    yield workspace_pb2.PushResponse(progress=step)
                    continue
                yield workspace_pb2.PushResponse(done=reports.push_done(step))

    async def push_last(self, session_name: str) -> workspace_pb2.PushDone:
        """Save everything before the sandbox goes, conflicts too: its version under another name (see `conflicts`)."""
        if not self.is_fresh():
            await self.freshen()
        result = await self._push((), Meter())
        if await keep_both(self._parts.files, result.failed, session_name):
            result = await self._push((), Meter())
        await self.settle()
        return reports.push_done(result)

    async def settle(self) -> None:
        """Wait for what goes on behind the answer of a push: the removal of what no generation needs any more."""
        await self._parts.generations.garbage.settle()

    async def restore(self) -> AsyncGenerator[workspace_pb2.RestoreResponse, None]:
        """Bring the stored generation back; progress, then exactly one `done`. May be run again at any time."""
        meter = Meter()
        task = asyncio.create_task(self._restore(meter, only_news=False))
        async with contextlib.aclosing(attended(task, meter)) as steps:
            async for step in steps:
                if isinstance(step, workspace_pb2.Progress):
                    yield workspace_pb2.RestoreResponse(progress=step)
                else:
                    yield workspace_pb2.RestoreResponse(done=reports.restore_done(step))

    async def refresh(self) -> workspace_pb2.RestoreDone:
        """Bring only what changed in storage since the last push or restore; what changed here stays as it is."""
        return reports.restore_done(await self._restore(Meter(), only_news=True))

    async def status(self) -> workspace_pb2.WorkspaceStatus:
        """What is saved and what is not. Never fails: what cannot be found out counts as not saved."""
        error = self._last_error or self._looks.error
        # Before the look: a save that ends meanwhile must not make something seem unsaved that nobody will save.
        lag = None if self.on_change is None else self.on_change.lag
        try:
            with translating():
                knowledge = await self._known()
            dirty = self._push_failed or await is_dirty(self._parts, knowledge)
        except OperationError as failure:
            knowledge, dirty = self._recollection.knowledge or Knowledge((0, "", "")), True
            error = error or f"{failure.reason}: {failure.message}"
        return reports.status(knowledge, self._recollection.synced_at, error, lag, dirty=dirty)

    def variables_of(self, session_name: str) -> Variables:
        """Variables of a session, kept beside its files."""
        place = Place(self._store, self._parts.keys, session_name)
        return Variables(place, self._parts.files.runtime, self._commit)

    def renew(self, s3: session_pb2.S3Store) -> None:
        """Use new credentials from the next request on.

        Raises:
            OperationError: FAILED_PRECONDITION: this workspace is not in S3.
        """
        if not isinstance(self._store, S3Store):
            raise OperationError("FAILED_PRECONDITION", "INVALID_ARGUMENT", "this workspace is not in S3", "s3")
        self._store.renew(read_settings(s3))

    @property
    def credentials_expire_at(self) -> datetime | None:
        """When the store's credentials end; None: nobody said, or there are none."""
        return self._store.credentials_expire_at if isinstance(self._store, S3Store) else None

    @property
    def needs_credentials(self) -> bool:
        """Whether calls of the store wait for other credentials, or soon will."""
        return isinstance(self._store, S3Store) and self._store.needs_credentials

    async def list_stored(
        self, prefix: str = "", page_size: int = 0, page_token: str = ""
    ) -> workspace_pb2.ListStoredResponse:
        """A page of what is stored; see ListStoredRequest."""
        with translating():
            return await self._stored.list(prefix, page_size, page_token)

    async def read_stored(self, path: str) -> AsyncGenerator[workspace_pb2.ReadStoredResponse, None]:
        """A stored file: `info`, then its content."""
        with translating():
            async with contextlib.aclosing(self._stored.read(path)) as parts:
                async for part in parts:
                    yield part

    async def close(self) -> None:
        """Give up connections and threads."""
        if self.on_change is not None:
            await self.on_change.stop()
        if self._freshness is not None:
            await self._freshness.close()
        await self._parts.generations.garbage.close()
        await self._store.close()

    async def _save(self) -> bool:
        result = await self._push((), Meter(), follow=True)
        # Any other failure stays one until the file changes.
        return not any(reason.startswith("FILE_CHANGED") for _, reason in result.failed)

    async def _push(self, paths: Sequence[str], meter: Meter, *, follow: bool = False) -> PushResult:
        with tracing.span("sandbox.push") as span:
            try:
                result = await self._push_alone(paths, meter)
            except MovedError:
                if not follow or self._freshness is None:
                    raise
                await self.refresh()
                result = await self._push_alone(paths, meter)
            span.set("sandbox.generation", result.knowledge.generation)
            span.set("sandbox.files", result.moved)
            span.set("sandbox.bytes", result.moved_bytes)
            span.set("sandbox.failed", len(result.failed))
            return result

    async def _push_alone(self, paths: Sequence[str], meter: Meter) -> PushResult:
        async with self._lock:
            try:
                with translating():
                    result = await self._push_once(paths, meter)
                    if result.obstructed:
                        moved, size = result.moved, result.moved_bytes
                        result = await self._push_once(paths, meter)
                        result.moved += moved
                        result.moved_bytes += size
            except OperationError as error:
                self._push_failed = self._push_failed or error.code != "NOT_FOUND"
                self._last_error = f"{error.reason}: {error.message}"
                raise
            self._push_failed = False
            self._last_error = ""
            return result

    async def _push_once(self, paths: Sequence[str], meter: Meter) -> PushResult:
        # The sandbox looks through its files while storage is asked for HEAD.
        async with beside(scan(self._parts, paths)) as scanning:
            state = await self._parts.generations.read_head()
            knowledge = self._recollection.match(state) or await self._recollection.adopt(state)
            check_free(state, knowledge, self._parts.writer)
            push = Push(self._parts, knowledge, meter)
            result = await self._run(push, paths, state, await scanning)
        await self._recollection.keep(result.knowledge)
        if push.garbage is not None:
            self._parts.generations.garbage.remove(*push.garbage)
        self.saved_bytes += result.moved_bytes
        return result

    async def _run(
        self, push: Push, paths: Sequence[str], state: HeadState, scanned: Mapping[str, Local]
    ) -> PushResult:
        self._push_under_way = push
        try:
            return await push.run(paths, state, scanned)
        except BaseException:
            self._recollection.uncertain = push.intended
            raise
        finally:
            self._push_under_way = None

    async def _restore(self, meter: Meter, *, only_news: bool) -> RestoreResult:
        with tracing.span("sandbox.restore") as span:
            result = await self._restore_alone(meter, only_news=only_news)
            span.set("sandbox.generation", result.knowledge.generation)
            span.set("sandbox.files", result.files)
            span.set("sandbox.bytes", result.size)
            span.set("sandbox.failed", len(result.failed))
            return result

    async def _restore_alone(self, meter: Meter, *, only_news: bool) -> RestoreResult:
        async with self._lock:
            try:
                with translating():
                    known = await self._recollection.recall() if only_news else self._recollection.knowledge
                    result = await Restore(self._parts, known, meter, only_news=only_news).run()
            except OperationError as error:
                self._last_error = f"{error.reason}: {error.message}"
                raise
            await self._recollection.keep(result.knowledge)
            self._last_error = ""
            return result

    async def _known(self) -> Knowledge:
        if self._recollection.knowledge is None:
            async with self._lock:
                return await self._recollection.recall()
        return self._recollection.knowledge

    def _commit(self) -> tuple[int, str, str] | None:
        knowledge = self._recollection.knowledge
        return knowledge.commit if knowledge is not None else None

    def _uploads(self) -> frozenset[str] | None:
        return self._push_under_way.uploads if self._push_under_way is not None else None


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
