"""Lists folders, and uploads and downloads them, several files at a time."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.errors import NotFound, SandboxError
from sandbox_client.models.file_info import FileInfo, read_file_info
from sandbox_client.models.readable import Listing
from sandbox_client.models.workspace_status import FileFailure
from sandbox_client.transfer.files import FileTransfers
from sandbox_client.transfer.local_tree import (
    TotalProgress,
    describe_local,
    distinguishes_case,
    find_collisions,
    list_local,
    local_name_problem,
    make_folder,
    read_small,
    write_small,
)
from sandbox_client.transport.requests import checked_path
from sandbox_proto.v1 import file_pb2

if TYPE_CHECKING:
    import os
    from collections.abc import Awaitable, Callable, Iterable, Sequence


MAX_CONCURRENT_FILES: Final = 16
MAX_BUFFERED_SIZE: Final = 1 << 20
"""Bytes of the largest file that is read into memory as a whole. Larger files are streamed."""
_MAX_DEPTH: Final = 4096
_PAGE_SIZE: Final = 1_000
"""Entries that one call lists."""
_READABLE: Final = 0o500
"""Mode of a folder that its owner can list. Only others are worth a question."""
_NOT_UTF8: Final = "its name is not UTF-8: rename it in the sandbox"


_ESCAPED_BYTE: Final = re.compile(r"\\udc[89a-f][0-9a-f]")
"""A byte of a name that is not UTF-8, as an agent lists it."""
_ONE_FILE: Final = frozenset(
    {
        "ALREADY_EXISTS",
        "DIGEST_MISMATCH",
        "FILE_CHANGED",
        "FILE_NOT_FOUND",
        "FILE_TOO_LARGE",
        "INVALID_ARGUMENT",
        "IO_ERROR",
        "IS_A_DIRECTORY",
        "NOT_A_DIRECTORY",
        "NOT_A_FILE",
        "PATH_OUTSIDE_WORKSPACE",
        "PERMISSION_DENIED",
    }
)
"""Reasons of errors that say nothing about the other files."""


@dataclass(frozen=True, slots=True)
class TreeReport:
    """Result of the transfer of a folder.

    Attributes:
        files: Number of files that were transferred.
        bytes: Bytes of all those files.
        skipped: Paths that are neither regular files nor folders: symlinks, devices, sockets.
        failed: Files and folders that could not be transferred, and why. All others were.
    """

    files: int
    bytes: int
    skipped: tuple[str, ...] = ()
    failed: tuple[FileFailure, ...] = ()


class DirectoryTransfers(FileTransfers):
    """The methods of `AsyncFiles` that list and transfer whole folders."""

    async def list(self, path: str | PurePosixPath = ".", *, depth: int = 1) -> list[FileInfo]:
        """List a folder's entries, sorted by path.

        Args:
            path: The folder.
            depth: Levels to list; 1 for the folder's own entries.
        """
        request = file_pb2.ListFilesRequest(path=checked_path(path), depth=depth, page_size=_PAGE_SIZE)
        pages = self._connection.pages(self._connection.file.List, request)
        return Listing([read_file_info(entry) async for page in pages for entry in page.files])

    async def upload_tree(
        self,
        local: str | os.PathLike[str],
        path: str | PurePosixPath = ".",
        *,
        on_progress: Callable[[int, int], object] | None = None,
    ) -> TreeReport:
        """Upload a local folder's content, several files at a time. Other files in the workspace stay.

        A file that cannot be read, sent or written is named in the report's `failed`; the others arrive.

        Args:
            local: The folder on this machine. Symlinks in it are skipped and listed in the report.
            path: The folder in the workspace; its root by default.
            on_progress: Called with the bytes sent and the total bytes.

        Raises:
            OSError: The local folder cannot be read.
            SandboxError: An error that concerns all files, such as a full disk or a lost session.
        """
        found = await asyncio.to_thread(list_local, Path(local))
        progress = TotalProgress(sum(size for _, _, size in found.files), on_progress)

        async def upload(item: tuple[Path, str, int]) -> None:
            source, name, size = item
            target = f"{path}/{name}"
            if size > MAX_BUFFERED_SIZE:
                await self.upload(source, target, on_progress=progress.for_file())
                return
            content, mode = await asyncio.to_thread(read_small, source)
            await self.write(target, content, mode=mode)
            progress.for_file()(len(content), len(content))

        failed = await _for_each(found.files, upload, lambda item: item[1])
        every = (*found.failed, *failed)
        return TreeReport(len(found.files) - len(failed), progress.done, tuple(found.skipped), every)

    async def download_tree(
        self,
        path: str | PurePosixPath,
        local: str | os.PathLike[str],
        *,
        on_progress: Callable[[int, int], object] | None = None,
    ) -> TreeReport:
        """Download a folder's content, several files at a time. Other files in the local folder stay.

        Files that may be executed in the sandbox may be executed here. A file that cannot be read, or whose name is
        not possible here, is named in the report's `failed`; the others arrive.

        Args:
            path: The folder in the workspace; `.` is the whole workspace.
            local: The folder on this machine, which is created if it does not exist.
            on_progress: Called with the bytes received and the total bytes.

        Raises:
            OSError: The local folder cannot be written.
            SandboxError: An error that concerns all files, such as a lost session.
        """
        base = Path(local)
        listed = await self.list(path, depth=_MAX_DEPTH)
        top = await self._top_of(checked_path(path))
        entries = [(_below(top, entry.path), entry) for entry in listed]
        await asyncio.to_thread(base.mkdir, parents=True, exist_ok=True)
        failed = await self._find_impossible(entries, base)
        lost = {failure.path for failure in failed}
        # What is in a folder that failed is not named again.
        entries = [(name, entry) for name, entry in entries if not _is_lost(entry.path, lost)]
        files = [(name, entry) for name, entry in entries if entry.type == "file"]
        progress = TotalProgress(sum(entry.size for _, entry in files), on_progress)

        async def download(item: tuple[str, FileInfo]) -> None:
            name, entry = item
            if entry.size > MAX_BUFFERED_SIZE:
                await self.download(entry.path, base / name, on_progress=progress.for_file())
                return
            content = await self.read(entry.path)
            await asyncio.to_thread(write_small, base / name, content, entry.mode)
            progress.for_file()(len(content), len(content))

        failed_files = await _for_each(files, download, lambda item: item[1].path)
        skipped = tuple(entry.path for _, entry in entries if entry.type not in ("file", "directory"))
        every = (*failed, *failed_files)
        return TreeReport(len(files) - len(failed_files), progress.done, skipped, every)

    async def _top_of(self, path: str) -> str:
        """Return a folder's path as listings spell it: an absolute one may be relative there."""
        if not path.startswith("/"):
            return path
        request = file_pb2.StatRequest(path=path)
        return str((await self._connection.unary(self._connection.file.Stat, request, repeatable=True)).path)

    async def _find_impossible(self, entries: Sequence[tuple[str, FileInfo]], base: Path) -> Sequence[FileFailure]:
        """Create the folders. Return what cannot be on this machine, and the folders that cannot be read."""
        collisions: dict[str, str] = {}
        if not await asyncio.to_thread(distinguishes_case, base):
            collisions = find_collisions(name for name, _ in entries)
        failed = []
        lost: set[str] = set()
        for name, entry in entries:
            if _is_lost(entry.path, lost):
                continue
            reason = local_name_problem(name)
            if name in collisions:
                reason = f"here it would be the same file as {collisions[name]}: rename one of them in the sandbox"
            elif not reason and entry.type == "directory":
                reason = await self._folder_problem(entry) or await asyncio.to_thread(make_folder, base / name)
            if reason:
                failed.append(FileFailure(entry.path, reason))
                lost.add(entry.path)
        return failed

    async def _folder_problem(self, folder: FileInfo) -> str:
        """Return why the content of a folder cannot be listed, or "". Files are asked for anyway."""
        is_readable = folder.mode & _READABLE == _READABLE
        if is_readable and not _ESCAPED_BYTE.search(folder.path):
            return ""
        try:
            await self.list(folder.path)
        except NotFound:
            return _NOT_UTF8
        except SandboxError as error:
            if error.reason != "PERMISSION_DENIED":
                raise
            return "it may not be read in the sandbox"
        return ""


