"""What a model gets: pure functions over executions, contents and arguments."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox_client import CodeError, CommandResult, Execution, InvalidArgument, NotFound, Result, Status
from sandbox_client.tools import TOOL_SPECS, ToolResult
from sandbox_client.tools.results import (
    MAX_SNIPPET,
    MAX_TEXT,
    command_failure,
    describe_content,
    execution_failure,
    failure,
    failure_of,
    output_text,
    snippet,
)
from sandbox_client.tools.schemas import check_call, check_items, check_paths
from sandbox_client.tools.shown import image_format

PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)


@given(st.binary(max_size=300))
def test_any_content_is_described_without_loss(content):
    described = describe_content(content, is_cut=False)
    text = described["content"]
    assert (base64.b64decode(text) if described["encoding"] == "base64" else text.encode()) == content
    json.dumps(described)


@given(st.text(min_size=1, alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"])), st.data())
def test_a_text_that_is_cut_inside_a_character_stays_text(text, data):
    content = text.encode()
    cut = data.draw(st.integers(0, len(content)))
    described = describe_content(content[:cut], is_cut=True)
    assert described["encoding"] == "text"
    assert text.startswith(described["content"])
    assert described["truncated"] is True


def test_a_long_text_is_cut_at_a_million_characters():
    described = describe_content(("ä" * (MAX_TEXT + 1)).encode(), is_cut=False)
    assert (len(described["content"]), described["truncated"]) == (MAX_TEXT, True)


@pytest.mark.parametrize(
    ("content", "format_"),
    [
        (PNG, "png"),
        (b"\xff\xd8\xff\xe0", "jpeg"),
        (b"GIF89a..", "gif"),
        (b"GIF87a..", "gif"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "webp"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", ""),
        (b"<svg/>", ""),
        (b"", ""),
    ],
)
def test_pictures_are_told_by_their_first_bytes(content, format_):
    assert image_format(content) == format_


@pytest.mark.parametrize(
    ("execution", "text"),
    [
        (Execution(stdout="a\n", status=Status.OK), "a\n"),
        (Execution(status=Status.OK), "(no output)"),
        (Execution(stdout="a", stderr="e", status=Status.OK), "a\n[stderr]\ne"),
        (Execution(stdout="a", results=(Result({"text/plain": b"42"}, is_main=True),)), "a\n42"),
        (Execution(results=(Result({"text/plain": b"shown"}),)), "shown"),
        (CommandResult(stdout="a\n", stderr="e\n"), "a\n[stderr]\ne\n"),
        (
            CommandResult(stdout="a", dropped_bytes=7),
            "a\n[the output limit was hit: 7 bytes in the middle were dropped]",
        ),
    ],
)
def test_output_is_stdout_then_the_value_then_stderr(execution, text):
    assert output_text(execution) == text


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (Status.TIMED_OUT, "the time limit was hit"),
        (Status.OOM_KILLED, "the memory limit was hit"),
        (Status.LOST, "it was not run again"),
        (Status.KILLED, "ended early (killed"),
    ],
)
def test_the_limit_that_was_hit_is_named_also_where_it_shows_as_an_exception(status, words):
    error = CodeError("KeyboardInterrupt", "", ("line",))
    value = execution_failure(Execution(status=status, error=error, context_restarted=True), "x" * 400).value
    assert words in value["error"]
    assert value["traceback"] == "line"
    assert "lost" in value["variables"]
    assert len(value["code_snippet"]) == MAX_SNIPPET
    assert words in command_failure(CommandResult(status=status), "x").value["error"]


def test_an_error_object_has_reason_and_field():
    error = NotFound("not there", reason="FILE_NOT_FOUND", field="path")
    assert failure_of(error, code_snippet="c").value == {
        "error": "not there",
        "status": "error",
        "reason": "FILE_NOT_FOUND",
        "field": "path",
        "code_snippet": "c",
    }
    assert snippet("short") == "short"


def test_a_notice_is_part_of_every_form_of_result():
    assert ToolResult("out", notice="n").text == "[notice: n]\nout"
    assert json.loads(ToolResult({"a": 1}, notice="n").text) == {"a": 1, "notice": "n"}
    assert ToolResult([{"name": "ä"}]).text == '[{"name": "ä"}]'
    assert failure("e").is_error


def test_descriptions_and_schemas_are_json_and_name_each_argument():
    json.dumps([dict(spec.schema) for spec in TOOL_SPECS])
    for spec in TOOL_SPECS:
        assert all(value["description"] for value in spec.schema["properties"].values())
        check_call(spec.name, dict.fromkeys(spec.schema["required"], "text"))


def test_a_single_path_is_taken_for_a_list_and_items_are_checked():
    assert check_paths("a") == ["a"]
    check_call("ci_push_to_workspace", {"paths": "a"})
    assert check_items([{"path": "a", "text": "b"}]) == [("a", "b")]
    with pytest.raises(InvalidArgument) as caught:
        check_items([{"path": "a", "text": 1}])
    assert caught.value.field == "content[0].text"
