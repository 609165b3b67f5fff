"""Files of the workspace, the home folder and /tmp. `transfer` and search.py have most of the methods."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox_client.errors import NotFound
from sandbox_client.models.file_info import FileInfo, read_file_info
from sandbox_client.search import FileSearches
from sandbox_client.transfer.folders import DirectoryTransfers
from sandbox_client.transport.arguments import checks_arguments
from sandbox_client.transport.requests import checked_path
from sandbox_proto.v1 import file_pb2

if TYPE_CHECKING:
    from pathlib import PurePosixPath

    from sandbox_client.transport.connection import Connection


@checks_arguments
class AsyncFiles(DirectoryTransfers, FileSearches):
    """Files of one sandbox. Paths are relative to the workspace root, or absolute.

    An absolute path may be in the workspace, the home folder or /tmp. Only the workspace is saved. Answers have
    relative paths of files in the workspace, and absolute ones of others.

    Every method raises InvalidArgument (field `path`) for a path outside these folders, and NotFound for a path that
    does not exist. It raises PermissionDenied for a path that may not be read or written.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

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

    async def home(self) -> str:
        """Return the absolute path of the home folder, HOME of code and commands."""
        request = file_pb2.StatRequest(path=".", root=file_pb2.FILE_ROOT_HOME)
        return str((await self._connection.unary(self._connection.file.Stat, request, repeatable=True)).path)

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
