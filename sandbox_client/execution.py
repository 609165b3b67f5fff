"""Runs cells and commands over one connection."""

from __future__ import annotations

import contextlib
import uuid
from typing import TYPE_CHECKING, Any, Literal, Unpack

from sandbox_client.errors import FailedPrecondition
from sandbox_client.models.aggregation import CommandFold, ExecutionFold
from sandbox_client.models.context import language_number
from sandbox_client.models.events import Completed, EventReader, ExecuteEvent, Exited, RunEvent
from sandbox_client.models.results import CommandResult, Diagnostic, Execution, Status
from sandbox_client.options import RUN_DEFAULTS, RunOptions, with_options
from sandbox_client.transport.arguments import checks_arguments, id_of
from sandbox_client.transport.reattach import ExecutionLostError, reattaching_events
from sandbox_client.transport.requests import checked_text, command_request, duration, type_check_number
from sandbox_proto.v1 import interpreter_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from sandbox_client.models.context import Context
    from sandbox_client.transport.base_connection import BaseConnection


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
    ) -> Execution:
        """Run a cell and wait for its end. Variables persist from call to call, even after an exception.

        Args:
            code: The code to run.
            language: `python`, `javascript` or `typescript`.
            timeout: Seconds; the session's limit if None, which is 300 unless it was changed.
            on_stdout: Called with each piece of text as it arrives.
            on_stderr: Called with each piece of text as it arrives.
            context: A context from `contexts.create`, or its id; the language's default context if None.
            request_id: 1 to 128 characters. A repeat with the same id and code attaches to the first run instead of
                running the code twice.
            type_check: TypeScript only. Check types first and add the errors to the result's `diagnostics`. With
                `require` the cell runs only if there are none. The check knows the declarations of earlier cells.

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
        async with contextlib.aclosing(events):
            async for event in events:
                fold.add(event)
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
        **options: Unpack[RunOptions],
    ) -> CommandResult:
        """Run a command to its end. A non-zero exit code is a result, not an error.

        Args:
            command: A line for bash, or a list of arguments that no shell interprets.
            on_stdout: Called with each piece of text as it arrives.
            on_stderr: Called with each piece of text as it arrives.
            end_with_client: Kill the command if this client exits or its connection breaks. Otherwise the command
                keeps running.
            **options: See RunOptions.

        Raises:
            InvalidArgument: `command`, `cwd` or `timeout` is wrong.
            NotFound: The program of a list, or `cwd`, does not exist.
        """
        request_id = options["request_id"] = options.get("request_id") or uuid.uuid4().hex
        fold = CommandFold(request_id, on_stdout, on_stderr)
        events = self.stream_command(command, end_with_client=end_with_client, **options)
        async with contextlib.aclosing(events):
            async for event in events:
                fold.add(event)
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
        reader = EventReader()
        messages = reattaching_events(self._connection, self._connection.process.Run, request)
        async with contextlib.aclosing(messages):
            try:
                async for message in messages:
                    for event in reader.run_events(message):
                        yield event
            except ExecutionLostError as error:
                if not error.has_started:
                    raise
                yield Exited(Status.LOST)


def _language_in_context(name: str) -> Any:
    # A context knows its language. Naming one matters only to choose TypeScript in a JavaScript context.
    return language_number("" if name == "python" else name, is_optional=True)
