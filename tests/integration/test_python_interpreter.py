"""Python as in a notebook: IPython's syntax, rich results, tables and charts as data. A local session for real."""

import json
import time

import pytest

from sandbox_client import Sandbox, Status


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        # Without preloads IPython is built within a context that runs already: the harder case.
        patch.setenv("SANDBOX_ZYGOTE_PRELOAD", "")
        with Sandbox.local(tmp_path_factory.mktemp("workspace"), tmp_path_factory.mktemp("store")) as sandbox:
            sandbox.run_code("import IPython.display as show\nimport matplotlib.pyplot as plt\nimport pandas as pd")
            yield sandbox


def run(sandbox, code):
    execution = sandbox.run_code(code)
    assert execution.ok, execution.error
    return execution


def table_of(sandbox, code):
    return run(sandbox, code).results[-1].table


def chart(sandbox, code):
    return run(sandbox, code).results[-1].chart


@pytest.mark.parametrize(
    ("code", "stdout"),
    [
        ("%%bash\necho one; echo two >&2", "one\n"),
        ("!echo {6 * 7} | cut -c 1", "4\n"),
        ("%cd -q /\n!pwd\n%cd -q -", "/\n"),
        ("for n in range(2):\n    !echo $n\nprint('last')", "0\n1\nlast\n"),
        ("%%capture kept\nprint('a')\n!echo b", ""),
        ("print(repr(kept.stdout))", "'a\\nb\\n'\n"),
        ("%env NEW=5\n!echo $NEW", "env: NEW=5\n5\n"),
    ],
)
def test_magics_and_shell_lines_write_in_order_with_the_cell(sandbox, code, stdout):
    assert run(sandbox, code).stdout == stdout


def test_magics_give_values_and_share_the_cells_variables(sandbox):
    run(sandbox, "x = 20")
    assert run(sandbox, "%timeit -n 2 -r 1 -o x").text.startswith("<TimeitResult")
    assert run(sandbox, "lines = !printf 'a\\nb'\nlines[1]").text == "'b'"
    assert run(sandbox, "%time x + 1").text == "21"
    assert {"n", "x"} <= set(run(sandbox, "%who int").stdout.split())
    assert run(sandbox, "dir is __builtins__.dir and 'exit' not in globals()").text == "True"


def test_a_question_mark_prints_the_help_and_an_unknown_magic_is_an_error(sandbox):
    run(sandbox, "def double(n):\n    'Twice n.'\n    return n * 2")
    assert "Twice n." in run(sandbox, "double?").stdout
    error = sandbox.run_code("%nosuch").error
    assert (error.name, error.value) == ("UsageError", "Line magic function `%nosuch` not found.")


def test_plain_syntax_errors_stay_pythons_own(sandbox):
    error = sandbox.run_code("x = 1\nreturn 1 +").error
    assert (error.name, error.traceback[-3:]) == (
        "SyntaxError",
        ("    return 1 +", "              ^", "SyntaxError: invalid syntax"),
    )


def test_xmode_chooses_ipythons_tracebacks_and_plain_takes_them_back(sandbox):
    run(sandbox, "%xmode Verbose")
    verbose = str(sandbox.run_code("seven = 7\nseven / 0").error)
    run(sandbox, "%xmode Plain")
    assert "seven = 7" in verbose
    assert "sandbox_runtime" not in verbose
    assert sandbox.run_code("1 / 0").error.traceback[0] == "Traceback (most recent call last):"


def test_an_interrupt_ends_a_shell_line_and_keeps_variables(sandbox):
    run(sandbox, "x = 1")
    interrupted = sandbox.run_code("x = 2\n!sleep 60", timeout=1)
    assert (interrupted.status, interrupted.context_restarted) == (Status.TIMED_OUT, False)
    assert run(sandbox, "x").text == "2"


