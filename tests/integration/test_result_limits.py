"""A value or form that is too large shows its beginning, or is named: nothing disappears without a word."""

import pytest

MIB = 1 << 20
MAX_RESULT = 3 * MIB
NOTES = 16 << 10


@pytest.fixture(scope="module")
def run(sandbox):
    return sandbox.run_code


@pytest.mark.parametrize(
    ("size", "ending"),
    [(MIB, "xxx"), (MIB + 1, "... (1 of 1048577 bytes left out: write the value to a file)")],
)
@pytest.mark.parametrize("language", ["python", "javascript"])
def test_a_long_text_shows_its_beginning_and_its_size(run, language, size, ending):
    text = f"class Long:\n    def __repr__(self): return 'x' * {size}\nLong()"
    if language == "javascript":
        text = f"({{[Symbol.for('nodejs.util.inspect.custom')]: () => 'x'.repeat({size})}})"
    assert run(text, language).text.endswith(ending)


@pytest.mark.parametrize(("size", "is_kept"), [(MAX_RESULT, True), (MAX_RESULT + 1, False)])
def test_a_large_form_is_named_in_the_text(run, size, is_kept):
    (result,) = run(f"display({{'text/html': 'x' * {size}}}, raw=True)").results
    assert ("text/html" in result.data) is is_kept
    assert is_kept or f"text/html of {size} bytes" in result.text


@pytest.mark.parametrize(("size", "is_kept"), [(MAX_RESULT - NOTES, True), (MAX_RESULT - NOTES + 1, False)])
def test_a_large_form_of_javascript_is_named_in_the_text(run, size, is_kept):
    execution = run(f"display({{'text/html': 'x'.repeat({size})}}, {{raw: true}}); 'after'", "javascript")
    result, value = execution.results
    assert ("text/html" in result.data) is is_kept
    assert is_kept or f"text/html of {size} bytes" in result.text
    assert value.text == "'after'"


def test_a_large_value_of_javascript_does_not_fail_its_cell(run):
    own = "{[Symbol.for('Jupyter.display')]: () => ({'text/plain': 'mine', 'image/png': new Uint8Array(4 << 20)})}"
    execution = run(f"const own = {own}; own", "javascript")
    assert execution.ok
    assert execution.text == (
        "mine\n<image/png of 4194304 bytes exceeds the limit of 3145728 bytes per result: write it to a file>"
    )


@pytest.mark.parametrize(
    ("bundle", "note"),
    [
        ("{'image/png': '%%%not base64'}", "<image/png cannot be shown: Error: "),
        ("{'application/json': {1, 2}}", "<application/json cannot be shown: TypeError: "),
        ("{'text/html': b'x' * ((32 << 20) + 1)}", "<text/html of 33554433 bytes is too large to be shown"),
    ],
)
def test_a_form_that_cannot_be_sent_is_named(run, bundle, note):
    (result,) = run(f"display({bundle}, raw=True)").results
    assert result.text.startswith(note)


@pytest.mark.parametrize(("size", "is_cut"), [(60 << 10, False), ((60 << 10) + 1, True)])
@pytest.mark.parametrize("language", ["python", "javascript"])
def test_the_message_of_an_error_says_what_is_missing(run, language, size, is_cut):
    code = f"raise ValueError('m' * {size})" if language == "python" else f"throw new Error('m'.repeat({size}))"
    value = run(code, language).error.value
    assert value.count("m") == 60 << 10
    assert value.endswith(f"... (1 of {size} characters left out)" if is_cut else "mmm")


@pytest.mark.parametrize("language", ["python", "javascript"])
def test_a_thrown_text_and_a_long_line_say_what_is_missing(run, language):
    if language == "python":
        lines = run("raise ValueError('m' * 3000)").error.traceback
        assert lines[-1] == f"ValueError: {'m' * 1988}... (1012 of 3012 characters left out)"
    else:
        assert run("throw 'm'.repeat((60 << 10) + 1)", "javascript").error.value.endswith(
            "... (1 of 61441 characters left out)"
        )


@pytest.mark.parametrize(("count", "more"), [(5, ""), (7, "[errors]: 2 more")])
def test_the_errors_of_an_aggregate_are_counted(run, count, more):
    code = f"throw new AggregateError(Array.from({{length: {count}}}, (_, i) => new Error(`e${{i}}`)), 'all')"
    traceback = str(run(code, "javascript").error)
    assert "[errors]: Error: e4" in traceback
    assert ("more" in traceback) is bool(more)
    assert more in traceback


def test_a_figure_with_too_many_series_says_how_many_there_are(run):
    pytest.importorskip("matplotlib")
    code = "import matplotlib.pyplot as plt\nfor i in range({}): plt.plot([i, 1])\nplt.gcf()"
    (fits,) = run(code.format(100)).results
    (exceeds,) = run(code.format(101)).results
    assert "total" not in fits.chart["axes"][0]
    assert (exceeds.chart["axes"][0]["total"], len(exceeds.chart["axes"][0]["series"])) == (101, 100)
