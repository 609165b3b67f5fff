"""ProcessService: commands. Background processes come with a later version of the agent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from sandbox_agent.link.calls import OperationError
from sandbox_agent.pumping import pump
from sandbox_agent.requests import check_may_start, fingerprint, read_run
from sandbox_agent.translation import CommandTranslator
from sandbox_proto.v1 import process_pb2, process_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sandbox_agent.authentication import Context
    from sandbox_agent.binding import BoundSession, SessionGate
    from sandbox_agent.executions import Execution, ExecutionRegistry


class ProcessServicer(process_pb2_grpc.ProcessServiceServicer):
    """See process.proto."""

    def __init__(self, gate: SessionGate, commands: ExecutionRegistry[process_pb2.RunEvent]) -> None:
        self._gate = gate
        self._commands = commands

    async def Run(  # noqa: N802 - gRPC's name
        self, request: process_pb2.RunRequest, context: Context
    ) -> AsyncIterator[process_pb2.RunResponse]:
        """See process.proto."""
        arguments = read_run(request, self._gate.require_bound().limits)
        body = fingerprint(request)
        execution = self._commands.find(request.request_id, body) if request.request_id else None
        if execution is None:
            check_may_start(context.invocation_metadata())
            session = await self._gate.require_ready()
            stdin = request.stdin

            async def run(execution: Execution[process_pb2.RunEvent]) -> None:
                await _run_command(session, execution, arguments, stdin)

            execution = self._commands.start(request.request_id, body, run)
        async for events in execution.log.follow(_tell_skipped):
            yield process_pb2.RunResponse(events=events)

    async def Start(self, _request: object, _context: Context) -> NoReturn:  # noqa: N802 - gRPC's name
        """See process.proto."""
        raise _not_implemented("Start")

    async def Get(self, _request: object, _context: Context) -> NoReturn:  # noqa: N802 - gRPC's name
        """See process.proto."""
        raise _not_implemented("Get")

    async def List(self, _request: object, _context: Context) -> NoReturn:  # noqa: N802 - gRPC's name
        """See process.proto."""
        raise _not_implemented("List")

    async def Attach(self, _request: object, _context: Context) -> AsyncIterator[process_pb2.RunResponse]:  # noqa: N802
        """See process.proto."""
        raise _not_implemented("Attach")
        yield  # makes it a stream

    async def SendInput(self, _request: object, _context: Context) -> NoReturn:  # noqa: N802 - gRPC's name
        """See process.proto."""
        raise _not_implemented("SendInput")

    async def Signal(self, _request: object, _context: Context) -> NoReturn:  # noqa: N802 - gRPC's name
        """See process.proto."""
        raise _not_implemented("Signal")

    async def Resize(self, _request: object, _context: Context) -> NoReturn:  # noqa: N802 - gRPC's name
        """See process.proto."""
        raise _not_implemented("Resize")


async def _run_command(
    session: BoundSession, execution: Execution[process_pb2.RunEvent], arguments: dict[str, Any], stdin: bytes
) -> None:
    translator = CommandTranslator(execution.id)
    call = await session.runtime.open("run", arguments)
    await call.send(stdin)
    await pump(call, execution.log, translator, translator.exited, translator.lost)


def _tell_skipped(event: process_pb2.RunEvent, skipped: int) -> process_pb2.RunEvent:
    """Count what this client did not get into the last event's truncation."""
    if not skipped or not event.HasField("exited"):
        return event
    told = process_pb2.RunEvent()
    told.CopyFrom(event)
    told.exited.truncation.dropped_bytes += skipped
    return told


def _not_implemented(method: str) -> OperationError:
    message = f"{method} is not there yet: use Run, with `&` or nohup in a shell line for the background"
    return OperationError("UNIMPLEMENTED", "NOT_IMPLEMENTED", message)