@pytest.mark.parametrize(
    ("value", "mime", "content"),
    [
        ("show.HTML('<b>1</b>')", "text/html", b"<b>1</b>"),
        ("show.Markdown('# 1')", "text/markdown", b"# 1"),
        ("show.SVG('<svg xmlns=\"http://www.w3.org/2000/svg\"/>')", "image/svg+xml", b"<svg"),
        ("show.Image(b'\\x89PNG\\r\\n\\x1a\\n..', format='png')", "image/png", b"\x89PNG\r\n\x1a\n.."),
        ("show.Image(b'\\xff\\xd8\\xff..', format='jpeg')", "image/jpeg", b"\xff\xd8\xff.."),
        ("show.Latex('$x$')", "text/latex", b"$x$"),
        ("show.JSON({'a': [1]})", "application/json", b'{"a": [1]}'),
        ("show.Javascript('f()')", "application/javascript", b"f()"),
        ("type('P', (), {'_repr_pdf_': lambda self: b'%PDF-'})()", "application/pdf", b"%PDF-"),
    ],
)
def test_every_kind_of_result_comes_as_its_type_displayed_or_as_the_value(sandbox, value, mime, content):
    shown, main = run(sandbox, f"display({value})\n{value}").results
    assert (shown.is_main, main.is_main) == (False, True)
    assert shown.data[mime].startswith(content)
    assert main.data[mime] == shown.data[mime]
    assert "text/plain" in main.data


def test_a_value_that_displays_itself_is_shown_once(sandbox):
    code = "class Own:\n    def _ipython_display_(self):\n        display({'text/plain': 'own'}, raw=True)\nOwn()"
    assert [result.data for result in run(sandbox, code).results] == [{"text/plain": b"own"}]


def test_a_formatter_that_was_registered_is_used(sandbox):
    code = """class Money:
    pass
formatters = get_ipython().display_formatter.formatters
formatters['text/html'].for_type(Money, lambda value: '<b>5</b>')
Money()"""
    assert run(sandbox, code).results[0].html == "<b>5</b>"


def test_a_display_is_updated_in_place_by_handle_and_by_name(sandbox):
    handle = "shown = display('one', display_id=True)\nshown.update('two')"
    assert [result.text for result in run(sandbox, handle).results] == ["'two'"]
    name = "display(1, display_id='n')\nprint('x')\nshow.update_display(2, display_id='n')"
    result = run(sandbox, name).results
    assert [(each.text, each.display_id) for each in result] == [("2", "n")]


def test_a_table_comes_as_text_html_and_data(sandbox):
    code = "pd.DataFrame({'n': [1, 2], 'day': pd.to_datetime(['2024-01-01', None])}, index=['a', 'b'])"
    result = run(sandbox, code).results[0]
    table = result.table
    assert "<table" in result.html
    assert result.text.split()[:2] == ["n", "day"]
    assert [(field["name"], field["type"]) for field in table["schema"]["fields"]] == [
        ("index", "string"),
        ("n", "integer"),
        ("day", "datetime"),
    ]
    assert table["data"] == [
        {"index": "a", "n": 1, "day": "2024-01-01T00:00:00.000"},
        {"index": "b", "n": 2, "day": None},
    ]
    assert (table["rows"], table["truncated"]) == (2, False)


def test_a_large_table_is_cut_and_says_how_large_it_is(sandbox):
    table = table_of(sandbox, "pd.Series(range(2500), name='n')")
    assert (table["rows"], table["truncated"], len(table["data"])) == (2500, True, 1000)
    wide = table_of(sandbox, "pd.DataFrame({f'c{n}': ['x' * 100] * 1000 for n in range(1000)})")
    assert (wide["rows"], wide["truncated"]) == (1000, True)
    assert 1 <= len(wide["data"]) < 100


def test_figures_are_captured_at_show_and_at_the_end_of_the_cell(sandbox):
    code = "for n in range(2):\n    plt.plot([n, n + 1])\n    plt.show()\nplt.plot([5, 6])\nNone"
    figures = [result.chart for result in run(sandbox, code).results]
    assert [figure["axes"][0]["series"][0]["y"] for figure in figures] == [[0, 1], [1, 2], [5, 6]]
    assert all(result.png.startswith(b"\x89PNG") for result in run(sandbox, code).results)
    assert run(sandbox, "plt.get_fignums()").text == "[]"


