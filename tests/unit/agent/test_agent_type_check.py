"""Type checks as the agent sees them: what a request may ask, and what it takes of the untrusted side."""

from __future__ import annotations

import pytest

from sandbox_agent.executions.events import CellTranslator
from sandbox_agent.executions.requests import read_execute
from sandbox_agent.session.limits import Limits
from sandbox_link.frames import FrameError
from sandbox_link.protocol import Event, OperationError
from sandbox_proto.v1 import interpreter_pb2, types_pb2

DIAGNOSTIC = {"line": 1, "column": 2, "end_line": 3, "end_column": 4, "code": 2322, "message": "wrong"}
STARTED = Event({"type": "started", "context_id": "typescript"})


def request(language, check, context_id=""):
    return interpreter_pb2.ExecuteRequest(code="1", language=language, type_check=check, context_id=context_id)


def test_a_type_check_reaches_the_link_by_name():
    asked = {
        number: read_execute(request(types_pb2.LANGUAGE_TYPESCRIPT, number), Limits())[0].get("type_check")
        for number in interpreter_pb2.TypeCheck.values()
    }
    assert list(asked.values()) == [None, "report", "require", "only"]
    # The context knows its language.
    of_context = request(types_pb2.LANGUAGE_UNSPECIFIED, interpreter_pb2.TYPE_CHECK_ONLY, "ctx-1")
    assert read_execute(of_context, Limits())[0]["type_check"] == "only"


@pytest.mark.parametrize(("language", "check"), [(types_pb2.LANGUAGE_PYTHON, 1), (types_pb2.LANGUAGE_TYPESCRIPT, 99)])
def test_a_type_check_that_makes_no_sense_is_refused(language, check):
    with pytest.raises(OperationError) as caught:
        read_execute(request(language, check), Limits())
    assert (caught.value.code, caught.value.field) == ("INVALID_ARGUMENT", "type_check")


def test_diagnostics_become_an_event():
    value = {"type": "type_check", "diagnostics": [DIAGNOSTIC], "omitted": 7}
    _, encoded = CellTranslator("e1").translate([STARTED, Event(value)])
    (event,) = interpreter_pb2.ExecuteResponse.FromString(encoded.data).events
    assert event.type_checked == interpreter_pb2.TypeChecked(
        diagnostics=[interpreter_pb2.Diagnostic(**DIAGNOSTIC)], omitted=7
    )


@pytest.mark.parametrize(
    "diagnostics",
    [None, {}, "x", [1], [DIAGNOSTIC] * 201, [{**DIAGNOSTIC, "line": -1}], [{**DIAGNOSTIC, "message": 5}]],
)
def test_diagnostics_that_the_link_does_not_allow_end_the_connection(diagnostics):
    with pytest.raises(FrameError):
        list(CellTranslator("e1").translate([STARTED, Event({"type": "type_check", "diagnostics": diagnostics})]))
