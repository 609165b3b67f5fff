"""ProcessService: commands and background processes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any, Final

from sandbox_agent.executions.event_encoding import join
from sandbox_agent.executions.events import CommandEvent, CommandTranslator, tell_command_skipped
from sandbox_agent.executions.follow import pump
from sandbox_agent.executions.requests import check_may_start, fingerprint, read_run
from sandbox_agent.processes.process import Start, describe_command
from sandbox_agent.processes.requests import read_input, read_offset, read_signal, read_size, read_start
from sandbox_link.protocol import OperationError
from sandbox_proto.v1 import process_pb2, process_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sandbox_agent.executions.registry import Execution, ExecutionRegistry
    from sandbox_agent.processes.registry import BackgroundRegistry
    from sandbox_agent.server.interceptors import Context
    from sandbox_agent.session.gate import BoundSession, SessionGate

_KILL: Final = 9
_KILL_ATTEMPTS: Final = 50
_KILL_PAUSE: Final = 0.1


class ProcessServicer(process_pb2_grpc.ProcessServiceServicer):
    """See process.proto."""

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

    async def Run(  # noqa: N802 - gRPC's name
        self, request: process_pb2.RunRequest, context: Context
    ) -> AsyncIterator[bytes]:
        """See process.proto."""
        arguments = read_run(request, self._gate.require_bound().limits)
        body = fingerprint(request)
        execution = self._commands.find(request.request_id, body) if request.request_id else None
        if execution is None:
            check_may_start(context.invocation_metadata())
            session = await self._gate.require_ready()
            stdin = request.stdin

            async def run(execution: Execution[CommandEvent]) -> None:
                await _run_command(session, execution, arguments, stdin)

            execution = self._commands.start(request.request_id, body, run)
        try:
            async for events in execution.log.follow(tell_command_skipped):
                yield join(events)
        finally:
            if request.end_with_client and execution.ended_at is None:
                task = asyncio.create_task(self._kill(execution))
                self._kills.add(task)
                task.add_done_callback(self._kills.discard)

    async def Start(  # noqa: N802 - gRPC's name
        self, request: process_pb2.StartRequest, context: Context
    ) -> process_pb2.Process:
        """See process.proto."""
        await self._bound()
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
            )
            process = self._processes.start(session, start, arguments, request.run.stdin)
        await asyncio.shield(process.started)
        return process.describe()

    async def Get(  # noqa: N802 - gRPC's name
        self, request: process_pb2.GetProcessRequest, _context: Context
    ) -> process_pb2.Process:
        """See process.proto."""
        await self._bound()
        return self._processes.get(request.process_id).describe()

    async def List(  # noqa: N802 - gRPC's name
        self, _request: process_pb2.ListProcessesRequest, _context: Context
    ) -> process_pb2.ListProcessesResponse:
        """See process.proto."""
        await self._bound()
        known = [process.describe() for process in self._processes.list() if process.started.done()]
        return process_pb2.ListProcessesResponse(processes=known)

    async def Attach(  # noqa: N802 - gRPC's name
        self, request: process_pb2.AttachRequest, _context: Context
    ) -> AsyncIterator[process_pb2.RunResponse]:
        """See process.proto."""
        await self._bound()
        process = self._processes.get(request.process_id)
        await asyncio.shield(process.started)
        offset = read_offset(request, process.output.end)
        async with contextlib.aclosing(process.follow(offset)) as batches:
            async for events in batches:
                yield process_pb2.RunResponse(events=events)

    async def SendInput(  # noqa: N802 - gRPC's name
        self, request: process_pb2.SendInputRequest, _context: Context
    ) -> process_pb2.SendInputResponse:
        """See process.proto."""
        session = await self._bound()
        arguments = read_input(request)
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

    async def Signal(  # noqa: N802 - gRPC's name
        self, request: process_pb2.SignalRequest, _context: Context
    ) -> process_pb2.SignalResponse:
        """See process.proto."""
        session = await self._bound()
        arguments = read_signal(request)
        # Other ids may be those of commands, which the runtime knows.
        if self._processes.has(request.process_id):
            # One that was lost may run on.
            process = self._processes.get_running(request.process_id, or_lost=True)
            await asyncio.shield(process.started)
            if arguments["signal"] == _KILL:
                process.output.release()
        await session.runtime.call("process.signal", arguments)
        return process_pb2.SignalResponse()

    async def Resize(  # noqa: N802 - gRPC's name
        self, request: process_pb2.ResizeRequest, _context: Context
    ) -> process_pb2.ResizeResponse:
        """See process.proto."""
        session = await self._bound()
        size = read_size(request.terminal)
        process = self._processes.get_running(request.process_id)
        await asyncio.shield(process.started)
        await session.runtime.call("process.resize", {"process_id": process.id, **size})
        return process_pb2.ResizeResponse()

    async def _bound(self) -> BoundSession:
        """The session, once it is known what runs in it."""
        session = self._gate.require_bound()
        await self._processes.settled()
        return session

    async def _kill(self, execution: Execution[CommandEvent]) -> None:
        """Kill a command whose client went away, and wanted that."""
        for _ in range(_KILL_ATTEMPTS):
            with contextlib.suppress(OperationError):
                await self._gate.runtime.call("process.signal", {"process_id": execution.id, "signal": _KILL})
            # It may be about to start.
            await asyncio.sleep(_KILL_PAUSE)
            if execution.ended_at is not None:
                return


async def _run_command(
    session: BoundSession, execution: Execution[CommandEvent], arguments: dict[str, Any], stdin: bytes
) -> None:
    translator = CommandTranslator(execution.id)
    call = await session.runtime.open("run", {**arguments, "process_id": execution.id})
    await call.send(stdin)
    await pump(call, execution.log, translator, translator.exited, translator.lost, limit=arguments["timeout"])
