"""Background processes: start them, talk to them, and find them again from another client."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.errors import FailedPrecondition, InvalidArgument, NotFound, SandboxUnavailable
from sandbox_client.models.events import CommandFold, EventReader
from sandbox_client.models.process_info import ProcessInfo, ProcessOutput, process_info
from sandbox_client.transport.reattach import ATTACH_ONLY, ExecutionLostError
from sandbox_client.transport.requests import command_request
from sandbox_client.transport.retry_policy import Patience
from sandbox_proto.v1 import process_pb2, types_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
    from pathlib import PurePosixPath

    from sandbox_client.models.results import CommandResult
    from sandbox_client.transport.connection import Connection

MAX_SEND: Final = 1 << 20
"""Bytes of input that one message carries."""
_LAST_SIGNAL: Final = 64
_LAST_SIDE: Final = 65535
_IS_STDERR: Final = types_pb2.Output.STREAM_STDERR


class AsyncProcess:
    """A background process. It goes on when this client goes away; `processes.get(id)` finds it again.

    Attributes:
        id: The agent's id of it.
        pid: The process id inside the sandbox.
        command: What it was started with, as text.
    """

    def __init__(self, connection: Connection, message: process_pb2.Process) -> None:
        self._connection = connection
        self.id = message.process_id
        self.pid = message.pid
        self.command = message.command

    async def info(self) -> ProcessInfo:
        """What is known of it now.

        Raises:
            NotFound: It ended long ago, or the sandbox restarted.
        """
        request = process_pb2.GetProcessRequest(process_id=self.id)
        return process_info(await self._connection.unary(self._connection.process.Get, request, repeatable=True))

    async def output(self, offset: int = 0) -> AsyncGenerator[ProcessOutput, None]:
        """Its output from a position on, as it comes, until it ends. Leaving the iteration does not stop it.

        Args:
            offset: Position to begin at: `end` of the last piece that was seen. Output that is no longer kept is
                skipped, which shows in the next piece's `offset`.

        Yields:
            Pieces in the order they were written, over as many connections as it takes.
        """
        async with contextlib.aclosing(self._events(offset)) as events:
            async for event in events:
                if event.HasField("output"):
                    output = event.output
                    yield ProcessOutput(output.data, output.offset, output.stream == _IS_STDERR)

    async def wait(
        self,
        timeout: float | None = None,  # noqa: ASYNC109 - it is part of the answer
        on_stdout: Callable[[str], object] | None = None,
        on_stderr: Callable[[str], object] | None = None,
    ) -> CommandResult:
        """Wait for its end; with its output, as far as that is kept.

        Args:
            timeout: Seconds to wait at most; the process goes on.
            on_stdout: Called with text as it comes.
            on_stderr: Called with text as it comes.

        Raises:
            TimeoutError: It still runs.
        """
        fold, reader = CommandFold("", on_stdout, on_stderr), EventReader()
        async with asyncio.timeout(timeout), contextlib.aclosing(self._events(0)) as events:
            async for message in events:
                for event in reader.run_events(message):
                    fold.add(event)
        return fold.finish()

    async def send_input(self, data: bytes | str = b"", *, end: bool = False) -> None:
        """Write to its standard input.

        Args:
            data: Bytes, or text as UTF-8; any length.
            end: Close standard input behind it; a terminal gets ^D instead.

        Raises:
            FailedPrecondition: It has ended (field `process_id`), or its input is closed (field `data`).
        """
        rest = memoryview(data.encode() if isinstance(data, str) else data)
        while True:
            piece, rest = rest[:MAX_SEND], rest[MAX_SEND:]
            request = process_pb2.SendInputRequest(process_id=self.id, data=bytes(piece), end=end and not rest)
            # Not repeated: it may have been written. No time limit: it waits while the process does not read.
            await self._connection.unary(self._connection.process.SendInput, request, repeatable=False, seconds=None)
            if not rest:
                return

    async def signal(self, signal: int | str) -> None:
        """Send a signal to its group (and to the job in the foreground of its terminal).

        Args:
            signal: Linux's number, or a name such as `TERM` or `SIGINT`.

        Raises:
            InvalidArgument: There is no such signal.
            FailedPrecondition: It has ended.
        """
        await send_signal(self._connection, self.id, signal)

    async def kill(self) -> None:
        """Kill it and everything it started. That it ended already is no error."""
        with contextlib.suppress(NotFound):
            try:
                await send_signal(self._connection, self.id, "KILL")
            except FailedPrecondition as error:
                if error.reason != "PROCESS_ENDED":
                    raise

    async def resize(self, rows: int, columns: int) -> None:
        """Change the size of its terminal.

        Raises:
            InvalidArgument: 1 to 65535 each.
            FailedPrecondition: It has ended, or has no terminal.
        """
        request = process_pb2.ResizeRequest(process_id=self.id, terminal=_size((rows, columns)))
        await self._connection.unary(self._connection.process.Resize, request, repeatable=True)

    async def _events(self, offset: int) -> AsyncGenerator[Any, None]:
        """Messages from a position on, each byte once, then one `exited`."""
        patience = Patience(self._connection.endpoint.returns_within)
        while True:
            request = process_pb2.AttachRequest(process_id=self.id, offset=offset)
            stream = self._connection.stream(self._connection.process.Attach, request)
            try:
                async with contextlib.aclosing(stream):
                    async for response in stream:
                        for event in response.events:
                            if event.HasField("started"):
                                continue
                            patience.renew()
                            if event.HasField("output"):
                                offset = event.output.offset + len(event.output.data)
                            yield event
                            if event.HasField("exited"):
                                return
                failure = SandboxUnavailable("the stream ended early", reason="STREAM_ENDED")
            except SandboxUnavailable as error:
                failure = error
            await asyncio.sleep(patience.pause(failure, may_run=True))


class AsyncProcesses:
    """Background processes of one sandbox."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def start(
        self,
        command: str | Sequence[str],
        *,
        cwd: str | PurePosixPath = "",
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the server enforces it
        stdin: bytes | str = b"",
        keep_input: bool = True,
        terminal: tuple[int, int] | None = None,
        request_id: str | None = None,
    ) -> AsyncProcess:
        """Start a command in the background and return once it runs.

        It runs until it ends, is killed, or the session is suspended or deleted; until then the session is not idle.
        When it exits, what it left running is killed with it.

        Args:
            command: A line for bash, or a list that no shell looks at.
            cwd: Relative to the workspace root.
            env: Added to the session's environment.
            timeout: Seconds, after which the whole process tree is killed; none by default.
            stdin: What its standard input begins with, at most 1 MiB.
            keep_input: Keep standard input open for `send_input`; False: it ends behind `stdin`. A program that reads
                its input to the end wants False.
            terminal: Rows and columns of a terminal to run it in; all output is then standard output.
            request_id: 1 to 128 characters; a repeat with the same id and command finds the process again.

        Raises:
            InvalidArgument: `command`, `cwd`, `timeout` or `terminal` is wrong.
            NotFound: The program of a list, or `cwd`, is not there.
            Conflict: The request id was used with another command.
            ResourceExhausted: Too many run already.
            SandboxUnavailable: Nobody answers; or the agent restarted meanwhile (reason `EXECUTION_LOST`): look at
                `list` before starting it again.
        """
        run = command_request(command, cwd=cwd, env=env, timeout=timeout, stdin=stdin, request_id=request_id)
        size = None if terminal is None else _size(terminal)
        request = process_pb2.StartRequest(run=run, terminal=size, end_input=not keep_input and terminal is None)
        return AsyncProcess(self._connection, await self._start(request))

    async def get(self, process_id: str) -> AsyncProcess:
        """A process that some client started.

        Raises:
            NotFound: There is none of that id, or it ended long ago.
        """
        request = process_pb2.GetProcessRequest(process_id=process_id)
        message = await self._connection.unary(self._connection.process.Get, request, repeatable=True)
        return AsyncProcess(self._connection, message)

    async def list(self) -> list[ProcessInfo]:
        """All that run and those that ended lately, oldest first."""
        request = process_pb2.ListProcessesRequest()
        response = await self._connection.unary(self._connection.process.List, request, repeatable=True)
        return [process_info(message) for message in response.processes]

    async def signal(self, process_id: str, signal: int | str) -> None:
        """Signal a process by its id, or a command of `stream_command` that is under way, whose id is in `Started`.

        Args:
            process_id: The agent's id of it.
            signal: Linux's number, or a name such as `TERM` or `SIGINT`.

        Raises:
            InvalidArgument: There is no such signal.
            NotFound: There is no such process.
            FailedPrecondition: It has ended.
        """
        await send_signal(self._connection, process_id, signal)

    async def _start(self, request: process_pb2.StartRequest) -> Any:
        patience = Patience(self._connection.endpoint.returns_within)
        is_repeat = False
        while True:
            metadata = ATTACH_ONLY if is_repeat else ()
            try:
                return await self._connection.unary(
                    self._connection.process.Start, request, repeatable=False, metadata=metadata
                )
            except SandboxUnavailable as error:
                pause = patience.pause(error, may_run=is_repeat)
            except NotFound as error:
                if error.reason == "UNKNOWN_REQUEST":
                    raise ExecutionLostError(has_started=False) from error
                raise
            is_repeat = True
            await asyncio.sleep(pause)


async def send_signal(connection: Connection, process_id: str, signal: int | str) -> None:
    """Signal a background process, or a command of `run` that is under way.

    Raises:
        InvalidArgument: There is no such signal.
        NotFound: There is no such process.
        FailedPrecondition: It has ended.
    """
    request = process_pb2.SignalRequest(process_id=process_id)
    if isinstance(signal, str):
        request.name = signal
    elif 1 <= signal <= _LAST_SIGNAL:
        request.signal = signal
    else:
        raise InvalidArgument(f"there is no signal {signal}", reason="INVALID_ARGUMENT", field="signal")
    await connection.unary(connection.process.Signal, request, repeatable=False)


def _size(terminal: tuple[int, int]) -> process_pb2.TerminalSize:
    rows, columns = terminal
    if not (1 <= rows <= _LAST_SIDE and 1 <= columns <= _LAST_SIDE):
        message = f"a terminal has 1 to {_LAST_SIDE} rows and as many columns"
        raise InvalidArgument(message, reason="INVALID_ARGUMENT", field="terminal")
    return process_pb2.TerminalSize(rows=rows, columns=columns)
