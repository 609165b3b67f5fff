"""Events of a running cell or command, and how they add up to its result. Pure: no I/O."""

from __future__ import annotations

import codecs
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.models.results import (
    CodeError,
    CommandResult,
    Diagnostic,
    Execution,
    FileInfo,
    Result,
    Status,
    file_info,
)
from sandbox_proto.v1 import types_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from google.protobuf.duration_pb2 import Duration

    from sandbox_proto.v1 import interpreter_pb2, process_pb2


@dataclass(frozen=True, slots=True)
class Started:
    """The cell (or command) runs now. `id` is the execution's or process's id; `context_id` is "" for a command."""

    id: str
    context_id: str = ""


@dataclass(frozen=True, slots=True)
class Stdout:
    """Text written to standard output."""

    text: str


@dataclass(frozen=True, slots=True)
class Stderr:
    """Text written to standard error."""

    text: str


@dataclass(frozen=True, slots=True)
class Completed:
    """The end of a cell. Duration in seconds."""

    status: Status
    exit_code: int = 0
    duration: float = 0.0
    context_restarted: bool = False
    dropped_bytes: int = 0
    execution_count: int = 0


@dataclass(frozen=True, slots=True)
class Exited:
    """The end of a command or process. Duration in seconds; `message` says why where it was not its own doing."""

    status: Status
    exit_code: int = 0
    signal: int = 0
    duration: float = 0.0
    dropped_bytes: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True)
class TypesChecked:
    """What a type check found, before the cell does anything; `omitted` counts what is beyond the limit."""

    diagnostics: tuple[Diagnostic, ...]
    omitted: int = 0


ExecuteEvent = Started | TypesChecked | Stdout | Stderr | Result | CodeError | FileInfo | Completed
"""What `execute` yields: one Started, then anything, then one Completed."""
RunEvent = Started | Stdout | Stderr | Exited
"""What a command's stream yields: one Started, output, then one Exited."""

_IS_STDERR: Final = types_pb2.Output.STREAM_STDERR


class EventReader:
    """Protocol messages in, events out; keeps the bytes of a character that is not complete yet."""

    def __init__(self) -> None:
        make = codecs.getincrementaldecoder("utf-8")
        self._stdout = make(errors="replace")
        self._stderr = make(errors="replace")

    def execute_events(self, message: interpreter_pb2.ExecuteEvent) -> Iterator[ExecuteEvent]:
        """The events that one message stands for."""
        kind = message.WhichOneof("event")
        if kind == "output":
            yield from self._output(message.output)
        elif kind == "started":
            yield Started(message.started.execution_id, message.started.context_id)
        elif kind == "result":
            result = message.result
            yield Result(dict(result.data), result.is_main, result.display_id, result.is_update)
        elif kind == "error":
            error = message.error
            yield CodeError(error.name, error.value, tuple(error.traceback), error.limit)
        elif kind == "type_checked":
            yield _types_checked(message.type_checked)
        elif kind == "file":
            yield file_info(message.file.info)
        elif kind == "completed":
            yield from self._rest()
            yield _completed(message.completed)

    def run_events(self, message: process_pb2.RunEvent) -> Iterator[RunEvent]:
        """The events that one message stands for."""
        kind = message.WhichOneof("event")
        if kind == "output":
            yield from self._output(message.output)
        elif kind == "started":
            yield Started(message.started.process_id)
        elif kind == "exited":
            yield from self._rest()
            yield read_exited(message.exited)

    def _output(self, message: types_pb2.Output) -> Iterator[Stdout | Stderr]:
        if message.stream == _IS_STDERR:
            if text := self._stderr.decode(message.data):
                yield Stderr(text)
        elif text := self._stdout.decode(message.data):
            yield Stdout(text)

    def _rest(self) -> Iterator[Stdout | Stderr]:
        if text := self._stdout.decode(b"", final=True):
            yield Stdout(text)
        if text := self._stderr.decode(b"", final=True):
            yield Stderr(text)


def _types_checked(message: interpreter_pb2.TypeChecked) -> TypesChecked:
    return TypesChecked(
        tuple(
            Diagnostic(item.line, item.column, item.end_line, item.end_column, item.code, item.message)
            for item in message.diagnostics
        ),
        message.omitted,
    )


