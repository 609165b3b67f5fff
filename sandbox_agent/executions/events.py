"""Translates what the runtime sends about a cell or a command into events of the API. Pure.

Errors: FrameError, for everything that docs/link.md does not allow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sandbox_agent.executions.event_encoding import EncodedEvent, EventEncoder
from sandbox_agent.runtime_values import (
    protobuf_text,
    read_boolean,
    read_count,
    read_exit_status,
    read_integer,
    read_objects,
    read_optional_text,
    read_seconds,
    read_strings,
    read_text,
)
from sandbox_link.frames import FrameError, Stream
from sandbox_link.protocol import Data, Event
from sandbox_proto.v1 import interpreter_pb2, process_pb2, types_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_RESULT: Final = 3 << 20
"""Bytes of a result that fit into a message. A note replaces each part that does not fit."""
MAX_PARTS: Final = 64
MAX_PART: Final = 1 << 30
MAX_TRACEBACK: Final = 500
MAX_DIAGNOSTICS: Final = 200
MAX_DIAGNOSTIC: Final = 4000
MAX_LIMIT_NAME: Final = 32
MAX_OUTPUT: Final = 256 << 10
"""Bytes up to which adjacent output of one stream is joined."""
STREAMS: Final = {Stream.STDOUT: types_pb2.Output.STREAM_STDOUT, Stream.STDERR: types_pb2.Output.STREAM_STDERR}


def join_output(items: Iterable[Data | Event]) -> Iterator[Data | Event]:
    """Yield the same items, with adjacent output of one stream joined."""
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


CellEvent = EncodedEvent[interpreter_pb2.ExecuteEvent]
CommandEvent = EncodedEvent[process_pb2.RunEvent]
_CELL: Final[EventEncoder[interpreter_pb2.ExecuteEvent]] = EventEncoder(interpreter_pb2.ExecuteResponse)
_COMMAND: Final[EventEncoder[process_pb2.RunEvent]] = EventEncoder(process_pb2.RunResponse)


class _ResultParts:
    """A result whose parts are still arriving as BODY."""

    def __init__(self, value: dict[str, Any]) -> None:
        self.result = interpreter_pb2.Result(
            is_main=read_boolean(value, "is_main"),
            display_id=read_optional_text(value, "display_id"),
            is_update=read_boolean(value, "is_update"),
        )
        self._parts = _read_parts(value)
        self._room = MAX_RESULT
        self._left_out: list[str] = []
        self._buffer = bytearray()
        self._skip_empty()

    @property
    def is_complete(self) -> bool:
        return not self._parts

    def feed(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            if not self._parts:
                raise FrameError("more content than the parts of the result announce")
            name, size, taken = self._parts[0]
            piece = view[: size - taken]
            view = view[len(piece) :]
            if size <= self._room:
                self._buffer += piece
            self._parts[0] = (name, size, taken + len(piece))
            self._skip_empty()

    def _skip_empty(self) -> None:
        """Move every complete part into the result."""
        while self._parts and self._parts[0][2] == self._parts[0][1]:
            name, size, _ = self._parts.pop(0)
            if size <= self._room:
                self.result.data[name] = bytes(self._buffer)
                self._room -= size
            else:
                self._left_out.append(
                    f"<{name} of {size} bytes exceeds the limit of {MAX_RESULT} bytes per result: write it to a file>"
                )
            self._buffer = bytearray()
        if self._left_out and not self._parts:
            # Readers of text need to know, too.
            text = self.result.data.get("text/plain", b"")
            self.result.data["text/plain"] = b"\n".join(filter(None, [text, *map(str.encode, self._left_out)]))
            self._left_out.clear()


class CellTranslator:
    """A translator for one call of `execute`.

    Args:
        execution_id: The agent's id of the execution.
        context_id: Context to report if the link is lost before the runtime names one.

    Attributes:
        has_started: The first event was translated.
    """

    def __init__(self, execution_id: str, context_id: str = "") -> None:
        self._execution_id = execution_id
        self._context_id = context_id
        self._offset = 0
        self._parts: _ResultParts | None = None
        self.has_started = False

    def translate(self, items: Iterable[Data | Event]) -> Iterator[CellEvent]:
        """Yield the events for items that arrived together."""
        for item in join_output(items):
            if isinstance(item, Event):
                yield from self._event(item.value)
            elif not self.has_started:
                raise FrameError("output of an execution before its start")
            else:
                yield from self._data(item)

    def finish(self, result: dict[str, Any]) -> CellEvent:
        """Return the last event, from the call's `ok` object."""
        completed = interpreter_pb2.ExecutionCompleted(
            status=read_exit_status(result),
            exit_code=read_integer(result, "exit_code", -(1 << 31), (1 << 31) - 1),
            duration=read_seconds(result, "duration"),
            context_restarted=read_boolean(result, "context_restarted"),
            execution_count=read_integer(result, "execution_count"),
        )
        dropped = read_count(result, "dropped_bytes")
        if dropped:
            completed.truncation.dropped_bytes = dropped
        return _CELL.encode_last(interpreter_pb2.ExecuteEvent(completed=completed))

    def _start(self, context_id: str) -> CellEvent:
        self.has_started = True
        started = interpreter_pb2.ExecutionStarted(execution_id=self._execution_id, context_id=context_id)
        return _CELL.encode(interpreter_pb2.ExecuteEvent(started=started))

    def lose(self) -> Iterator[CellEvent]:
        """Yield the events that end an execution whose link was lost."""
        if not self.has_started:
            yield self._start(self._context_id)
        completed = interpreter_pb2.ExecutionCompleted(status=types_pb2.EXIT_STATUS_LOST)
        yield _CELL.encode_last(interpreter_pb2.ExecuteEvent(completed=completed))

    def _data(self, item: Data) -> Iterator[CellEvent]:
        if item.stream is not Stream.BODY:
            yield _CELL.encode_output(STREAMS[item.stream], item.data, self._offset)
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
            # The interpreter was killed while it sent the result.
            self._parts = None
        if kind != "started" and not self.has_started:
            raise FrameError("an event of an execution before its start")
        if kind == "started":
            if self.has_started:
                raise FrameError("started twice")
            yield self._start(read_text(value, "context_id"))
        elif kind == "result":
            self._parts = _ResultParts(value)
            yield from self._finished_result()
        elif kind == "error":
            error = interpreter_pb2.ExecutionError(
                name=read_text(value, "name"),
                value=read_text(value, "value"),
                traceback=read_strings(value, "traceback", MAX_TRACEBACK),
                limit=read_optional_text(value, "limit")[:MAX_LIMIT_NAME],
            )
            yield _CELL.encode(interpreter_pb2.ExecuteEvent(error=error))
        elif kind == "type_check":
            yield _CELL.encode(interpreter_pb2.ExecuteEvent(type_checked=_read_type_check(value)))
        else:
            raise FrameError("unknown event of an execution")

    def _finished_result(self) -> Iterator[CellEvent]:
        if self._parts is not None and self._parts.is_complete:
            yield _CELL.encode(interpreter_pb2.ExecuteEvent(result=self._parts.result))
            self._parts = None


