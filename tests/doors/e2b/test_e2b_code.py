"""E2B's code interpreter SDK: cells, results, contexts."""

import base64
import threading
import time

import pytest
from e2b import NotFoundException, SandboxException, TimeoutException
from e2b_code_interpreter import Sandbox


def test_a_value_output_and_the_count_of_cells(shared):
    first = shared.run_code("x = 20\nprint('one')\nimport sys\nprint('two', file=sys.stderr)\nx + 1")
    assert (first.text, "".join(first.logs.stdout), "".join(first.logs.stderr)) == ("21", "one\n", "two\n")
    assert first.results[0].is_main_result
    second = shared.run_code("x")
    assert second.text == "20"
    assert second.execution_count == first.execution_count + 1


def test_a_text_has_no_quotes(shared):
    assert shared.run_code("'plain'").text == "plain"


def test_an_error_is_a_part_of_the_execution(shared):
    execution = shared.run_code("def f():\n    return 1 / 0\nf()")
    assert (execution.error.name, execution.error.value) == ("ZeroDivisionError", "division by zero")
    assert "in f" in execution.error.traceback
    assert execution.results == []


def test_output_arrives_while_the_cell_runs(shared):
    arrivals = []
    shared.run_code(
        "import time\nfor i in range(3):\n    print(i, flush=True)\n    time.sleep(0.4)",
        on_stdout=lambda message: arrivals.append((message.line, time.monotonic())),
    )
    assert "".join(line for line, _ in arrivals) == "0\n1\n2\n"
    assert arrivals[-1][1] - arrivals[0][1] > 0.5


def test_callbacks_get_results_and_errors(shared):
    results, errors = [], []
    code = "from IPython.display import display, HTML\ndisplay(HTML('<b>x</b>'))\nraise ValueError('no')"
    shared.run_code(code, on_result=results.append, on_error=errors.append)
    assert [each.html for each in results] == ["<b>x</b>"]
    assert [each.name for each in errors] == ["ValueError"]


def test_a_figure_is_a_picture_and_a_chart(shared):
    code = "import matplotlib.pyplot as plt\nplt.plot([1, 2, 3], [4, 5, 7], label='a')\nplt.title('T')\nplt.show()"
    [result] = shared.run_code(code).results
    assert base64.b64decode(result.png).startswith(b"\x89PNG")
    assert (result.chart.type, result.chart.title) == ("line", "T")
    assert result.chart.elements[0].label == "a"
    assert result.chart.elements[0].points == [(1, 4), (2, 5), (3, 7)]


@pytest.mark.parametrize(
    ("code", "kind", "first"),
    [
        ("plt.bar(['a', 'b'], [1, 2])", "bar", {"label": "a", "group": "", "value": 1}),
        ("plt.pie([1, 3], labels=['a', 'b'])", "pie", {"label": "a", "angle": 90, "radius": 1}),
        ("plt.scatter([1], [2])", "scatter", None),
        ("plt.boxplot([[1, 2, 3]])", "box_and_whisker", None),
    ],
)
def test_each_kind_of_chart(shared, code, kind, first):
    [result] = shared.run_code(f"import matplotlib.pyplot as plt\nplt.figure()\n{code}\nplt.show()").results
    assert result.chart.type == kind
    if first:
        assert vars(result.chart.elements[0]) == pytest.approx(first) if kind == "x" else first


def test_two_axes_are_a_superchart(shared):
    code = "import matplotlib.pyplot as plt\nf, (a, b) = plt.subplots(1, 2)\na.plot([1])\nb.bar(['x'], [1])\nplt.show()"
    [result] = shared.run_code(code).results
    assert [each.type for each in result.chart.elements] == ["line", "bar"]


def test_a_table_has_its_data(shared):
    [result] = shared.run_code("import pandas as pd\npd.DataFrame({'a': [1, 2], 'b': ['x', 'y']})").results
    assert result.data == {"a": [1, 2], "b": ["x", "y"]}
    assert "<table" in result.html


@pytest.mark.parametrize("language", ["js", "javascript", "ts", "typescript"])
def test_other_languages(shared, language):
    execution = shared.run_code("const y = [1, 2].map(n => n * 2); console.log('log'); y.length", language=language)
    assert (execution.text, execution.logs.stdout) == ("2", ["log\n"])


def test_a_language_that_does_not_exist_says_which_do(shared):
    with pytest.raises(SandboxException, match="python, javascript, typescript, bash"):
        shared.run_code("1", language="cobol")


