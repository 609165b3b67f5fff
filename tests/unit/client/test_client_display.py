"""How results show themselves: in a terminal, as a repr, as a table, and what a notebook may show of them."""

import datetime as dt

import pytest

from sandbox_client import CommandResult, Execution, FileInfo, Result, Status
from sandbox_client.models.aggregation import CommandFold, ExecutionFold
from sandbox_client.models.context import Context
from sandbox_client.models.events import Completed, Exited, Stderr, Stdout
from sandbox_client.models.notebook import display_bundle, is_inert
from sandbox_client.models.process_info import ProcessInfo, ProcessOutput
from sandbox_client.models.readable import Listing
from sandbox_client.models.results import CodeError, Diagnostic
from sandbox_client.models.workspace_status import StoredFile

PANDAS = """<div>
<style scoped>
    .dataframe tbody tr th:only-of-type { vertical-align: middle; }
</style>
<table border="1" class="dataframe">
  <thead><tr style="text-align: right;"><th></th><th>a</th></tr></thead>
  <tbody><tr><th>0</th><td>1 &lt; 2</td></tr></tbody>
</table>
<p>1 rows \u00d7 1 columns</p></div>"""


LONG = f"{'x' * 100!r}... (5,000 characters)"
SHORT = "Result(text/plain '42', image/png 4.9 KiB)"


def fold(*events):
    folded = ExecutionFold()
    for event in events:
        folded.add(event)
    return folded.finish()


def plain(text, **kwargs):
    return Result({"text/plain": text.encode(), "image/png": b"x" * 5000}, **kwargs)


def test_print_shows_text_displays_and_the_error_in_the_order_of_the_cell():
    error = CodeError("ValueError", "no", ("Traceback (most recent call last):", "ValueError: no"))
    execution = fold(
        Stdout("one"),
        Stdout(" two\n"),
        Stderr("careful\n"),
        Stdout("no line break"),
        plain("<Figure>"),
        Stdout("three\n"),
        error,
        Completed(Status.ERROR),
    )
    assert str(execution) == (
        "one two\ncareful\nno line break\n<Figure>\nthree\nTraceback (most recent call last):\nValueError: no"
    )
    assert execution.order == (("stdout", 8), ("stderr", 8), ("stdout", 13), ("result", 1), ("stdout", 6))


def test_an_updated_display_stays_in_its_place():
    first, second = plain("50 %", display_id="a"), plain("100 %", display_id="a", is_update=True)
    assert str(fold(first, Stdout("working\n"), second, Completed(Status.OK))) == "100 %\nworking"


def test_an_execution_that_was_made_by_hand_is_shown_as_a_whole():
    assert str(Execution(stdout="out\n", stderr="err\n", results=(plain("5"),))) == "out\nerr\n5"
    assert str(Execution(status=Status.OK)) == ""


@pytest.mark.parametrize(
    ("fields", "remark"),
    [
        ({"status": Status.TIMED_OUT, "duration": 300.004}, "[the time limit was hit after 300 s: raise `timeout`]"),
        ({"status": Status.LOST}, "[the sandbox restarted while this ran: it was not run again]"),
        ({"status": Status.KILLED, "exit_code": 137}, "[it ended early: killed, exit code 137]"),
        (
            {"status": Status.OK, "dropped_bytes": 3 << 20},
            "[the output limit was hit: 3.0 MiB in the middle were dropped]",
        ),
    ],
)
def test_how_code_ended_is_said_if_nothing_else_says_it(fields, remark):
    assert str(Execution(**fields)) == remark
    assert str(CommandResult(**fields)) == remark


def test_type_errors_and_a_restart_are_shown():
    shown = Execution(
        status=Status.OK, context_restarted=True, diagnostics=(Diagnostic(1, 7, 1, 8, 2322, "no number"),)
    )
    assert str(shown) == "1:7 - error TS2322: no number\n[the interpreter was restarted: its variables are lost]"


