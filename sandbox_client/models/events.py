"""Events of a running cell or command, read from protocol messages. Pure: no I/O."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sandbox_client.models.file_info import FileInfo, read_file_info
from sandbox_client.models.readable import Readable
from sandbox_client.models.results import CodeError, Diagnostic, Result, Status
from sandbox_proto.v1 import types_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.duration_pb2 import Duration

    from sandbox_proto.v1 import interpreter_pb2, process_pb2


@dataclass(frozen=True, slots=True)
class Started:
    """The start of a cell or command.

    Attributes:
        id: Id of the execution or process.
        context_id: The context that runs the cell, "" for a command.
    """

    id: str
    context_id: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class Stdout(Readable):
    """Text that was written to standard output."""

    text: str


@dataclass(frozen=True, slots=True, repr=False)
class Stderr(Readable):
    """Text that was written to standard error."""

    text: str


@dataclass(frozen=True, slots=True)
class Completed:
    """The end of a cell. `Execution` describes the fields."""

    status: Status
    exit_code: int = 0
    duration: float = 0.0
    context_restarted: bool = False
    dropped_bytes: int = 0
    execution_count: int = 0


@dataclass(frozen=True, slots=True)
class Exited:
    """The end of a command or process. `CommandResult` describes the fields."""

    status: Status
    exit_code: int = 0
    signal: int = 0
    duration: float = 0.0
    dropped_bytes: int = 0
    message: str = ""
    no_network: bool = False


@dataclass(frozen=True, slots=True)
class TypesChecked:
    """The result of a type check, before the cell runs.

    Attributes:
        diagnostics: The first 200 type errors.
        omitted: How many more there are.
    """

    diagnostics: tuple[Diagnostic, ...]
    omitted: int = 0


ExecuteEvent = Started | TypesChecked | Stdout | Stderr | Result | CodeError | FileInfo | Completed
"""An event of `execute`: one Started, then any others, then one Completed."""
RunEvent = Started | Stdout | Stderr | Exited
"""An event of `stream_command`: one Started, output, then one Exited."""

_STDERR: Final = types_pb2.Output.STREAM_STDERR


class EventReader:
    """Converts one call's messages to events. Buffers the bytes of a character that is split across messages."""

    def __init__(self) -> None:
        new_decoder = codecs.getincrementaldecoder("utf-8")
        self._stdout = new_decoder(errors="replace")
        self._stderr = new_decoder(errors="replace")

    def execute_events(self, message: interpreter_pb2.ExecuteEvent) -> Iterator[ExecuteEvent]:
        """Yield the events in one message."""
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
            yield _read_types_checked(message.type_checked)
        elif kind == "file":
            yield read_file_info(message.file.info)
        elif kind == "completed":
            yield from self._flush()
            yield _read_completed(message.completed)

    def run_events(self, message: process_pb2.RunEvent) -> Iterator[RunEvent]:
        """Yield the events in one message."""
        kind = message.WhichOneof("event")
        if kind == "output":
            yield from self._output(message.output)
        elif kind == "started":
            yield Started(message.started.process_id)
        elif kind == "exited":
            yield from self._flush()
            yield read_exited(message.exited)

    def _output(self, message: types_pb2.Output) -> Iterator[Stdout | Stderr]:
        if message.stream == _STDERR:
            if text := self._stderr.decode(message.data):
                yield Stderr(text)
        elif text := self._stdout.decode(message.data):
            yield Stdout(text)

    def _flush(self) -> Iterator[Stdout | Stderr]:
        if text := self._stdout.decode(b"", final=True):
            yield Stdout(text)
        if text := self._stderr.decode(b"", final=True):
            yield Stderr(text)


def _read_types_checked(message: interpreter_pb2.TypeChecked) -> TypesChecked:
    return TypesChecked(
        tuple(
            Diagnostic(item.line, item.column, item.end_line, item.end_column, item.code, item.message)
            for item in message.diagnostics
        ),
        message.omitted,
    )


def _read_completed(message: interpreter_pb2.ExecutionCompleted) -> Completed:
    return Completed(
        status=Status.from_message(message.status),
        exit_code=message.exit_code,
        duration=_seconds(message.duration),
        context_restarted=message.context_restarted,
        dropped_bytes=message.truncation.dropped_bytes,
        execution_count=message.execution_count,
    )


def read_exited(message: process_pb2.ProcessExited) -> Exited:
    """Convert a protocol message."""
    return Exited(
        status=Status.from_message(message.status),
        exit_code=message.exit_code,
        signal=message.signal,
        duration=_seconds(message.duration),
        dropped_bytes=message.truncation.dropped_bytes,
        message=message.message,
        no_network=message.no_network,
    )


def _seconds(duration: Duration) -> float:
    return duration.seconds + duration.nanos / 1e9
