"""Files of the workspace, by name.

Contents are in transfers.py, whole folders in trees.py, searches in searches.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sandbox_client import directory_transfer as trees
from sandbox_client.errors import NotFound
from sandbox_client.file_transfer import FileTransfers
from sandbox_client.models.results import FileInfo, file_info
from sandbox_client.search import FileSearches
from sandbox_client.transport.requests import checked_path
from sandbox_proto.v1 import file_pb2

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from pathlib import PurePosixPath

    from sandbox_client.directory_transfer import TreeReport
    from sandbox_client.transport.connection import Connection

_PAGE: Final = 1_000


class AsyncFiles(FileTransfers, FileSearches):
    """Files of one sandbox. Paths are relative to the workspace root.

    Every method raises InvalidArgument (field `path`) for a path outside the workspace, and NotFound for one that is
    not there.
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
        """Send a local folder's content, many files at a time. What is in the workspace beside it stays.

        Args:
            local: The folder on this machine. Symlinks in it are skipped and named in the report.
            path: The folder in the workspace; its root by default.
            on_progress: Called with bytes sent and bytes in all.

        Raises:
            OSError: A local file cannot be read.
            SandboxError: The first file that could not be sent; others may have arrived.
        """
        return await trees.upload_tree(self, local, path, on_progress=on_progress)

    async def download_tree(
        self,
        path: str | PurePosixPath,
        local: str | os.PathLike[str],
        *,
        on_progress: Callable[[int, int], object] | None = None,
    ) -> TreeReport:
        """Fetch a folder's content, many files at a time. What is in the local folder beside it stays.

        Args:
            path: The folder in the workspace; `.` is all of it.
            local: The folder on this machine, which is made where it is missing.
            on_progress: Called with bytes received and bytes in all.

        Raises:
            SandboxError: The first file that could not be fetched; others may have arrived.
        """
        return await trees.download_tree(self, path, local, on_progress=on_progress)

    async def list(self, path: str | PurePosixPath = ".", *, depth: int = 1) -> list[FileInfo]:
        """A folder's entries, sorted by path.

        Args:
            path: The folder.
            depth: Levels; 1: its own entries.
        """
        entries: list[FileInfo] = []
        token = ""
        while True:
            request = file_pb2.ListFilesRequest(path=checked_path(path), depth=depth, page_size=_PAGE, page_token=token)
            response = await self._connection.unary(self._connection.file.List, request, repeatable=True)
            entries += [file_info(entry) for entry in response.files]
            token = response.next_page_token
            if not token:
                return entries

    async def stat(self, path: str | PurePosixPath) -> FileInfo:
        """What is known of one path; a symlink is not followed."""
        request = file_pb2.StatRequest(path=checked_path(path))
        return file_info(await self._connection.unary(self._connection.file.Stat, request, repeatable=True))

    async def exists(self, path: str | PurePosixPath) -> bool:
        """Whether the path is there."""
        try:
            await self.stat(path)
        except NotFound:
            return False
        return True

    async def remove(self, path: str | PurePosixPath, *, recursive: bool = False) -> None:
        """Remove a file, a symlink itself, or (with `recursive`) a folder and all below it."""
        request = file_pb2.RemoveRequest(path=checked_path(path), recursive=recursive)
        # Not repeated: the second attempt of one that worked would say NotFound.
        await self._connection.unary(self._connection.file.Remove, request, repeatable=False)

    async def move(
        self, source: str | PurePosixPath, destination: str | PurePosixPath, *, overwrite: bool = False
    ) -> FileInfo:
        """Rename a file or folder, atomically.

        Raises:
            Conflict: The destination is there, and `overwrite` is not set.
        """
        request = file_pb2.MoveRequest(
            source=checked_path(source, "source"),
            destination=checked_path(destination, "destination"),
            overwrite=overwrite,
        )
        return file_info(await self._connection.unary(self._connection.file.Move, request, repeatable=False))

    async def make_directory(self, path: str | PurePosixPath) -> FileInfo:
        """Make a folder and its parents; one that is there already is no error."""
        request = file_pb2.MakeDirectoryRequest(path=checked_path(path))
        return file_info(await self._connection.unary(self._connection.file.MakeDirectory, request, repeatable=True))
