"""What the runtime says of a cell or a command, as events of the API. Pure; one translator an execution.

Errors: FrameError, for whatever docs/link.md does not allow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sandbox_agent import runtime_values as checked
from sandbox_agent.executions.event_encoding import EventEncoder, Wire
from sandbox_link.frames import FrameError, Stream
from sandbox_link.protocol import Data, Event
from sandbox_proto.v1 import interpreter_pb2, process_pb2, types_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_RESULT: Final = 3 << 20
"""Bytes of one result that fit into a message; larger parts are left out and named."""
MAX_PARTS: Final = 64
MAX_PART: Final = 1 << 30
MAX_TRACEBACK: Final = 500
MAX_DIAGNOSTICS: Final = 200
MAX_DIAGNOSTIC: Final = 4000
MAX_LIMIT_NAME: Final = 32
MAX_OUTPUT: Final = 256 << 10
"""Neighbouring output of one stream is joined up to this."""
STREAMS: Final = {Stream.STDOUT: types_pb2.Output.STREAM_STDOUT, Stream.STDERR: types_pb2.Output.STREAM_STDERR}


def join_output(items: Iterable[Data | Event]) -> Iterator[Data | Event]:
    """The same items with neighbouring output of one stream joined."""
    stream = Stream.BODY
    pieces: list[bytes] = []
    size = 0
    for item in items:
        joins = isinstance(item, Data) and item.stream is stream and size + len(item.data) <= MAX_OUTPUT
        if pieces and not joins:
            yield Data(stream, b"".join(pieces))
            pieces, size = [], 0
        if isinstance(item, Data) and item.stream is not Stream.BODY:
            stream = item.stream
            pieces.append(item.data)
            size += len(item.data)
        else:
            yield item
    if pieces:
        yield Data(stream, b"".join(pieces))


CellEvent = Wire[interpreter_pb2.ExecuteEvent]
CommandEvent = Wire[process_pb2.RunEvent]
_CELL: Final[EventEncoder[interpreter_pb2.ExecuteEvent]] = EventEncoder(interpreter_pb2.ExecuteResponse)
_COMMAND: Final[EventEncoder[process_pb2.RunEvent]] = EventEncoder(process_pb2.RunResponse)


class _ResultParts:
    """A result whose parts are still arriving as BODY."""

    def __init__(self, value: dict[str, Any]) -> None:
        self.result = interpreter_pb2.Result(
            is_main=checked.boolean(value, "is_main"),
            display_id=_optional_text(value, "display_id"),
            is_update=checked.boolean(value, "is_update"),
        )
        self._parts = [_read_part(part) for part in _list(value, "parts")]
        self._room = MAX_RESULT
        self._buffer = bytearray()
        self._skip_empty()

    @property
    def is_complete(self) -> bool:
        return not self._parts

    def feed(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            if not self._parts:
                raise FrameError("more content than the result's parts have")
            name, size, taken = self._parts[0]
            piece = view[: size - taken]
            view = view[len(piece) :]
            if size <= self._room:
                self._buffer += piece
            self._parts[0] = (name, size, taken + len(piece))
            self._skip_empty()

    def _skip_empty(self) -> None:
        """Take over every part that is complete."""
        while self._parts and self._parts[0][2] == self._parts[0][1]:
            name, size, _ = self._parts.pop(0)
            if size <= self._room:
                self.result.data[name] = bytes(self._buffer)
                self._room -= size
            else:
                note = f"<{name} of {size} bytes is over the limit of {MAX_RESULT} bytes a result: write it to a file>"
                if "text/plain" not in self.result.data:
                    self.result.data["text/plain"] = note.encode()
            self._buffer = bytearray()


class CellTranslator:
    """Turns what a call of `execute` yields into events."""

    def __init__(self, execution_id: str) -> None:
        self._execution_id = execution_id
        self._offset = 0
        self._parts: _ResultParts | None = None
        self.has_started = False

    def events(self, items: Iterable[Data | Event]) -> Iterator[CellEvent]:
        """Events of what arrived together."""
        for item in join_output(items):
            if isinstance(item, Event):
                yield from self._event(item.value)
            elif not self.has_started:
                raise FrameError("output of an execution that has not started")
            else:
                yield from self._data(item)

    def completed(self, result: dict[str, Any]) -> CellEvent:
        """The last event, from the call's `ok`."""
        completed = interpreter_pb2.ExecutionCompleted(
            status=checked.exit_status(result),
            exit_code=checked.integer(result, "exit_code", -(1 << 31), (1 << 31) - 1),
            duration=checked.seconds(result, "duration"),
            context_restarted=checked.boolean(result, "context_restarted"),
            execution_count=checked.integer(result, "execution_count"),
        )
        dropped = checked.count(result, "dropped_bytes")
        if dropped:
            completed.truncation.dropped_bytes = dropped
        return _CELL.last(interpreter_pb2.ExecuteEvent(completed=completed))

    def started(self, context_id: str) -> CellEvent:
        """The first event."""
        self.has_started = True
        started = interpreter_pb2.ExecutionStarted(execution_id=self._execution_id, context_id=context_id)
        return _CELL.event(interpreter_pb2.ExecuteEvent(started=started))

    def lost(self, context_id: str) -> Iterator[CellEvent]:
        """What ends an execution whose link was lost."""
        if not self.has_started:
            yield self.started(context_id)
        completed = interpreter_pb2.ExecutionCompleted(status=types_pb2.EXIT_STATUS_LOST)
        yield _CELL.last(interpreter_pb2.ExecuteEvent(completed=completed))

    def _data(self, item: Data) -> Iterator[CellEvent]:
        if item.stream is not Stream.BODY:
            yield _CELL.output(STREAMS[item.stream], item.data, self._offset)
            self._offset += len(item.data)
            return
        if self._parts is None:
            raise FrameError("content without a result")
        self._parts.feed(item.data)
        yield from self._finished_result()

    def _event(self, value: dict[str, Any]) -> Iterator[CellEvent]:
        kind = value.get("type")
        if self._parts is not None:
            if kind != "error":
                raise FrameError("an event in the middle of a result")
            # The interpreter was ended while it sent it.
            self._parts = None
        if kind != "started" and not self.has_started:
            raise FrameError("an event of an execution that has not started")
        if kind == "started":
            if self.has_started:
                raise FrameError("started twice")
            yield self.started(checked.text(value, "context_id"))
        elif kind == "result":
            self._parts = _ResultParts(value)
            yield from self._finished_result()
        elif kind == "error":
            error = interpreter_pb2.ExecutionError(
                name=checked.text(value, "name"),
                value=checked.text(value, "value"),
                traceback=checked.strings(value, "traceback", MAX_TRACEBACK),
                limit=_optional_text(value, "limit")[:MAX_LIMIT_NAME],
            )
            yield _CELL.event(interpreter_pb2.ExecuteEvent(error=error))
        elif kind == "type_check":
            yield _CELL.event(interpreter_pb2.ExecuteEvent(type_checked=_read_type_check(value)))
        else:
            raise FrameError("an unknown event of an execution")

    def _finished_result(self) -> Iterator[CellEvent]:
        if self._parts is not None and self._parts.is_complete:
            yield _CELL.event(interpreter_pb2.ExecuteEvent(result=self._parts.result))
            self._parts = None


