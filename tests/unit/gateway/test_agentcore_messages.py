"""The pure parts of the AgentCore door: the event stream, errors, identifiers, requests and results."""

import json
import struct

import botocore.eventstream
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox_client import errors
from sandbox_client.models.events import Exited
from sandbox_client.models.file_info import FileInfo
from sandbox_client.models.process_info import ProcessInfo
from sandbox_client.models.results import CodeError, CommandResult, Execution, Result, Status
from sandbox_gateway.backend import Caller
from sandbox_gateway.doors.agentcore import identifiers, interpreters, requests, results, tools
from sandbox_gateway.doors.agentcore.errors import error_form
from sandbox_gateway.doors.agentcore.event_stream import (
    MAX_PAYLOAD,
    encode_event,
    encode_exception,
    encode_json,
    encode_message,
)
from tests.support.aws_model import operation, problems

RESULT = operation("InvokeCodeInterpreter").output_shape.members["stream"].members["result"]


def decode(data):
    buffer = botocore.eventstream.EventStreamBuffer()
    buffer.add_data(data)
    return [(message.headers, message.payload) for message in buffer]


# The event stream


@given(
    st.dictionaries(st.text(min_size=1, max_size=40), st.text(max_size=300), max_size=5),
    st.lists(st.binary(max_size=2000), min_size=1, max_size=4),
)
def test_botocore_decodes_what_is_encoded(headers, payloads):
    data = b"".join(encode_message(headers, payload) for payload in payloads)
    assert decode(data) == [(headers, payload) for payload in payloads]


def test_a_message_has_the_bytes_of_the_format():
    # The example of AWS's documentation of the format: no headers, payload {'foo':'bar'}.
    assert encode_message({}, b"{'foo':'bar'}").hex() == ("0000001d00000000fd528c5a7b27666f6f273a27626172277dc3653936")


def test_a_changed_byte_is_found():
    data = bytearray(encode_event("result", b"{}"))
    data[-6] ^= 1
    with pytest.raises(botocore.eventstream.ChecksumMismatch):
        decode(bytes(data))


def test_an_exception_has_the_headers_of_one():
    ((headers, payload),) = decode(encode_exception("validationException", {"message": "no"}))
    assert headers == {
        ":message-type": "exception",
        ":exception-type": "validationException",
        ":content-type": "application/json",
    }
    assert json.loads(payload) == {"message": "no"}


def test_json_is_utf8_even_with_a_lone_surrogate():
    assert encode_json({"é": "\ud800"}) == '{"é":"?"}'.encode()


# Errors


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        (errors.InvalidArgument("no", field="name"), "ValidationException", 400),
        (errors.NotSupported("no"), "ValidationException", 400),
        (errors.NotFound("no"), "ResourceNotFoundException", 404),
        (errors.Conflict("no"), "ConflictException", 409),
        (errors.FailedPrecondition("no"), "ConflictException", 409),
        (errors.Unauthenticated("no"), "AccessDeniedException", 403),
        (errors.ResourceExhausted("no"), "ServiceQuotaExceededException", 402),
        (errors.ResourceExhausted("no", reason="TOO_MANY_REQUESTS"), "ThrottlingException", 429),
        (errors.SessionFailed("no", reason="TemplateNotFound"), "ResourceNotFoundException", 404),
        (errors.SessionFailed("no"), "InternalServerException", 500),
        (errors.SandboxUnavailable(""), "InternalServerException", 500),
    ],
    ids=repr,
)
def test_each_error_has_a_form_of_the_service(error, code, status):
    form = error_form(error)
    assert (form.code, form.status) == (code, status)
    shape = operation("InvokeCodeInterpreter").output_shape.members["stream"].members[form.event_type]
    assert problems(form.body, shape) == []


def test_an_error_of_a_field_names_it():
    assert error_form(errors.InvalidArgument("too long", field="name")).body == {
        "message": "too long",
        "reason": "FieldValidationFailed",
        "fieldList": [{"name": "name", "message": "too long"}],
    }


# Identifiers

TEMPLATES = st.from_regex(r"[a-z]([-a-z0-9]{0,40}[a-z0-9])?", fullmatch=True)


@given(TEMPLATES, st.sampled_from(["", "PUBLIC", "SANDBOX"]))
def test_an_identifier_leads_back_to_its_template(template, mode):
    interpreter = identifiers.interpreter_of_template(template, mode)
    shape = operation("CreateCodeInterpreter").output_shape
    assert problems(interpreter.identifier, shape.members["codeInterpreterId"]) == []
    assert identifiers.read_interpreter(interpreter.identifier) == interpreter
    assert identifiers.read_interpreter(interpreter.arn) == interpreter
    assert interpreter.template == template


@pytest.mark.parametrize("template", ["data-processing", "python3.12", "7zip", "a" * 60])
def test_a_templates_own_name_is_an_identifier_too(template):
    assert identifiers.read_interpreter(template) == identifiers.Interpreter(template, template)
    assert identifiers.read_interpreter(identifiers.interpreter_of_template(template).identifier).template == template


