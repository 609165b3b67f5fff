"""The fake agent's InterpreterService: cells do what the test scripted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc

from sandbox_proto.v1 import interpreter_pb2, types_pb2
from sandbox_proto.v1.interpreter_pb2_grpc import InterpreterServiceServicer
from sandbox_testing.fake_agent.events import completed, numbered, started
from sandbox_testing.fake_agent.status import refuse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sandbox_testing.fake_agent.state import AgentState


class FakeInterpreterService(InterpreterServiceServicer):
    """Cells and contexts."""

    def __init__(self, agent: AgentState) -> None:
        self._agent = agent

    async def Execute(  # noqa: N802 - gRPC's name
        self, request: interpreter_pb2.ExecuteRequest, context: Any
    ) -> AsyncIterator[interpreter_pb2.ExecuteResponse]:
        """Stream the scripted events of a cell. Break the stream if the test asked for it."""
        agent = self._agent
        await agent.enter("Execute", context)
        agent.cells.append(request)
        if not request.code.strip():
            await refuse(context, grpc.StatusCode.INVALID_ARGUMENT, "EMPTY_CODE", "there is nothing to run", "code")
        is_repeat = "sandbox-attach-only" in dict(context.invocation_metadata())
        if is_repeat and request.request_id not in agent.known:
            await refuse(context, grpc.StatusCode.NOT_FOUND, "UNKNOWN_REQUEST", "no such request", "request_id")
        agent.known.add(request.request_id)
        agent.executions += not is_repeat
        for sent, event in enumerate(agent.scripts.get(request.code, [started(), completed()])):
            if sent == agent.broken_after:
                agent.broken_after = None
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the connection broke")
            yield interpreter_pb2.ExecuteResponse(events=[numbered(event, agent.executions)])

    async def ExecuteBriefly(  # noqa: N802 - gRPC's name
        self, request: interpreter_pb2.ExecuteRequest, context: Any
    ) -> interpreter_pb2.ExecuteResponse:
        """Return the first scripted events of a cell."""
        agent = self._agent
        if agent.brief_events is None:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "no such method")
        await agent.enter("ExecuteBriefly", context)
        agent.cells.append(request)
        agent.known.add(request.request_id)
        agent.executions += 1
        events = agent.scripts.get(request.code, [started(), completed()])
        brief = [numbered(event, agent.executions) for event in events[: agent.brief_events]]
        return interpreter_pb2.ExecuteResponse(events=brief)

    async def Interrupt(self, _request: Any, context: Any) -> interpreter_pb2.InterruptResponse:  # noqa: N802 - same
        """Claim that a cell was interrupted."""
        await self._agent.enter("Interrupt", context)
        return interpreter_pb2.InterruptResponse(interrupted=True)

    async def CreateContext(  # noqa: N802 - same
        self, request: interpreter_pb2.CreateContextRequest, context: Any
    ) -> interpreter_pb2.Context:
        """Return a new context."""
        await self._agent.enter("CreateContext", context)
        return interpreter_pb2.Context(id="c1", language=request.language, cwd=request.cwd)

    async def ListContexts(self, _request: Any, context: Any) -> interpreter_pb2.ListContextsResponse:  # noqa: N802 - same
        """Return the default Python context, and the variables that survived a suspension."""
        await self._agent.enter("ListContexts", context)
        python = interpreter_pb2.Context(
            id="python", language=types_pb2.LANGUAGE_PYTHON, execution_count=self._agent.executions
        )
        return interpreter_pb2.ListContextsResponse(contexts=[python], variables=self._agent.variables)