class CommandTranslator:
    """A translator for one call of `run`.

    Args:
        process_id: The agent's id of the command.

    Attributes:
        has_started: The first event was translated.
    """

    def __init__(self, process_id: str) -> None:
        self._process_id = process_id
        self._offset = 0
        self.has_started = False

    def translate(self, items: Iterable[Data | Event]) -> Iterator[CommandEvent]:
        """Yield the events for items that arrived together."""
        for item in join_output(items):
            if isinstance(item, Event):
                if item.value.get("type") != "started" or self.has_started:
                    raise FrameError("unknown event of a command")
                yield self._start(read_integer(item.value, "pid", 0, (1 << 31) - 1))
            elif item.stream is Stream.BODY or not self.has_started:
                raise FrameError("content of a command other than output after its start")
            else:
                yield _COMMAND.encode_output(STREAMS[item.stream], item.data, self._offset)
                self._offset += len(item.data)

    def _start(self, pid: int) -> CommandEvent:
        self.has_started = True
        started = process_pb2.ProcessStarted(process_id=self._process_id, pid=pid)
        return _COMMAND.encode(process_pb2.RunEvent(started=started))

    def finish(self, result: dict[str, Any]) -> CommandEvent:
        """Return the last event, from the call's `ok` object."""
        return _COMMAND.encode_last(process_pb2.RunEvent(exited=read_exited(result)))

    def lose(self) -> Iterator[CommandEvent]:
        """Yield the events that end a command whose link was lost."""
        if not self.has_started:
            yield self._start(0)
        yield _COMMAND.encode_last(
            process_pb2.RunEvent(exited=process_pb2.ProcessExited(status=types_pb2.EXIT_STATUS_LOST))
        )


def read_exited(result: dict[str, Any]) -> process_pb2.ProcessExited:
    """Return how a process ended, from the `ok` object of its call."""
    exited = process_pb2.ProcessExited(
        status=read_exit_status(result),
        exit_code=read_integer(result, "exit_code", -255, 255),
        signal=read_integer(result, "signal", 0, 255),
        duration=read_seconds(result, "duration"),
        no_network=read_boolean(result, "no_network"),
    )
    dropped = read_count(result, "dropped_bytes")
    if dropped:
        exited.truncation.dropped_bytes = dropped
    return exited


def _read_type_check(value: dict[str, Any]) -> interpreter_pb2.TypeChecked:
    places = ("line", "column", "end_line", "end_column", "code")
    return interpreter_pb2.TypeChecked(
        diagnostics=[
            interpreter_pb2.Diagnostic(
                **{name: read_integer(item, name) for name in places},
                message=read_text(item, "message", MAX_DIAGNOSTIC),
            )
            for item in read_objects(value, "diagnostics", MAX_DIAGNOSTICS)
        ],
        omitted=read_integer(value, "omitted"),
    )


def _read_parts(value: dict[str, Any]) -> list[tuple[str, int, int]]:
    """Return the MIME type, the size and the bytes received so far (0) of each part of a result."""
    found = value.get("parts", [])
    if not isinstance(found, list) or len(found) > MAX_PARTS:
        raise FrameError(f"parts is not a list of at most {MAX_PARTS} parts")
    return [_read_part(part) for part in found]


def _read_part(part: Any) -> tuple[str, int, int]:
    if not isinstance(part, list) or len(part) != 2:  # noqa: PLR2004 - a pair
        raise FrameError("a result's part is not a pair")
    name, size = part
    if not isinstance(name, str) or not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= MAX_PART:
        raise FrameError("a result's part is not a MIME type and a size")
    return protobuf_text(name, 256), size, 0


def add_skipped_to_cell(event: CellEvent, skipped: int) -> CellEvent:
    """Add the bytes that a client missed to the truncation of the last event."""
    if event.message is None:
        return event
    changed = interpreter_pb2.ExecuteEvent()
    changed.CopyFrom(event.message)
    changed.completed.truncation.dropped_bytes += skipped
    return _CELL.encode_last(changed)


def add_skipped_to_command(event: CommandEvent, skipped: int) -> CommandEvent:
    """Add the bytes that a client missed to the truncation of the last event."""
    if event.message is None:
        return event
    changed = process_pb2.RunEvent()
    changed.CopyFrom(event.message)
    changed.exited.truncation.dropped_bytes += skipped
    return _COMMAND.encode_last(changed)