def test_the_systems_interpreter_is_the_default_template():
    interpreter = identifiers.read_interpreter(
        "arn:aws:bedrock-agentcore:us-east-1:aws:code-interpreter/" + identifiers.SYSTEM
    )
    assert (interpreter.identifier, interpreter.template, interpreter.egress) == (identifiers.SYSTEM, "", "")


@pytest.mark.parametrize("identifier", ["", "A b", "../x", "x" * 300, "-a", "my_tools-p000000000", "ü"])
def test_other_identifiers_are_refused(identifier):
    with pytest.raises(errors.InvalidArgument) as refused:
        identifiers.read_interpreter(identifier)
    assert refused.value.field == "codeInterpreterIdentifier"


def test_a_session_id_depends_on_the_caller_the_interpreter_and_the_token():
    ids = {
        identifiers.session_id(caller, interpreter, token)
        for caller in ("a", "b")
        for interpreter in ("x", "y")
        for token in ("1" * 33, "2" * 33)
    }
    assert len(ids) == 8
    shape = operation("StartCodeInterpreterSession").output_shape.members["sessionId"]
    assert [problem for id_ in ids for problem in problems(id_, shape)] == []
    assert identifiers.session_id("a", "x", "1" * 33) in ids
    assert identifiers.session_id("a", "x", "") != identifiers.session_id("a", "x", "")


@pytest.mark.parametrize("id_", ["a b", "../x", "A", "x" * 300])
def test_an_impossible_session_is_not_found(id_):
    with pytest.raises(errors.NotFound):
        identifiers.check_session_id(id_)


# Requests


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"[]", ""),
        (b"{", ""),
        (b"[" * 100_000, ""),
        (b'{"name": 5}', "name"),
        (json.dumps({"name": "x" * 101}).encode(), "name"),
        (b'{"sessionTimeoutSeconds": 0}', "sessionTimeoutSeconds"),
        (b'{"sessionTimeoutSeconds": 28801}', "sessionTimeoutSeconds"),
        (b'{"sessionTimeoutSeconds": true}', "sessionTimeoutSeconds"),
        (b'{"sessionTimeoutSeconds": 1.5}', "sessionTimeoutSeconds"),
        (b'{"clientToken": "short"}', "clientToken"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_wrong_start_names_its_field(body, field):
    with pytest.raises(errors.InvalidArgument) as refused:
        requests.read_start(body)
    assert refused.value.field == field


@pytest.mark.parametrize("field", ["certificates", "filesystemConfigurations"])
def test_what_needs_aws_is_named(field):
    with pytest.raises(errors.NotSupported) as refused:
        requests.read_start(json.dumps({field: [{}]}).encode())
    assert refused.value.field == field


def test_a_start_has_aws_defaults():
    assert requests.read_start(b"") == requests.Start(name="", seconds=900, client_token="")
    assert requests.read_start(b'{"name": null}').name == ""


@given(st.text(max_size=80))
def test_a_page_token_leads_back_to_its_entry(after):
    assert requests.read_page({"nextToken": requests.next_token(after)}).after == after


@pytest.mark.parametrize("token", ["%", "=", "_w==", "ü"])
def test_a_foreign_page_token_is_refused(token):
    with pytest.raises(errors.InvalidArgument) as refused:
        requests.read_page({"nextToken": token})
    assert refused.value.field == "nextToken"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
ARGUMENTS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(operation("InvokeCodeInterpreter").input_shape.members["arguments"].members, JSON)
)


@given(st.sampled_from(requests.TOOLS) | st.text(max_size=10), ARGUMENTS | JSON)
def test_every_invocation_is_prepared_or_refused_by_a_field(name, arguments):
    body = json.dumps({"name": name, "arguments": arguments}).encode()
    refused = []
    try:
        tools.prepare(requests.read_invocation(body))
    except (errors.InvalidArgument, errors.NotSupported) as error:
        refused.append(error)
    assert all(each.field for each in refused)
    assert all(len(each.message) < 500 for each in refused)


# Results

FIGURE = b"\x89PNG\r\n\x1a\n" + bytes(100)


@pytest.mark.parametrize(
    "result",
    [
        results.text_result("done"),
        results.code_result(
            Execution(
                stdout="a\n", stderr="b\n", results=(Result({"image/png": FIGURE}),), status=Status.OK, duration=1.5
            ),
            "code",
        ),
        results.code_result(Execution(status=Status.ERROR, error=CodeError("E", "no", ("line",))), "code"),
        results.code_result(Execution(status=Status.TIMED_OUT, duration=3, context_restarted=True), "code"),
        results.command_result(CommandResult(status=Status.OOM_KILLED, exit_code=137), "command"),
        results.task_started("1"),
        results.task_working("1"),
        results.task_ended(ProcessInfo("1", exited=Exited(Status.OK)), CommandResult(status=Status.OK)),
        results.task_stopped("1"),
        results.task_not_stopped(ProcessInfo("1", exited=Exited(Status.OK))),
        *results.list_results([FileInfo("a/b.csv", "file", 3), FileInfo("a", "directory"), FileInfo("l", "symlink")]),
        results.files_result([results.file_block("a.txt", b"a"), results.file_block("b", b"\0")], [("c", "no")]),
        results.done_result("wrote", 1, [("b", "no")]),
    ],
    ids=str,
)
def test_each_result_follows_the_model(result):
    assert problems(json.loads(encode_json(result)), RESULT) == []


