"""Serves FileService. Only the runtime touches the files, never the agent."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final, Protocol

from sandbox_agent.executions.requests import check_path, read_root
from sandbox_agent.runtime_values import checking_answer, read_file_info, read_object, read_objects, read_text
from sandbox_agent.services.file_transfer import read_file, write_file
from sandbox_agent.services.search import read_search, search, watch
from sandbox_agent.storage.timeouts import HASH_TIMEOUT, time_limit
from sandbox_link.protocol import Event, OperationError, invalid
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
"""Bytes. Fits the base64 of a path of 4,096 bytes."""
MAX_RESPONSE: Final = 3_900_000
"""Bytes of a ListFilesResponse, below gRPC's limit of 4 MiB."""
_SHA256_DIGITS: Final = 64
_MODE_BITS: Final = 0o7777


class _Placed(Protocol):
    @property
    def path(self) -> str: ...
    @property
    def root(self) -> int: ...


class FileServicer(file_pb2_grpc.FileServiceServicer):
    """The gRPC service FileService, as file.proto documents it."""

    def __init__(self, gate: SessionGate) -> None:
        self._gate = gate

    async def Read(
        self, request: file_pb2.ReadRequest, _context: Context
    ) -> AsyncIterator[file_pb2.ReadResponse | bytes]:
        for field in ("offset", "length"):
            if getattr(request, field) < 0:
                raise invalid(field, f"{field} is {getattr(request, field)}: give 0 or more")
        arguments = {**_read_place(request), "offset": request.offset, "length": request.length}
        runtime = (await self._gate.require_ready()).runtime
        async with contextlib.aclosing(read_file(runtime, arguments)) as responses:
            async for response in responses:
                yield response

    async def Write(
        self, requests: AsyncIterator[file_pb2.WriteRequest | memoryview], context: Context
    ) -> file_pb2.WriteResponse:
        arguments = _read_open(await anext(aiter(requests), None))
        runtime = (await self._gate.require_ready()).runtime
        async with contextlib.aclosing(_read_chunks(requests)) as chunks:
            result = await write_file(runtime, arguments, chunks, lambda: _require_whole_stream(context))
        with checking_answer():
            info = read_file_info(read_object(result, "info"))
            return file_pb2.WriteResponse(info=info, sha256=read_text(result, "sha256", _SHA256_DIGITS))

    async def List(self, request: file_pb2.ListFilesRequest, _context: Context) -> file_pb2.ListFilesResponse:
        if request.page_size > MAX_PAGE:
            raise invalid("page_size", f"page_size is {request.page_size}: give at most {MAX_PAGE}")
        page_size = request.page_size or DEFAULT_PAGE
        arguments: dict[str, Any] = {
            "path": check_path(request.path or "."),
            **read_root(request.root),
            "depth": min(max(request.depth, 1), MAX_DEPTH),
            "page_size": page_size,
            "page_token": check_path(request.page_token, "page_token", required=False, limit=MAX_TOKEN),
        }
        runtime = (await self._gate.require_ready()).runtime
        call = await runtime.open("file.list", arguments)
        try:
            async with time_limit():
                return await _read_page(call, page_size)
        except BaseException:
            await call.cancel()
            raise

    async def Stat(self, request: file_pb2.StatRequest, _context: Context) -> types_pb2.FileInfo:
        return await _call_for_info(await self._runtime(), "file.stat", _read_place(request))

    async def Remove(self, request: file_pb2.RemoveRequest, _context: Context) -> file_pb2.RemoveResponse:
        arguments = {**_read_place(request), "recursive": request.recursive}
        runtime = await self._runtime()
        async with time_limit(HASH_TIMEOUT):  # a large tree takes long
            await runtime.call("file.remove", arguments)
        return file_pb2.RemoveResponse()

    async def Move(self, request: file_pb2.MoveRequest, _context: Context) -> types_pb2.FileInfo:
        arguments = {
            "source": check_path(request.source, "source"),
            "destination": check_path(request.destination, "destination"),
            **read_root(request.source_root, "source_root"),
            **read_root(request.destination_root, "destination_root"),
            "overwrite": request.overwrite,
        }
        return await _call_for_info(await self._runtime(), "file.move", arguments)

    async def MakeDirectory(self, request: file_pb2.MakeDirectoryRequest, _context: Context) -> types_pb2.FileInfo:
        return await _call_for_info(await self._runtime(), "file.mkdir", _read_place(request))

    async def Search(
        self, request: file_pb2.SearchRequest, _context: Context
    ) -> AsyncIterator[file_pb2.SearchResponse]:
        arguments = read_search(request)
        async with contextlib.aclosing(search(await self._runtime(), arguments)) as responses:
            async for response in responses:
                yield response

    async def Watch(self, request: file_pb2.WatchRequest, _context: Context) -> AsyncIterator[file_pb2.WatchResponse]:
        arguments = {
            "path": check_path(request.path or "."),
            **read_root(request.root),
            "recursive": request.recursive,
        }
        async with contextlib.aclosing(watch(await self._runtime(), arguments)) as responses:
            async for response in responses:
                yield response

    async def _runtime(self) -> Runtime:
        return (await self._gate.require_ready()).runtime


def _read_place(request: _Placed) -> dict[str, Any]:
    return {"path": check_path(request.path), **read_root(request.root)}


def _read_open(first: file_pb2.WriteRequest | memoryview | None) -> dict[str, Any]:
    if not isinstance(first, file_pb2.WriteRequest) or not first.HasField("open"):
        raise invalid("open", "the first message of a Write must be `open`")
    sha256 = first.open.sha256
    if sha256 and (len(sha256) != _SHA256_DIGITS or set(sha256) - set("0123456789abcdef")):
        raise invalid("sha256", "sha256 is not a digest: give 64 lower-case hexadecimal digits, or leave it empty")
    if first.open.mode > _MODE_BITS:
        raise invalid("mode", f"mode {first.open.mode:o} has more than permission bits: give 0 to 07777")
    arguments = {**_read_place(first.open), "mode": first.open.mode, "sha256": sha256}
    if first.open.metadata:
        arguments["metadata"] = dict(first.open.metadata)
    return arguments


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
    """Check that the stream ended normally: gRPC ends the iteration in the same way when the client disconnects.

    A cancellation may arrive just after that end. A round trip through gRPC's own queue lets it arrive: then this task
    is cancelled, or the context says so.

    Raises:
        OperationError: CANCELLED.
    """
    await context.send_initial_metadata(())
    await asyncio.sleep(0)
    if context.cancelled() or context.done():
        raise OperationError("CANCELLED", "CANCELLED", "the client cancelled the call or disconnected")


async def _read_page(call: Call, page_size: int) -> file_pb2.ListFilesResponse:
    response = file_pb2.ListFilesResponse()
    size = 0
    async for item in call:
        if not isinstance(item, Event):
            continue
        with checking_answer():
            for entry in read_objects(item.value, "entries", MAX_ENTRIES):
                info = read_file_info(entry)
                size += info.ByteSize() + 8
                if len(response.files) >= page_size or size > MAX_RESPONSE:
                    message = "the page does not fit into one message: use a smaller page_size"
                    raise OperationError("RESOURCE_EXHAUSTED", "INVALID_ARGUMENT", message, "page_size")
                response.files.append(info)
    with checking_answer():
        response.next_page_token = read_text(call.result, "next_page_token")
    return response


async def _call_for_info(runtime: Runtime, op: str, arguments: dict[str, Any]) -> types_pb2.FileInfo:
    async with time_limit():
        value = await runtime.call(op, arguments)
    with checking_answer():
        return read_file_info(read_object(value, "info"))
