"""Commands and background processes of the agent of `testing`: nothing runs, they echo or do as they are scripted."""

from __future__ import annotations

import asyncio
import shlex
import signal
from typing import TYPE_CHECKING, Any, Final

import grpc

from sandbox_proto.v1 import process_pb2, types_pb2
from sandbox_proto.v1.process_pb2_grpc import ProcessServiceServicer
from sandbox_testing.agent_status import refuse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sandbox_testing.agent import FakeAgent

_STDOUT: Final = types_pb2.Output.STREAM_STDOUT
_STDERR: Final = types_pb2.Output.STREAM_STDERR
_SIGNAL_EXIT: Final = 128


class FakeProcess:
    """One background process.

    Attributes:
        request: What it was started with.
        output: All it wrote.
        inputs: What it was sent.
        signals: Numbers or names of the signals it got.
        size: Rows and columns of its terminal, or None.
        exited: How it ended.
    """

    def __init__(self, number: int, request: process_pb2.StartRequest) -> None:
        self.id = f"p{number}"
        self.pid = 100 + number
        self.request = request
        self.output = b""
        self.inputs: list[bytes] = []
        self.signals: list[int | str] = []
        self.size = (request.terminal.rows, request.terminal.columns) if request.HasField("terminal") else None
        self.exited: process_pb2.ProcessExited | None = None
        self.changed = asyncio.Condition()

    @property
    def command(self) -> str:
        """As the agent describes it."""
        run = self.request.run
        return run.shell if run.WhichOneof("command") == "shell" else shlex.join(run.argv.args)

    def describe(self) -> process_pb2.Process:
        """The message."""
        return process_pb2.Process(
            process_id=self.id,
            pid=self.pid,
            command=self.command,
            running=self.exited is None,
            exited=self.exited,
            output_bytes=len(self.output),
            has_terminal=self.size is not None,
        )

    async def write(self, data: bytes) -> None:
        """More output."""
        async with self.changed:
            self.output += data
            self.changed.notify_all()

    async def end(self, exit_code: int = 0, signal_number: int = 0) -> None:
        """Its end."""
        status = types_pb2.EXIT_STATUS_KILLED if signal_number else types_pb2.EXIT_STATUS_OK
        code = _SIGNAL_EXIT + signal_number if signal_number else exit_code
        async with self.changed:
            self.exited = process_pb2.ProcessExited(status=status, exit_code=code, signal=signal_number)
            self.changed.notify_all()


class ProcessFake(ProcessServiceServicer):
    """The service."""

    def __init__(self, agent: FakeAgent) -> None:
        self._agent = agent

    async def Run(  # noqa: N802 - gRPC's name
        self, request: process_pb2.RunRequest, context: Any
    ) -> AsyncIterator[process_pb2.RunResponse]:
        """Print its input, and `err`, and exit with 3."""
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
        """Remember it, and do what it was scripted to."""
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
        """One."""
        return (await self._named("Get", request.process_id, context)).describe()

    async def List(  # noqa: N802 - same
        self, _request: process_pb2.ListProcessesRequest, context: Any
    ) -> process_pb2.ListProcessesResponse:
        """All."""
        await self._agent.enter("List", context)
        processes = [process.describe() for process in self._agent.processes.values()]
        return process_pb2.ListProcessesResponse(processes=processes)

    async def Attach(  # noqa: N802 - same
        self, request: process_pb2.AttachRequest, context: Any
    ) -> AsyncIterator[process_pb2.RunResponse]:
        """Output from the offset on, until its end."""
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
        """Echo it."""
        process = await self._running("SendInput", request.process_id, context)
        process.inputs.append(request.data)
        await process.write(request.data)
        if request.end:
            await process.end()
        return process_pb2.SendInputResponse()

    async def Signal(self, request: process_pb2.SignalRequest, context: Any) -> process_pb2.SignalResponse:  # noqa: N802 - same
        """End it."""
        process = await self._running("Signal", request.process_id, context)
        process.signals.append(request.name or request.signal)
        number = signal.Signals[f"SIG{request.name.upper().removeprefix('SIG')}"] if request.name else request.signal
        await process.end(signal_number=int(number))
        return process_pb2.SignalResponse()

    async def Resize(self, request: process_pb2.ResizeRequest, context: Any) -> process_pb2.ResizeResponse:  # noqa: N802 - same
        """Remember its size."""
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