class CommandTranslator:
    """Turns what a call of `run` yields into events."""

    def __init__(self, process_id: str) -> None:
        self._process_id = process_id
        self._offset = 0
        self.has_started = False

    def events(self, items: Iterable[Data | Event]) -> Iterator[CommandEvent]:
        """Events of what arrived together."""
        for item in join_output(items):
            if isinstance(item, Event):
                if item.value.get("type") != "started" or self.has_started:
                    raise FrameError("an unknown event of a command")
                yield self.started(checked.integer(item.value, "pid", 0, (1 << 31) - 1))
            elif item.stream is Stream.BODY or not self.has_started:
                raise FrameError("a command has no content but its output, once it has started")
            else:
                yield _COMMAND.output(STREAMS[item.stream], item.data, self._offset)
                self._offset += len(item.data)

    def started(self, pid: int) -> CommandEvent:
        """The first event."""
        self.has_started = True
        started = process_pb2.ProcessStarted(process_id=self._process_id, pid=pid)
        return _COMMAND.event(process_pb2.RunEvent(started=started))

    def exited(self, result: dict[str, Any]) -> CommandEvent:
        """The last event, from the call's `ok`."""
        return _COMMAND.last(process_pb2.RunEvent(exited=read_exited(result)))

    def lost(self) -> Iterator[CommandEvent]:
        """What ends a command whose link was lost."""
        if not self.has_started:
            yield self.started(0)
        yield _COMMAND.last(process_pb2.RunEvent(exited=process_pb2.ProcessExited(status=types_pb2.EXIT_STATUS_LOST)))


