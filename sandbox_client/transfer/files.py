"""Reads, writes, uploads and downloads files: streamed, and checked by digest."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import tempfile
from collections.abc import AsyncIterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from sandbox_client.errors import DataCorrupted, SandboxError
from sandbox_client.models.file_info import FileInfo, read_file_info
from sandbox_client.transport.requests import checked_path
from sandbox_proto.v1 import file_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
    from pathlib import PurePosixPath

    from sandbox_client.transport.connection import Connection

CHUNK_SIZE: Final = 1 << 20
"""Bytes in one message of a transfer: the protocol's maximum, because gRPC's cost is per message."""


class FileTransfers:
    """The methods of `AsyncFiles` that transfer the content of files."""

    _connection: Connection

    async def read(self, path: str | PurePosixPath, *, offset: int = 0, length: int = 0) -> bytes:
        """Return a file's bytes, or a range of them.

        Args:
            path: The file.
            offset: Bytes to skip.
            length: Maximum number of bytes; 0 for no maximum.

        Raises:
            FailedPrecondition: The path is a directory or another kind of special file.
        """
        return b"".join([chunk async for chunk in self.stream(path, offset=offset, length=length)])

    async def read_text(self, path: str | PurePosixPath, *, encoding: str = "utf-8") -> str:
        """Return a file's text.

        Raises:
            UnicodeDecodeError: The file is not text in that encoding.
        """
        return (await self.read(path)).decode(encoding)

    async def write(
        self,
        path: str | PurePosixPath,
        content: bytes | str,
        *,
        mode: int = 0,
        metadata: Mapping[str, str] | None = None,
    ) -> FileInfo:
        """Write a whole file. It appears under its name only when it is complete. Missing folders are created.

        Args:
            path: The file.
            content: Bytes, or text to write as UTF-8.
            mode: Permission bits; 0 for those of the file that is replaced, or else 0644.
            metadata: Texts to keep with the file, at most 64 and 3,000 bytes, as extended attributes `user.KEY`. They
                replace earlier ones. None or empty keeps those of the file that is replaced.

        Raises:
            FailedPrecondition: The path is a directory, or its file system keeps no metadata.
            ResourceExhausted: The disk is full, or the file is too large.
        """
        data = content.encode() if isinstance(content, str) else bytes(content)
        opening = file_pb2.WriteOpen(
            path=checked_path(path), mode=mode, sha256=hashlib.sha256(data).hexdigest(), metadata=metadata or {}
        )
        view = memoryview(data)

        def chunks() -> AsyncIterator[bytes]:
            return _iterate(bytes(view[start : start + CHUNK_SIZE]) for start in range(0, len(view), CHUNK_SIZE))

        # The digest is sent first, and the file is replaced as a whole, so a second attempt is harmless.
        return read_file_info((await self._write(opening, chunks, may_resend=True)).info)

    async def write_stream(
        self,
        path: str | PurePosixPath,
        chunks: AsyncIterable[bytes] | Iterable[bytes],
        *,
        mode: int = 0,
        metadata: Mapping[str, str] | None = None,
    ) -> FileInfo:
        """Write a whole file from pieces of any size, for content larger than memory. Otherwise like `write`.

        Nothing is written if `chunks` raises. Its error is raised here.

        Args:
            path: The file.
            chunks: The content. It is read once.
            mode: As for `write`.
            metadata: As for `write`.

        Raises:
            DataCorrupted: The bytes that arrived have another digest.
        """
        digest = hashlib.sha256()
        failures: list[Exception] = []

        async def pieces() -> AsyncIterator[bytes]:
            try:
                async for chunk in chunks if isinstance(chunks, AsyncIterable) else _iterate(chunks):
                    digest.update(chunk)
                    for start in range(0, len(chunk), CHUNK_SIZE):
                        yield bytes(chunk[start : start + CHUNK_SIZE])
            except Exception as error:
                failures.append(error)
                raise

        try:
            opening = file_pb2.WriteOpen(path=checked_path(path), mode=mode, metadata=metadata or {})
            response = await self._write(opening, pieces)
        except (SandboxError, asyncio.CancelledError):
            # gRPC hides why the content ended.
            if failures:
                raise failures[0] from None
            raise
        if response.sha256 != digest.hexdigest():
            raise DataCorrupted(f"{path} arrived with another digest", reason="DIGEST_MISMATCH", field="sha256")
        return read_file_info(response.info)

    async def stream(
        self,
        path: str | PurePosixPath,
        *,
        offset: int = 0,
        length: int = 0,
        on_info: Callable[[FileInfo], object] | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """Yield a file's bytes in chunks, for files larger than memory.

        Args:
            path: The file.
            offset: Bytes to skip.
            length: Maximum number of bytes; 0 for no maximum.
            on_info: Called with the file's metadata before the first chunk.
        """
        request = file_pb2.ReadRequest(path=checked_path(path), offset=offset, length=length)
        async with contextlib.aclosing(self._chunks(request, on_info)) as chunks:
            async for chunk in chunks:
                yield bytes(chunk)

    async def upload(
        self,
        local: str | os.PathLike[str],
        path: str | PurePosixPath | None = None,
        *,
        metadata: Mapping[str, str] | None = None,
        on_progress: Callable[[int, int], object] | None = None,
    ) -> FileInfo:
        """Upload a local file.

        Args:
            local: The file on this machine.
            path: The file in the workspace; the same name in the workspace root if None.
            metadata: As in `write`.
            on_progress: Called with the bytes sent and the total bytes.

        Raises:
            OSError: The local file cannot be read.
            DataCorrupted: The bytes that arrived have another digest.
        """
        source = Path(local)
        status = await asyncio.to_thread(source.stat)
        digest = hashlib.sha256()
        opening = file_pb2.WriteOpen(
            path=checked_path(path or source.name), mode=status.st_mode & 0o777, metadata=metadata or {}
        )
        with await asyncio.to_thread(source.open, "rb") as file:
            response = await self._write(opening, lambda: _read_ahead(file, digest, status.st_size, on_progress))
        if response.sha256 != digest.hexdigest():
            raise DataCorrupted(
                f"{source} arrived with another digest: upload it again", reason="DIGEST_MISMATCH", field="sha256"
            )
        return read_file_info(response.info)

    async def download(
        self,
        path: str | PurePosixPath,
        local: str | os.PathLike[str] | None = None,
        *,
        on_progress: Callable[[int, int], object] | None = None,
    ) -> Path:
        """Download a file. The local file is replaced only when all bytes have arrived. Execute bits are kept.

        Args:
            path: The file in the workspace.
            local: A folder, or the file's new name; the current folder if None.
            on_progress: Called with the bytes received and the total bytes.

        Returns:
            The local file.
        """
        target = Path(local) if local is not None else Path(Path(str(path)).name)
        if await asyncio.to_thread(target.is_dir):
            target = target / Path(str(path)).name
        total = mode = 0

        def set_total(info: FileInfo) -> None:
            nonlocal total, mode
            total, mode = info.size, info.mode

        descriptor, partial = await asyncio.to_thread(tempfile.mkstemp, dir=target.parent, prefix=".download-")
        try:
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                async with _BackgroundWriter(file) as writer:
                    request = file_pb2.ReadRequest(path=checked_path(path))
                    async for chunk in self._chunks(request, set_total):
                        await writer.write(chunk)
                        if on_progress:
                            on_progress(writer.size, max(total, writer.size))
            await asyncio.to_thread(publish, partial, target, mode)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(partial)  # noqa: PTH108 - a str from mkstemp
            raise
        return target

    async def _chunks(
        self, request: file_pb2.ReadRequest, on_info: Callable[[FileInfo], object] | None
    ) -> AsyncGenerator[bytes | memoryview, None]:
        async with contextlib.aclosing(self._connection.stream(self._connection.read_file, request)) as responses:
            async for response in responses:
                if isinstance(response, memoryview):
                    yield response
                elif response.WhichOneof("part") == "data":
                    yield response.data
                elif on_info:
                    on_info(read_file_info(response.info))

    async def _write(
        self, opening: file_pb2.WriteOpen, chunks: Callable[[], AsyncIterator[bytes]], *, may_resend: bool = False
    ) -> Any:
        async def requests() -> AsyncIterator[file_pb2.WriteRequest | bytes]:
            yield file_pb2.WriteRequest(open=opening)
            async for chunk in chunks():
                yield chunk

        request = requests if may_resend else requests()
        return await self._connection.unary(self._connection.write_file, request, repeatable=False, seconds=None)


async def _read_ahead(
    file: Any, digest: Any, total: int, on_progress: Callable[[int, int], object] | None
) -> AsyncIterator[bytes]:
    """Yield the file's content. Read and digest the next chunk while the one before it is sent."""

    def read() -> bytes:
        chunk: bytes = file.read(CHUNK_SIZE)
        digest.update(chunk)
        return chunk

    sent = 0
    loop = asyncio.get_running_loop()
    following = loop.run_in_executor(None, read)
    try:
        while chunk := await following:
            following = loop.run_in_executor(None, read)
            yield chunk
            sent += len(chunk)
            if on_progress:
                on_progress(sent, max(total, sent))
    finally:
        # The caller closes the file next, so no thread may still read from it.
        await asyncio.wait([following])