def _completed(message: interpreter_pb2.ExecutionCompleted) -> Completed:
    return Completed(
        status=Status.from_message(message.status),
        exit_code=message.exit_code,
        duration=_seconds(message.duration),
        context_restarted=message.context_restarted,
        dropped_bytes=message.truncation.dropped_bytes,
        execution_count=message.execution_count,
    )


def read_exited(message: process_pb2.ProcessExited) -> Exited:
    """The end that a message tells."""
    return Exited(
        status=Status.from_message(message.status),
        exit_code=message.exit_code,
        signal=message.signal,
        duration=_seconds(message.duration),
        dropped_bytes=message.truncation.dropped_bytes,
        message=message.message,
    )


def _seconds(duration: Duration) -> float:
    return duration.seconds + duration.nanos / 1e9


class OutputFold:
    """Collects text and tells the callbacks as it comes."""

    def __init__(self, on_stdout: Callable[[str], object] | None, on_stderr: Callable[[str], object] | None) -> None:
        self._stdout: list[str] = []
        self._stderr: list[str] = []
        self._on_stdout = on_stdout
        self._on_stderr = on_stderr

    def add(self, event: object) -> bool:
        """Take an event; False where it is no output."""
        if isinstance(event, Stdout):
            self._stdout.append(event.text)
            if self._on_stdout:
                self._on_stdout(event.text)
        elif isinstance(event, Stderr):
            self._stderr.append(event.text)
            if self._on_stderr:
                self._on_stderr(event.text)
        else:
            return False
        return True

    @property
    def stdout(self) -> str:
        """All of standard output."""
        return "".join(self._stdout)

    @property
    def stderr(self) -> str:
        """All of standard error."""
        return "".join(self._stderr)


class ExecutionFold(OutputFold):
    """Events of a cell in, one Execution out."""

    def __init__(
        self,
        request_id: str = "",
        on_stdout: Callable[[str], object] | None = None,
        on_stderr: Callable[[str], object] | None = None,
    ) -> None:
        super().__init__(on_stdout, on_stderr)
        self._results: list[Result] = []
        self._execution = Execution(request_id=request_id)

    def add(self, event: object) -> bool:
        """Take an event; False where it changes nothing."""
        if super().add(event):
            return True
        if isinstance(event, Result):
            self._show(event)
        elif isinstance(event, CodeError):
            self._execution = replace(self._execution, error=event)
        elif isinstance(event, TypesChecked):
            self._execution = replace(self._execution, diagnostics=event.diagnostics)
        elif isinstance(event, Started):
            self._execution = replace(self._execution, context_id=event.context_id)
        elif isinstance(event, Completed):
            self._execution = replace(self._execution, **_fields(event))
        else:
            return False
        return True

    def _show(self, result: Result) -> None:
        if result.is_update and result.display_id:
            for index, shown in enumerate(self._results):
                if shown.display_id == result.display_id:
                    self._results[index] = replace(result, is_main=shown.is_main)
                    return
        self._results.append(result)

    def finish(self) -> Execution:
        """The cell's result so far."""
        return replace(self._execution, results=tuple(self._results), stdout=self.stdout, stderr=self.stderr)


class CommandFold(OutputFold):
    """Events of a command in, one CommandResult out."""

    def __init__(
        self,
        request_id: str = "",
        on_stdout: Callable[[str], object] | None = None,
        on_stderr: Callable[[str], object] | None = None,
    ) -> None:
        super().__init__(on_stdout, on_stderr)
        self._result = CommandResult(request_id=request_id)

    def add(self, event: object) -> bool:
        """Take an event; False where it changes nothing."""
        if super().add(event):
            return True
        if isinstance(event, Exited):
            self._result = replace(self._result, **_fields(event))
            return True
        return False

    def finish(self) -> CommandResult:
        """The command's result so far."""
        return replace(self._result, stdout=self.stdout, stderr=self.stderr)


def _fields(event: Completed | Exited) -> dict[str, Any]:
    return {name: getattr(event, name) for name in event.__slots__}
