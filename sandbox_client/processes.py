"""Background processes: start them, communicate with them, and find them again from another client."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final, Unpack

from sandbox_client.errors import FailedPrecondition, InvalidArgument, NotFound, SandboxUnavailable
from sandbox_client.models.aggregation import CommandFold
from sandbox_client.models.events import EventReader
from sandbox_client.models.process_info import ProcessInfo, ProcessOutput, read_process_info
from sandbox_client.models.readable import Listing
from sandbox_client.options import RUN_DEFAULTS, RunOptions, with_options
from sandbox_client.transport.arguments import checks_arguments, id_of
from sandbox_client.transport.reattach import ATTACH_ONLY, ExecutionLostError
from sandbox_client.transport.requests import MAX_INPUT_MESSAGE, command_request
from sandbox_client.transport.retry_policy import ReattachPolicy
from sandbox_proto.v1 import process_pb2, types_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from sandbox_client.models.results import CommandResult
    from sandbox_client.transport.connection import Connection

_MAX_SIGNAL: Final = 64
_MAX_TERMINAL_SIZE: Final = 65535
"""Rows or columns."""
_STDERR: Final = types_pb2.Output.STREAM_STDERR


@checks_arguments
class AsyncProcess:
    """A background process. It keeps running when this client exits, and `processes.get(id)` finds it again.

    Attributes:
        id: The agent's id for the process.
        pid: The process id inside the sandbox.
        command: The shell line, or the arguments quoted for a shell.
    """

    def __init__(self, connection: Connection, message: process_pb2.Process) -> None:
        self._connection = connection
        self.id = message.process_id
        self.pid = message.pid
        self.command = message.command

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}, pid {self.pid}: {self.command}>"

    async def info(self) -> ProcessInfo:
        """Return the current state of the process.

        Raises:
            NotFound: The process ended long ago, or the sandbox restarted.
        """
        request = process_pb2.GetProcessRequest(process_id=self.id)
        return read_process_info(await self._connection.unary(self._connection.process.Get, request, repeatable=True))

    async def output(self, offset: int = 0) -> AsyncGenerator[ProcessOutput, None]:
        """Yield the output as it is written, until the process ends. Leaving the iteration does not stop the process.

        Args:
            offset: Position to begin at: `end` of the last piece you have seen. Output that the agent no longer keeps
                is skipped, which shows in the next piece's `offset`.

        Yields:
            Pieces in the order they were written, across broken connections.
        """
        async with contextlib.aclosing(self._events(offset)) as events:
            async for event in events:
                if event.HasField("output"):
                    output = event.output
                    yield ProcessOutput(output.data, output.offset, output.stream == _STDERR)

    async def wait(
        self,
        timeout: float | None = None,  # noqa: ASYNC109 - part of the public API
        on_stdout: Callable[[str], object] | None = None,
        on_stderr: Callable[[str], object] | None = None,
    ) -> CommandResult:
        """Wait for the end of the process, and return the output that the agent still keeps.

        Args:
            timeout: Seconds to wait; no limit if None. The process keeps running afterwards.
            on_stdout: Called with each piece of text as it arrives.
            on_stderr: Called with each piece of text as it arrives.

        Raises:
            TimeoutError: The process is still running.
        """
        fold, reader = CommandFold("", on_stdout, on_stderr), EventReader()
        async with asyncio.timeout(timeout), contextlib.aclosing(self._events(0)) as events:
            async for message in events:
                for event in reader.run_events(message):
                    fold.add(event)
        return fold.finish()

    async def send_input(self, data: bytes | str = b"", *, end: bool = False) -> None:
        """Write to the standard input of the process.

        Args:
            data: Bytes, or text to send as UTF-8, of any length.
            end: Close standard input afterwards. A terminal gets ^D instead.

        Raises:
            FailedPrecondition: The process has ended (field `process_id`), or its input is closed (field `data`).
        """
        rest = memoryview(data.encode() if isinstance(data, str) else data)
        while True:
            piece, rest = rest[:MAX_INPUT_MESSAGE], rest[MAX_INPUT_MESSAGE:]
            request = process_pb2.SendInputRequest(process_id=self.id, data=bytes(piece), end=end and not rest)
            # Not repeatable: the input may have been written. No time limit: the call waits until the process reads.
            await self._connection.unary(self._connection.process.SendInput, request, repeatable=False, seconds=None)
            if not rest:
                return

    async def signal(self, signal: int | str) -> None:
        """Send a signal to the process group, and to the foreground job of its terminal.

        Args:
            signal: Linux's number, or a name such as `TERM` or `SIGINT`.

        Raises:
            InvalidArgument: There is no such signal.
            FailedPrecondition: The process has ended.
        """
        await send_signal(self._connection, self.id, signal)

    async def kill(self) -> None:
        """Kill the process and everything it started. It is not an error if the process has ended."""
        with contextlib.suppress(NotFound):
            try:
                await send_signal(self._connection, self.id, "KILL")
            except FailedPrecondition as error:
                if error.reason != "PROCESS_ENDED":
                    raise

    async def resize(self, rows: int, columns: int) -> None:
        """Change the size of the terminal.

        Raises:
            InvalidArgument: `rows` or `columns` is not between 1 and 65535.
            FailedPrecondition: The process has ended, or has no terminal.
        """
        request = process_pb2.ResizeRequest(process_id=self.id, terminal=_size((rows, columns)))
        await self._connection.unary(self._connection.process.Resize, request, repeatable=True)

    async def _events(self, offset: int) -> AsyncGenerator[Any, None]:
        """Yield messages from a position on, each byte once, then one `exited`."""
        policy = ReattachPolicy(self._connection.endpoint.returns_within)
        while True:
            request = process_pb2.AttachRequest(process_id=self.id, offset=offset)
            stream = self._connection.stream(self._connection.process.Attach, request)
            try:
                async with contextlib.aclosing(stream):
                    async for response in stream:
                        for event in response.events:
                            if event.HasField("started"):
                                continue
                            policy.reset()
                            if event.HasField("output"):
                                offset = event.output.offset + len(event.output.data)
                            yield event
                            if event.HasField("exited"):
                                return
                failure = SandboxUnavailable(
                    f"the output of process {self.id} ended early: try again", reason="STREAM_ENDED"
                )
            except SandboxUnavailable as error:
                failure = error
            await asyncio.sleep(policy.delay(failure, may_run=True))


@checks_arguments
class AsyncProcesses:
    """Background processes of one sandbox."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @with_options(RunOptions, RUN_DEFAULTS)
    async def start(
        self,
        command: str | Sequence[str],
        *,
        keep_input: bool = True,
        terminal: tuple[int, int] | None = None,
        tag: str = "",
        **options: Unpack[RunOptions],
    ) -> AsyncProcess:
        """Start a command in the background, and return when it is running.

        The process runs until it ends, is killed, or the session is suspended or deleted. Until then the session does
        not count as idle. When the process exits, everything that it left running is killed.

        Args:
            command: A line for bash, or a list of arguments that no shell interprets.
            keep_input: Keep standard input open after `stdin`, for `send_input`. Pass False for a program that reads
                its input to the end.
            terminal: Rows and columns of a terminal to run it in. All output is then standard output.
            tag: A word by which you find it in `list`, at most 256 characters. It need not be unique.
            **options: See RunOptions.

        Raises:
            InvalidArgument: `command`, `cwd`, `timeout` or `terminal` is wrong.
            NotFound: The program of a list, or `cwd`, does not exist.
            Conflict: The request id was used with another command.
            ResourceExhausted: Too many processes are running.
            SandboxUnavailable: The agent does not answer. If it restarted meanwhile (reason `EXECUTION_LOST`), check
                `list` before you start the command again.
        """
        run = command_request(command, **options)
        if len(run.stdin) > MAX_INPUT_MESSAGE:
            message = f"stdin of a background process has at most {MAX_INPUT_MESSAGE} bytes: send more with send_input"
            raise InvalidArgument(message, reason="INVALID_ARGUMENT", field="stdin")
        size = None if terminal is None else _size(terminal)
        request = process_pb2.StartRequest(
            run=run, terminal=size, end_input=not keep_input and terminal is None, tag=tag
        )
        return AsyncProcess(self._connection, await self._start(request))

    async def get(self, process_id: str | ProcessInfo) -> AsyncProcess:
        """Return a process that any client started, by its id or an entry of `list`.

        Raises:
            NotFound: There is no process of that id, or it ended long ago.
        """
        request = process_pb2.GetProcessRequest(process_id=id_of(process_id))
        message = await self._connection.unary(self._connection.process.Get, request, repeatable=True)
        return AsyncProcess(self._connection, message)

    async def list(self) -> list[ProcessInfo]:
        """List the running processes and those that ended recently, oldest first."""
        request = process_pb2.ListProcessesRequest()
        response = await self._connection.unary(self._connection.process.List, request, repeatable=True)
        return Listing(read_process_info(message) for message in response.processes)

    async def signal(self, process_id: str | ProcessInfo, signal: int | str) -> None:
        """Send a signal to a process, or to a running command of `stream_command`.

        Args:
            process_id: The agent's id for the process. That of a command is in its `Started` event.
            signal: Linux's number, or a name such as `TERM` or `SIGINT`.

        Raises:
            InvalidArgument: There is no such signal.
            NotFound: There is no such process.
            FailedPrecondition: The process has ended.
        """
        await send_signal(self._connection, id_of(process_id), signal)

    async def _start(self, request: process_pb2.StartRequest) -> Any:
        policy = ReattachPolicy(self._connection.endpoint.returns_within)
        is_repeat = False
        while True:
            metadata = ATTACH_ONLY if is_repeat else ()
            try:
                return await self._connection.unary(
                    self._connection.process.Start, request, repeatable=False, metadata=metadata
                )
            except SandboxUnavailable as error:
                delay = policy.delay(error, may_run=is_repeat)
            except NotFound as error:
                if error.reason == "UNKNOWN_REQUEST":
                    raise ExecutionLostError(has_started=False) from error
                raise
            is_repeat = True
            await asyncio.sleep(delay)


