"""FileService: files of the workspace, all touched by the runtime, never by the agent."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

from sandbox_agent import runtime_values as checked
from sandbox_agent.executions.requests import check_path, invalid
from sandbox_agent.services import search as searching
from sandbox_agent.services.answers import answer
from sandbox_agent.services.file_transfer import read_file, write_file
from sandbox_link.protocol import Event, OperationError
from sandbox_proto.v1 import file_pb2, file_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from sandbox_agent.server.interceptors import Context
    from sandbox_agent.session.gate import SessionGate
    from sandbox_link.protocol import Call, Runtime
    from sandbox_proto.v1 import types_pb2

MAX_PAGE: Final = 10_000
DEFAULT_PAGE: Final = 1_000
MAX_ENTRIES: Final = 500
MAX_DEPTH: Final = 4096
MAX_TOKEN: Final = 8192
"""Bytes: the base64 of a path of 4,096 bytes, and room."""
MAX_ANSWER: Final = 3_900_000
"""Bytes of a ListFilesResponse, below gRPC's limit."""
_HEX_SHA256: Final = 64
_MODE: Final = 0o7777


class FileServicer(file_pb2_grpc.FileServiceServicer):
    """See file.proto."""

    def __init__(self, gate: SessionGate) -> None:
        self._gate = gate

    async def Read(  # noqa: N802 - gRPC's name
        self, request: file_pb2.ReadRequest, _context: Context
    ) -> AsyncIterator[file_pb2.ReadResponse | bytes]:
        """See file.proto."""
        for field in ("offset", "length"):
            if getattr(request, field) < 0:
                raise invalid(field, f"{field} must not be negative")
        arguments = {"path": check_path(request.path), "offset": request.offset, "length": request.length}
        runtime = (await self._gate.require_ready()).runtime
        async with contextlib.aclosing(read_file(runtime, arguments)) as responses:
            async for response in responses:
                yield response

    async def Write(  # noqa: N802 - gRPC's name
        self, requests: AsyncIterator[file_pb2.WriteRequest | memoryview], context: Context
    ) -> file_pb2.WriteResponse:
        """See file.proto."""
        arguments = _read_open(await anext(aiter(requests), None))
        runtime = (await self._gate.require_ready()).runtime
        async with contextlib.aclosing(_read_chunks(requests)) as chunks:
            result = await write_file(runtime, arguments, chunks, lambda: _require_whole_stream(context))
        with answer():
            info = checked.file_info(checked.mapping(result, "info"))
            return file_pb2.WriteResponse(info=info, sha256=checked.text(result, "sha256", _HEX_SHA256))

    async def List(  # noqa: N802 - gRPC's name
        self, request: file_pb2.ListFilesRequest, _context: Context
    ) -> file_pb2.ListFilesResponse:
        """See file.proto."""
        if request.page_size > MAX_PAGE:
            raise invalid("page_size", f"page_size must be at most {MAX_PAGE}")
        page_size = request.page_size or DEFAULT_PAGE
        arguments: dict[str, Any] = {
            "path": check_path(request.path or "."),
            "depth": min(max(request.depth, 1), MAX_DEPTH),
            "page_size": page_size,
            "page_token": check_path(request.page_token, "page_token", required=False, most=MAX_TOKEN),
        }
        runtime = (await self._gate.require_ready()).runtime
        call = await runtime.open("file.list", arguments)
        try:
            return await _read_page(call, page_size)
        except BaseException:
            await call.cancel()
            raise

    async def Stat(self, request: file_pb2.StatRequest, _context: Context) -> types_pb2.FileInfo:  # noqa: N802
        """See file.proto."""
        return await _info(await self._runtime(), "file.stat", {"path": check_path(request.path)})

    async def Remove(self, request: file_pb2.RemoveRequest, _context: Context) -> file_pb2.RemoveResponse:  # noqa: N802
        """See file.proto."""
        arguments = {"path": check_path(request.path), "recursive": request.recursive}
        await (await self._runtime()).call("file.remove", arguments)
        return file_pb2.RemoveResponse()

    async def Move(self, request: file_pb2.MoveRequest, _context: Context) -> types_pb2.FileInfo:  # noqa: N802
        """See file.proto."""
        arguments = {
            "source": check_path(request.source, "source"),
            "destination": check_path(request.destination, "destination"),
            "overwrite": request.overwrite,
        }
        return await _info(await self._runtime(), "file.move", arguments)

    async def MakeDirectory(  # noqa: N802 - gRPC's name
        self, request: file_pb2.MakeDirectoryRequest, _context: Context
    ) -> types_pb2.FileInfo:
        """See file.proto."""
        return await _info(await self._runtime(), "file.mkdir", {"path": check_path(request.path)})

    async def Search(  # noqa: N802 - gRPC's name
        self, request: file_pb2.SearchRequest, _context: Context
    ) -> AsyncIterator[file_pb2.SearchResponse]:
        """See file.proto."""
        arguments = searching.read_search(request)
        async with contextlib.aclosing(searching.search(await self._runtime(), arguments)) as responses:
            async for response in responses:
                yield response

    async def Watch(  # noqa: N802 - gRPC's name
        self, request: file_pb2.WatchRequest, _context: Context
    ) -> AsyncIterator[file_pb2.WatchResponse]:
        """See file.proto."""
        arguments = {"path": check_path(request.path or "."), "recursive": request.recursive}
        async with contextlib.aclosing(searching.watch(await self._runtime(), arguments)) as responses:
            async for response in responses:
                yield response

    async def _runtime(self) -> Runtime:
        return (await self._gate.require_ready()).runtime


