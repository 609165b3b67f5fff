"""Agents in memory, for tests of the operator (and of what builds on it). Ships with the code, as testing.py does."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC
from typing import TYPE_CHECKING

from sandbox_operator.agent.model import AgentAddress, AgentView
from sandbox_operator.errors import AgentError, AgentUnreachableError
from sandbox_operator.kube.write_hook import FaultHook

if TYPE_CHECKING:
    from datetime import datetime

    from sandbox_proto.v1 import session_pb2


class FakeAgents:
    """Agents in memory, one an address; each starts blank when it is first asked.

    Attributes:
        views: What each agent says; a test may replace an entry.
        unreachable: Targets that do not answer.
        bind_error, drain_error, renew_error: Raised by the next calls where set.
        requests, renewals: The Bind and Renew requests that were accepted.
        drains, asked: How often they were drained, and described (Bind and Drain do that too).
        connected: Names of agents that were about to be called.
        forgotten: Targets that nobody wants to ask any more.
    """

    def __init__(self, faults: FaultHook | None = None) -> None:
        self.faults = faults or FaultHook()
        self.views: dict[str, AgentView] = {}
        self.unreachable: set[str] = set()
        self.bind_error: AgentError | None = None
        self.drain_error: AgentError | None = None
        self.renew_error: AgentError | None = None
        self.requests: list[session_pb2.BindRequest] = []
        self.renewals: list[session_pb2.RenewRequest] = []
        self.connected: set[str] = set()
        self.forgotten: set[str] = set()
        self.drains = self.asked = 0

    async def describe(self, address: AgentAddress, wait: float = 0.0, timeout: float = 2.0) -> AgentView:  # noqa: ASYNC109 - as in Agents
        """See Agents."""
        del wait, timeout
        self.asked += 1
        if address.server_name in self.unreachable:
            raise AgentUnreachableError("UNAVAILABLE", "no answer")
        return self.views.setdefault(address.server_name, AgentView())

    async def bind(self, address: AgentAddress, request: session_pb2.BindRequest) -> AgentView:
        """See Agents."""
        with self.faults.write():
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
        """See Agents."""
        with self.faults.write():
            view = await self.describe(address)
            if self.renew_error:
                raise self.renew_error
            self.renewals.append(request)
            renewed = replace(view, credentials_expire_at=_end_of(request.s3), needs_credentials=False)
            self.views[address.server_name] = renewed
            return renewed

    async def drain(self, address: AgentAddress, session_uid: str, grace: float, timeout: float) -> AgentView:  # noqa: ASYNC109 - as in Agents
        """See Agents."""
        del session_uid, grace, timeout
        with self.faults.write():
            view = await self.describe(address)
            if self.drain_error:
                raise self.drain_error
            self.drains += 1
            self.views[address.server_name] = replace(
                view, state="DRAINED", dirty=False, generation=view.generation + 1
            )
            return self.views[address.server_name]

    def connect(self, address: AgentAddress) -> None:
        """See Agents."""
        self.connected.add(address.server_name)

    async def forget(self, address: AgentAddress) -> None:
        """See Agents; the agent itself is still there."""
        self.forgotten.add(address.server_name)


def _end_of(store: session_pb2.S3Store) -> datetime | None:
    return store.expires_at.ToDatetime(tzinfo=UTC) if store.HasField("expires_at") else None
