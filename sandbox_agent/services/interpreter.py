"""Serves InterpreterService: cells and contexts."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from sandbox_agent.executions.event_encoding import join_events
from sandbox_agent.executions.events import CellEvent, CellTranslator, add_skipped_to_cell
from sandbox_agent.executions.follow import TimeLimits, follow_call
from sandbox_agent.executions.requests import (
    check_context_id,
    check_may_start,
    check_path,
    check_request_id,
    fingerprint,
    read_env,
    read_execute,
    read_language,
)
from sandbox_agent.runtime_values import (
    checking_answer,
    read_boolean,
    read_context,
    read_kept_variables,
    read_object,
    read_objects,
)
from sandbox_agent.storage.timeouts import time_limit
from sandbox_link.protocol import invalid
from sandbox_proto.v1 import interpreter_pb2, interpreter_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sandbox_agent.executions.registry import Execution, ExecutionRegistry
    from sandbox_agent.server.interceptors import Context
    from sandbox_agent.session.gate import SessionGate

MAX_CONTEXTS = 1024


class InterpreterServicer(interpreter_pb2_grpc.InterpreterServiceServicer):
    """The gRPC service InterpreterService, as interpreter.proto documents it."""

    def __init__(self, gate: SessionGate, cells: ExecutionRegistry[CellEvent]) -> None:
        self._gate = gate
        self._cells = cells

    async def Execute(self, request: interpreter_pb2.ExecuteRequest, context: Context) -> AsyncIterator[bytes]:
        execution = await self._start(request, context)
        async for events in execution.log.follow(add_skipped_to_cell):
            yield join_events(events)

    async def ExecuteBriefly(self, request: interpreter_pb2.ExecuteRequest, context: Context) -> bytes:
        execution = await self._start(request, context)
        async with contextlib.aclosing(execution.log.follow(add_skipped_to_cell)) as batches:
            async for events in batches:
                return join_events(events)
        return b""

    async def _start(self, request: interpreter_pb2.ExecuteRequest, context: Context) -> Execution[CellEvent]:
        """Return the execution that the request starts or attaches to."""
        arguments, code = read_execute(request, self._gate.require_bound().limits)
        body = fingerprint(request)
        execution = self._cells.find(request.request_id, body) if request.request_id else None
        if execution is not None:
            return execution
        check_may_start(context.invocation_metadata())
        session = await self._gate.require_ready()

        async def run(execution: Execution[CellEvent]) -> None:
            nonlocal code
            limits = TimeLimits(session.limits.execution_timeout, arguments["timeout"])
            call = await session.runtime.open("execute", arguments)
            execution.listen_for_cancel(call.interrupt)
            await call.send(code)
            # The cell may run for hours without its client.
            code = b""
            translator = CellTranslator(execution.id, arguments["context_id"] or arguments["language"])
            await follow_call(call, execution.log, translator, limits, lambda: self._cells.waits_for_others(execution))

        return self._cells.start(request.request_id, body, run)

    async def Interrupt(
        self, request: interpreter_pb2.InterruptRequest, _context: Context
    ) -> interpreter_pb2.InterruptResponse:
        # Allowed while draining, as it makes the drain shorter.
        runtime = self._gate.require_bound().runtime
        if request.request_id:
            if request.context_id:
                raise invalid("request_id", "give either a context_id or a request_id")
            check_request_id(request.request_id)
            return interpreter_pb2.InterruptResponse(interrupted=self._cells.cancel(request.request_id))
        async with time_limit():
            value = await runtime.call("interrupt", {"context_id": check_context_id(request.context_id)})
        with checking_answer():
            return interpreter_pb2.InterruptResponse(interrupted=read_boolean(value, "interrupted"))

    async def CreateContext(
        self, request: interpreter_pb2.CreateContextRequest, _context: Context
    ) -> interpreter_pb2.Context:
        session = await self._gate.require_ready()
        arguments = {
            "language": read_language(request.language, session.limits),
            "cwd": check_path(request.cwd, "cwd", required=False),
            "env": read_env(request.env),
        }
        async with time_limit():
            value = await session.runtime.call("context.create", arguments)
        with checking_answer():
            return read_context(value)

    async def ListContexts(
        self, _request: interpreter_pb2.ListContextsRequest, _context: Context
    ) -> interpreter_pb2.ListContextsResponse:
        session = await self._gate.require_ready(fresh=False)
        async with time_limit():
            value = await session.runtime.call("context.list", {})
        with checking_answer():
            contexts = [read_context(item) for item in read_objects(value, "contexts", MAX_CONTEXTS)]
            has_variables = value.get("variables") is not None
            variables = read_kept_variables(read_object(value, "variables")) if has_variables else None
        return interpreter_pb2.ListContextsResponse(contexts=contexts, variables=variables)

    async def RestartContext(
        self, request: interpreter_pb2.RestartContextRequest, _context: Context
    ) -> interpreter_pb2.Context:
        session = await self._gate.require_ready(fresh=False)
        async with time_limit():
            value = await session.runtime.call("context.restart", {"context_id": check_context_id(request.context_id)})
        with checking_answer():
            return read_context(value)

    async def DeleteContext(
        self, request: interpreter_pb2.DeleteContextRequest, _context: Context
    ) -> interpreter_pb2.DeleteContextResponse:
        session = await self._gate.require_ready(fresh=False)
        async with time_limit():
            await session.runtime.call("context.delete", {"context_id": check_context_id(request.context_id)})
        return interpreter_pb2.DeleteContextResponse()