def test_a_limit_is_named_in_stderr():
    result = results.code_result(Execution(status=Status.TIMED_OUT, duration=3, exit_code=0), "code")
    assert "the time limit was hit after 3.0 s" in result["structuredContent"]["stderr"]
    assert result["structuredContent"]["exitCode"] == 1
    done = results.command_result(CommandResult(status=Status.OOM_KILLED, exit_code=137), "command")
    assert "the memory limit was hit" in done["structuredContent"]["stderr"]
    assert done["structuredContent"]["exitCode"] == 137


def test_pictures_without_room_are_named():
    figure = FIGURE + bytes(7 << 20)
    shown = tuple(Result({"image/png": figure}) for _ in range(3))
    result = results.code_result(Execution(results=shown, status=Status.OK), "code")
    assert len(encode_json(result)) <= MAX_PAYLOAD
    assert [block["type"] for block in result["content"]] == ["text", "image", "text", "text"]
    assert "picture 2 is too large for an event" in result["content"][2]["text"]


def test_a_list_that_is_too_long_comes_in_several_events():
    entries = [FileInfo(f"{number:06}-{'x' * 200}", "file") for number in range(40_000)]
    found = list(results.list_results(entries))
    assert [entry.path for entry in entries] == [link["name"] for each in found for link in each["content"]]
    assert len(found) > 1
    assert all(len(encode_json(each)) <= MAX_PAYLOAD for each in found)
    assert list(results.list_results([])) == [{"content": [], "isError": False}]


def test_many_failures_are_counted():
    failed = [("x" * 4_000, "\x01" * 4_000)] * 5_000
    for result in (results.done_result("removed", 1, failed), results.files_result([], failed)):
        assert len(encode_json(result)) < MAX_PAYLOAD - results.MAX_BLOCKS
        assert "and 4900 more" in result["content"][-1]["text"]


@pytest.mark.parametrize("text", ["\x01" * 3_000_000, "é" * 3_000_000, "x" * 9_000_000])
def test_long_output_keeps_its_beginning_and_end(text):
    result = results.code_result(Execution(stdout=f"begin{text}end", status=Status.OK), "code")
    assert len(encode_json(result)) <= MAX_PAYLOAD
    stdout = result["structuredContent"]["stdout"]
    assert stdout.startswith("begin")
    assert stdout.endswith("end")
    assert "characters left out" in stdout


@pytest.mark.parametrize(
    ("exited", "status"),
    [
        (None, "working"),
        (Exited(Status.OK, 0), "completed"),
        (Exited(Status.OK, 1), "failed"),
        (Exited(Status.OK, 137, signal=9), "canceled"),
        (Exited(Status.OOM_KILLED, 137, signal=9), "failed"),
        (Exited(Status.TIMED_OUT, 137, signal=9), "failed"),
    ],
)
def test_a_tasks_status(exited, status):
    assert results.task_status(ProcessInfo("1", exited=exited)) == status


# Code interpreters


def test_a_key_for_some_templates_sees_only_these():
    caller = Caller(name="key", templates=frozenset({"one-tool", "two"}))
    listed = interpreters.list_page(caller, {"maxResults": "2"})
    rest = interpreters.list_page(caller, {"nextToken": listed["nextToken"]})
    names = [each["name"] for page in (listed, rest) for each in page["codeInterpreterSummaries"]]
    assert names == ["AgentCore_Code_Interpreter", "one_tool", "two"]
    assert [problems(page, operation("ListCodeInterpreters").output_shape) for page in (listed, rest)] == [[], []]
    assert len(interpreters.list_page(caller, {"type": "CUSTOM"})["codeInterpreterSummaries"]) == 2
    with pytest.raises(errors.NotFound):
        interpreters.get(caller, "three")
    with pytest.raises(errors.NotFound):
        interpreters.create(caller, b'{"name": "three", "networkConfiguration": {"networkMode": "PUBLIC"}}')


@pytest.mark.parametrize("query", [{"maxResults": "0"}, {"maxResults": "x"}, {"maxResults": "101"}, {"type": "x"}])
def test_a_wrong_parameter_of_a_list_is_refused(query):
    with pytest.raises(errors.InvalidArgument) as refused:
        interpreters.list_page(Caller(name="key"), query)
    assert refused.value.field in query


@pytest.mark.parametrize("name", ["", "9x", "a b", "x" * 49, "_x"])
def test_a_wrong_name_of_a_code_interpreter_is_refused(name):
    body = json.dumps({"name": name, "networkConfiguration": {"networkMode": "PUBLIC"}}).encode()
    with pytest.raises(errors.InvalidArgument) as refused:
        interpreters.create(Caller(name="key"), body)
    assert refused.value.field == "name"


def test_lengths_of_a_message():
    size, headers = struct.unpack("!II", encode_event("result", b"12")[:8])
    assert size == 16 + headers + 2
