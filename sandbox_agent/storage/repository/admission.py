"""Whether a push may begin, by what HEAD says. Pure: no I/O.

Errors: OperationError ABORTED, WORKSPACE_CONFLICT; MovedError is the one that a refresh ends.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sandbox_agent.storage.repository.repository import LEASE
from sandbox_link.protocol import OperationError

if TYPE_CHECKING:
    from sandbox_agent.storage.base_state import Knowledge
    from sandbox_agent.storage.repository.repository import HeadState


class MovedError(OperationError):
    """Somebody else committed a generation since this sandbox looked."""


def check_free(state: HeadState, knowledge: Knowledge, writer: str) -> None:
    """Refuse a push over what this sandbox does not know, or into another writer's.

    Args:
        state: HEAD as it was just read.
        knowledge: What this sandbox knows.
        writer: Whose push it is.

    Raises:
        MovedError: The known commit is not HEAD's.
        OperationError: ABORTED: another writer has claimed the workspace.
    """
    if state.head.commit != knowledge.commit:
        message = (
            f"{state.head.writer or 'somebody'} saved generation {state.head.generation} of this workspace since "
            f"this sandbox had generation {knowledge.generation}: restore first, then push again"
        )
        raise MovedError("ABORTED", "WORKSPACE_CONFLICT", message)
    if state.head.pushing is not None and state.is_claimed_by_other(writer):
        over = datetime.fromtimestamp(state.modified + LEASE, UTC).isoformat(timespec="seconds")
        message = (
            f"{state.head.pushing.writer or 'another writer'} is pushing this workspace: push again when it has ended. "
            f"If it was killed, nothing renews its claim, which then ends at {over.replace('+00:00', 'Z')}, "
            f"in {max(0.0, LEASE - state.age):.0f} s"
        )
        raise OperationError("ABORTED", "WORKSPACE_CONFLICT", message)
