"""`file.read`, `workspace.read` and `workspace.hash`: regular files, read a few chunks ahead of the receiver."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sandbox_link.bulk_streams import WORTHWHILE
from sandbox_link.frames import Stream
from sandbox_link.protocol import OperationError
from sandbox_runtime.files.arguments import take_int
from sandbox_runtime.files.bulk_transfer import Outgoing, send_file
from sandbox_runtime.files.confined.errors import is_a_directory, not_a_file, translating
from sandbox_runtime.files.confined.info import Info, build_info
from sandbox_runtime.files.confined.metadata import read_metadata
from sandbox_runtime.files.confined.open_beneath import STRICT, THROUGH
from sandbox_runtime.files.confined.path_checks import Parts, join
from sandbox_runtime.files.confined.roots import Place
from sandbox_runtime.files.confined.threads import finish, wait_for_end

if TYPE_CHECKING:
    import asyncio

    from sandbox_link.protocol import Channel
    from sandbox_runtime.files.confined.open_beneath import FileRoot, Location, Lookup
    from sandbox_runtime.files.confined.roots import Roots
    from sandbox_runtime.files.confined.threads import StopFlag, Threads

CHUNK: Final = 512 * 1024 - 1
"""Bytes read at a time. With the link's one-byte tag, eight chunks fill its window exactly."""
AT_ONCE: Final = 256 * 1024
"""A range of at most this many bytes is read by the thread call that opens the file."""
_READ_AHEAD: Final = 3
_HASH_ATTEMPTS: Final = 3
_READ_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def open_regular(location: Location) -> tuple[int, os.stat_result]:
    """Open a file, only if it is a regular one. Never waits for a FIFO.

    Raises:
        OperationError: IS_A_DIRECTORY or NOT_A_FILE.
    """
    _check_regular(location.stat())
    descriptor = os.open(location.name, _READ_FLAGS, dir_fd=location.folder)
    try:
        status = os.fstat(descriptor)
        _check_regular(status)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, status


