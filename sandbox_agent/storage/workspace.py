"""A session's workspace in object storage: push, restore, status, and what is stored.

Errors: OperationError alone. UNAVAILABLE, STORAGE_UNAVAILABLE: nothing is lost, try again; ABORTED,
WORKSPACE_CONFLICT: another writer has been there, restore first.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeVar

from sandbox_agent.link.calls import OperationError
from sandbox_agent.storage.directory_store import DirectoryStore
from sandbox_agent.storage.generations import Generations, HeadState
from sandbox_agent.storage.manifest import ManifestError
from sandbox_agent.storage.names import Keys, NameRefusedError, printable
from sandbox_agent.storage.object_store import AccessDeniedError, PreconditionFailedError, StorageError
from sandbox_agent.storage.pushing import DEFAULT_EXCLUDE, Knowledge, Parts, Push, PushResult
from sandbox_agent.storage.restoring import Restore
from sandbox_agent.storage.s3_store import S3Settings, S3Store
from sandbox_agent.storage.sandbox_files import Holding, SandboxFiles
from sandbox_agent.storage.stored_files import StoredFiles
from sandbox_agent.storage.sync_plan import cut, list_differing
from sandbox_agent.storage.transfers import Meter
from sandbox_proto.v1 import session_pb2, workspace_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence

    from sandbox_agent.link.calls import Runtime
    from sandbox_agent.storage.object_store import ObjectStore
    from sandbox_agent.storage.restoring import RestoreResult

MAX_FAILURES: Final = 500
"""Failures that one answer names."""
_T = TypeVar("_T")
_log = logging.getLogger(__name__)


def build_workspace(binding: session_pb2.WorkspaceBinding, runtime: Runtime, writer: str) -> Workspace:
    """The workspace that a binding names.

    Args:
        binding: With a store.
        runtime: Has the files.
        writer: Name of this pod or session: what tells its own interrupted push from another's.

    Raises:
        OperationError: INVALID_ARGUMENT, field `workspace.key_prefix` or `workspace.store`.
    """
    store: ObjectStore
    if binding.WhichOneof("store") == "s3":
        store = S3Store(read_settings(binding.s3))
    elif binding.WhichOneof("store") == "directory" and binding.directory.path:
        store = DirectoryStore(binding.directory.path)
    else:
        raise OperationError("INVALID_ARGUMENT", "INVALID_ARGUMENT", "a workspace needs a store", "workspace.store")
    try:
        keys = Keys(binding.key_prefix)
    except NameRefusedError as error:
        raise OperationError("INVALID_ARGUMENT", "INVALID_ARGUMENT", str(error), "workspace.key_prefix") from error
    return Workspace(store, keys, runtime, writer, tuple(binding.exclude))


def read_settings(store: session_pb2.S3Store) -> S3Settings:
    """The settings in a message."""
    return S3Settings(
        bucket=store.bucket,
        endpoint=store.endpoint,
        region=store.region,
        access_key_id=store.access_key_id,
        secret_access_key=store.secret_access_key,
        session_token=store.session_token,
        path_style=store.path_style,
        ca_certificates=store.ca_certificates,
    )


class Workspace:
    """A session's workspace. Pushes and restores of it run one after the other.

    Args:
        store: The bucket.
        keys: Where in it.
        runtime: Has the files.
        writer: As for `build_workspace`.
        exclude: What a push of everything leaves out, besides the default.
    """

    def __init__(
        self, store: ObjectStore, keys: Keys, runtime: Runtime, writer: str, exclude: tuple[str, ...] = ()
    ) -> None:
        self._store = store
        files, generations = SandboxFiles(runtime), Generations(store, keys)
        self._parts = Parts(store, keys, generations, files, writer, exclude, _now)
        self._stored = StoredFiles(store, keys)
        self._lock = asyncio.Lock()
        self._knowledge: Knowledge | None = None
        self._uncertain: Knowledge | None = None
        self._synced_at = ""
        self._push_failed = False
        self._last_error = ""

    async def push(self, paths: Sequence[str] = ()) -> AsyncGenerator[workspace_pb2.PushResponse, None]:
        """Save `paths`, or everything; progress, then exactly one `done`."""
        meter = Meter()
        async with contextlib.aclosing(_attended(asyncio.create_task(self._push(paths, meter)), meter)) as steps:
            async for step in steps:
                if isinstance(step, workspace_pb2.Progress):
                    yield workspace_pb2.PushResponse(progress=step)
                    continue
                done = workspace_pb2.PushDone(
                    generation=step.knowledge.generation,
                    files_saved=step.saved,
                    files_moved=step.moved,
                    bytes_moved=step.moved_bytes,
                    failed=_failures(step.failed),
                )
                yield workspace_pb2.PushResponse(done=done)

    async def restore(self) -> AsyncGenerator[workspace_pb2.RestoreResponse, None]:
        """Bring the stored generation back; progress, then exactly one `done`. May be run again at any time."""
        meter = Meter()
        task = asyncio.create_task(self._restore(meter, only_news=False))
        async with contextlib.aclosing(_attended(task, meter)) as steps:
            async for step in steps:
                if isinstance(step, workspace_pb2.Progress):
                    yield workspace_pb2.RestoreResponse(progress=step)
                else:
                    yield workspace_pb2.RestoreResponse(done=_restore_done(step))

    async def refresh(self) -> workspace_pb2.RestoreDone:
        """Bring only what changed in storage since the last push or restore; what changed here stays as it is."""
        return _restore_done(await self._restore(Meter(), only_news=True))

    async def status(self) -> workspace_pb2.WorkspaceStatus:
        """What is saved and what is not. Never fails: what cannot be found out counts as not saved."""
        error = self._last_error
        try:
            with _translating():
                knowledge = await self._known()
            dirty = self._push_failed or await self._is_dirty(knowledge)
        except OperationError as failure:
            knowledge, dirty = self._knowledge or Knowledge((0, "", "")), True
            error = error or f"{failure.reason}: {failure.message}"
        files = [entry for entry in knowledge.entries.values() if entry.type == "file"]
        status = workspace_pb2.WorkspaceStatus(
            generation=knowledge.generation,
            files=len(files),
            bytes=sum(entry.size for entry in files),
            dirty=dirty,
            last_error=printable(error),
        )
        with contextlib.suppress(ValueError):
            status.synced_at.FromJsonString(self._synced_at)
        return status

    def renew(self, s3: session_pb2.S3Store) -> None:
        """Use new credentials from the next request on.

        Raises:
            OperationError: FAILED_PRECONDITION: this workspace is not in S3.
        """
        if not isinstance(self._store, S3Store):
            raise OperationError("FAILED_PRECONDITION", "INVALID_ARGUMENT", "this workspace is not in S3", "s3")
        self._store.renew(read_settings(s3))

    async def list_stored(
        self, prefix: str = "", page_size: int = 0, page_token: str = ""
    ) -> workspace_pb2.ListStoredResponse:
        """A page of what is stored; see ListStoredRequest."""
        with _translating():
            return await self._stored.list(prefix, page_size, page_token)

    async def read_stored(self, path: str) -> AsyncGenerator[workspace_pb2.ReadStoredResponse, None]:
        """A stored file: `info`, then its content."""
        with _translating():
            async with contextlib.aclosing(self._stored.read(path)) as parts:
                async for part in parts:
                    yield part

    async def close(self) -> None:
        """Give up connections and threads."""
        await self._store.close()

    async def _push(self, paths: Sequence[str], meter: Meter) -> PushResult:
        async with self._lock:
            try:
                with _translating():
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
        state = await self._parts.generations.read_head()
        knowledge = self._match(state) or await self._adopt(state)
        self._check_free(state, knowledge)
        push = Push(self._parts, knowledge, meter)
        try:
            result = await push.run(paths, state)
        except BaseException:
            self._uncertain = push.intended
            raise
        await self._keep(result.knowledge)
        return result

    async def _restore(self, meter: Meter, *, only_news: bool) -> RestoreResult:
        async with self._lock:
            try:
                with _translating():
                    result = await Restore(self._parts, self._knowledge, meter, only_news=only_news).run()
            except OperationError as error:
                self._last_error = f"{error.reason}: {error.message}"
                raise
            await self._keep(result.knowledge)
            self._last_error = ""
            return result

    async def _keep(self, knowledge: Knowledge) -> None:
        self._learn(knowledge)
        holding = Holding(knowledge.commit, is_whole=knowledge.held >= knowledge.entries.keys())
        try:
            await self._parts.files.remember(holding)
        except OperationError as error:
            # The next agent then sees an older commit: it goes on where that is our own, and else asks for a restore.
            _log.warning("the sandbox does not know its commit", extra={"reason": error.reason, "error": error.message})

    def _learn(self, knowledge: Knowledge) -> None:
        self._knowledge, self._uncertain = knowledge, None
        self._synced_at = knowledge.commit[2]

    async def _known(self) -> Knowledge:
        if self._knowledge is None:
            async with self._lock:
                if self._knowledge is None:
                    await self._adopt(await self._parts.generations.read_head())
        assert self._knowledge is not None  # noqa: S101 - set by _adopt
        return self._knowledge

    def _match(self, state: HeadState) -> Knowledge | None:
        """What is known, brought up to a commit of our own whose answer was lost."""
        if self._uncertain is not None and self._uncertain.commit == state.head.commit:
            self._learn(self._uncertain)
        return self._knowledge

    async def _adopt(self, state: HeadState) -> Knowledge:
        """Take over what is stored: this agent is new, the sandbox is not.

        A file that is missing here was removed here only if the sandbox had it. What another writer saved since the
        sandbox's commit is not taken over: a push would replace it unseen.
        """
        holding = await self._parts.files.recall()
        is_own = state.head.writer == self._parts.writer
        if holding is not None and holding.commit != state.head.commit and not is_own:
            knowledge = Knowledge(holding.commit)
            self._learn(knowledge)
            return knowledge
        manifest = await self._parts.generations.read_manifest(state.head)
        entries = manifest.by_path()
        held = frozenset(entries) if (is_own if holding is None else holding.is_whole) else frozenset()
        knowledge = Knowledge(state.head.commit, entries, {}, held)
        self._learn(knowledge)
        return knowledge

    def _check_free(self, state: HeadState, knowledge: Knowledge) -> None:
        if state.head.commit != knowledge.commit:
            message = (
                f"{state.head.writer or 'somebody'} saved generation {state.head.generation} of this workspace since "
                f"this sandbox had generation {knowledge.generation}: restore first, then push again"
            )
            raise OperationError("ABORTED", "WORKSPACE_CONFLICT", message)
        if state.is_claimed_by_other(self._parts.writer):
            raise OperationError("ABORTED", "WORKSPACE_CONFLICT", "another writer is pushing this workspace: try later")

    async def _is_dirty(self, knowledge: Knowledge) -> bool:
        files = self._parts.files
        scanned = await files.scan((), (*DEFAULT_EXCLUDE, *self._parts.exclude))
        if any(True for _ in list_differing(scanned, knowledge.entries, knowledge.signatures)):
            return True
        seen = {local.path for local in scanned}
        for path in knowledge.held - seen:
            entry = knowledge.entries.get(path)
            if entry is not None and not await files.is_there(path, entry.type):
                return True
        return False


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def _failures(failed: list[tuple[str, str]]) -> Iterable[workspace_pb2.FileFailure]:
    return [
        workspace_pb2.FileFailure(path=printable(path), reason=printable(reason))
        for path, reason in cut(failed, MAX_FAILURES)
    ]


def _restore_done(result: RestoreResult) -> workspace_pb2.RestoreDone:
    return workspace_pb2.RestoreDone(
        generation=result.knowledge.generation,
        files_restored=result.files,
        bytes_restored=result.size,
        failed=_failures(result.failed),
    )


async def _attended(task: asyncio.Task[_T], meter: Meter) -> AsyncGenerator[workspace_pb2.Progress | _T, None]:
    """Progress while a task runs, then its result. Whoever stops listening stops the task, and waits for its end."""
    try:
        async for progress in meter.watch(task):
            yield progress
        yield await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@contextlib.contextmanager
def _translating() -> Iterator[None]:
    """Errors of storage as OperationError, the one place."""
    try:
        yield
    except PreconditionFailedError as error:
        message = "another writer changed this workspace at the same time: restore first, then push again"
        raise OperationError("ABORTED", "WORKSPACE_CONFLICT", message) from error
    except AccessDeniedError as error:
        message = f"storage refuses these credentials: {error}"
        raise OperationError("UNAVAILABLE", "STORAGE_UNAVAILABLE", message) from error
    except StorageError as error:
        raise OperationError("UNAVAILABLE", "STORAGE_UNAVAILABLE", f"storage is not available: {error}") from error
    except ManifestError as error:
        message = f"what is stored is not usable: {error}"
        raise OperationError("DATA_LOSS", "STORAGE_UNAVAILABLE", message) from error