class _BackgroundWriter:
    """Writes each chunk to a file in a thread, while the next one arrives.

    Attributes:
        size: Bytes passed to `write` so far.
    """

    def __init__(self, file: Any) -> None:
        self.size = 0
        self._file = file
        self._running: asyncio.Future[None] | None = None

    async def write(self, chunk: bytes | memoryview) -> None:
        """Wait until the chunk before this one is written, and start to write this one."""
        if self._running is not None:
            await self._running
        self.size += len(chunk)
        self._running = asyncio.get_running_loop().run_in_executor(None, self._write, chunk)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, type_: type[BaseException] | None, *_: object) -> None:
        if self._running is not None:
            # The caller closes the file next, so no thread may still write to it.
            await asyncio.wait([self._running])
            if type_ is None:
                self._running.result()

    def _write(self, chunk: bytes | memoryview) -> None:
        view = memoryview(chunk)
        while view:
            view = view[self._file.write(view) :]


def publish(partial: str, target: Path, mode: int) -> None:
    """Give a complete file from mkstemp ordinary permissions and its final name.

    Args:
        partial: The file.
        target: Its final name.
        mode: Permission bits in the sandbox. If its owner may execute it there, it may be executed here.
    """
    mask = os.umask(0)
    os.umask(mask)
    # mkstemp creates files that only the owner can read.
    os.chmod(partial, (0o777 if mode & 0o100 else 0o666) & ~mask)  # noqa: PTH101 - a str from mkstemp
    os.replace(partial, target)  # noqa: PTH105 - same


async def _iterate(chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
