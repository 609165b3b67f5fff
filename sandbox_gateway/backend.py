"""The interface between doors and the sessions behind the gateway, on this machine or in a cluster."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    from sandbox_client import AsyncSandbox
    from sandbox_client.lifecycle.session_info import SessionInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The one who calls, and their limits. `access/` makes it; doors only pass it on.

    Attributes:
        name: The API key's name or the Kubernetes user, for logs and counts. Never a secret.
        namespace: The only namespace whose sessions this caller can see; "" for sessions on this machine.
        templates: Names of the templates that the caller may use, or None for all.
        max_sessions: Sessions of this caller at a time, or None.
        max_seconds: Longest lifetime of a session in seconds, or None.
        per_minute: Sessions that this caller may create in a minute, or None.
        key_id: Tells the key from an earlier or later one of its name; "" for a user without a key. Not a secret.
        sees_own_only: Whether all sessions but its own are NotFound. Callers with one namespace otherwise share them.
    """

    name: str
    namespace: str = ""
    templates: frozenset[str] | None = None
    max_sessions: int | None = None
    max_seconds: float | None = None
    per_minute: int | None = None
    key_id: str = ""
    sees_own_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSession:
    """A session that a door wants to create.

    Attributes:
        name: The session's name, or "" for a new one. The same name from the same caller is the same session.
        template: A SandboxTemplate's name or an alias; "" for the default.
        seconds: Time until the session ends, or None for the template's default.
        on_timeout: Whether the session is deleted or suspended then: `delete` or `suspend`.
        env: Environment variables.
        metadata: A client's own words, kept with the session (an annotation) and returned with it.
        egress: `none`, `allowlist`, `public`, or "" for the template's.
        is_ephemeral: Whether the client deletes the session. If it cannot, the session does not stay suspended forever.
        options: Further options of the SDK's `create`: idle_timeout, lifetime, on_idle, resources, workspace,
            keep_variables, labels.
    """

    name: str = ""
    template: str = ""
    seconds: float | None = None
    on_timeout: str = "delete"
    env: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    egress: str = ""
    is_ephemeral: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GatewaySession:
    """A session, as a door shows it.

    Attributes:
        info: The session's state.
        metadata: What `NewSession.metadata` said.
        owner: `Caller.name` of the caller that created it; "" if it was not created here.
        uid: Differs from that of an earlier session of the same name.
        seconds: `NewSession.seconds`, within the caller's limit.
        key_id: `Caller.key_id` of the caller that created it.
    """

    info: SessionInfo
    metadata: Mapping[str, str]
    owner: str = ""
    uid: str = ""
    seconds: float | None = None
    key_id: str = ""


class Backend(Protocol):
    """The sessions behind the gateway.

    Every method raises errors of `sandbox_client.errors`. A session that the caller may not see is NotFound.
    """

    async def create(self, caller: Caller, new: NewSession) -> GatewaySession:
        """Create a session and wait until it takes calls."""

    async def get(self, caller: Caller, name: str) -> GatewaySession:
        """Return one session."""

    async def list(self, caller: Caller, metadata: Mapping[str, str] | None = None) -> list[GatewaySession]:
        """Return the caller's sessions that have all of these words, oldest first."""

    async def connect(self, caller: Caller, name: str, *, wake: bool = True) -> AsyncSandbox:
        """Return an open connection, which all callers of this gateway share; do not close it.

        Args:
            caller: Who calls.
            name: The session's name.
            wake: Whether to resume a suspended session. Otherwise it is FailedPrecondition.
        """

    async def suspend(self, caller: Caller, name: str, *, keep: bool = False) -> GatewaySession:
        """Save the session and end its processes.

        Args:
            caller: Who calls.
            name: The session's name.
            keep: Whether its end no longer counts, so that it is not deleted then. `resume` restores what happens at
                the end, which it has to set again.
        """

    async def resume(self, caller: Caller, name: str, seconds: float | None = None) -> GatewaySession:
        """Start a suspended session again, and set its end if `seconds` is given."""

    async def set_timeout(self, caller: Caller, name: str, seconds: float) -> dt.datetime:
        """Set the session's end to `seconds` from now, and return it."""

    async def logs(self, caller: Caller, name: str, tail: int) -> Mapping[str, str]:
        """Return the last lines of a session's logs, by container."""

    async def delete(self, caller: Caller, name: str) -> None:
        """End the session."""

    async def close(self) -> None:
        """Close all connections. Sessions continue."""
