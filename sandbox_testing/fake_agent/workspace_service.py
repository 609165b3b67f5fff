"""The fake agent's WorkspaceService, on a dictionary of stored files."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import grpc

from sandbox_proto.v1 import workspace_pb2
from sandbox_proto.v1.workspace_pb2_grpc import WorkspaceServiceServicer
from sandbox_testing.fake_agent.status import refuse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sandbox_testing.fake_agent.state import AgentState


class FakeWorkspaceService(WorkspaceServiceServicer):
    """Object storage."""

    def __init__(self, agent: AgentState) -> None:
        self._agent = agent

    async def Push(  # noqa: N802 - gRPC's name
        self, request: workspace_pb2.PushRequest, context: Any
    ) -> AsyncIterator[workspace_pb2.PushResponse]:
        """Copy files to storage, and report each as progress."""
        await self._agent.enter("Push", context)
        paths = list(request.paths) or sorted(self._agent.files)
        found = [path for path in paths if path in self._agent.files]
        failed = [workspace_pb2.FileFailure(path=path, reason="not there") for path in paths if path not in found]
        for number, path in enumerate(found, start=1):
            self._agent.stored[f"code-interpreter/{path}"] = self._agent.files[path]
            progress = workspace_pb2.Progress(files_done=number, files_total=len(found))
            yield workspace_pb2.PushResponse(progress=progress)
        done = workspace_pb2.PushDone(generation=1, files_saved=len(found), files_moved=len(found), failed=failed)
        yield workspace_pb2.PushResponse(done=done)

    async def Status(self, _request: Any, context: Any) -> workspace_pb2.WorkspaceStatus:  # noqa: N802 - same
        """Return a status with a fixed time."""
        await self._agent.enter("Status", context)
        status = workspace_pb2.WorkspaceStatus(generation=1, files=len(self._agent.stored), dirty=True)
        status.synced_at.FromDatetime(dt.datetime(2026, 1, 2, tzinfo=dt.UTC))
        return status

    async def Read(  # noqa: N802 - same
        self, request: workspace_pb2.ReadStoredRequest, context: Any
    ) -> AsyncIterator[workspace_pb2.ReadStoredResponse]:
        """Stream a stored file."""
        await self._agent.enter("ReadStored", context)
        content = self._agent.stored.get(request.path)
        if content is None:
            await refuse(context, grpc.StatusCode.NOT_FOUND, "FILE_NOT_FOUND", "nothing is stored there", "path")
            return
        yield workspace_pb2.ReadStoredResponse(info=workspace_pb2.StoredFile(path=request.path, size=len(content)))
        yield workspace_pb2.ReadStoredResponse(data=content)