def read_exited(result: dict[str, Any]) -> process_pb2.ProcessExited:
    """How a process ended, from the `ok` of its call."""
    exited = process_pb2.ProcessExited(
        status=checked.exit_status(result),
        exit_code=checked.integer(result, "exit_code", -255, 255),
        signal=checked.integer(result, "signal", 0, 255),
        duration=checked.seconds(result, "duration"),
    )
    dropped = checked.count(result, "dropped_bytes")
    if dropped:
        exited.truncation.dropped_bytes = dropped
    return exited


def _read_type_check(value: dict[str, Any]) -> interpreter_pb2.TypeChecked:
    found = value.get("diagnostics")
    if not isinstance(found, list) or len(found) > MAX_DIAGNOSTICS or not all(isinstance(item, dict) for item in found):
        raise FrameError(f"diagnostics is no list of at most {MAX_DIAGNOSTICS} objects")
    places = ("line", "column", "end_line", "end_column", "code")
    return interpreter_pb2.TypeChecked(
        diagnostics=[
            interpreter_pb2.Diagnostic(
                **{name: checked.integer(item, name) for name in places},
                message=checked.text(item, "message", MAX_DIAGNOSTIC),
            )
            for item in found
        ],
        omitted=checked.integer(value, "omitted"),
    )


def _read_part(part: Any) -> tuple[str, int, int]:
    if not isinstance(part, list) or len(part) != 2:  # noqa: PLR2004 - a pair
        raise FrameError("a result's part is no pair")
    name, size = part
    if not isinstance(name, str) or not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= MAX_PART:
        raise FrameError("a result's part is no MIME type and size")
    return checked.printable(name, 256), size, 0


def _list(value: dict[str, Any], name: str) -> list[Any]:
    found = value.get(name, [])
    if not isinstance(found, list) or len(found) > MAX_PARTS:
        raise FrameError(f"{name} is no list of at most {MAX_PARTS}")
    return found


def _optional_text(value: dict[str, Any], name: str) -> str:
    return "" if value.get(name) is None else checked.text(value, name)


def tell_cell_skipped(event: CellEvent, skipped: int) -> CellEvent:
    """Count what a client did not get into the last event's truncation."""
    if event.message is None:
        return event
    told = interpreter_pb2.ExecuteEvent()
    told.CopyFrom(event.message)
    told.completed.truncation.dropped_bytes += skipped
    return _CELL.last(told)


def tell_command_skipped(event: CommandEvent, skipped: int) -> CommandEvent:
    """Count what a client did not get into the last event's truncation."""
    if event.message is None:
        return event
    told = process_pb2.RunEvent()
    told.CopyFrom(event.message)
    told.exited.truncation.dropped_bytes += skipped
    return _COMMAND.last(told)
