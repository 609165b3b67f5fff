"""The session's workspace in object storage: push, restore, status, and what is stored."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.errors import SandboxUnavailable
from sandbox_client.models.results import (
    FileFailure,
    Progress,
    PushReport,
    RestoreReport,
    StoredFile,
    WorkspaceStatus,
    utc,
)
from sandbox_proto.v1 import workspace_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable
    from pathlib import PurePosixPath

    from sandbox_client.transport.connection import Connection

_PAGE: Final = 1_000


class AsyncWorkspace:
    """Object storage of one sandbox. Stored paths look like `code-interpreter/chart.png`.

    Every method raises SandboxUnavailable where storage is down; nothing is lost then.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def push(
        self,
        paths: Iterable[str | PurePosixPath] = (),
        *,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> PushReport:
        """Save files. What the report counts as saved is durable; a file that failed is listed and never counted.

        Args:
            paths: Files or folders; empty: everything but what the session excludes.
            on_progress: Called as files travel.

        Raises:
            NotFound: A named path is not there.
            Conflict: Another session is saving to the same workspace, or saved to it at the same time.
        """
        request = workspace_pb2.PushRequest(paths=[str(path) for path in paths])
        done = await self._to_end(self._connection.workspace.Push, request, on_progress)
        return PushReport(done.generation, done.files_saved, done.files_moved, done.bytes_moved, _failures(done))

    async def restore(self, *, on_progress: Callable[[Progress], object] | None = None) -> RestoreReport:
        """Bring what is stored back into the sandbox; local files that storage does not have stay.

        Args:
            on_progress: Called as files travel.
        """
        request = workspace_pb2.RestoreRequest()
        done = await self._to_end(self._connection.workspace.Restore, request, on_progress)
        return RestoreReport(done.generation, done.files_restored, done.bytes_restored, _failures(done))

    async def status(self) -> WorkspaceStatus:
        """What is saved and what is not."""
        request = workspace_pb2.WorkspaceStatusRequest()
        message = await self._connection.unary(self._connection.workspace.Status, request, repeatable=True)
        return WorkspaceStatus(
            generation=message.generation,
            files=message.files,
            bytes=message.bytes,
            synced_at=utc(message, "synced_at"),
            dirty=message.dirty,
            last_error=message.last_error,
            conflicts=tuple(message.conflicts),
            saves_on_change=message.saves_on_change,
            lag=message.lag.ToTimedelta().total_seconds(),
        )

    async def list(self, prefix: str = "") -> list[StoredFile]:
        """What is stored.

        Args:
            prefix: As in `code-interpreter/`; empty: everything.
        """
        files: list[StoredFile] = []
        token = ""
        while True:
            request = workspace_pb2.ListStoredRequest(prefix=prefix, page_size=_PAGE, page_token=token)
            response = await self._connection.unary(self._connection.workspace.List, request, repeatable=True)
            files += [StoredFile(entry.path, entry.size, utc(entry, "last_modified")) for entry in response.files]
            token = response.next_page_token
            if not token:
                return files

    async def read(self, path: str) -> bytes:
        """One stored file's bytes.

        Args:
            path: As in `code-interpreter/chart.png`.

        Raises:
            NotFound: Nothing is stored there.
        """
        return b"".join([piece async for piece in self.stream(path)])

    async def stream(self, path: str) -> AsyncGenerator[bytes, None]:
        """One stored file's bytes in pieces."""
        request = workspace_pb2.ReadStoredRequest(path=path)
        async with contextlib.aclosing(self._connection.stream(self._connection.workspace.Read, request)) as responses:
            async for response in responses:
                if response.WhichOneof("part") == "data":
                    yield response.data

    async def _to_end(self, method: Any, request: Any, on_progress: Callable[[Progress], object] | None) -> Any:
        done = None
        async with contextlib.aclosing(self._connection.stream(method, request)) as responses:
            async for response in responses:
                if response.WhichOneof("event") == "done":
                    done = response.done
                elif on_progress:
                    at = response.progress
                    on_progress(Progress(at.files_done, at.files_total, at.bytes_done, at.bytes_total))
        if done is None:
            raise SandboxUnavailable("the stream ended early; run it again", reason="STREAM_ENDED")
        return done


def _failures(message: Any) -> tuple[FileFailure, ...]:
    return tuple(FileFailure(failure.path, failure.reason) for failure in message.failed)
