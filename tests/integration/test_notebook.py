"""The SDK in a real notebook kernel, whose event loop is running while a cell runs."""

import time
from pathlib import Path

import pytest

from tests.support.notebook import open_notebook

BEGIN = "from sandbox_client import Sandbox\nsandbox = Sandbox.local()\nsandbox.run_code('1 + 1').text"


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    with open_notebook(tmp_path_factory.mktemp("notebook")) as notebook:
        begun = notebook.run(BEGIN)
        assert begun.bundles == [{"text/plain": "'2'"}], begun
        yield notebook


def value(notebook, code):
    shown = notebook.run(code)
    assert not shown.error, shown.error
    assert shown.bundles, shown
    return shown.bundles[-1]["text/plain"]


def test_callbacks_print_into_the_cell_that_runs_them(notebook):
    code = "for n in range(3): print(n)"
    assert (
        notebook.run(f"_ = sandbox.run_code({code!r}, on_stdout=lambda text: print(text, end=''))").stdout
        == "0\n1\n2\n"
    )
    assert notebook.run("for event in sandbox.execute('print(5)'): print(type(event).__name__)").stdout == (
        "Started\nStdout\nCompleted\n"
    )


def test_files_and_processes_work(notebook):
    assert value(notebook, "sandbox.files.write('a', b'1'); b''.join(sandbox.files.stream('a'))") == "b'1'"
    assert value(
        notebook, "p = sandbox.processes.start('read x; echo got $x'); p.send_input('y\\n'); p.wait().stdout"
    ) == (r"'got y\n'")
    assert value(notebook, "sandbox.run('echo hi').stdout") == r"'hi\n'"


def test_code_that_awaits_has_the_asynchronous_sandbox(notebook):
    code = """
from sandbox_client import AsyncSandbox
async with await AsyncSandbox.local() as other:
    texts = (await other.run_code("6 * 7")).text, sandbox.run_code("6 * 8").text
texts"""
    shown = notebook.run(code)
    assert (shown.bundles[-1:], shown.error) == ([{"text/plain": "('42', '48')"}], "")


def test_with_closes_the_session_and_its_thread(notebook):
    code = """
import threading
before = threading.active_count()
with Sandbox.local() as one:
    print(one.run_code("1").text)
    folder = one.run("echo $HOME").stdout.strip()
one.close()
import os
print(os.path.exists(folder), threading.active_count() - before)"""
    assert notebook.run(code).stdout == "1\nFalse 0\n"


def test_a_sandbox_that_is_replaced_ends_with_its_processes(notebook):
    code = """
import gc, os, threading, time
one = Sandbox.local()
files = one.files
folder = one.run("echo $HOME").stdout.strip()
one = None
gc.collect()
files.write("still", "here")  # what was made of it keeps it alive
files = None
gc.collect()
def is_gone():
    return not os.path.exists(folder) and [thread.name for thread in threading.enumerate()].count("sandbox-client") == 1
deadline = time.monotonic() + 20
while not is_gone() and time.monotonic() < deadline: time.sleep(0.05)
print(is_gone())"""
    shown = notebook.run(code)
    assert shown.outputs == [("stdout", "True\n")]


@pytest.mark.parametrize(
    "call",
    [
        "sandbox.run_code(CODE)",
        "sandbox.run_code(CODE, on_stdout=print)",
        "list(sandbox.execute(CODE))",
        "sandbox.run(['python3', '-c', CODE])",
        "sandbox.processes.start(['python3', '-c', CODE]).wait()",
    ],
)
def test_an_interrupted_cell_of_the_notebook_leaves_the_sandbox_usable(notebook, call, tmp_path):
    mark = tmp_path / "begun"
    code = f"open({str(mark)!r}, 'w').close(); import time; time.sleep(30)"
    running = notebook.start(f"CODE = {code!r}\n{call}")
    wait_until(mark.exists)
    begun = time.monotonic()
    notebook.manager.interrupt_kernel()
    assert "KeyboardInterrupt" in notebook.finish(running).error
    assert time.monotonic() - begun < 5
    notebook.run("sandbox.contexts.interrupt()")
    assert value(notebook, "sandbox.run_code('1 + 2').text") == "'3'"


CELL = """
import sys
import matplotlib.pyplot as plt
import pandas as pd
print("one")
print("careful", file=sys.stderr)
plt.plot([1, 2])
plt.show()
print("two")
plt.bar(["a"], [3])
plt.show()
pd.DataFrame({"a": [1]})
"""


def test_an_execution_shows_itself_as_the_notebooks_own_cell(notebook):
    shown = notebook.run(f"sandbox.run_code({CELL!r})", timeout=100)
    kinds = [kind for kind, _ in shown.outputs]
    assert kinds == ["stdout", "stderr", "display", "stdout", "display", "display"]
    assert [value for kind, value in shown.outputs if kind == "stdout"] == ["one\n", "two\n"]
    assert shown.outputs[1] == ("stderr", "careful\n")
    first, second, table = shown.bundles
    assert set(first) == set(second) == {"image/png", "text/plain"}
    assert first["image/png"] != second["image/png"]
    assert "<th>a</th>" in table["text/html"]
    assert "<iframe" not in table["text/html"]


def test_an_execution_that_failed_shows_its_error_and_the_cell_itself_ends_well(notebook):
    shown = notebook.run("failed = sandbox.run_code('print(1)\\n1 / 0')\nfailed")
    assert [kind for kind, _ in shown.outputs] == ["stdout", "error"]
    assert "ZeroDivisionError: division by zero" in shown.error
    assert value(notebook, "failed.ok") == "False"


def test_other_values_show_themselves(notebook):
    notebook.run("sandbox.files.write('shown/a.txt', 'x' * 2000)")
    listed = notebook.run("sandbox.files.list('shown')").bundles[0]
    assert "2.0 KiB" in listed["text/plain"]
    assert "<td>shown/a.txt</td>" in listed["text/html"]
    shown = notebook.run("sandbox.run('echo out; ls nope')")
    assert shown.outputs[0][0] == "stdout"
    assert "[exit code 2]\n" in shown.outputs[-1][1]
    assert value(notebook, "sandbox").startswith("<Sandbox 'default', 127.0.0.1:")
    assert value(notebook, "sandbox.processes.start('sleep 30')").endswith(": sleep 30>")
    script = notebook.run("""sandbox.run_code("from IPython.display import HTML\\nHTML('<script>1</script>')")""")
    assert script.bundles[0]["text/html"].startswith('<iframe sandbox="allow-scripts"')


def test_print_shows_what_a_terminal_would(notebook):
    code = "sandbox.run_code(\"import sys; print('a'); print('b', file=sys.stderr); 6 * 7\")"
    assert notebook.run(f"print({code})").outputs == [("stdout", "a\nb\n42\n")]


def wait_until(happened, seconds=30):
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_kernel_ends_and_so_do_its_sessions(tmp_path):
    with open_notebook(tmp_path) as notebook:
        shown = notebook.run(f"{BEGIN}\nfolder = sandbox.run('echo $HOME').stdout.strip()\nfolder")
        folder = Path(shown.bundles[-1]["text/plain"].strip("'"))
        assert folder.exists()
        notebook.client.shutdown()
        wait_until(lambda: not notebook.manager.is_alive())
        wait_until(lambda: not folder.exists())
