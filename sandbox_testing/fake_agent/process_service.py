"""The fake agent's ProcessService. Nothing runs: processes echo their input, or do what the test scripted."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any, Final

import grpc

from sandbox_proto.v1 import process_pb2, types_pb2
from sandbox_proto.v1.process_pb2_grpc import ProcessServiceServicer
from sandbox_testing.fake_agent.processes import FakeProcess
from sandbox_testing.fake_agent.status import refuse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sandbox_testing.fake_agent.state import AgentState

_STDOUT: Final = types_pb2.Output.STREAM_STDOUT
_STDERR: Final = types_pb2.Output.STREAM_STDERR


class FakeProcessService(ProcessServiceServicer):
    """Commands and background processes."""

    def __init__(self, agent: AgentState) -> None:
        self._agent = agent

    async def Run(  # noqa: N802 - gRPC's name
        self, request: process_pb2.RunRequest, context: Any
    ) -> AsyncIterator[process_pb2.RunResponse]:
        """Print the command's input, then `err`, and exit with 3."""
        await self._agent.enter("Run", context)
        self._agent.commands.append(request)
        out = types_pb2.Output(stream=_STDOUT, data=request.stdin or b"out\n")
        err = types_pb2.Output(stream=_STDERR, data=b"err\n", offset=len(out.data))
        exited = process_pb2.ProcessExited(status=types_pb2.EXIT_STATUS_OK, exit_code=3)
        yield process_pb2.RunResponse(
            events=[
                process_pb2.RunEvent(started=process_pb2.ProcessStarted(process_id="p1", pid=7)),
                process_pb2.RunEvent(output=out),
                process_pb2.RunEvent(output=err),
                process_pb2.RunEvent(exited=exited),
            ]
        )

    async def Start(self, request: process_pb2.StartRequest, context: Any) -> process_pb2.Process:  # noqa: N802 - same
        """Create a process, and let it do what the test scripted."""
        agent = self._agent
        await agent.enter("Start", context)
        known = [
            process for process in agent.processes.values() if process.request.run.request_id == request.run.request_id
        ]
        if known:
            return known[0].describe()
        if "sandbox-attach-only" in dict(context.invocation_metadata()):
            await refuse(context, grpc.StatusCode.NOT_FOUND, "UNKNOWN_REQUEST", "no such request", "request_id")
        process = FakeProcess(len(agent.processes) + 1, request)
        agent.processes[process.id] = process
        if process.command in agent.process_scripts:
            output, exit_code = agent.process_scripts[process.command]
            await process.write(output)
            await process.end(exit_code)
        return process.describe()

    async def Get(self, request: process_pb2.GetProcessRequest, context: Any) -> process_pb2.Process:  # noqa: N802 - same
        """Return one process."""
        return (await self._named("Get", request.process_id, context)).describe()

    async def List(  # noqa: N802 - same
        self, _request: process_pb2.ListProcessesRequest, context: Any
    ) -> process_pb2.ListProcessesResponse:
        """Return all processes."""
        await self._agent.enter("List", context)
        processes = [process.describe() for process in self._agent.processes.values()]
        return process_pb2.ListProcessesResponse(processes=processes)

    async def Attach(  # noqa: N802 - same
        self, request: process_pb2.AttachRequest, context: Any
    ) -> AsyncIterator[process_pb2.RunResponse]:
        """Stream output from the offset on, until the process ends."""
        process = await self._named("Attach", request.process_id, context)
        started = process_pb2.ProcessStarted(process_id=process.id, pid=process.pid)
        yield process_pb2.RunResponse(events=[process_pb2.RunEvent(started=started)])
        offset = request.offset
        while True:
            async with process.changed:
                while offset >= len(process.output) and process.exited is None:
                    await process.changed.wait()
                data, exited = process.output[offset:], process.exited
            if data:
                output = types_pb2.Output(stream=_STDOUT, data=data, offset=offset)
                offset += len(data)
                yield process_pb2.RunResponse(events=[process_pb2.RunEvent(output=output)])
                if self._agent.broken_after is not None:
                    self._agent.broken_after = None
                    await context.abort(grpc.StatusCode.UNAVAILABLE, "the connection broke")
            elif exited is not None:
                yield process_pb2.RunResponse(events=[process_pb2.RunEvent(exited=exited)])
                return

    async def SendInput(  # noqa: N802 - same
        self, request: process_pb2.SendInputRequest, context: Any
    ) -> process_pb2.SendInputResponse:
        """Echo the input."""
        process = await self._running("SendInput", request.process_id, context)
        process.inputs.append(request.data)
        await process.write(request.data)
        if request.end:
            await process.end()
        return process_pb2.SendInputResponse()

    async def Signal(self, request: process_pb2.SignalRequest, context: Any) -> process_pb2.SignalResponse:  # noqa: N802 - same
        """End the process."""
        process = await self._running("Signal", request.process_id, context)
        process.signals.append(request.name or request.signal)
        number = signal.Signals[f"SIG{request.name.upper().removeprefix('SIG')}"] if request.name else request.signal
        await process.end(signal_number=int(number))
        return process_pb2.SignalResponse()

    async def Resize(self, request: process_pb2.ResizeRequest, context: Any) -> process_pb2.ResizeResponse:  # noqa: N802 - same
        """Change the size of the terminal."""
        process = await self._running("Resize", request.process_id, context)
        process.size = request.terminal.rows, request.terminal.columns
        return process_pb2.ResizeResponse()

    async def _named(self, method: str, process_id: str, context: Any) -> FakeProcess:
        await self._agent.enter(method, context)
        if process_id not in self._agent.processes:
            await refuse(context, grpc.StatusCode.NOT_FOUND, "UNKNOWN_PROCESS", "no such process", "process_id")
        return self._agent.processes[process_id]

    async def _running(self, method: str, process_id: str, context: Any) -> FakeProcess:
        process = await self._named(method, process_id, context)
        if process.exited is not None:
            code = grpc.StatusCode.FAILED_PRECONDITION
            await refuse(context, code, "PROCESS_ENDED", "the process has ended", "process_id")
        return process
