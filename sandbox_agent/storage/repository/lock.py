"""The lock of a push on the workspace: a record in HEAD that names the writer and contains the undo journal.

A writer refreshes its lock while it pushes. A lock that is not refreshed becomes stale. The next push then takes it
over and undoes what the interrupted push did. docs/storage.md describes the order of the steps.

Errors: StorageError; PreconditionFailedError if another writer holds the lock.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from sandbox_agent.storage.errors import StorageError
from sandbox_agent.storage.repository.head import Head, LockRecord
from sandbox_agent.storage.repository.repository import LOCK_EXPIRY
from sandbox_link.protocol import OperationError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from sandbox_agent.storage.base_state import Base
    from sandbox_agent.storage.context import WorkspaceContext
    from sandbox_agent.storage.repository.head import PreviousObject
    from sandbox_agent.storage.repository.repository import HeadState

_REFRESH_INTERVAL: Final = LOCK_EXPIRY / 5

_log = logging.getLogger(__name__)


class BaseMovedError(OperationError):
    """Refusal of a push whose base is outdated: another writer has committed a snapshot. A refresh resolves it."""


def check_available(state: HeadState, base: Base, writer: str) -> None:
    """Refuse a push over an unknown snapshot, or into another writer's push.

    Args:
        state: HEAD as it was just read.
        base: The state that this sandbox last saw.
        writer: The writer that wants to push.

    Raises:
        BaseMovedError: HEAD's commit is not the base's.
        OperationError: ABORTED, WORKSPACE_CONFLICT: another writer has locked the workspace.
    """
    if state.head.commit != base.commit:
        message = (
            f"{state.head.writer or 'another writer'} has saved generation {state.head.generation} of this workspace, "
            f"and this sandbox has generation {base.generation}: restore first, then push again"
        )
        raise BaseMovedError("ABORTED", "WORKSPACE_CONFLICT", message)
    if state.head.lock is not None and state.is_locked_by_other(writer):
        expiry = datetime.fromtimestamp(state.modified + LOCK_EXPIRY, UTC).isoformat(timespec="seconds")
        message = (
            f"{state.head.lock.writer or 'another writer'} is pushing this workspace: push again when it has finished. "
            f"If it was killed, its lock expires at {expiry.replace('+00:00', 'Z')}, "
            f"in {max(0.0, LOCK_EXPIRY - state.age):.0f} s"
        )
        raise OperationError("ABORTED", "WORKSPACE_CONFLICT", message)


class Lock:
    """The lock of one push, from `acquire` to `release` or `abandon`.

    Args:
        context: The workspace's.
        state: HEAD as it was read.
        writes_tags: Every object that an undo needs to recognise has a writer tag.

    Attributes:
        state: HEAD as it was read, then as this lock last wrote it.
    """

    def __init__(self, context: WorkspaceContext, state: HeadState, *, writes_tags: bool) -> None:
        self._context = context
        self._writes_tags = writes_tags
        self._undo: Mapping[str, PreviousObject] = {}
        self._writing = asyncio.Lock()
        self.state = state

    @property
    def generation(self) -> int:
        """The generation that the push makes."""
        return self.state.head.generation + 1

    async def acquire(self, undo: Mapping[str, PreviousObject]) -> None:
        """Write the lock into HEAD, or write it again with another undo journal.

        Args:
            undo: The undo journal: what the push may replace or add, by path.

        Raises:
            PreconditionFailedError: Another writer was faster.
        """
        self._undo = undo
        await self.refresh()

    async def refresh(self) -> None:
        """Write the lock into HEAD again.

        Raises:
            PreconditionFailedError: Another writer has taken over.
        """
        async with self._writing:
            head = self.state.head
            lock = LockRecord(self.generation, self._context.writer, self._context.now(), self._undo, self._writes_tags)
            self.state = await self._context.repository.move_head(self.state, replace(head, lock=lock))

    @contextlib.asynccontextmanager
    async def refreshing(self) -> AsyncIterator[None]:
        """Refresh the lock while the body runs, so that it does not become stale."""
        ended = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._refresh_until(ended))
                yield
                ended.set()
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def commit(self, head: Head) -> None:
        """Make a new snapshot the current one, in one write. This also releases the lock, unless files are dropped."""
        if head.removed:
            lock = LockRecord(head.generation, self._context.writer, self._context.now())
            head = replace(head, lock=lock)
        self.state = await self._context.repository.move_head(self.state, head)

    async def release(self) -> None:
        """Delete the files that the commit dropped, and release the lock. If storage fails, the next push does it."""
        committed = self.state.head
        if committed.lock is None:
            return
        repository, store = self._context.repository, self._context.store
        try:
            modified = (await store.stat(self._context.keys.head)).last_modified.timestamp()
            await repository.pruner.delete_dropped(committed.removed, modified)
            self.state = await repository.move_head(self.state, replace(committed, lock=None, removed={}))
        except StorageError as error:
            _log.warning("could not delete the files that a push dropped", extra={"error": str(error)})

    async def abandon(self) -> None:
        """Release the lock without a commit, after deleting what the push wrote."""
        head, repository = self.state.head, self._context.repository
        await repository.pruner.prune(head, self.generation)
        self.state = await repository.move_head(self.state, replace(head, lock=None, removed={}))
        repository.pruner.last_pruned = head.commit

    async def _refresh_until(self, ended: asyncio.Event) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_REFRESH_INTERVAL):
                    await ended.wait()
            if ended.is_set():
                return
            await self.refresh()