def _is_lost(path: str, lost: set[str]) -> bool:
    return bool(lost) and (path in lost or any(str(folder) in lost for folder in PurePosixPath(path).parents))


async def _for_each(
    items: Iterable[Any], work: Callable[[Any], Awaitable[None]], name: Callable[[Any], str]
) -> list[FileFailure]:
    """Process the items, MAX_CONCURRENT_FILES at a time. Returns those that failed.

    An error that concerns all items cancels the others and is raised.
    """
    waiting = iter(items)
    failed: list[FileFailure] = []

    async def worker() -> None:
        for item in waiting:
            try:
                await work(item)
            except OSError as error:
                failed.append(FileFailure(name(item), describe_local(error)))
            except SandboxError as error:
                if error.reason not in _ONE_FILE:
                    raise
                is_not_utf8 = isinstance(error, NotFound) and _ESCAPED_BYTE.search(name(item))
                failed.append(FileFailure(name(item), _NOT_UTF8 if is_not_utf8 else str(error)))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(MAX_CONCURRENT_FILES):
                group.create_task(worker())
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return failed


def _below(top: str, path: str) -> str:
    """Return a listed path relative to the listed folder."""
    names = "/".join(part for part in top.split("/") if part not in ("", "."))
    prefix = f"/{names}" if top.startswith("/") else names
    return path.removeprefix(f"{prefix}/") if prefix else path
