"""Agents in memory, as the operator calls them through SessionService. `fake_agent` is for clients."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, timedelta
from typing import TYPE_CHECKING

from sandbox_operator.agent.model import AgentAddress, AgentView
from sandbox_operator.errors import AgentError, AgentUnreachableError
from sandbox_operator.kube.write_hook import WriteHook

if TYPE_CHECKING:
    from datetime import datetime

    from sandbox_proto.v1 import session_pb2


class FakeAgents:
    """Agents in memory, one for each address. An agent is blank when it is first called.

    Attributes:
        views: State of each agent. A test may replace an entry.
        unreachable: Server names of agents that do not respond.
        bind_error, drain_error, renew_error: Errors that the next calls raise, if set.
        requests, renewals: The Bind and Renew requests that were accepted.
        lifetimes: Seconds of each SetLifetime call. The time that an agent reports does not run down by itself.
        drains, asked: Number of Drain and Describe calls. Bind, Renew and Drain count as Describe too.
        connected: Server names of agents that the operator connected to in advance.
        forgotten: Server names of agents whose connection the operator closed.
    """

    def __init__(self, write_hook: WriteHook | None = None) -> None:
        self.write_hook = write_hook or WriteHook()
        self.views: dict[str, AgentView] = {}
        self.unreachable: set[str] = set()
        self.bind_error: AgentError | None = None
        self.drain_error: AgentError | None = None
        self.renew_error: AgentError | None = None
        self.requests: list[session_pb2.BindRequest] = []
        self.renewals: list[session_pb2.RenewRequest] = []
        self.lifetimes: list[float] = []
        self.connected: set[str] = set()
        self.forgotten: set[str] = set()
        self.drains = self.asked = 0

    async def describe(self, address: AgentAddress, wait: float = 0.0, timeout: float = 2.0) -> AgentView:  # noqa: ASYNC109 - as in Agents
        """Return the agent's state."""
        del wait, timeout
        self.asked += 1
        if address.server_name in self.unreachable:
            raise AgentUnreachableError("UNAVAILABLE", "no response")
        return self.views.setdefault(address.server_name, AgentView())

    async def bind(self, address: AgentAddress, request: session_pb2.BindRequest) -> AgentView:
        """Bind the agent to a session."""
        with self.write_hook.write():
            view = await self.describe(address)
            if self.bind_error:
                raise self.bind_error
            if view.session_uid not in {"", request.session_uid}:
                raise AgentError("ALREADY_BOUND", "this agent serves another session")
            self.requests.append(request)
            bound = replace(view, state="BOUND", session_uid=request.session_uid, restore="DONE")
            bound = replace(bound, credentials_expire_at=_end_of(request.workspace.s3), needs_credentials=False)
            self.views[address.server_name] = bound
            return bound

    async def renew(self, address: AgentAddress, request: session_pb2.RenewRequest) -> AgentView:
        """Give the agent new storage credentials."""
        with self.write_hook.write():
            view = await self.describe(address)
            if self.renew_error:
                raise self.renew_error
            self.renewals.append(request)
            renewed = replace(view, credentials_expire_at=_end_of(request.s3), needs_credentials=False)
            self.views[address.server_name] = renewed
            return renewed

    async def set_lifetime(self, address: AgentAddress, session_uid: str, remaining: float) -> AgentView:
        """Move the time at which the agent stops."""
        del session_uid
        with self.write_hook.write():
            view = await self.describe(address)
            self.lifetimes.append(remaining)
            view = replace(view, remaining_lifetime=timedelta(seconds=remaining))
            self.views[address.server_name] = view
            return view

    async def drain(
        self,
        address: AgentAddress,
        session_uid: str,
        grace: float,
        timeout: float,  # noqa: ASYNC109 - as in Agents
        *,
        require_all: bool = False,
    ) -> AgentView:
        """Drain the agent, which saves its files. With `require_all` it fails if its state has unsaved ones."""
        del session_uid, grace, timeout
        with self.write_hook.write():
            view = await self.describe(address)
            if self.drain_error:
                raise self.drain_error
            if require_all and view.unsaved:
                raise AgentError("FILES_NOT_SAVED", f"not saved: {view.unsaved[0]}")
            self.drains += 1
            self.views[address.server_name] = replace(
                view, state="DRAINED", dirty=False, generation=view.generation + 1
            )
            return self.views[address.server_name]

    def connect(self, address: AgentAddress) -> None:
        """Record a connection in advance."""
        self.connected.add(address.server_name)

    async def forget(self, address: AgentAddress) -> None:
        """Record that the connection was closed. The agent itself stays."""
        self.forgotten.add(address.server_name)


def _end_of(store: session_pb2.S3Store) -> datetime | None:
    return store.expires_at.ToDatetime(tzinfo=UTC) if store.HasField("expires_at") else None