def test_a_figure_that_is_the_value_is_shown_once(sandbox):
    results = run(sandbox, "fig, ax = plt.subplots()\nax.plot([1, 2])\nfig").results
    assert [(result.is_main, result.png[:4]) for result in results] == [(True, b"\x89PNG")]


def test_the_inline_backends_format_is_kept_to(sandbox):
    code = "%matplotlib inline\n%config InlineBackend.figure_formats = ['svg']\nplt.plot([1, 2])\nplt.show()"
    shown = run(sandbox, code).results[0].data
    run(sandbox, "%config InlineBackend.figure_formats = ['png']\nplt.switch_backend('agg')")
    assert "image/svg+xml" in shown
    assert "image/png" not in shown


def test_lines_and_scatters_are_data(sandbox):
    code = """plt.figure()
plt.plot(pd.to_datetime(['2024-01-01', '2024-01-02']), [1.5, float('nan')], label='line')
plt.axhline(1)
plt.title('T'); plt.xlabel('day'); plt.ylabel('n'); plt.yscale('log')
None"""
    (axes,) = chart(sandbox, code)["axes"]
    assert (axes["title"], axes["x"]["label"], axes["y"]["label"], axes["y"]["scale"]) == ("T", "day", "n", "log")
    days = ["2024-01-01T00:00:00", "2024-01-02T00:00:00"]
    (line,) = axes["series"]
    assert [day[:19] for day in line.pop("x")] == days
    assert line == {"kind": "line", "label": "line", "y": [1.5, None]}
    scatter = chart(sandbox, "plt.scatter([1, 2], [3, 4], label='s')\nplt.plot([1], [5], 'o')\nNone")["axes"][0][
        "series"
    ]
    assert scatter == [
        {"kind": "scatter", "label": "", "x": [1], "y": [5]},
        {"kind": "scatter", "label": "s", "x": [1.0, 2.0], "y": [3.0, 4.0]},
    ]


def test_a_long_line_is_thinned_and_says_how_long_it_is(sandbox):
    line = chart(sandbox, "plt.plot(range(10_000))\nNone")["axes"][0]["series"][0]
    assert (line["total"], line["x"]) == (10_000, list(range(0, 10_000, 5)))


def test_bars_are_data_with_their_categories(sandbox):
    code = "plt.bar(['a', 'b'], [3, 5], label='votes')\nplt.errorbar(['a'], [3], yerr=[1])\nNone"
    axes = chart(sandbox, code)["axes"][0]
    assert axes["x"]["categories"] == ["a", "b"]
    assert axes["series"][1] == {
        "kind": "bar",
        "label": "votes",
        "orientation": "vertical",
        "bars": [
            {"category": "a", "position": 0.0, "width": 0.8, "value": 3, "base": 0},
            {"category": "b", "position": 1.0, "width": 0.8, "value": 5, "base": 0},
        ],
    }
    assert [each["kind"] for each in axes["series"]] == ["line", "bar"]
    frame = "pd.DataFrame({'p': [1, 2], 'q': [3, 4]}, index=['x', 'y']).plot.barh()\nNone"
    groups = chart(sandbox, frame)["axes"][0]["series"]
    assert [(each["label"], each["orientation"]) for each in groups] == [("p", "horizontal"), ("q", "horizontal")]
    assert [[(bar["category"], bar["value"]) for bar in each["bars"]] for each in groups] == [
        [("x", 1), ("y", 2)],
        [("x", 3), ("y", 4)],
    ]
    counts = chart(sandbox, "plt.hist([1, 1, 2, 9], bins=2)\nNone")["axes"][0]["series"][0]["bars"]
    assert [bar["value"] for bar in counts] == [3, 1]


def test_pies_are_data(sandbox):
    series = chart(sandbox, "plt.pie([1, 3], labels=['a', 'b'], autopct='%1.1f%%')\nNone")["axes"][0]["series"]
    assert series == [
        {
            "kind": "pie",
            "label": "",
            "slices": [{"label": "a", "fraction": 0.25}, {"label": "b", "fraction": 0.75}],
        }
    ]