def test_variables_of_the_sandbox_and_of_one_cell(shared):
    shared.run_code("import os")
    read = "os.environ['GREETING'], os.environ.get('ONE')"
    assert shared.run_code(read, envs={"ONE": 'it\'s "1"\n', "GREETING": "bye"}).text == ("('bye', 'it\\'s \"1\"\\n')")
    assert shared.run_code(read).text == "('hello', None)"
    read = "[process.env.GREETING, process.env.ONE].join()"
    assert shared.run_code(read, language="js", envs={"ONE": "a'b"}).text == "hello,a'b"
    assert shared.run_code(read, language="js").text == "hello,"


def test_output_that_comes_late_is_not_lost_before_a_cell_with_variables(shared):
    code = "import threading, time\nthreading.Thread(target=lambda: (time.sleep(0.5), print('late'))).start()"
    shared.run_code(code)
    time.sleep(1.5)
    execution = shared.run_code("import os; os.environ['ONE']", envs={"ONE": "1"})
    assert (execution.text, "late\n" in "".join(execution.logs.stdout)) == ("1", True)


def test_a_context_that_cannot_set_variables_says_so(shared):
    context = shared.create_code_context()
    shared.run_code("import json\njson.loads = None", context=context)
    assert shared.run_code("1", context=context, envs={"A": "1"}).error.name == "EnvironmentError"
    shared.remove_code_context(context)


def test_bash_keeps_its_state_and_takes_variables(shared):
    shared.run_code("n=41\ncd /tmp", language="bash")
    assert "".join(shared.run_code('echo $((n + 1)) "$PWD"', language="bash").logs.stdout) == "42 /tmp\n"
    shown = shared.run_code('echo "$GREETING-$ONE"', language="bash", envs={"ONE": "it's $1", "GREETING": "bye"})
    assert "".join(shown.logs.stdout) == "bye-it's $1\n"
    assert "".join(shared.run_code('echo "$GREETING-$ONE"', language="bash").logs.stdout) == "hello-\n"
    context = shared.create_code_context(language="bash", cwd="/tmp")
    assert (context.language, context.cwd) == ("bash", "/tmp")
    shared.remove_code_context(context)


def test_variables_of_a_cell_that_fails_are_taken_back(shared):
    shared.run_code("import os\n1 / 0", envs={"ONE": "1"})
    assert shared.run_code("'ONE' in os.environ").text == "False"


def test_contexts(shared):
    shared.files.make_dir("project")
    context = shared.create_code_context(cwd="project")
    assert context.language == "python"
    assert context.cwd.endswith("/project")
    shared.run_code("z = 1", context=context)
    assert shared.run_code("import os; z, os.getcwd().rpartition('/')[2]", context=context).text == "(1, 'project')"
    assert shared.run_code("z").error.name == "NameError"
    assert context.id in [each.id for each in shared.list_code_contexts()]
    shared.restart_code_context(context)
    assert shared.run_code("z", context=context).error.name == "NameError"
    shared.remove_code_context(context)
    assert context.id not in [each.id for each in shared.list_code_contexts()]
    with pytest.raises(NotFoundException):
        shared.run_code("1", context=context)


def test_a_context_in_the_home_folder_of_e2b(shared):
    context = shared.create_code_context(cwd="/home/user", language="javascript")
    shared.remove_code_context(context)


def test_a_client_that_gives_up_interrupts_its_cell(shared):
    context = shared.create_code_context()
    with pytest.raises(TimeoutException):
        shared.run_code("state = 'kept'\nwhile True: pass", context=context, timeout=1)
    started = time.monotonic()
    assert shared.run_code("state", context=context).text == "kept"
    assert time.monotonic() - started < 5
    shared.remove_code_context(context)


def test_a_cell_that_waits_is_given_up_and_never_runs(shared):
    context = shared.create_code_context()
    first = threading.Thread(
        target=shared.run_code, args=("import time; time.sleep(3); a = 1",), kwargs={"context": context}
    )
    first.start()
    time.sleep(0.5)
    with pytest.raises(TimeoutException):
        shared.run_code("b = 1", context=context, timeout=1)
    first.join()
    assert shared.run_code("a, 'b' in globals()", context=context).text == "(1, False)"
    shared.remove_code_context(context)


def test_a_sandbox_that_is_killed_ends_its_cell(new):
    sandbox = new()
    threading.Timer(1.5, sandbox.kill).start()
    started = time.monotonic()
    with pytest.raises(TimeoutException):
        sandbox.run_code("import time; time.sleep(60)")
    assert time.monotonic() - started < 20


def test_an_empty_cell_runs_nothing(shared):
    assert shared.run_code("").results == []


def test_silence_is_filled_with_signs_of_life(shared):
    assert shared.run_code("import time; time.sleep(6); 'done'").text == "done"


def test_another_client_connects(shared):
    shared.run_code("shared_value = 'seen'")
    assert Sandbox.connect(shared.sandbox_id, timeout=1200).run_code("shared_value").text == "seen"
