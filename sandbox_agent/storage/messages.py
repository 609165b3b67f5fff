"""What pushes and restores did, and what is saved, as messages. Pure."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from sandbox_agent.storage.push.plan import cut
from sandbox_agent.storage.repository.keys import printable
from sandbox_proto.v1 import workspace_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sandbox_agent.storage.base_state import Knowledge
    from sandbox_agent.storage.push.push import PushResult
    from sandbox_agent.storage.restore.restore import RestoreResult

MAX_FAILURES: Final = 500
"""Failures or conflicts that one answer names."""


def push_done(result: PushResult) -> workspace_pb2.PushDone:
    """The end of a push."""
    return workspace_pb2.PushDone(
        generation=result.knowledge.generation,
        files_saved=result.saved,
        files_moved=result.moved,
        bytes_moved=result.moved_bytes,
        failed=_failures(result.failed),
    )


def restore_done(result: RestoreResult) -> workspace_pb2.RestoreDone:
    """The end of a restore."""
    return workspace_pb2.RestoreDone(
        generation=result.knowledge.generation,
        files_restored=result.files,
        bytes_restored=result.size,
        failed=_failures(result.failed),
    )


def status(
    knowledge: Knowledge, synced_at: str, error: str, lag: float | None, *, dirty: bool
) -> workspace_pb2.WorkspaceStatus:
    """What is saved and what is not; `lag` in seconds, None where nothing is saved on change."""
    files = [entry for entry in knowledge.entries.values() if entry.type == "file"]
    message = workspace_pb2.WorkspaceStatus(
        generation=knowledge.generation,
        files=len(files),
        bytes=sum(entry.size for entry in files),
        dirty=dirty,
        last_error=printable(error),
        conflicts=[printable(path) for path in sorted(knowledge.conflicts)[:MAX_FAILURES]],
    )
    if lag is not None:
        message.saves_on_change = True
        message.lag.FromNanoseconds(int(lag * 1e9))
    with contextlib.suppress(ValueError):
        message.synced_at.FromJsonString(synced_at)
    return message


def _failures(failed: list[tuple[str, str]]) -> Iterable[workspace_pb2.FileFailure]:
    return [
        workspace_pb2.FileFailure(path=printable(path), reason=printable(reason))
        for path, reason in cut(failed, MAX_FAILURES)
    ]