@pytest.mark.parametrize("orientation", ["vertical", "horizontal"])
def test_boxes_are_data_with_their_statistics(sandbox, orientation):
    code = f"plt.boxplot([[1, 2, 3, 4, 5, 20], [2, 2, 2]], orientation='{orientation}', tick_labels=['a', 'b'])\nNone"
    (series,) = chart(sandbox, code)["axes"][0]["series"]
    assert (series["kind"], series["orientation"]) == ("box", orientation)
    first = {"minimum": 1.0, "q1": 2.25, "median": 3.5, "q3": 4.75, "maximum": 5.0, "outliers": [20]}
    assert [{**box, "position": None} for box in series["boxes"]] == [
        {"label": "a", "position": None, **first},
        {
            "label": "b",
            "position": None,
            **dict.fromkeys(("minimum", "q1", "median", "q3", "maximum"), 2),
            "outliers": [],
        },
    ]


def test_axes_within_axes_and_beside_axes_are_data(sandbox):
    code = """fig, (left, right) = plt.subplots(1, 2)
fig.suptitle('both')
left.plot([1, 2])
left.inset_axes([0.5, 0.5, 0.4, 0.4]).scatter([1], [2])
right.twinx().bar(['a'], [1])
None"""
    figure = chart(sandbox, code)
    assert (figure["version"], figure["title"]) == (1, "both")
    left, twin = figure["axes"]
    assert [each["kind"] for each in left["series"]] == ["line"]
    assert [each["kind"] for axes in left["axes"] for each in axes["series"]] == ["scatter"]
    assert [each["kind"] for each in twin["series"]] == ["bar"]


def test_a_cleared_box_plot_and_an_empty_figure_are_no_data(sandbox):
    code = "plt.boxplot([1, 2])\nplt.cla()\nNone"
    assert run(sandbox, code).results[0].chart is None


def test_a_plotly_figure_is_json_and_html_as_a_value_and_by_show(sandbox):
    code = "import plotly.graph_objects as go\nfigure = go.Figure(go.Bar(x=['a'], y=[3]))\nfigure.show()\nfigure"
    shown, main = run(sandbox, code).results
    assert (shown.is_main, main.is_main) == (False, True)
    for result in (shown, main):
        assert json.loads(result.data["application/vnd.plotly.v1+json"])["data"] == [
            {"x": ["a"], "y": [3], "type": "bar"}
        ]
        assert "Plotly.newPlot" in result.html


def test_a_bokeh_figure_is_json_and_html(sandbox):
    code = "from bokeh.plotting import figure\np = figure(title='T')\np.line([1, 2], [3, 4])\np"
    (result,) = run(sandbox, code).results
    assert json.loads(result.data["application/vnd.bokeh.item+json"])["doc"]["roots"]
    assert "<script" in result.html


def test_input_says_at_once_that_nobody_can_answer_and_what_to_do(sandbox):
    failed = sandbox.run_code("input('Who are you? ')")
    assert (failed.status, failed.error.name) == (Status.ERROR, "StdinNotAvailable")
    assert "'Who are you? '" in failed.error.value
    assert "Assign the value" in failed.error.value
    assert failed.error.traceback[-1].startswith("StdinNotAvailable: ")


def test_a_context_of_the_preloading_zygote_has_its_shell_from_the_start(tmp_path, monkeypatch):
    monkeypatch.setenv("SANDBOX_ZYGOTE_PRELOAD", "json")
    with Sandbox.local(tmp_path / "workspace", tmp_path / "store") as sandbox:
        deadline = time.monotonic() + 30
        while True:
            context = sandbox.contexts.create().id
            built = sandbox.run_code("type(__builtins__.__dict__.get('get_ipython')).__name__", context=context)
            if built.text == "'method'":
                break
            assert time.monotonic() < deadline, "the preloading zygote was never ready"
            sandbox.contexts.delete(context)
        assert sandbox.run_code("%%bash\necho $PPID", context=context).stdout.strip().isdigit()
        assert (
            sandbox.run_code("import threading, __main__\n__main__.__dict__ is globals()", context=context).text
            == "True"
        )
        assert sandbox.run_code("display(6, display_id=True)", context=context).results[0].text == "6"
