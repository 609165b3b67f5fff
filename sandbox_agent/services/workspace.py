"""WorkspaceService: push, restore and what is stored. The work is done by sandbox_agent.storage."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from sandbox_agent.executions.requests import check_path, invalid
from sandbox_proto.v1 import workspace_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sandbox_agent.server.interceptors import Context
    from sandbox_agent.session.gate import SessionGate
    from sandbox_proto.v1 import workspace_pb2

MAX_PATHS: Final = 10_000


class WorkspaceServicer(workspace_pb2_grpc.WorkspaceServiceServicer):
    """See workspace.proto."""

    def __init__(self, gate: SessionGate) -> None:
        self._gate = gate

    async def Push(  # noqa: N802 - gRPC's name
        self, request: workspace_pb2.PushRequest, _context: Context
    ) -> AsyncIterator[workspace_pb2.PushResponse]:
        """See workspace.proto."""
        if len(request.paths) > MAX_PATHS:
            raise invalid("paths", f"paths has more than {MAX_PATHS} entries: name their folders, or nothing for all")
        paths = [check_path(path, "paths") for path in request.paths]
        workspace = (await self._gate.require_ready(fresh=False)).workspace
        async with contextlib.aclosing(workspace.push(paths, follow=True)) as responses:
            async for response in responses:
                yield response

    async def Restore(  # noqa: N802 - gRPC's name
        self, _request: workspace_pb2.RestoreRequest, _context: Context
    ) -> AsyncIterator[workspace_pb2.RestoreResponse]:
        """See workspace.proto."""
        workspace = (await self._gate.require_ready(fresh=False)).workspace
        async with contextlib.aclosing(workspace.restore()) as responses:
            async for response in responses:
                yield response

    async def Status(  # noqa: N802 - gRPC's name
        self, _request: workspace_pb2.WorkspaceStatusRequest, _context: Context
    ) -> workspace_pb2.WorkspaceStatus:
        """See workspace.proto."""
        return await (await self._gate.require_ready(fresh=False)).workspace.status()

    async def List(  # noqa: N802 - gRPC's name
        self, request: workspace_pb2.ListStoredRequest, _context: Context
    ) -> workspace_pb2.ListStoredResponse:
        """See workspace.proto."""
        workspace = (await self._gate.require_ready(fresh=False)).workspace
        return await workspace.list_stored(request.prefix, request.page_size, request.page_token)

    async def Read(  # noqa: N802 - gRPC's name
        self, request: workspace_pb2.ReadStoredRequest, _context: Context
    ) -> AsyncIterator[workspace_pb2.ReadStoredResponse]:
        """See workspace.proto."""
        workspace = (await self._gate.require_ready(fresh=False)).workspace
        async with contextlib.aclosing(workspace.read_stored(request.path)) as parts:
            async for part in parts:
                yield part