def _read_open(first: file_pb2.WriteRequest | memoryview | None) -> dict[str, Any]:
    if not isinstance(first, file_pb2.WriteRequest) or not first.HasField("open"):
        raise invalid("open", "the first message of a Write must be `open`")
    sha256 = first.open.sha256
    if sha256 and (len(sha256) != _HEX_SHA256 or set(sha256) - set("0123456789abcdef")):
        raise invalid("sha256", "sha256 must be 64 lower-case hexadecimal digits, or empty")
    if first.open.mode > _MODE:
        raise invalid("mode", "mode must have permission bits only, 0 to 07777")
    return {"path": check_path(first.open.path), "mode": first.open.mode, "sha256": sha256}


async def _read_chunks(
    requests: AsyncIterator[file_pb2.WriteRequest | memoryview],
) -> AsyncGenerator[bytes | memoryview, None]:
    async for request in requests:
        yield _read_data(request)


def _read_data(request: file_pb2.WriteRequest | memoryview) -> bytes | memoryview:
    if isinstance(request, memoryview):
        return request
    if not request.HasField("data"):
        raise invalid("data", "after `open`, every message of a Write must be `data`")
    return request.data


async def _require_whole_stream(context: Context) -> None:
    """Tell a stream that broke off from one that ended well: gRPC ends the iteration for both.

    The news of a cancellation may come right behind that end. A round trip through gRPC's own queue lets it arrive:
    this task is then cancelled, or the context says so.
    """
    await context.send_initial_metadata(())
    await asyncio.sleep(0)
    if context.cancelled() or context.done():
        raise OperationError("CANCELLED", "CANCELLED", "the client went away")


async def _read_page(call: Call, page_size: int) -> file_pb2.ListFilesResponse:
    answered = file_pb2.ListFilesResponse()
    size = 0
    async for item in call:
        if not isinstance(item, Event):
            continue
        with answer():
            for entry in checked.objects(item.value, "entries", MAX_ENTRIES):
                info = checked.file_info(entry)
                size += info.ByteSize() + 8
                if len(answered.files) >= page_size or size > MAX_ANSWER:
                    message = "the page does not fit into one message: ask for a smaller page_size"
                    raise OperationError("RESOURCE_EXHAUSTED", "INVALID_ARGUMENT", message, "page_size")
                answered.files.append(info)
    with answer():
        answered.next_page_token = checked.text(call.result, "next_page_token")
    return answered


async def _info(runtime: Runtime, op: str, arguments: dict[str, Any]) -> types_pb2.FileInfo:
    value = await runtime.call(op, arguments)
    with answer():
        return checked.file_info(checked.mapping(value, "info"))