def _check_regular(status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise is_a_directory()
    if not stat.S_ISREG(status.st_mode):
        raise not_a_file()


@dataclass(frozen=True, slots=True)
class _Request:
    """A file and the range to read from it. A `length` of 0 reads to the end."""

    place: Place
    lookup: Lookup
    offset: int = 0
    length: int = 0
    is_detailed: bool = False


class _OpenFile:
    """A file that is being read. Its methods run in threads."""

    def __init__(self, request: _Request) -> None:
        self._request = request
        self._descriptor = -1
        self.end = 0
        self.info: Info = {}

    def begin(self) -> bytes | None:
        """Open the file. Returns the content if it is small, and None if it must be streamed."""
        request = self._request
        with request.place.locate(request.lookup) as location:
            self._descriptor, status = open_regular(location)
        self.info = self._describe(status)
        size = status.st_size
        if request.offset > size:
            message = f"the file has {size} bytes, so `offset` cannot be {request.offset}: give {size} or less"
            raise OperationError("OUT_OF_RANGE", "INVALID_ARGUMENT", message, "offset")
        self.end = min(size, request.offset + request.length) if request.length else size
        length = self.end - request.offset
        return self.read(request.offset, length) if length <= AT_ONCE else None

    @property
    def descriptor(self) -> int:
        """The file's descriptor; -1 if it is closed."""
        return self._descriptor

    def read(self, offset: int, length: int) -> bytes:
        """Read `length` bytes, fewer only if the file has become shorter."""
        with translating():
            data = os.pread(self._descriptor, length, offset)
            while data and len(data) < length:
                more = os.pread(self._descriptor, length - len(data), offset + len(data))
                if not more:
                    break
                data += more
        return data

    def stat_again(self) -> Info:
        """Return the file's current info."""
        with translating():
            return self._describe(os.fstat(self._descriptor))

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _describe(self, status: os.stat_result) -> Info:
        metadata = read_metadata(self._descriptor)
        return build_info(self._request.place.text, status, metadata=metadata, detailed=self._request.is_detailed)


class ReadHandlers:
    """Handlers of reading and hashing."""

    def __init__(self, roots: Roots, threads: Threads) -> None:
        self._roots = roots
        self._threads = threads

    async def read(self, channel: Channel) -> dict[str, Any]:
        """Handle `file.read`."""
        arguments = channel.arguments
        offset, length = take_int(arguments, "offset"), take_int(arguments, "length")
        file = _OpenFile(_Request(self._roots.find(arguments), THROUGH, offset, length))
        try:
            return {"bytes": await self._send(channel, file, offset)}
        finally:
            file.close()

    async def read_for_storage(self, channel: Channel) -> dict[str, Any]:
        """Handle `workspace.read`."""
        workspace = self._roots.workspace
        place = Place(workspace, workspace.confine(channel.arguments.get("path")))
        file = _OpenFile(_Request(place, STRICT, is_detailed=True))
        try:
            sent = await self._send(channel, file, 0)
            return {"bytes": sent, "info_after": file.stat_again()}
        finally:
            file.close()

    async def hash(self, channel: Channel) -> dict[str, Any]:
        """Handle `workspace.hash`."""
        workspace = self._roots.workspace
        parts = workspace.confine(channel.arguments.get("path"))
        return await self._threads.run_stoppable(lambda flag: _hash(workspace, parts, flag))

    async def _send(self, channel: Channel, file: _OpenFile, offset: int) -> int:
        content = await self._threads.run(file.begin)
        channel.send_event({"type": "info", "info": file.info})
        if content is None:
            sock = await channel.stream() if file.end - offset > WORTHWHILE else None
            if sock is None:
                return await self._send_chunks(channel, file, offset)
            with sock:
                return await send_file(sock, Outgoing(file.descriptor, offset, file.end), self._threads)
        if content:
            await channel.send(Stream.BODY, content)
        return len(content)

    async def _send_chunks(self, channel: Channel, file: _OpenFile, offset: int) -> int:
        pending: deque[tuple[int, asyncio.Future[bytes]]] = deque()
        start, sent = offset, 0
        try:
            while pending or start < file.end:
                while start < file.end and len(pending) < _READ_AHEAD:
                    length = min(CHUNK, file.end - start)
                    pending.append((length, self._threads.submit(file.read, start, length)))
                    start += length
                length, future = pending[0]
                data = await finish(future)
                pending.popleft()
                await channel.send(Stream.BODY, data)
                sent += len(data)
                if len(data) < length:
                    break  # the file was truncated meanwhile
        finally:
            for _, future in pending:
                await wait_for_end(future)  # it reads from the descriptor, which is closed next
        return sent


def _hash(workspace: FileRoot, parts: Parts, flag: StopFlag) -> dict[str, Any]:
    """Return the digest of a file. Reads it up to three times if it changes meanwhile."""
    with workspace.locate(parts, STRICT) as location:
        descriptor, status = open_regular(location)
        try:
            for _ in range(_HASH_ATTEMPTS):
                digest = _digest(descriptor, status.st_size, flag)
                before, status = status, os.fstat(descriptor)
                if (before.st_mtime_ns, before.st_ctime_ns, before.st_size) == (
                    status.st_mtime_ns,
                    status.st_ctime_ns,
                    status.st_size,
                ):
                    break
            metadata = read_metadata(descriptor)
        finally:
            os.close(descriptor)
    return {"sha256": digest, "info": build_info(join(parts), before, metadata=metadata, detailed=True)}


def _digest(descriptor: int, size: int, flag: StopFlag) -> str:
    digest = hashlib.sha256()
    offset = 0
    while chunk := os.pread(descriptor, min(CHUNK, size - offset), offset):
        flag.check()
        digest.update(chunk)
        offset += len(chunk)
    return digest.hexdigest()
