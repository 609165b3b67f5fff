"""Runs cells and commands over one connection."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from typing import TYPE_CHECKING, Any, Final, Literal, Unpack

from sandbox_client.errors import FailedPrecondition, NotFound, SandboxError
from sandbox_client.models.aggregation import CommandFold, ExecutionFold
from sandbox_client.models.context import language_number
from sandbox_client.models.events import Completed, EventReader, ExecuteEvent, Exited, RunEvent, Started
from sandbox_client.models.results import CommandResult, Diagnostic, Execution, Status
from sandbox_client.options import RUN_DEFAULTS, RunOptions, with_options
from sandbox_client.transport.arguments import checks_arguments, id_of
from sandbox_client.transport.reattach import ExecutionLostError, reattaching_events
from sandbox_client.transport.requests import (
    MAX_INPUT_MESSAGE,
    checked_text,
    command_request,
    duration,
    split_input,
    type_check_number,
)
from sandbox_proto.v1 import interpreter_pb2, process_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from sandbox_client.models.context import Context
    from sandbox_client.transport.base_connection import BaseConnection

CANCELLED: Final = (asyncio.CancelledError, KeyboardInterrupt)
"""How a caller gives up a call: by cancelling its task, or by Ctrl-C in code without asyncio."""


@checks_arguments
class CodeRunner:
    """Runs cells and commands. It needs only a connection."""

    def __init__(self, connection: BaseConnection) -> None:
        self._connection = connection

    async def run_code(
        self,
        code: str,
        language: str = "python",
        timeout: float | None = None,  # noqa: ASYNC109 - the server enforces it
        on_stdout: Callable[[str], object] | None = None,
        on_stderr: Callable[[str], object] | None = None,
        context: str | Context | None = None,
        request_id: str | None = None,
        type_check: Literal["report", "require"] | None = None,
        *,
        on_cancel: Literal["interrupt", "detach"] = "interrupt",
    ) -> Execution:
        """Run a cell and wait for its end. Variables persist from call to call, even after an exception.

        A cancelled call (a cancelled task, a timeout of asyncio, Ctrl-C) interrupts its cell and keeps the variables. A
        cell that still waits then never runs. One that does not end within 2 s is killed, which loses the variables. A
        lost connection cancels nothing.

        Args:
            code: The code to run.
            language: `python`, `javascript`, `typescript` or `bash`. A cell of bash whose last command fails
                has an `error`.
            timeout: Seconds; the session's limit if None, which is 300 unless it was changed.
            on_stdout: Called with each piece of text as it arrives.
            on_stderr: Called with each piece of text as it arrives.
            context: A context from `contexts.create`, or its id; the language's default context if None.
            request_id: 1 to 128 characters. A repeat with the same id and code attaches to the first run instead of
                running the code twice.
            type_check: TypeScript only. Check types first and add the errors to the result's `diagnostics`. With
                `require` the cell runs only if there are none. The check knows the declarations of earlier cells.
            on_cancel: `detach` lets the cell of a cancelled call run to its end.

        Returns:
            The result. An exception in the code is its `error` and a limit that was hit is its `status`; neither is
            raised.

        Raises:
            InvalidArgument: `code` is empty, or `language`, `timeout` or `context_id` is wrong.
            FailedPrecondition: The sandbox has no type checker; the message says how to get it.
            Conflict: The request id was used with other code.
            SandboxUnavailable: The agent does not answer.
        """
        request_id = request_id or uuid.uuid4().hex
        fold = ExecutionFold(request_id, on_stdout, on_stderr)
        events = self.execute(
            code, language, timeout=timeout, context=context, request_id=request_id, type_check=type_check
        )
        try:
            async with contextlib.aclosing(events):
                async for event in events:
                    fold.add(event)
        except CANCELLED:
            if on_cancel == "interrupt":
                request = interpreter_pb2.InterruptRequest(request_id=request_id)
                await self._connection.cancel(self._connection.interpreter.Interrupt, request)
            raise
        return fold.finish()

    async def check_types(
        self,
        code: str,
        *,
        context: str | Context | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the server enforces it
    ) -> tuple[Diagnostic, ...]:
        """Return the type errors of a TypeScript cell without running it. Declarations of earlier cells are known.

        Args:
            code: The cell.
            context: The context that would run it, or its id; the default one if None.
            timeout: Seconds; the session's limit if None.

        Raises:
            InvalidArgument: As for `run_code`.
            FailedPrecondition: The type check failed, or the sandbox has no type checker; the message says how to get
                it.
            SandboxUnavailable: The agent does not answer.
        """
        fold = ExecutionFold()
        events = self.execute(code, "typescript", timeout=timeout, context=context, type_check="only")
        async with contextlib.aclosing(events):
            async for event in events:
                fold.add(event)
        checked = fold.finish()
        if not checked.ok and not checked.diagnostics:
            message = checked.error.value if checked.error else f"the check ended as {checked.status}"
            raise FailedPrecondition(message, reason="NO_TYPE_CHECK", field="type_check")
        return checked.diagnostics

    async def execute(
        self,
        code: str,
        language: str = "python",
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - the server enforces it
        context: str | Context | None = None,
        request_id: str | None = None,
        type_check: Literal["report", "require", "only"] | None = None,
    ) -> AsyncGenerator[ExecuteEvent, None]:
        """Run a cell and yield its events as they happen. Leaving the iteration does not cancel the cell.

        Arguments and errors are those of `run_code`. With the type check `only`, the cell does not run.

        Yields:
            One Started, TypesChecked if it was requested, then Stdout, Stderr, Result and at most one CodeError in
            their order, then one Completed.
        """
        request = interpreter_pb2.ExecuteRequest(
            code=checked_text(code, "code"),
            language=language_number(language) if context is None else _language_in_context(language),
            context_id=id_of(context) or "",
            timeout=duration(timeout),
            request_id=request_id or uuid.uuid4().hex,
            type_check=type_check_number(type_check),
        )
        reader = EventReader()
        stub = self._connection.interpreter
        messages = reattaching_events(self._connection, stub.Execute, request, brief=stub.ExecuteBriefly)
        async with contextlib.aclosing(messages):
            try:
                async for message in messages:
                    for event in reader.execute_events(message):
                        yield event
            except ExecutionLostError as error:
                if not error.has_started:
                    raise
                yield Completed(Status.LOST)

    @with_options(RunOptions, RUN_DEFAULTS)
    async def run(
        self,
        command: str | Sequence[str],
        *,
        on_stdout: Callable[[str], object] | None = None,
        on_stderr: Callable[[str], object] | None = None,
        end_with_client: bool = False,
        on_cancel: Literal["interrupt", "detach"] = "interrupt",
        **options: Unpack[RunOptions],
    ) -> CommandResult:
        """Run a command to its end. A non-zero exit code is a result, not an error.

        A cancelled call (a cancelled task, a timeout of asyncio, Ctrl-C) kills the command and all its children.

        Args:
            command: A line for bash, or a list of arguments that no shell interprets.
            on_stdout: Called with each piece of text as it arrives.
            on_stderr: Called with each piece of text as it arrives.
            end_with_client: Kill the command if this client exits or its connection breaks. Otherwise the command
                keeps running.
            on_cancel: `detach` lets the command of a cancelled call run to its end.
            **options: See RunOptions.

        Raises:
            InvalidArgument: `command`, `cwd` or `timeout` is wrong.
            NotFound: The program of a list, or `cwd`, does not exist.
        """
        request_id = options["request_id"] = options.get("request_id") or uuid.uuid4().hex
        fold = CommandFold(request_id, on_stdout, on_stderr)
        events = self.stream_command(command, end_with_client=end_with_client, **options)
        try:
            async with contextlib.aclosing(events):
                async for event in events:
                    fold.add(event)
        except CANCELLED:
            if on_cancel == "interrupt":
                signal = process_pb2.SignalRequest(request_id=request_id, name="KILL")
                await self._connection.cancel(self._connection.process.Signal, signal)
            raise
        return fold.finish()

    @with_options(RunOptions, RUN_DEFAULTS)
    async def stream_command(
        self, command: str | Sequence[str], *, end_with_client: bool = False, **options: Unpack[RunOptions]
    ) -> AsyncGenerator[RunEvent, None]:
        """Run a command and yield its events as they happen. Errors are those of `run`.

        Args:
            command: A line for bash, or a list of arguments that no shell interprets.
            end_with_client: As for `run`.
            **options: See RunOptions.

        Yields:
            One Started, then Stdout and Stderr in their order, then one Exited.
        """
        request = command_request(command, **options)
        request.end_with_client = end_with_client
        reader, rest = EventReader(), _InputSender(self._connection, request)
        messages = reattaching_events(self._connection, self._connection.process.Run, request)
        async with contextlib.aclosing(messages), contextlib.aclosing(rest):
            try:
                async for message in messages:
                    for event in reader.run_events(message):
                        if isinstance(event, Started):
                            rest.begin()
                        yield event
            except ExecutionLostError as error:
                if not error.has_started:
                    raise
                yield Exited(Status.LOST)
            rest.check()


class _InputSender:
    """Sends what of a command's standard input does not fit into its first message, while its output is read.

    Args:
        connection: The connection.
        request: The command. Only the first part of its input stays in it.
    """

    def __init__(self, connection: BaseConnection, request: process_pb2.RunRequest) -> None:
        self._connection = connection
        self._request_id = request.request_id
        self._rest = split_input(request)
        self._failure: SandboxError | None = None
        self._stop: Callable[[], object] = lambda: None

    def begin(self) -> None:
        """Start sending. Does nothing if there is nothing to send."""
        if self._rest:
            self._stop = self._connection.in_background(self._send)

    def check(self) -> None:
        """Raise the error that kept the command from getting its whole input."""
        if self._failure is not None:
            raise self._failure

    async def aclose(self) -> None:
        """Stop sending."""
        self._rest = self._rest[:0]
        self._stop()

    async def _send(self) -> None:
        while rest := self._rest:
            piece, self._rest = rest[:MAX_INPUT_MESSAGE], rest[MAX_INPUT_MESSAGE:]
            request = process_pb2.SendInputRequest(request_id=self._request_id, data=bytes(piece), end=not self._rest)
            try:
                # Not repeatable: the input may have been written. No time limit: the call waits for the command.
                await self._connection.unary(
                    self._connection.process.SendInput, request, repeatable=False, seconds=None
                )
            except (FailedPrecondition, NotFound):
                return  # the command has ended or closed its input, as `head` does
            except SandboxError as error:
                self._failure = error
                # Without its whole input the command would wait, or take a part for everything.
                signal = process_pb2.SignalRequest(request_id=self._request_id, name="KILL")
                await self._connection.send_cancel(self._connection.process.Signal, signal)
                return


def _language_in_context(name: str) -> Any:
    # A context knows its language. Naming one matters only to choose TypeScript in a JavaScript context.
    return language_number("" if name == "python" else name, is_optional=True)