def test_a_command_shows_its_output_in_order_and_its_exit_code_if_it_failed():
    folded = CommandFold()
    for event in (Stdout("a\n"), Stderr("b\n"), Stdout("c\n"), Exited(Status.OK, exit_code=2)):
        folded.add(event)
    assert str(folded.finish()) == "a\nb\nc\n[exit code 2]"
    assert str(CommandResult(stdout="a\n", status=Status.OK)) == "a"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (plain("42"), "Result(text/plain '42', image/png 4.9 KiB)"),
        (
            Execution("x" * 5000, results=(plain("42"),), status=Status.OK, duration=0.0123456, request_id="r"),
            f"Execution(stdout={LONG}, results=({SHORT}), status='ok', duration=0.0123)",
        ),
        (
            CommandResult("hi\n", exit_code=1, status=Status.OK),
            r"CommandResult(stdout='hi\n', exit_code=1, status='ok')",
        ),
        (
            CodeError("E", "no", tuple("abcdefg")),
            "CodeError(name='E', value='no', traceback=('a', 'b', 'c', 'd', 'e', ... 2 more))",
        ),
        (FileInfo("a", "file", 5), "FileInfo(path='a', type='file', size=5)"),
        (ProcessOutput(b"x" * 2000, 0), "ProcessOutput(data=<2.0 KiB>, offset=0)"),
        (Stdout("y" * 200), f"Stdout(text={'y' * 100!r}... (200 characters))"),
    ],
)
def test_a_repr_is_short_and_shows_sizes(value, text):
    assert repr(value) == text


def test_a_result_has_a_property_for_each_mime_type():
    forms = {
        "text": ("text/plain", b"t", "t"),
        "html": ("text/html", b"h", "h"),
        "markdown": ("text/markdown", b"m", "m"),
        "latex": ("text/latex", b"l", "l"),
        "svg": ("image/svg+xml", b"s", "s"),
        "javascript": ("application/javascript", b"j", "j"),
        "json": ("application/json", b"[1]", [1]),
        "plotly": ("application/vnd.plotly.v1+json", b'{"data": []}', {"data": []}),
        "table": ("application/vnd.dataresource+json", b'{"rows": 1}', {"rows": 1}),
        "chart": ("application/vnd.sandbox.chart+json", b'{"axes": []}', {"axes": []}),
        "png": ("image/png", b"p", b"p"),
        "jpeg": ("image/jpeg", b"p", b"p"),
        "gif": ("image/gif", b"p", b"p"),
        "webp": ("image/webp", b"p", b"p"),
        "pdf": ("application/pdf", b"p", b"p"),
    }
    result = Result({mime: content for mime, content, _ in forms.values()})
    assert {name: getattr(result, name) for name in forms} == {name: value for name, (_, _, value) in forms.items()}
    assert {getattr(Result({}), name) for name in forms} == {None}
    assert set(result.to_bundle()) == set(result.data)


def test_a_listing_is_a_list_that_shows_a_table():
    time = dt.datetime(2026, 11, 30, 12, 5, tzinfo=dt.UTC)
    files = Listing([FileInfo("in", "directory"), FileInfo("in/<b>\n", "file", 1_500_000, modified=time)])
    assert files == list(files)
    assert repr(files).splitlines() == [
        "path     size       modified",
        "in/      directory",
        "in/<b>\ufffd  1.4 MiB    2026-11-30 12:05",
    ]
    assert "<td>in/&lt;b&gt;\ufffd</td><td>1.4 MiB</td><td>2026-11-30 12:05</td>" in files._repr_html_()
    assert (repr(Listing()), Listing()._repr_html_()) == ("[]", "<em>empty</em>")
    many = Listing([FileInfo(str(n), "file") for n in range(1500)])
    assert repr(many).endswith("\n... and 1,440 more")
    assert len(repr(many).splitlines()) == 62
    assert "1,440 more" in many._repr_html_()


