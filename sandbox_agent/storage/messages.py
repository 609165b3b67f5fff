"""Builds the messages about pushes, restores and the workspace's status. Pure."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from sandbox_agent.storage.repository.keys import printable
from sandbox_proto.v1 import workspace_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sandbox_agent.storage.base_state import Base
    from sandbox_agent.storage.push.push import PushResult
    from sandbox_agent.storage.restore.restore import RestoreResult

MAX_FAILURES: Final = 500
"""Failures or conflicts that one answer names."""
_MAX_FAILURE_BYTES: Final = 512 << 10
"""Bytes of all failures that one answer names. A gRPC message may have 4 MiB."""
_MAX_NAME: Final = 2048
_MAX_UNSAVED: Final = 50
"""Failures that a status names. It is asked for often."""


def push_done(result: PushResult) -> workspace_pb2.PushDone:
    """Return the final message of a push."""
    return workspace_pb2.PushDone(
        generation=result.base.generation,
        files_saved=result.saved,
        files_moved=result.uploaded,
        bytes_moved=result.uploaded_bytes,
        failed=_failures(result.failed),
    )


def restore_done(result: RestoreResult) -> workspace_pb2.RestoreDone:
    """Return the final message of a restore."""
    return workspace_pb2.RestoreDone(
        generation=result.base.generation,
        files_restored=result.files,
        bytes_restored=result.size,
        failed=_failures(result.failed),
    )


def status(
    base: Base,
    synced_at: str,
    error: str,
    lag: float | None,
    unsaved: Sequence[tuple[str, str]] = (),
    *,
    dirty: bool,
) -> workspace_pb2.WorkspaceStatus:
    """Return what is saved and what is not.

    Args:
        base: The remote state that the sandbox last saw.
        synced_at: When its snapshot was committed, ISO 8601; empty if unknown.
        error: The last error; empty if there is none.
        lag: Seconds since the first change that is not saved; None if changes are not saved automatically.
        unsaved: What the last push of everything could not save.
        dirty: The sandbox has changes that are not saved.
    """
    files = [entry for entry in base.entries.values() if entry.type == "file"]
    message = workspace_pb2.WorkspaceStatus(
        generation=base.generation,
        files=len(files),
        bytes=sum(entry.size for entry in files),
        dirty=dirty,
        last_error=printable(error),
        conflicts=[printable(path) for path in sorted(base.conflicts)[:MAX_FAILURES]],
        unsaved=_failures(unsaved, _MAX_UNSAVED),
        unsaved_count=len(unsaved),
    )
    if lag is not None:
        message.saves_on_change = True
        message.lag.FromNanoseconds(int(lag * 1e9))
    with contextlib.suppress(ValueError):
        message.synced_at.FromJsonString(synced_at)
    return message


def _failures(failed: Sequence[tuple[str, str]], most: int = MAX_FAILURES) -> list[workspace_pb2.FileFailure]:
    """Return at most `most` failures, the last of which says how many were left out. Long names are cut."""
    messages: list[workspace_pb2.FileFailure] = []
    room = _MAX_FAILURE_BYTES
    for path, reason in failed:
        message = workspace_pb2.FileFailure(path=printable(path, _MAX_NAME), reason=printable(reason))
        room -= message.ByteSize()
        is_last = len(messages) + 1 == len(failed)
        if room < 0 or (len(messages) == most - 1 and not is_last):
            rest = len(failed) - len(messages)
            messages.append(workspace_pb2.FileFailure(reason=f"{rest} more files failed"))
            break
        messages.append(message)
    return messages
