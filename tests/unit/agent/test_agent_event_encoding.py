from __future__ import annotations

import pytest

from sandbox_agent.executions.event_encoding import join_events
from sandbox_agent.executions.events import (
    CellTranslator,
    CommandTranslator,
    add_skipped_to_cell,
    add_skipped_to_command,
)
from sandbox_link.frames import Stream
from sandbox_link.protocol import Data, Event
from sandbox_proto.v1 import interpreter_pb2, process_pb2, types_pb2

OUT = types_pb2.Output.STREAM_STDOUT
ERR = types_pb2.Output.STREAM_STDERR


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16_383, 16_384, 300_000])
def test_encoded_events_of_a_cell_are_the_response_that_protobuf_would_make(size):
    translator = CellTranslator("e1")
    items = [
        Event({"type": "started", "context_id": "python"}),
        Data(Stream.STDOUT, b"o" * size),
        Data(Stream.STDERR, b"\xff\0"),
        Event({"type": "result", "is_main": True, "parts": [["text/plain", 2]]}),
        Data(Stream.BODY, b"42"),
        Event({"type": "error", "name": "E", "value": "v", "traceback": ["t"]}),
    ]
    wires = [*translator.translate(items), translator.finish({"status": "OK", "execution_count": 3})]
    event = interpreter_pb2.ExecuteEvent
    expected = interpreter_pb2.ExecuteResponse(
        events=[
            event(started=interpreter_pb2.ExecutionStarted(execution_id="e1", context_id="python")),
            event(output=types_pb2.Output(stream=OUT, data=b"o" * size)),
            event(output=types_pb2.Output(stream=ERR, data=b"\xff\0", offset=size)),
            event(result=interpreter_pb2.Result(data={"text/plain": b"42"}, is_main=True)),
            event(error=interpreter_pb2.ExecutionError(name="E", value="v", traceback=["t"])),
        ]
    )
    read = interpreter_pb2.ExecuteResponse.FromString(join_events(wires))
    assert read.events[-1].completed.execution_count == 3
    del read.events[-1]
    assert read == expected


def test_encoded_events_of_a_command_are_the_response_that_protobuf_would_make():
    translator = CommandTranslator("p1")
    items = [Event({"type": "started", "pid": 7}), Data(Stream.STDOUT, b"a"), Data(Stream.STDERR, b"bc")]
    wires = [*translator.translate(items), translator.finish({"status": "OK", "exit_code": 3})]
    read = process_pb2.RunResponse.FromString(join_events(wires))
    assert [event.WhichOneof("event") for event in read.events] == ["started", "output", "output", "exited"]
    assert [(event.output.stream, event.output.data, event.output.offset) for event in read.events[1:3]] == [
        (OUT, b"a", 0),
        (ERR, b"bc", 1),
    ]
    assert (read.events[0].started.pid, read.events[3].exited.exit_code) == (7, 3)


def test_what_a_reader_missed_is_counted_into_the_last_event_for_it_alone():
    cell = CellTranslator("e").finish({"status": "OK", "dropped_bytes": 5})
    told = interpreter_pb2.ExecuteResponse.FromString(join_events([add_skipped_to_cell(cell, 10)]))
    assert told.events[0].completed.truncation.dropped_bytes == 15
    untold = interpreter_pb2.ExecuteResponse.FromString(join_events([cell]))
    assert untold.events[0].completed.truncation.dropped_bytes == 5
    command = CommandTranslator("p").finish({"status": "OK"})
    told = process_pb2.RunResponse.FromString(join_events([add_skipped_to_command(command, 10)]))
    assert told.events[0].exited.truncation.dropped_bytes == 10
