"""A session's workspace in object storage: push, restore, remote changes, status, and browsing.

Every public operation of storage starts here.

Errors: OperationError alone. UNAVAILABLE, STORAGE_UNAVAILABLE: nothing is lost, try again. ABORTED,
WORKSPACE_CONFLICT: another writer changed the workspace, restore first.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sandbox_agent.durations import duration_seconds
from sandbox_agent.storage import messages
from sandbox_agent.storage.autosave import AutoSave, AutoSavePolicy
from sandbox_agent.storage.backends.directory.store import DirectoryStore
from sandbox_agent.storage.backends.s3.client import read_settings
from sandbox_agent.storage.backends.s3.store import S3Store
from sandbox_agent.storage.base_state import Base, BaseTracker
from sandbox_agent.storage.browse import StoredFiles
from sandbox_agent.storage.check import StorageCheck
from sandbox_agent.storage.context import WorkspaceContext
from sandbox_agent.storage.errors import translating
from sandbox_agent.storage.progress import ProgressMeter, with_progress
from sandbox_agent.storage.push.conflicts import keep_both
from sandbox_agent.storage.push.local_changes import is_dirty
from sandbox_agent.storage.push.push import push_changes
from sandbox_agent.storage.repository.keys import Keys, NameRefusedError
from sandbox_agent.storage.repository.lock import BaseMovedError
from sandbox_agent.storage.repository.repository import Repository
from sandbox_agent.storage.restore.remote_changes import RemoteChanges
from sandbox_agent.storage.restore.restore import Restore
from sandbox_agent.storage.sandbox.files import SandboxFiles
from sandbox_agent.storage.saved_variables import Location, Variables
from sandbox_link.protocol import OperationError, invalid
from sandbox_proto import tracing
from sandbox_proto.v1 import workspace_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence

    from sandbox_agent.storage.backends.object_store import ObjectStore
    from sandbox_agent.storage.push.push import PushResult
    from sandbox_agent.storage.repository.head import CommitId
    from sandbox_agent.storage.restore.restore import RestoreResult
    from sandbox_link.protocol import Runtime
    from sandbox_proto.v1 import session_pb2


class Workspace:
    """A session's workspace. Its pushes and restores run one after the other.

    Args:
        store: The bucket.
        keys: The workspace's keys in it.
        runtime: Gives access to the sandbox's files.
        writer: The session's name and uid. They distinguish its own interrupted push from another session's.
        exclude: Patterns that a push of everything leaves out, besides the default ones.
        max_age: Seconds that a check for remote changes stays valid. 0: every call checks. Negative: no call checks.
        autosave_policy: How soon changes are saved automatically. None: never.
        max_bytes: Bytes of all files that pushes save. 0: no limit.

    Attributes:
        autosave: Saves changes automatically. None before `start_autosave`, or if the session was bound without it.
    """

    def __init__(
        self,
        store: ObjectStore,
        keys: Keys,
        runtime: Runtime,
        writer: str,
        exclude: tuple[str, ...] = (),
        max_age: float = 0.0,
        autosave_policy: AutoSavePolicy | None = None,
        max_bytes: int = 0,
    ) -> None:
        self._context = WorkspaceContext(
            store, keys, Repository(store, keys), SandboxFiles(runtime), writer, exclude, _now, max_bytes
        )
        self._tracker = BaseTracker(self._context)
        self._remote_changes: RemoteChanges | None = None
        if max_age >= 0:
            self._remote_changes = RemoteChanges(self._context, self._tracker, self._load_base, self.refresh, max_age)
        self._autosave_policy = autosave_policy
        self.autosave: AutoSave | None = None
        self._mutex = asyncio.Lock()
        self._push_failed = False
        self._last_error = ""
        self._unsaved: Sequence[tuple[str, str]] = ()

    @classmethod
    def open(cls, binding: session_pb2.WorkspaceBinding, runtime: Runtime, writer: str) -> Workspace:
        """Return the workspace that a binding names.

        Args:
            binding: A binding with a store.
            runtime: Gives access to the sandbox's files.
            writer: The session's name and uid.

        Raises:
            OperationError: INVALID_ARGUMENT, field `workspace.key_prefix`, `workspace.store` or
                `workspace.max_staleness`.
        """
        store: ObjectStore
        if binding.WhichOneof("store") == "s3":
            store = S3Store(read_settings(binding.s3))
        elif binding.WhichOneof("store") == "directory" and binding.directory.path:
            store = DirectoryStore(binding.directory.path)
        else:
            raise invalid("workspace.store", "a workspace needs a store: set s3, or directory with a path")
        try:
            keys = Keys(binding.key_prefix)
        except NameRefusedError as error:
            raise invalid("workspace.key_prefix", str(error)) from error
        max_age = duration_seconds(binding.max_staleness)
        if math.isnan(max_age):
            raise invalid("workspace.max_staleness", "max_staleness has nanoseconds out of range")
        policy = AutoSavePolicy() if binding.save_on_change else None
        return cls(store, keys, runtime, writer, tuple(binding.exclude), max_age, policy, binding.max_bytes)

    @property
    def saved_bytes(self) -> int:
        """Bytes of the files that pushes have uploaded, since Bind."""
        return self._tracker.saved_bytes

    def is_fresh(self) -> bool:
        """Return whether the last check for remote changes is still valid. If not, a call awaits `refresh_if_stale`."""
        return self._remote_changes is None or self._remote_changes.is_fresh()

    async def refresh_if_stale(self) -> None:
        """Fetch what others stored before this call began. Never raises. Safe to cancel."""
        if self._remote_changes is not None:
            await self._remote_changes.refresh_if_stale()

    def start_autosave(self, ready: Callable[[], Awaitable[object]]) -> None:
        """Save changes automatically once `ready` has returned, if the session was bound with autosave."""
        if self._autosave_policy is not None and self.autosave is None:
            files, policy = self._context.files, self._autosave_policy
            self.autosave = AutoSave(files.runtime, self._context.excluded, ready, self._save, policy)
            self.autosave.start()

    async def push(
        self, paths: Sequence[str] = (), *, follow: bool = False
    ) -> AsyncGenerator[workspace_pb2.PushResponse, None]:
        """Save `paths`, or everything. Yield the progress, then exactly one `done`.

        A push does not list the stored files first: each upload's condition protects objects of other writers.

        Args:
            paths: Relative to the workspace root; empty for everything.
            follow: If another session has committed since the last check, fetch its changes and push again. If False,
                its commit is an error.
        """
        meter = ProgressMeter()
        task = asyncio.create_task(self._push(paths, meter, follow=follow))
        async with contextlib.aclosing(with_progress(task, meter)) as steps:
            async for step in steps:
                if isinstance(step, workspace_pb2.Progress):
                    yield workspace_pb2.PushResponse(progress=step)
                else:
                    yield workspace_pb2.PushResponse(done=messages.push_done(step))

    async def push_last(self, session_name: str) -> workspace_pb2.PushDone:
        """Save everything before the sandbox ends. For a file in conflict, save its version under another name."""
        if not self.is_fresh():
            await self.refresh_if_stale()
        result = await self._push((), ProgressMeter())
        if await keep_both(self._context.files, result.failed, session_name):
            result = await self._push((), ProgressMeter())
        await self.wait_for_pruning()
        return messages.push_done(result)

    async def wait_for_pruning(self) -> None:
        """Wait until pruning has ended. It runs in the background after each push."""
        await self._context.repository.pruner.wait()

    async def restore(self) -> AsyncGenerator[workspace_pb2.RestoreResponse, None]:
        """Restore the stored snapshot. Yield the progress, then exactly one `done`. May be run again at any time."""
        meter = ProgressMeter()
        task = asyncio.create_task(self._restore(meter, changes_only=False))
        async with contextlib.aclosing(with_progress(task, meter)) as steps:
            async for step in steps:
                if isinstance(step, workspace_pb2.Progress):
                    yield workspace_pb2.RestoreResponse(progress=step)
                else:
                    yield workspace_pb2.RestoreResponse(done=messages.restore_done(step))

    async def refresh(self) -> workspace_pb2.RestoreDone:
        """Fetch only what changed in storage since the last push or restore. Keep changes that were made here."""
        return messages.restore_done(await self._restore(ProgressMeter(), changes_only=True))

    async def status(self) -> workspace_pb2.WorkspaceStatus:
        """Return what is saved and what is not. Never raises: if that cannot be determined, report unsaved changes."""
        error = self._last_error or (self._remote_changes.error if self._remote_changes is not None else "")
        # Read before the scan, which may find a change that is being saved. A lag of 0, read after that save, would
        # then mean that nothing is going to save the change.
        lag = None if self.autosave is None else self.autosave.lag
        try:
            with translating():
                base = await self._load_base()
            dirty = self._push_failed or await is_dirty(self._context, base)
        except OperationError as failure:
            base, dirty = self._tracker.base or Base(), True
            error = error or f"{failure.reason}: {failure.message}"
        return messages.status(base, self._tracker.synced_at, error, lag, self._unsaved, dirty=dirty)

    def variables_of(self, session_name: str) -> Variables:
        """Return access to a session's variables, which are stored beside its files."""
        location = Location(self._context.store, self._context.keys, session_name)
        return Variables(location, self._context.files.runtime, self._commit)

    def renew(self, s3: session_pb2.S3Store) -> None:
        """Use new credentials from the next request on.

        Raises:
            OperationError: FAILED_PRECONDITION: this workspace is not in S3.
        """
        if not isinstance(self._context.store, S3Store):
            raise OperationError("FAILED_PRECONDITION", "INVALID_ARGUMENT", "this workspace is not in S3", "s3")
        self._context.store.renew(read_settings(s3))

    @property
    def credentials_expire_at(self) -> datetime | None:
        """The time at which the store's credentials expire. None if it is unknown or if there are no credentials."""
        return self._context.store.credentials_expire_at if isinstance(self._context.store, S3Store) else None

    @property
    def needs_credentials(self) -> bool:
        """True if requests to the store wait for new credentials, or soon will."""
        return isinstance(self._context.store, S3Store) and self._context.store.needs_credentials

    async def list_stored(
        self, prefix: str = "", page_size: int = 0, page_token: str = ""
    ) -> workspace_pb2.ListStoredResponse:
        """Return a page of what is stored. ListStoredRequest describes the arguments."""
        with translating():
            return await StoredFiles(self._context.store, self._context.keys).list(prefix, page_size, page_token)

    async def read_stored(self, path: str) -> AsyncGenerator[workspace_pb2.ReadStoredResponse, None]:
        """Yield a stored file: `info`, then its content."""
        stored = StoredFiles(self._context.store, self._context.keys)
        with translating():
            async with contextlib.aclosing(stored.read(path)) as parts:
                async for part in parts:
                    yield part

    async def check_storage(self) -> workspace_pb2.CheckStorageResponse:
        """Try every kind of request that a push or a restore sends to the store."""
        return await StorageCheck(self._context.store, self._context.keys).run()

    async def close(self) -> None:
        """Stop background work, and close connections and threads."""
        if self.autosave is not None:
            await self.autosave.stop()
        if self._remote_changes is not None:
            await self._remote_changes.close()
        await self._context.repository.pruner.close()
        await self._context.store.close()

    async def _save(self) -> bool:
        """Push for autosave. Return False if it should soon try again."""
        result = await self._push((), ProgressMeter(), follow=True)
        # After any other failure, a retry helps only if the file has changed, and a change leads to a push anyway.
        return not any(reason.startswith("FILE_CHANGED") for _, reason in result.failed)

    async def _push(self, paths: Sequence[str], meter: ProgressMeter, *, follow: bool = False) -> PushResult:
        """Save changes. If another session committed since the last check and `follow` is set, refresh and retry."""
        with tracing.span("sandbox.push") as span:
            try:
                async with self._exclusively(is_push=True):
                    result = await push_changes(self._context, self._tracker, paths, meter)
            except BaseMovedError:
                if not follow or self._remote_changes is None:
                    raise
                await self.refresh()
                async with self._exclusively(is_push=True):
                    result = await push_changes(self._context, self._tracker, paths, meter)
            if not paths:
                self._unsaved = result.failed
            span.set("sandbox.generation", result.base.generation)
            span.set("sandbox.files", result.uploaded)
            span.set("sandbox.bytes", result.uploaded_bytes)
            span.set("sandbox.failed", len(result.failed))
            return result

    async def _restore(self, meter: ProgressMeter, *, changes_only: bool) -> RestoreResult:
        with tracing.span("sandbox.restore") as span:
            async with self._exclusively():
                base = await self._tracker.load() if changes_only else self._tracker.base
                result = await Restore(self._context, base, meter, changes_only=changes_only).run()
                await self._tracker.save(result.base)
            span.set("sandbox.generation", result.base.generation)
            span.set("sandbox.files", result.files)
            span.set("sandbox.bytes", result.size)
            span.set("sandbox.failed", len(result.failed))
            return result

    @contextlib.asynccontextmanager
    async def _exclusively(self, *, is_push: bool = False) -> AsyncIterator[None]:
        """Run the body under the mutex. Translate its errors, and record for `status` whether it failed."""
        async with self._mutex:
            try:
                with translating():
                    yield
            except OperationError as error:
                self._push_failed = self._push_failed or (is_push and error.code != "NOT_FOUND")
                self._last_error = f"{error.reason}: {error.message}"
                raise
            self._last_error = ""
            if is_push:
                self._push_failed = False

    async def _load_base(self) -> Base:
        if self._tracker.base is None:
            async with self._mutex:
                return await self._tracker.load()
        return self._tracker.base

    def _commit(self) -> CommitId | None:
        return self._tracker.base.commit if self._tracker.base is not None else None


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