async def send_signal(connection: Connection, process_id: str, signal: int | str) -> None:
    """Send a signal to a background process or a running command.

    Raises:
        InvalidArgument: There is no such signal.
        NotFound: There is no such process.
        FailedPrecondition: The process has ended.
    """
    request = process_pb2.SignalRequest(process_id=process_id)
    if isinstance(signal, str):
        request.name = signal
    elif 1 <= signal <= _MAX_SIGNAL:
        request.signal = signal
    else:
        raise InvalidArgument(
            f"there is no signal {signal}: use a number from 1 to {_MAX_SIGNAL}, or a name such as TERM",
            reason="INVALID_ARGUMENT",
            field="signal",
        )
    await connection.unary(connection.process.Signal, request, repeatable=False)


def _size(terminal: tuple[int, int]) -> process_pb2.TerminalSize:
    rows, columns = terminal
    if not (1 <= rows <= _MAX_TERMINAL_SIZE and 1 <= columns <= _MAX_TERMINAL_SIZE):
        message = f"a terminal cannot have {rows} rows and {columns} columns: give 1 to {_MAX_TERMINAL_SIZE} of each"
        raise InvalidArgument(message, reason="INVALID_ARGUMENT", field="terminal")
    return process_pb2.TerminalSize(rows=rows, columns=columns)
