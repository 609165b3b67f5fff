"""Events of a scripted cell."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final

from sandbox_proto.v1 import interpreter_pb2, types_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence

_STDOUT: Final = types_pb2.Output.STREAM_STDOUT
_STDERR: Final = types_pb2.Output.STREAM_STDERR


def started(execution_id: str = "e1", context_id: str = "python") -> interpreter_pb2.ExecuteEvent:
    """Return a cell's first event."""
    event = interpreter_pb2.ExecutionStarted(execution_id=execution_id, context_id=context_id)
    return interpreter_pb2.ExecuteEvent(started=event)


def output(data: bytes, *, offset: int = 0, is_stderr: bool = False) -> interpreter_pb2.ExecuteEvent:
    """Return output of a cell.

    Args:
        data: The bytes.
        offset: Position of the first byte in all output of the cell.
        is_stderr: Whether the cell wrote to standard error.
    """
    stream = _STDERR if is_stderr else _STDOUT
    return interpreter_pb2.ExecuteEvent(output=types_pb2.Output(stream=stream, data=data, offset=offset))


def result(
    data: dict[str, bytes], *, is_main: bool = False, display_id: str = "", is_update: bool = False
) -> interpreter_pb2.ExecuteEvent:
    """Return a value or display that a cell shows."""
    shown = interpreter_pb2.Result(data=data, is_main=is_main, display_id=display_id, is_update=is_update)
    return interpreter_pb2.ExecuteEvent(result=shown)


def error(name: str, value: str, traceback: Sequence[str] = ()) -> interpreter_pb2.ExecuteEvent:
    """Return an exception that a cell raises."""
    raised = interpreter_pb2.ExecutionError(name=name, value=value, traceback=traceback)
    return interpreter_pb2.ExecuteEvent(error=raised)


def numbered(event: interpreter_pb2.ExecuteEvent, count: int) -> interpreter_pb2.ExecuteEvent:
    """Return an event, with the cell's number if it is the last one."""
    if not event.HasField("completed"):
        return event
    copy = interpreter_pb2.ExecuteEvent()
    copy.CopyFrom(event)
    copy.completed.execution_count = count
    return copy


def completed(
    status: types_pb2.ExitStatus = types_pb2.EXIT_STATUS_OK, *, seconds: float = 0.5
) -> interpreter_pb2.ExecuteEvent:
    """Return a cell's last event."""
    end = interpreter_pb2.ExecutionCompleted(status=status, duration=dt.timedelta(seconds=seconds), execution_count=1)
    return interpreter_pb2.ExecuteEvent(completed=end)
