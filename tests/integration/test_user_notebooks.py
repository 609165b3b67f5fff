"""Cells behave as in a notebook: pasted code, event loops, representations, the last exception, sources."""

import time

import pytest

from sandbox_client import Sandbox


@pytest.fixture(scope="module", params=["plain", "preloaded"])
def sandbox(request, tmp_path_factory):
    """A session whose interpreters have, or have not, imported IPython before the first cell."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "plain":
            patch.setenv("SANDBOX_ZYGOTE_PRELOAD", "")
        with Sandbox.local(tmp_path_factory.mktemp("workspace")) as sandbox:
            if request.param == "preloaded":
                time.sleep(5)
            yield sandbox


@pytest.mark.parametrize(
    ("code", "stdout"),
    [
        ("\ufeffprint('mark')\r\n", "mark\n"),
        ("    x = 1\n    if x:\n        print(x)", "1\n"),
        ("\n\tprint('tab')\n", "tab\n"),
        (">>> x = 2\n>>> print(x)", "2\n"),
        (">>> for n in range(2):\n...     print(n)\n...\n>>> print('end')", "0\n1\nend\n"),
        ("In [4]: print(5)", "5\n"),
        ("In [4]: for n in range(2):\n   ...:     print(n)\n   ...:", "0\n1\n"),
        ("    '''\n    text\n    '''\n    print(6)", "6\n"),
        ("In = 7\nprint(In)", "7\n"),
    ],
)
def test_pasted_code_runs(run, code, stdout):
    execution = run(code)
    assert (execution.stdout, execution.error) == (stdout, None)


def test_a_wrong_indentation_is_still_an_error(run):
    assert run("x = 1\n  y = 2").error.name == "IndentationError"
    assert run("  x = 1\n y = 2").error.name == "IndentationError"


@pytest.mark.parametrize(
    "start", ["asyncio.create_task(work())", "asyncio.ensure_future(work())", "asyncio.gather(work())"]
)
def test_a_task_that_one_cell_starts_runs_between_cells_and_another_awaits_it(run, start):
    first = run(
        "import asyncio, time\n"
        "async def work():\n    await asyncio.sleep(0.2)\n    print('late')\n    return time.time()\n"
        f"task = {start}"
    )
    assert first.error is None
    time.sleep(0.6)
    second = run("asked = time.time()\nended = await task\nended = ended if isinstance(ended, float) else ended[0]")
    assert (second.stdout, second.error) == ("[late output of cell 1]\nlate\n[end of late output]\n", None)
    assert run("ended < asked").text == "True"


def test_asyncio_run_and_get_event_loop_work_in_plain_cells(run):
    assert run("import asyncio\nasync def f(): return 1\nasyncio.run(f())").text == "1"
    assert run("loop = asyncio.get_event_loop()\nloop.run_until_complete(f())").text == "1"
    assert run("asyncio.run(f()) + await f()").error.name == "RuntimeError"


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("str", "str"),
        ("class K: pass\nK", "__main__.K"),
        ("list(range(40))", "[" + ",\n ".join(map(str, range(40))) + "]"),
        ("{'a' * 30: 1, 'b' * 30: 2, 'c' * 30: 3}", f"{{'{'a' * 30}': 1,\n '{'b' * 30}': 2,\n '{'c' * 30}': 3}}"),
        ("[1, 2]", "[1, 2]"),
        ("'x' * 100", repr("x" * 100)),
    ],
)
def test_values_have_ipythons_text(run, code, text):
    assert run(code).text == text


def test_get_ipython_works_in_the_first_cell(run):
    assert run("get_ipython().run_line_magic('pwd', '') == __import__('os').getcwd()").text == "True"


def test_a_value_whose_repr_raises_is_the_cells_error(run):
    execution = run("class Broken:\n    def __repr__(self): raise ValueError('bad')\nBroken()")
    assert (execution.error.name, execution.error.value, execution.stdout) == ("ValueError", "bad", "")
    assert run("class Silent:\n    def __repr__(self): return None\nSilent()").error.name == "TypeError"


def test_another_form_that_raises_leaves_the_text(run):
    execution = run(
        "class Half:\n    def __repr__(self): return 'half'\n"
        "    def _repr_html_(self): raise ValueError('no html')\nHalf()"
    )
    assert (execution.text, execution.error, execution.stdout) == ("half", None, "")


def test_a_value_that_is_too_large_shows_its_beginning_and_its_size(run):
    text = run("list(range(3_000_000))").text
    assert text.startswith("[0, 1, 2, 3")
    assert text.endswith("of 25888890 bytes left out: write the value to a file)")


def test_a_form_that_is_too_large_is_named_in_the_text(run):
    (result,) = run("from IPython.display import HTML\nHTML('x' * 4_000_000)").results
    assert set(result.data) == {"text/plain"}
    assert "<text/html of 4000000 bytes exceeds the limit" in result.text


def test_the_last_exception_stays_for_debuggers(run):
    run("def f(): 1 / 0\nf()")
    assert run("import sys\ntype(sys.last_value).__name__, sys.last_traceback.tb_frame.f_code.co_name").text == (
        "('ZeroDivisionError', '<module>')"
    )
    printed = run("import traceback\ntraceback.print_last()").stderr
    assert printed.splitlines()[0] == "Traceback (most recent call last):"
    assert "sandbox_runtime" not in printed


@pytest.mark.parametrize(
    ("mode", "texts"),
    [("all", ["1", "2", "3"]), ("last_expr", ["3"]), ("none", []), ("last_expr_or_assign", ["3"])],
)
def test_ast_node_interactivity_decides_which_values_are_shown(run, mode, texts):
    run(f"get_ipython().ast_node_interactivity = {mode!r}")
    assert [result.text for result in run("1\nNone\n2\n3").results] == texts
    assigned = [result.text for result in run("x = 5").results]
    run("get_ipython().ast_node_interactivity = 'last_expr'")
    assert assigned == (["5"] if mode == "last_expr_or_assign" else [])


def test_inspect_finds_the_source_of_functions_and_classes(run):
    run("class A:\n    x = 1")
    run("class B(A):\n    def f(self): return 2\n\n\ndef g(): return 3")
    sources = [
        "class A:\n    x = 1",
        "class B(A):\n    def f(self): return 2",
        "def f(self): return 2",
        "def g(): return 3",
    ]
    run("import inspect")
    assert run("[inspect.getsource(x).strip() for x in (A, B, B.f, g)] == " + repr(sources)).text == "True"


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("[int, str]", "[int, str]"),
        ("{'a': {1: str}}", "{'a': {1: str}}"),
        ("{'pear', 'fig', 'apple'}", "{'apple', 'fig', 'pear'}"),
        ("[{3, 1, 2}]", "[{1, 2, 3}]"),
        ("5;  # no value", None),
        ("5  # not the end;", "5"),
        ("'a;'", "'a;'"),
    ],
)
def test_short_containers_and_semicolons_are_as_in_ipython(run, code, text):
    assert run(code).text == text


def test_earlier_values_and_inputs_have_names(run):
    for code in ("11", "'two'", "None", "3;"):
        run(code)
    assert run("_, __, _1, Out, In[2], _i, _ii").text == "('two', 11, 11, {1: 11, 2: 'two'}, \"'two'\", '3;', 'None')"
    run("_ = 'mine'")
    run("42")
    assert run("_, Out[7]").text == "('mine', 42)"


def test_a_large_value_is_not_kept(run):
    run("import numpy as np\nnp.zeros((70 << 20,), dtype='int8')")
    assert run("1 in Out, _.nbytes >> 20").text == "(False, 70)"


@pytest.mark.parametrize(
    ("code", "stdout", "text"),
    [
        ("pwd", "", "here"),
        ("who int", "number\t \n", None),
        ("pip --version", "pip", None),
        ("%xdel number\n'number' in globals()", "", "False"),
        ("%store number\n%store -r number\nnumber", "Stored 'number' (int)\n", "7"),
        ("%%capture c\nprint('in')\n5", "", None),
    ],
)
def test_magics_of_notebooks(run, code, stdout, text):
    run("number = 7")
    execution = run(code)
    assert execution.error is None
    assert execution.stdout.startswith(stdout)
    assert (execution.text is None) == (text is None)
    if text != "here":
        assert execution.text == text


def test_a_name_hides_a_magic_and_an_unknown_word_is_an_error(run):
    assert run("pwd = 5\npwd").text == "5"
    assert run("pwd").text == "5"
    assert run("undefined").error.name == "NameError"
    assert run("ls.x").error.name == "NameError"


def test_a_display_hook_events_and_transformers_of_the_user_are_called(run):
    assert run("import sys\nsys.displayhook = lambda value: print('hook', value)\n5").stdout == "hook 5\n"
    assert run("6").text == "6"
    run("shell = get_ipython()\ndef after(result): print('after', result.result)")
    run("shell.events.register('post_run_cell', after)")
    assert run("6 * 7").stdout == "after 42\n"
    run("shell.events.unregister('post_run_cell', after)")
    run("shell.input_transformers_cleanup.append(lambda lines: [line.replace('please ', '') for line in lines])")
    assert run("please 8").text == "8"
    run("shell.input_transformers_cleanup.pop()")
    run("shell.display_formatter.formatters['text/plain'].for_type(int, lambda n, p, cycle: p.text(f'int {n}'))")
    assert run("9").text == "int 9"


def test_a_warning_is_shown_in_each_cell(run):
    assert "UserWarning: x" in run("import warnings; warnings.warn('x')").stderr
    assert "UserWarning: x" in run("import warnings; warnings.warn('x')").stderr


def test_a_future_import_may_come_late(run):
    execution = run("x = 1\nfrom __future__ import annotations\ndef f(a: nothing): return a\nf(x)")
    assert (execution.text, execution.error) == ("1", None)


def test_an_empty_figure_has_no_picture(run):
    (result,) = run("import matplotlib.pyplot as plt\nfigure = plt.figure()").results
    assert (result.text, result.png) == ("<Figure size 640x480 with 0 Axes>", None)


def test_a_wide_table_has_the_columns_of_a_notebook(run):
    text = run("import pandas as pd\npd.DataFrame([range(30)])").text
    assert "..." in text
    assert " 29" in text
    assert text.splitlines()[0].endswith("\\")
