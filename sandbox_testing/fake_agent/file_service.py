"""The fake agent's FileService, on a dictionary of files."""

from __future__ import annotations

import fnmatch
import hashlib
from typing import TYPE_CHECKING, Any

import grpc

from sandbox_proto.v1 import file_pb2, types_pb2
from sandbox_proto.v1.file_pb2_grpc import FileServiceServicer
from sandbox_testing.fake_agent.status import refuse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sandbox_testing.fake_agent.state import AgentState


class FakeFileService(FileServiceServicer):
    """Files of the workspace."""

    def __init__(self, agent: AgentState) -> None:
        self._agent = agent

    async def _content(self, path: str, context: Any) -> bytes:
        if path not in self._agent.files:
            await refuse(context, grpc.StatusCode.NOT_FOUND, "FILE_NOT_FOUND", f"{path} does not exist", "path")
        return self._agent.files[path]

    async def Read(self, request: file_pb2.ReadRequest, context: Any) -> AsyncIterator[file_pb2.ReadResponse]:  # noqa: N802 - gRPC's name
        """Stream a file in chunks of 100,000 bytes."""
        await self._agent.enter("Read", context)
        content = await self._content(request.path, context)
        yield file_pb2.ReadResponse(info=_info(request.path, content))
        wanted = content[request.offset :][: request.length or None]
        for start in range(0, len(wanted), 100_000):
            yield file_pb2.ReadResponse(data=wanted[start : start + 100_000])

    async def Write(self, requests: AsyncIterator[file_pb2.WriteRequest], context: Any) -> file_pb2.WriteResponse:  # noqa: N802 - same
        """Store a file and check its digest."""
        await self._agent.enter("Write", context)
        opening = (await anext(requests)).open
        content = b"".join([request.data async for request in requests])
        digest = hashlib.sha256(content).hexdigest()
        if opening.sha256 and opening.sha256 != digest:
            await refuse(context, grpc.StatusCode.DATA_LOSS, "DIGEST_MISMATCH", "the digest differs", "sha256")
        self._agent.files[opening.path] = content
        return file_pb2.WriteResponse(info=_info(opening.path, content), sha256=digest)

    async def List(self, request: file_pb2.ListFilesRequest, context: Any) -> file_pb2.ListFilesResponse:  # noqa: N802 - same
        """List all files, two per page."""
        await self._agent.enter("List", context)
        names = sorted(self._agent.files)
        start = int(request.page_token or 0)
        # Pages of two, whatever size was requested: clients must follow the tokens.
        rest = str(start + 2) if start + 2 < len(names) else ""
        infos = [_info(name, self._agent.files[name]) for name in names[start : start + 2]]
        return file_pb2.ListFilesResponse(files=infos, next_page_token=rest)

    async def Stat(self, request: file_pb2.StatRequest, context: Any) -> types_pb2.FileInfo:  # noqa: N802 - same
        """Return a file's metadata."""
        await self._agent.enter("Stat", context)
        return _info(request.path, await self._content(request.path, context))

    async def Remove(self, request: file_pb2.RemoveRequest, context: Any) -> file_pb2.RemoveResponse:  # noqa: N802 - same
        """Remove a file."""
        await self._agent.enter("Remove", context)
        await self._content(request.path, context)
        del self._agent.files[request.path]
        return file_pb2.RemoveResponse()

    async def Move(self, request: file_pb2.MoveRequest, context: Any) -> types_pb2.FileInfo:  # noqa: N802 - same
        """Rename a file."""
        await self._agent.enter("Move", context)
        content = await self._content(request.source, context)
        if request.destination in self._agent.files and not request.overwrite:
            await refuse(context, grpc.StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS", "it exists already", "destination")
        self._agent.files[request.destination] = self._agent.files.pop(request.source)
        return _info(request.destination, content)

    async def Search(  # noqa: N802 - same
        self, request: file_pb2.SearchRequest, context: Any
    ) -> AsyncIterator[file_pb2.SearchResponse]:
        """Find files by name, or lines that contain a text."""
        await self._agent.enter("Search", context)
        names = [name for name in sorted(self._agent.files) if fnmatch.fnmatch(name, request.name_pattern or "*")]
        matches = 0
        for name in names:
            if not request.content_pattern:
                matches += 1
                yield file_pb2.SearchResponse(path=name, info=_info(name, self._agent.files[name]))
                continue
            for number, line in enumerate(self._agent.files[name].decode().splitlines(), start=1):
                # Patterns count as plain text: only the real agent interprets them.
                if request.content_pattern in line:
                    matches += 1
                    yield file_pb2.SearchResponse(path=name, line=number, text=line)
        yield file_pb2.SearchResponse(summary=file_pb2.SearchSummary(files=len(names), matches=matches))

    async def Watch(self, _request: Any, context: Any) -> AsyncIterator[file_pb2.WatchResponse]:  # noqa: N802 - same
        """Report the scripted changes, then end."""
        await self._agent.enter("Watch", context)
        yield file_pb2.WatchResponse(change=file_pb2.WatchResponse.CHANGE_WATCHING)
        for change, path in self._agent.changes:
            yield file_pb2.WatchResponse(change=f"CHANGE_{change.upper()}", path=path)


def _info(path: str, content: bytes) -> types_pb2.FileInfo:
    return types_pb2.FileInfo(path=path, type=types_pb2.FILE_TYPE_FILE, size=len(content), mode=0o644)
