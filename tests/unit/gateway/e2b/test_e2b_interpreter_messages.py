"""Messages of E2B's code interpreter."""

import contextlib
import io
import json
import os

import pytest

from sandbox_client.errors import InvalidArgument
from sandbox_client.models.context import Context
from sandbox_client.models.result import Result
from sandbox_client.models.results import CodeError
from sandbox_gateway.doors.e2b.envd.paths import Place
from sandbox_gateway.doors.e2b.interpreter import environment, messages
from sandbox_gateway.doors.e2b.interpreter.charts import to_e2b_chart


def execute(**fields):
    return messages.read_execute(json.dumps(fields).encode())


def test_requests():
    assert execute(code="1") == messages.ExecuteRequest("1", "python", "", {})
    assert execute(code="1", language="JS ", context_id=None).language == "javascript"
    assert execute(code="1", context_id="c", env_vars={"A": "b"}) == messages.ExecuteRequest("1", "", "c", {"A": "b"})
    assert execute(code="1", context_id="default").context_id == "python"
    with pytest.raises(InvalidArgument, match="Only one of"):
        execute(code="1", context_id="c", language="python")
    for fields in ({"code": 1}, {"code": "", "env_vars": {"A": 1}}, {"language": "r"}, {"env_vars": {"A B": ""}}):
        with pytest.raises(InvalidArgument):
            execute(**fields)


def test_a_value_with_all_its_forms():
    data = {
        "text/plain": b"'it'", "text/html": b"<b>", "image/png": b"\x89", "application/json": b'{"a": 1}',
        "application/vnd.plotly.v1+json": b'{"data": []}', "image/webp": b"w", "text/x-own": b"own",
        "application/vnd.dataresource+json": json.dumps({
            "schema": {"fields": [{"name": "index"}, {"name": "a"}], "primaryKey": ["index"]},
            "data": [{"index": 0, "a": 1}, {"index": 1, "a": None}],
        }).encode(),
    }  # fmt: skip
    shown = messages.result_message(Result(data, is_main=True))
    assert (shown["type"], shown["is_main_result"], shown["text"], shown["html"]) == ("result", True, "it", "<b>")
    assert (shown["png"], shown["json"], shown["data"]) == ("iQ==", {"a": 1}, {"a": [1, None]})
    assert shown["extra"] == {
        "application/vnd.plotly.v1+json": {"data": []}, "image/webp": "dw==", "text/x-own": "own",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "language", "shown"),
    [
        ("'a'", "python", "a"), ("'", "python", "'"), ('"it\'s"', "python", '"it\'s"'), ('"a\\n"', "javascript", "a\n"),
        ('"broken', "javascript", '"broken'), ("''", "python", ""), ("{'a'}", "python", "{'a'}"),
    ],
)  # fmt: skip
def test_the_quotes_of_a_text(text, language, shown):
    assert messages.result_message(Result({"text/plain": text.encode()}), language)["text"] == shown


def test_contexts_and_errors():
    shown = messages.context_message(Context("c", "python", "sub"), Place("/workspace"))
    assert shown == {"id": "c", "language": "python", "cwd": "/workspace/sub"}
    error = messages.error_message(CodeError("E", "v", ("a", "b")))
    assert error == {"type": "error", "name": "E", "value": "v", "traceback": "a\nb"}


def test_variables_of_a_python_cell_are_set_and_taken_back(monkeypatch):
    monkeypatch.setenv("OLD", "before")
    monkeypatch.delenv("NEW", raising=False)
    given, names = {"OLD": 'it\'s "x"\n\\', "NEW": "ü"}, {}
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(environment.set_variables("python", given), names)
        assert {name: os.environ[name] for name in given} == given
        before = json.loads(output.getvalue())
        assert before == {"OLD": "before", "NEW": None}
        printed = output.tell()
        exec(environment.restore_variables("python", before), names)
    assert output.tell() == printed
    assert (os.environ["OLD"], "NEW" in os.environ) == ("before", False)
    assert set(names) == {"__builtins__"}


def axes(*series, **facts):
    return {"title": "T", "x": {"label": "X", "scale": "log", "limits": [1, 2]}, "y": {}, "series": series, **facts}


def test_charts():
    line = {"kind": "line", "label": "l", "x": [1, 2], "y": [3, None]}
    chart = to_e2b_chart({"axes": [axes(line)]})
    assert (chart["type"], chart["title"], chart["x_label"], chart["x_scale"]) == ("line", "T", "X", "log")
    assert chart["elements"] == [{"label": "l", "points": [[1, 3], [2, None]]}]
    bars = {"kind": "bar", "label": "g", "bars": [{"category": "a", "value": 1}, {"position": 2, "value": 3}]}
    assert to_e2b_chart({"axes": [axes(bars)]})["elements"] == [
        {"label": "a", "group": "g", "value": 1}, {"label": "2", "group": "g", "value": 3},
    ]  # fmt: skip
    pie = {"kind": "pie", "slices": [{"label": "a", "fraction": 0.25}]}
    assert to_e2b_chart({"axes": [axes(pie)]})["elements"] == [{"label": "a", "angle": 90, "radius": 1}]
    box = {"kind": "box", "boxes": [
        {"label": 1, "minimum": 1, "q1": 2, "median": 3, "q3": 4, "maximum": 5, "outliers": [9]},
    ]}  # fmt: skip
    assert to_e2b_chart({"axes": [axes(box)]})["elements"][0]["outliers"] == [9]
    both = to_e2b_chart({"title": "S", "axes": [axes(line), axes(bars), axes()]})
    assert (both["type"], both["title"], [each["type"] for each in both["elements"]]) == (
        "superchart", "S", ["line", "bar"],
    )  # fmt: skip
    assert to_e2b_chart({"axes": []}) is None


@pytest.mark.parametrize(
    ("output", "late", "before"),
    [
        ('{"A": null}\n', "", {"A": None}), ("late\noutput\n{}\n", "late\noutput\n", {}), ("", "", None),
        ("broken\n", "broken\n", None), ("[1]\n", "[1]\n", None),
    ],
)  # fmt: skip
def test_late_output_is_told_apart_from_old_values(output, late, before):
    assert environment.read_variables(output) == (late, before)
