"""InterpreterService: cells and contexts."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from sandbox_agent import runtime_values as checked
from sandbox_agent.executions.event_encoding import join
from sandbox_agent.executions.events import CellEvent, CellTranslator, tell_cell_skipped
from sandbox_agent.executions.follow import pump
from sandbox_agent.executions.requests import (
    check_context_id,
    check_may_start,
    check_path,
    fingerprint,
    read_env,
    read_execute,
    read_language,
)
from sandbox_agent.services.answers import answer
from sandbox_proto.v1 import interpreter_pb2, interpreter_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sandbox_agent.executions.registry import Execution, ExecutionRegistry
    from sandbox_agent.server.interceptors import Context
    from sandbox_agent.session.gate import BoundSession, SessionGate

MAX_CONTEXTS = 1024


class InterpreterServicer(interpreter_pb2_grpc.InterpreterServiceServicer):
    """See interpreter.proto."""

    def __init__(self, gate: SessionGate, cells: ExecutionRegistry[CellEvent]) -> None:
        self._gate = gate
        self._cells = cells

    async def Execute(  # noqa: N802 - gRPC's name
        self, request: interpreter_pb2.ExecuteRequest, context: Context
    ) -> AsyncIterator[bytes]:
        """See interpreter.proto."""
        execution = await self._start(request, context)
        async for events in execution.log.follow(tell_cell_skipped):
            yield join(events)

    async def ExecuteBriefly(  # noqa: N802 - gRPC's name
        self, request: interpreter_pb2.ExecuteRequest, context: Context
    ) -> bytes:
        """See interpreter.proto."""
        execution = await self._start(request, context)
        async with contextlib.aclosing(execution.log.follow(tell_cell_skipped)) as batches:
            async for events in batches:
                return join(events)
        return b""

    async def _start(self, request: interpreter_pb2.ExecuteRequest, context: Context) -> Execution[CellEvent]:
        """The execution that a request starts or attaches to."""
        arguments, code = read_execute(request, self._gate.require_bound().limits)
        body = fingerprint(request)
        execution = self._cells.find(request.request_id, body) if request.request_id else None
        if execution is not None:
            return execution
        check_may_start(context.invocation_metadata())
        session = await self._gate.require_ready()

        async def run(execution: Execution[CellEvent]) -> None:
            await _run_cell(session, execution, arguments, code)

        return self._cells.start(request.request_id, body, run)

    async def Interrupt(  # noqa: N802 - gRPC's name
        self, request: interpreter_pb2.InterruptRequest, _context: Context
    ) -> interpreter_pb2.InterruptResponse:
        """See interpreter.proto."""
        # Also while draining: it makes the drain shorter.
        runtime = self._gate.require_bound().runtime
        value = await runtime.call("interrupt", {"context_id": check_context_id(request.context_id)})
        with answer():
            return interpreter_pb2.InterruptResponse(interrupted=checked.boolean(value, "interrupted"))

    async def CreateContext(  # noqa: N802 - gRPC's name
        self, request: interpreter_pb2.CreateContextRequest, _context: Context
    ) -> interpreter_pb2.Context:
        """See interpreter.proto."""
        session = await self._gate.require_ready()
        arguments = {
            "language": read_language(request.language, session.limits),
            "cwd": check_path(request.cwd, "cwd", required=False),
            "env": read_env(request.env),
        }
        value = await session.runtime.call("context.create", arguments)
        with answer():
            return checked.context(value)

    async def ListContexts(  # noqa: N802 - gRPC's name
        self, _request: interpreter_pb2.ListContextsRequest, _context: Context
    ) -> interpreter_pb2.ListContextsResponse:
        """See interpreter.proto."""
        session = await self._gate.require_ready(fresh=False)
        value = await session.runtime.call("context.list", {})
        with answer():
            contexts = [checked.context(item) for item in checked.objects(value, "contexts", MAX_CONTEXTS)]
            told = value.get("variables")
            variables = None if told is None else checked.kept_variables(checked.mapping(value, "variables"))
        return interpreter_pb2.ListContextsResponse(contexts=contexts, variables=variables)

    async def RestartContext(  # noqa: N802 - gRPC's name
        self, request: interpreter_pb2.RestartContextRequest, _context: Context
    ) -> interpreter_pb2.Context:
        """See interpreter.proto."""
        session = await self._gate.require_ready(fresh=False)
        value = await session.runtime.call("context.restart", {"context_id": check_context_id(request.context_id)})
        with answer():
            return checked.context(value)

    async def DeleteContext(  # noqa: N802 - gRPC's name
        self, request: interpreter_pb2.DeleteContextRequest, _context: Context
    ) -> interpreter_pb2.DeleteContextResponse:
        """See interpreter.proto."""
        session = await self._gate.require_ready(fresh=False)
        await session.runtime.call("context.delete", {"context_id": check_context_id(request.context_id)})
        return interpreter_pb2.DeleteContextResponse()


async def _run_cell(
    session: BoundSession,
    execution: Execution[CellEvent],
    arguments: dict[str, Any],
    code: bytes,
) -> None:
    translator = CellTranslator(execution.id)
    context_id = arguments["context_id"] or arguments["language"]
    call = await session.runtime.open("execute", arguments)
    await call.send(code)
    await pump(
        call,
        execution.log,
        translator,
        translator.completed,
        lambda: translator.lost(context_id),
        limit=arguments["timeout"],
    )
