"""A workspace of an agent whose storage does as it is told."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sandbox_proto.v1 import workspace_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sandbox_proto.v1 import session_pb2


class FakeWorkspace:
    """What the agent needs of a Workspace.

    Attributes:
        may_restore, may_push: Restores and pushes wait for them.
        error: What both fail with then.
        pushes: How many ended well.
        failed: What pushes cannot save.
        pushed_for: The sessions named in those that were begun.
        renewed: Access keys that came.
    """

    def __init__(self) -> None:
        self.may_restore, self.may_push = asyncio.Event(), asyncio.Event()
        self.may_restore.set()
        self.may_push.set()
        self.error: Exception | None = None
        self.pushes = 0
        self.failed: list[workspace_pb2.FileFailure] = []
        self.pushed_for: list[str] = []
        self.renewed: list[str] = []

    autosave = None
    needs_credentials = False
    credentials_expire_at = None

    def is_fresh(self) -> bool:
        """See Workspace."""
        return True

    def start_autosave(self, ready: object) -> None:
        """See Workspace. Nothing is saved unasked."""

    async def close(self) -> None:
        """See Workspace."""

    async def restore(self) -> AsyncIterator[workspace_pb2.RestoreResponse]:
        """See Workspace."""
        await self.may_restore.wait()
        if self.error:
            raise self.error
        yield workspace_pb2.RestoreResponse(done=workspace_pb2.RestoreDone(generation=7))

    async def push_last(self, session_name: str) -> workspace_pb2.PushDone:
        """See Workspace."""
        self.pushed_for.append(session_name)
        await self.may_push.wait()
        if self.error:
            raise self.error
        self.pushes += 1
        return workspace_pb2.PushDone(generation=8, failed=self.failed)

    async def status(self) -> workspace_pb2.WorkspaceStatus:
        """See Workspace."""
        return workspace_pb2.WorkspaceStatus(generation=7 + self.pushes, unsaved=self.failed)

    def renew(self, store: session_pb2.S3Store) -> None:
        """See Workspace."""
        self.renewed.append(store.access_key_id)
