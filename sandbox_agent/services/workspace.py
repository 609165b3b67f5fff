"""Serves WorkspaceService. sandbox_agent.storage does the work."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from sandbox_agent.executions.requests import check_path
from sandbox_link.protocol import invalid
from sandbox_proto.v1 import workspace_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sandbox_agent.server.interceptors import Context
    from sandbox_agent.session.gate import SessionGate
    from sandbox_proto.v1 import workspace_pb2

MAX_PATHS: Final = 10_000


class WorkspaceServicer(workspace_pb2_grpc.WorkspaceServiceServicer):
    """The gRPC service WorkspaceService, as workspace.proto documents it."""

    def __init__(self, gate: SessionGate) -> None:
        self._gate = gate

    async def Push(
        self, request: workspace_pb2.PushRequest, _context: Context
    ) -> AsyncIterator[workspace_pb2.PushResponse]:
        if len(request.paths) > MAX_PATHS:
            raise invalid(
                "paths",
                f"paths has more than {MAX_PATHS} entries: name their folders, or leave it empty for everything",
            )
        paths = [check_path(path, "paths") for path in request.paths]
        workspace = (await self._gate.require_ready(fresh=False)).workspace
        async with contextlib.aclosing(workspace.push(paths, follow=True)) as responses:
            async for response in responses:
                yield response

    async def Restore(
        self, _request: workspace_pb2.RestoreRequest, _context: Context
    ) -> AsyncIterator[workspace_pb2.RestoreResponse]:
        workspace = (await self._gate.require_ready(fresh=False)).workspace
        async with contextlib.aclosing(workspace.restore()) as responses:
            async for response in responses:
                yield response

    async def Status(
        self, _request: workspace_pb2.WorkspaceStatusRequest, _context: Context
    ) -> workspace_pb2.WorkspaceStatus:
        return await (await self._gate.require_ready(fresh=False)).workspace.status()

    async def List(
        self, request: workspace_pb2.ListStoredRequest, _context: Context
    ) -> workspace_pb2.ListStoredResponse:
        workspace = (await self._gate.require_ready(fresh=False)).workspace
        return await workspace.list_stored(request.prefix, request.page_size, request.page_token)

    async def Read(
        self, request: workspace_pb2.ReadStoredRequest, _context: Context
    ) -> AsyncIterator[workspace_pb2.ReadStoredResponse]:
        workspace = (await self._gate.require_ready(fresh=False)).workspace
        async with contextlib.aclosing(workspace.read_stored(request.path)) as parts:
            async for part in parts:
                yield part

    async def CheckStorage(
        self, _request: workspace_pb2.CheckStorageRequest, _context: Context
    ) -> workspace_pb2.CheckStorageResponse:
        return await (await self._gate.require_ready(fresh=False)).workspace.check_storage()