def test_each_value_of_a_listing_has_its_row():
    assert ProcessInfo("p", 7, "ls").row() == {
        "id": "p",
        "pid": "7",
        "state": "running",
        "started": "",
        "command": "ls",
    }
    assert ProcessInfo("p", exited=Exited(Status.KILLED, 137)).row()["state"] == "killed"
    assert ProcessInfo("p", exited=Exited(Status.OK, 2)).row()["state"] == "exit code 2"
    assert Context("python", "python").row()["state"] == "idle"
    assert StoredFile("a", 1).row() == {"path": "a", "size": "1 byte", "modified": ""}
    assert FileInfo("a", "symlink", symlink_target="b").row()["path"] == "a -> b"


@pytest.mark.parametrize(
    "text", ["", "plain & simple", PANDAS, "<b>bold</b><br/>", "<p align=right>x</p>", "<td>a &gt; b</td>"]
)
def test_html_that_can_do_nothing_is_shown_as_it_is(text):
    assert is_inert(text)
    assert display_bundle({"text/html": text.encode()}) == {"text/html": text}


@pytest.mark.parametrize(
    "text",
    [
        "<script>x</script>",
        "<img src=x onerror=alert(1)>",
        "<p onclick='x'>",
        "<P ONCLICK=x>",
        '<a href="javascript:x">a</a>',
        "<svg/onload=x>",
        "<style>* {}</style>",
        "<style scoped></style><script>",
        "<sty<style scoped></style>le>",
        "<div id=jupyter-config-data>",
        '<div style="position: fixed">',
        '<div style="background: url(//x)">',
        '<div style="pos\\69tion: fixed">',
        '<div style="&#112;osition: fixed">',
        "<!-- -->",
        "<![CDATA[",
        "<",
        "<p title='>",
        "<p/onclick=x>",
        '<p title="a"onclick=x>',
        "<math><mtext>",
        "<iframe>",
        "<base href=x>",
        "<form action=x><input>",
        "<textarea></p>",
        "<p\x00 onclick=x>",
    ],
)
def test_html_that_could_do_something_is_shown_in_a_frame_without_access(text):
    assert not is_inert(text)
    shown = display_bundle({"text/html": text.encode(), "text/plain": b"form"})
    assert shown["text/html"].startswith('<iframe sandbox="allow-scripts" srcdoc="')
    assert shown["text/html"].count("<") == 2
    assert shown["text/plain"] == "form"


def test_a_notebook_shows_pictures_and_data_and_nothing_that_would_run():
    shown = display_bundle(
        {
            "text/plain": b"t",
            "image/png": b"\x89PNG",
            "image/svg+xml": b"<svg><script>x</script></svg>",
            "application/javascript": b"alert(1)",
            "application/vnd.bokehjs_exec.v0+json": b"{}",
            "application/vnd.plotly.v1+json": b'{"data": []}',
            "application/vnd.sandbox.chart+json": b"{}",
            "text/markdown": b"# Title [x](https://example.org)",
            "text/latex": b"$x^2$",
        }
    )
    assert set(shown) == {
        "text/plain", "image/png", "text/html", "application/vnd.plotly.v1+json", "text/markdown", "text/latex"
    }  # fmt: skip
    assert shown["image/png"] == "iVBORw=="
    assert shown["text/html"].startswith('<img src="data:image/svg+xml;base64,')


@pytest.mark.parametrize(
    ("mime", "text"),
    [
        ("text/markdown", "<script>x</script>"),
        ("text/markdown", "[x](JavaScript:alert(1))"),
        ("text/markdown", "[x](java&#115;cript:alert(1))"),
        ("text/markdown", "[x](javascript&colon;alert(1))"),
        ("text/markdown", "[x](data:text/html,x)"),
        ("text/latex", r"\href{javascript:x}{x}"),
    ],
)
def test_text_that_could_run_is_left_out(mime, text):
    assert display_bundle({mime: text.encode(), "text/plain": b"t"}) == {"text/plain": "t"}
