"""Plain values about an agent: its address, and its description of itself. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime, timedelta


NO_STORAGE: Final = "it has no storage, so its files end with its pod: set the chart's storage.bucket to keep files"


@dataclass(frozen=True, slots=True)
class AgentAddress:
    """The address of an agent's control port, and the name that its certificate must have."""

    target: str
    server_name: str


@dataclass(frozen=True, slots=True)
class AgentView:
    """An agent's description of itself. States are the names of the protocol's enums without their prefix."""

    state: str = "BLANK"
    session_uid: str = ""
    restore: str = "UNSPECIFIED"
    restore_error: str = ""
    runtime_ready: bool = True
    running: int = 0
    """Number of running executions and processes."""
    last_active: datetime | None = None
    """Time of the last activity by the agent's own clock, which may be wrong."""
    idle: timedelta | None = None
    """Time since the last activity. None if the agent is too old to report it."""
    remaining_lifetime: timedelta | None = None
    """Time until it stops accepting calls. None if it never does, or is too old to report it and to move it."""
    generation: int = 0
    files: int = 0
    bytes: int = 0
    synced_at: datetime | None = None
    dirty: bool = False
    workspace_error: str = ""
    has_storage: bool = True
    """False if nothing of the session is saved. Not known before its workspace is restored: then True."""
    unsaved: tuple[str, ...] = ()
    unsaved_count: int = 0
    """Files that could not be saved, each with the reason. The last item may count further ones."""
    credentials_expire_at: datetime | None = None
    """Time at which its storage credentials expire. None if they never expire, or if the agent has no credentials."""
    needs_credentials: bool = False
    """True if storage refuses its credentials, or if they have expired."""

    def describe_saving(self) -> tuple[str, str, str]:
        """Return whether all files are saved, as the status, reason and message of a condition."""
        if not self.has_storage:
            return "False", "NoStorage", NO_STORAGE
        if self.workspace_error and self.dirty:
            return "False", "PushFailed", self.workspace_error
        return ("False", "Unsaved", "") if self.dirty else ("True", "Synced", "")
