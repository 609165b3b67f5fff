"""Describes the session that an agent serves, as the gRPC services see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandbox_link.protocol import OperationError

if TYPE_CHECKING:
    from sandbox_agent.session.limits import Limits
    from sandbox_agent.storage.saved_variables import Variables
    from sandbox_agent.storage.workspace import Workspace
    from sandbox_link.protocol import Runtime


@dataclass(frozen=True, slots=True)
class BoundSession:
    """The session that this agent serves."""

    session_uid: str
    session_name: str
    """`<namespace>/<name>`, for logs."""
    limits: Limits
    runtime: Runtime
    stored: Workspace | None
    """None if the session was bound without storage. Services use `workspace`, which raises then."""
    variables: Variables | None = None
    """None if the session's variables are not kept."""

    @property
    def workspace(self) -> Workspace:
        """The workspace in object storage.

        Raises:
            OperationError: FAILED_PRECONDITION, STORAGE_UNAVAILABLE: this session has no storage.
        """
        if self.stored is None:
            raise OperationError(
                "FAILED_PRECONDITION",
                "STORAGE_UNAVAILABLE",
                "this session has no storage: download its files, or set storage.bucket of the chart",
            )
        return self.stored
