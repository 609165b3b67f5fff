"""Serves ProcessService: commands and background processes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final

from sandbox_agent.executions.event_encoding import join_events
from sandbox_agent.executions.events import CommandEvent, CommandTranslator, add_skipped_to_command
from sandbox_agent.executions.follow import TimeLimits, follow_call
from sandbox_agent.executions.requests import check_may_start, fingerprint, read_body, read_run
from sandbox_agent.processes.process import MAX_NAMES, Start, describe_command, list_names
from sandbox_agent.processes.requests import read_input, read_offset, read_signal, read_size, read_start
from sandbox_agent.runtime_values import checking_answer, read_metrics
from sandbox_agent.storage.timeouts import time_limit
from sandbox_link.protocol import OperationError
from sandbox_proto.v1 import process_pb2, process_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sandbox_agent.executions.registry import Execution, ExecutionRegistry
    from sandbox_agent.processes.registry import BackgroundRegistry
    from sandbox_agent.server.interceptors import Context
    from sandbox_agent.session.bound_session import BoundSession
    from sandbox_agent.session.gate import SessionGate

_KILL: Final = 9
_KILL_ATTEMPTS: Final = 50
_KILL_PAUSE: Final = 0.1


class ProcessServicer(process_pb2_grpc.ProcessServiceServicer):
    """The gRPC service ProcessService, as process.proto documents it."""

    def __init__(
        self,
        gate: SessionGate,
        commands: ExecutionRegistry[CommandEvent],
        processes: BackgroundRegistry,
    ) -> None:
        self._gate = gate
        self._commands = commands
        self._processes = processes
        self._kills: set[asyncio.Task[None]] = set()

    async def Run(self, request: process_pb2.RunRequest, context: Context) -> AsyncIterator[bytes]:
        arguments = read_run(request, self._gate.require_bound().limits)
        body = fingerprint(request)
        execution = self._commands.find(request.request_id, body) if request.request_id else None
        if execution is None:
            check_may_start(context.invocation_metadata())
            session = await self._gate.require_ready()
            body_of_call = read_body(request)

            async def run(execution: Execution[CommandEvent]) -> None:
                nonlocal arguments, body_of_call
                execution.listen_for_cancel(lambda: self._kill_soon(execution))
                limits = TimeLimits(session.limits.execution_timeout, arguments["timeout"])
                call = await session.runtime.open("run", {**arguments, "process_id": execution.id})
                await call.send(body_of_call)
                # The command may run for hours without its client.
                arguments, body_of_call = {}, b""
                await follow_call(
                    call,
                    execution.log,
                    CommandTranslator(execution.id),
                    limits,
                    lambda: self._commands.waits_for_others(execution),
                )

            execution = self._commands.start(request.request_id, body, run)
        try:
            async for events in execution.log.follow(add_skipped_to_command):
                yield join_events(events)
        finally:
            if request.end_with_client and execution.ended_at is None:
                self._kill_soon(execution)

    async def Start(self, request: process_pb2.StartRequest, context: Context) -> process_pb2.Process:
        await self._require_session()
        arguments = read_start(request)
        body = fingerprint(request)
        process = self._processes.find(request.run.request_id, body)
        if process is None:
            check_may_start(context.invocation_metadata())
            session = await self._gate.require_ready()
            start = Start(
                request.run.request_id,
                body,
                describe_command(request.run),
                time.time(),
                has_terminal=request.HasField("terminal"),
                tag=request.tag,
                cwd=request.run.cwd[:MAX_NAMES] or ".",
                env_names=list_names(request.run.env),
            )
            process = self._processes.start(session, start, arguments, read_body(request.run))
        await asyncio.shield(process.started)
        return process.describe()

    async def Get(self, request: process_pb2.GetProcessRequest, _context: Context) -> process_pb2.Process:
        await self._require_session()
        return self._processes.get(request.process_id).describe()

    async def List(
        self, _request: process_pb2.ListProcessesRequest, _context: Context
    ) -> process_pb2.ListProcessesResponse:
        await self._require_session()
        known = [process.describe() for process in self._processes.list() if process.started.done()]
        return process_pb2.ListProcessesResponse(processes=known)

    async def Attach(
        self, request: process_pb2.AttachRequest, _context: Context
    ) -> AsyncIterator[process_pb2.RunResponse]:
        await self._require_session()
        process = self._processes.get(request.process_id)
        await asyncio.shield(process.started)
        offset = read_offset(request, process.output.end)
        async with contextlib.aclosing(process.follow(offset)) as batches:
            async for events in batches:
                yield process_pb2.RunResponse(events=events)

    async def SendInput(
        self, request: process_pb2.SendInputRequest, _context: Context
    ) -> process_pb2.SendInputResponse:
        session = await self._require_session()
        arguments = read_input(request)
        if request.request_id:
            arguments["process_id"] = self._commands.find_running(request.request_id).id
        else:
            process = self._processes.get_running(request.process_id)
            await asyncio.shield(process.started)
        call = await session.runtime.open("process.input", arguments)
        try:
            await call.send(request.data)
            while await call.batch():
                pass
        except BaseException:
            await call.cancel()
            raise
        return process_pb2.SendInputResponse()

    async def Signal(self, request: process_pb2.SignalRequest, _context: Context) -> process_pb2.SignalResponse:
        session = await self._require_session()
        arguments = read_signal(request)
        if request.request_id:
            self._commands.cancel(request.request_id)
            return process_pb2.SignalResponse()
        # Other ids may belong to commands, which only the runtime knows.
        if self._processes.has(request.process_id):
            # A lost process may still run.
            process = self._processes.get_running(request.process_id, or_lost=True)
            await asyncio.shield(process.started)
            if arguments["signal"] == _KILL:
                process.output.lift_limit()
        async with time_limit():
            await session.runtime.call("process.signal", arguments)
        return process_pb2.SignalResponse()

    async def Resize(self, request: process_pb2.ResizeRequest, _context: Context) -> process_pb2.ResizeResponse:
        session = await self._require_session()
        size = read_size(request.terminal)
        process = self._processes.get_running(request.process_id)
        await asyncio.shield(process.started)
        async with time_limit():
            await session.runtime.call("process.resize", {"process_id": process.id, **size})
        return process_pb2.ResizeResponse()

    async def Metrics(self, _request: process_pb2.MetricsRequest, _context: Context) -> process_pb2.MetricsResponse:
        session = await self._require_session()
        async with time_limit():
            value = await session.runtime.call("metrics", {})
        with checking_answer():
            return read_metrics(value)

    async def _require_session(self) -> BoundSession:
        """Return the session, once the agent knows the processes that run in it."""
        session = self._gate.require_bound()
        await self._processes.wait_adopted()
        return session

    def _kill_soon(self, execution: Execution[CommandEvent]) -> None:
        task = asyncio.create_task(self._kill(execution))
        self._kills.add(task)
        task.add_done_callback(self._kills.discard)

    async def _kill(self, execution: Execution[CommandEvent]) -> None:
        """Kill a command that its client has cancelled, or whose client has disconnected (`end_with_client`)."""
        for _ in range(_KILL_ATTEMPTS):
            with contextlib.suppress(OperationError):
                async with time_limit():
                    await self._gate.runtime.call("process.signal", {"process_id": execution.id, "signal": _KILL})
            # The command may be about to start.
            await asyncio.sleep(_KILL_PAUSE)
            if execution.ended_at is not None:
                return
