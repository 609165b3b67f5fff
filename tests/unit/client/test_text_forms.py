"""Rich results and progress bars as text: for models, for terminals, and in `print` of an execution."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox_client import Execution, Result, Status
from sandbox_client.models.aggregation import ExecutionFold
from sandbox_client.models.events import Stderr, Stdout
from sandbox_client.models.notebook import display_bundle
from sandbox_client.models.text.html_text import html_to_text
from sandbox_client.models.text.last_state import last_state
from sandbox_client.tools.results import execution_failure, output_text

PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)
FIGURE = Result({"text/plain": b"<Figure size 640x480 with 1 Axes>", "image/png": PNG})
PLACEHOLDER = b"<IPython.core.display.HTML object>"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\r 0%\r 50%\r100%\n", "100%\n"),
        ("10%\r20%\r", "20%"),
        ("a longer state\rshort\n", "shortger state\n"),
        ("ab\b\bX", "Xb"),
        ("N\bNA\bAME\n", "NAME\n"),
        ("\x1b[32m10%\x1b[0m\r\x1b[K20%", "20%"),
        ("before\n\r1\r2\nafter\n", "before\n2\nafter\n"),
        ("0: 1%\n1: 1%\x1b[A\r0: 9%\n\r1: 9%\n", "0: 9%\n1: 9%\n"),
        ("from Windows\r\nnext\r\n", "from Windows\r\nnext\r\n"),
        ("\x1b[31mred\x1b[0m\n", "\x1b[31mred\x1b[0m\n"),
        ("1\r2\r\n", "2\r\n"),
    ],
)
def test_a_line_is_shown_in_its_last_state(text, shown):
    assert last_state(text) == shown


@given(st.text(st.characters(exclude_characters="\r\b\x1b")))
def test_text_without_control_characters_stays_as_it_is(text):
    assert last_state(text) == text


@pytest.mark.parametrize(
    "text",
    ["x" * 1_000_000 + "\ra" * 1_000_000, "\r" * 1_000_000, "a\b" * 90_000, "\n" * 90_000 + "\x1b[A" * 90_000],
    ids=["long line", "many", "backspaces", "upwards"],
)
def test_hostile_text_takes_little_time(text):
    begun = time.monotonic()
    last_state(text)
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("<h1>Title</h1><p>a <b>b</b>\n  c &lt; d</p>", "Title\na b c < d"),
        (
            "<table><tr><th></th><th>x</th></tr><tr><td>0</td><td>1</td></tr></table><script>var a = '<b>';</script>",
            " | x\n0 | 1",
        ),
        ("<ul><li>one<li>two</ul><pre>a\n  b</pre><!-- no -->", "- one\n- two\na\n  b"),
        ("<style>p {}</style><script>draw()</script><div></div>", ""),
        ("1 < 2 and <unclosed", "1 < 2 and <unclosed"),
    ],
)
def test_html_becomes_lines_and_rows(source, text):
    assert html_to_text(source) == text


@pytest.mark.parametrize("piece", ["<", "<a", "<!", "<!--", "&", "&amp;", "<b>x</b>", "<script", "</td>", "<pre>\n"])
def test_hostile_html_takes_little_time(piece):
    begun = time.monotonic()
    html_to_text(piece * 30_000)
    html_to_text("<" + "a" * 200_000)
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"text/plain": b"   a\n0  1", "text/html": b"<table>"}, "   a\n0  1"),
        ({"text/plain": PLACEHOLDER, "text/html": b"<b>bold</b>"}, "bold"),
        ({"text/plain": PLACEHOLDER, "text/markdown": b"# title"}, "# title"),
        ({"text/plain": b"<__main__.Formula object at 0x7f>", "text/latex": b"$x$"}, "$x$"),
        ({"text/plain": b"<__main__.Own object at 0x7f>"}, "<__main__.Own object at 0x7f>"),
        ({"text/plain": PLACEHOLDER, "text/html": b"<script>draw()</script>"}, "[text/html, 23 bytes]"),
        ({"application/x-own": b"123"}, "[application/x-own, 3 bytes]"),
        ({"text/plain": b"<IPython.core.display.Javascript object>", "application/javascript": b"f()"},
         "[application/javascript, 3 bytes]"),
        ({"application/json": b'{"a": 1}'}, '{"a": 1}'),
    ],
)  # fmt: skip
def test_each_result_has_a_text(data, text):
    assert str(Result(data)) == text


def test_a_long_page_says_how_much_of_it_is_not_text():
    fits, exceeds = ("<p>" + "x" * (size - 3) for size in (256 << 10, (256 << 10) + 1))
    assert "left out" not in str(Result({"text/html": fits.encode()}))
    assert str(Result({"text/html": exceeds.encode()})).endswith("... (1 byte of 256.0 KiB of HTML left out)")


def folded(*events):
    fold = ExecutionFold()
    for event in events:
        fold.add(event)
    return fold.finish()


def test_a_model_gets_prints_and_displays_in_their_order():
    execution = folded(
        Stdout("one\n"),
        Result({"text/plain": b"'shown'"}),
        Stdout("\r 50%"),
        Stderr("careful\n"),
        Stdout("\r100%"),
        FIGURE,
        Stdout("two\n"),
        Result({"text/plain": b"42"}, is_main=True),
    )
    expected = "one\n'shown'\n100%\n[picture 1: Figure size 640x480 with 1 Axes]\ntwo\n42\n[stderr]\ncareful\n"
    assert output_text(execution) == expected
    assert execution.stdout == "one\n\r 50%\r100%two\n", "the raw output stays raw"


def test_a_failure_keeps_what_was_shown_before_it():
    execution = Execution(status=Status.ERROR, results=(Result({"text/plain": b"shown"}),), stderr="1%\r2%")
    value = execution_failure(execution, "code").value
    assert (value["stdout"], value["stderr"]) == ("shown", "2%")


def test_pictures_that_a_model_cannot_see_are_named():
    svg = Result({"text/plain": b"<IPython.core.display.SVG object>", "image/svg+xml": b"<svg/>"})
    execution = Execution(results=(svg, FIGURE, Result({"image/png": PNG})))
    assert output_text(execution) == (
        "[image/svg+xml, 6 bytes: a model cannot see SVG, save it as PNG]\n"
        "[picture 1: Figure size 640x480 with 1 Axes]\n[picture 2]"
    )
    single = Execution(results=(FIGURE,))
    assert output_text(single, shown_instead="c.png").endswith("1 Axes; not shown beside c.png]")


def test_a_notebook_shows_the_text_of_what_it_may_not_run():
    unsafe = {"text/plain": b"<IPython.core.display.Markdown object>", "text/markdown": b"<script>x</script> text"}
    assert display_bundle(unsafe) == {"text/plain": "<script>x</script> text"}
    assert display_bundle({"application/javascript": b"f()"}) == {"text/plain": "[application/javascript, 3 bytes]"}


def test_print_shows_progress_in_its_last_state():
    assert str(folded(Stderr("\r10%"), Stderr("\r99%\n"), Stdout("done\n"))) == "99%\ndone"
