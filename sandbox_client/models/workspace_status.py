"""The state of the workspace in object storage, and the results of saving and restoring it. Pure: no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sandbox_client.models.readable import format_time
from sandbox_client.models.sizes import format_size
from sandbox_client.models.timestamps import read_time

if TYPE_CHECKING:
    from datetime import datetime

    from sandbox_proto.v1 import workspace_pb2


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a push or restore. Sizes in bytes."""

    files_done: int = 0
    files_total: int = 0
    bytes_done: int = 0
    bytes_total: int = 0


@dataclass(frozen=True, slots=True)
class FileFailure:
    """A file that could not be saved, restored or transferred, and the reason."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class PushReport:
    """Result of a push.

    Attributes:
        generation: Number of the snapshot in storage.
        files_saved: Files that are now saved durably.
        files_moved: Files among them that had to be uploaded.
        bytes_moved: Bytes that had to be uploaded.
        failed: Files that were not saved.
    """

    generation: int
    files_saved: int
    files_moved: int
    bytes_moved: int
    failed: tuple[FileFailure, ...] = ()


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """Result of a restore.

    Attributes:
        generation: Number of the snapshot in storage.
        files_restored: Files that were downloaded into the sandbox.
        bytes_restored: Bytes of those files.
        failed: Files that were not restored.
    """

    generation: int
    files_restored: int
    bytes_restored: int
    failed: tuple[FileFailure, ...] = ()


@dataclass(frozen=True, slots=True)
class WorkspaceStatus:
    """State of the workspace in storage.

    Attributes:
        generation: Number of the snapshot that the sandbox last saw.
        files: Files in that snapshot.
        bytes: Bytes of those files.
        synced_at: Time of the last push or restore, aware, in UTC; None if there was none.
        dirty: Whether files in the sandbox differ from the snapshot.
        last_error: Message of the last push or restore that failed, "" after a success.
        conflicts: Files that changed both here and in storage. They are not saved until someone renames, removes or
            restores them.
        saves_on_change: Whether the agent saves changes automatically.
        lag: Seconds since the first change that is not saved yet, if the agent saves automatically.
    """

    generation: int
    files: int
    bytes: int
    synced_at: datetime | None
    dirty: bool
    last_error: str
    conflicts: tuple[str, ...] = ()
    saves_on_change: bool = False
    lag: float = 0.0


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file in storage, such as `code-interpreter/chart.png`. Size in bytes."""

    path: str
    size: int
    last_modified: datetime | None = None

    def row(self) -> dict[str, str]:
        """Return the texts of a listing."""
        return {"path": self.path, "size": format_size(self.size), "modified": format_time(self.last_modified)}


def read_progress(message: workspace_pb2.Progress) -> Progress:
    """Convert a protocol message."""
    return Progress(message.files_done, message.files_total, message.bytes_done, message.bytes_total)


def read_workspace_status(message: workspace_pb2.WorkspaceStatus) -> WorkspaceStatus:
    """Convert a protocol message."""
    return WorkspaceStatus(
        generation=message.generation,
        files=message.files,
        bytes=message.bytes,
        synced_at=read_time(message, "synced_at"),
        dirty=message.dirty,
        last_error=message.last_error,
        conflicts=tuple(message.conflicts),
        saves_on_change=message.saves_on_change,
        lag=message.lag.ToTimedelta().total_seconds(),
    )


def read_stored_file(message: workspace_pb2.StoredFile) -> StoredFile:
    """Convert a protocol message."""
    return StoredFile(message.path, message.size, read_time(message, "last_modified"))


def read_failures(message: Any) -> tuple[FileFailure, ...]:
    """Return the failures in a PushDone or RestoreDone message."""
    return tuple(FileFailure(failure.path, failure.reason) for failure in message.failed)
