"""The session's workspace in object storage: push, restore, status, and access to stored files."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.errors import SandboxUnavailable
from sandbox_client.models.readable import Listing
from sandbox_client.models.workspace_status import (
    Progress,
    PushReport,
    RestoreReport,
    StoredFile,
    WorkspaceStatus,
    read_failures,
    read_progress,
    read_stored_file,
    read_workspace_status,
)
from sandbox_client.transport.arguments import checks_arguments
from sandbox_proto.v1 import workspace_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable
    from pathlib import PurePosixPath

    from sandbox_client.transport.connection import Connection

_PAGE_SIZE: Final = 1_000
"""Files that one call lists."""


@checks_arguments
class AsyncWorkspace:
    """Object storage of one sandbox. Stored paths look like `code-interpreter/chart.png`.

    Every method raises SandboxUnavailable if storage does not answer. Nothing is lost then.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def push(
        self,
        paths: Iterable[str | PurePosixPath] = (),
        *,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> PushReport:
        """Save files. The files that the report counts as saved are durable; files that failed are listed separately.

        Args:
            paths: Files or folders; everything except what the session excludes if empty.
            on_progress: Called as files are uploaded.

        Raises:
            NotFound: A named path does not exist.
            Conflict: Another session is saving to the same workspace, or saved to it at the same time.
        """
        request = workspace_pb2.PushRequest(paths=[str(path) for path in paths])
        done = await self._run(self._connection.workspace.Push, request, on_progress)
        return PushReport(done.generation, done.files_saved, done.files_moved, done.bytes_moved, read_failures(done))

    async def restore(self, *, on_progress: Callable[[Progress], object] | None = None) -> RestoreReport:
        """Download the stored files into the sandbox. Files of the sandbox that are not stored stay.

        Args:
            on_progress: Called as files are downloaded.
        """
        request = workspace_pb2.RestoreRequest()
        done = await self._run(self._connection.workspace.Restore, request, on_progress)
        return RestoreReport(done.generation, done.files_restored, done.bytes_restored, read_failures(done))

    async def status(self) -> WorkspaceStatus:
        """Return what is saved, and whether the sandbox differs from it."""
        request = workspace_pb2.WorkspaceStatusRequest()
        message = await self._connection.unary(self._connection.workspace.Status, request, repeatable=True)
        return read_workspace_status(message)

    async def list(self, prefix: str = "") -> list[StoredFile]:
        """List stored files.

        Args:
            prefix: Beginning of the paths, such as `code-interpreter/`; all files if empty.
        """
        request = workspace_pb2.ListStoredRequest(prefix=prefix, page_size=_PAGE_SIZE)
        pages = self._connection.pages(self._connection.workspace.List, request)
        return Listing([read_stored_file(entry) async for page in pages for entry in page.files])

    async def read(self, path: str) -> bytes:
        """Return a stored file's bytes.

        Args:
            path: Such as `code-interpreter/chart.png`.

        Raises:
            NotFound: There is no such stored file.
        """
        return b"".join([chunk async for chunk in self.stream(path)])

    async def stream(self, path: str) -> AsyncGenerator[bytes, None]:
        """Yield a stored file's bytes in chunks."""
        request = workspace_pb2.ReadStoredRequest(path=path)
        async with contextlib.aclosing(self._connection.stream(self._connection.workspace.Read, request)) as responses:
            async for response in responses:
                if response.WhichOneof("part") == "data":
                    yield response.data

    async def _run(self, method: Any, request: Any, on_progress: Callable[[Progress], object] | None) -> Any:
        """Make a call that streams its progress, and return its `done` message."""
        done = None
        async with contextlib.aclosing(self._connection.stream(method, request)) as responses:
            async for response in responses:
                if response.WhichOneof("event") == "done":
                    done = response.done
                elif on_progress:
                    on_progress(read_progress(response.progress))
        if done is None:
            raise SandboxUnavailable("the transfer to storage ended early: run it again", reason="STREAM_ENDED")
        return done
