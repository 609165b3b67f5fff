"""Files of the workspace: list, move, remove and copy them, with the calls of file_transfer.py and search.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sandbox_client.directory_transfer import TreeReport, download_tree, upload_tree
from sandbox_client.errors import NotFound
from sandbox_client.file_transfer import FileTransfers
from sandbox_client.models.file_info import FileInfo, read_file_info
from sandbox_client.search import FileSearches
from sandbox_client.transport.requests import checked_path
from sandbox_proto.v1 import file_pb2

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from pathlib import PurePosixPath

    from sandbox_client.transport.connection import Connection

_PAGE_SIZE: Final = 1_000
"""Entries that one call lists."""


class AsyncFiles(FileTransfers, FileSearches):
    """Files of one sandbox. Paths are relative to the workspace root.

    Every method raises InvalidArgument (field `path`) for a path outside the workspace, and NotFound for a path that
    does not exist.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def upload_tree(
        self,
        local: str | os.PathLike[str],
        path: str | PurePosixPath = ".",
        *,
        on_progress: Callable[[int, int], object] | None = None,
    ) -> TreeReport:
        """Upload a local folder's content, several files at a time. Other files in the workspace stay.

        Args:
            local: The folder on this machine. Symlinks in it are skipped and listed in the report.
            path: The folder in the workspace; its root by default.
            on_progress: Called with the bytes sent and the total bytes.

        Raises:
            OSError: A local file cannot be read.
            SandboxError: The error of the first file that failed; others may have arrived.
        """
        return await upload_tree(self, local, path, on_progress=on_progress)

    async def download_tree(
        self,
        path: str | PurePosixPath,
        local: str | os.PathLike[str],
        *,
        on_progress: Callable[[int, int], object] | None = None,
    ) -> TreeReport:
        """Download a folder's content, several files at a time. Other files in the local folder stay.

        Args:
            path: The folder in the workspace; `.` is the whole workspace.
            local: The folder on this machine, which is created if it does not exist.
            on_progress: Called with the bytes received and the total bytes.

        Raises:
            SandboxError: The error of the first file that failed; others may have arrived.
        """
        return await download_tree(self, path, local, on_progress=on_progress)

    async def list(self, path: str | PurePosixPath = ".", *, depth: int = 1) -> list[FileInfo]:
        """List a folder's entries, sorted by path.

        Args:
            path: The folder.
            depth: Levels to list; 1 for the folder's own entries.
        """
        entries: list[FileInfo] = []
        token = ""
        while True:
            request = file_pb2.ListFilesRequest(
                path=checked_path(path), depth=depth, page_size=_PAGE_SIZE, page_token=token
            )
            response = await self._connection.unary(self._connection.file.List, request, repeatable=True)
            entries += [read_file_info(entry) for entry in response.files]
            token = response.next_page_token
            if not token:
                return entries

    async def stat(self, path: str | PurePosixPath) -> FileInfo:
        """Return the metadata of one path. A symlink is not followed."""
        request = file_pb2.StatRequest(path=checked_path(path))
        return read_file_info(await self._connection.unary(self._connection.file.Stat, request, repeatable=True))

    async def exists(self, path: str | PurePosixPath) -> bool:
        """Return whether the path exists."""
        try:
            await self.stat(path)
        except NotFound:
            return False
        return True

    async def remove(self, path: str | PurePosixPath, *, recursive: bool = False) -> None:
        """Remove a file, a symlink itself, or (with `recursive`) a folder and everything in it."""
        request = file_pb2.RemoveRequest(path=checked_path(path), recursive=recursive)
        # Not repeatable: a second attempt would raise NotFound if the first one worked.
        await self._connection.unary(self._connection.file.Remove, request, repeatable=False)

    async def move(
        self, source: str | PurePosixPath, destination: str | PurePosixPath, *, overwrite: bool = False
    ) -> FileInfo:
        """Rename a file or folder atomically.

        Raises:
            Conflict: The destination exists, and `overwrite` is not set.
        """
        request = file_pb2.MoveRequest(
            source=checked_path(source, "source"),
            destination=checked_path(destination, "destination"),
            overwrite=overwrite,
        )
        return read_file_info(await self._connection.unary(self._connection.file.Move, request, repeatable=False))

    async def make_directory(self, path: str | PurePosixPath) -> FileInfo:
        """Create a folder and its parents. It is not an error if the folder exists."""
        request = file_pb2.MakeDirectoryRequest(path=checked_path(path))
        return read_file_info(
            await self._connection.unary(self._connection.file.MakeDirectory, request, repeatable=True)
        )
