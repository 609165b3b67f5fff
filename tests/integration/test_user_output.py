"""All output of Python cells arrives, in order, before the call returns, whatever the code does to its streams."""

import time

import pytest


@pytest.fixture
def run(sandbox):
    """Runs cells in a context of their own. None of them may lose the context."""
    context = sandbox.contexts.create("python").id

    def run(code, **options):
        execution = sandbox.run_code(code, context=context, **options)
        assert not execution.context_restarted
        return execution

    yield run
    sandbox.contexts.delete(context)


@pytest.mark.parametrize(
    "capture",
    [
        "sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding='utf-8')",
        "sys.stdout = io.TextIOWrapper(sys.stdout.detach(), encoding='utf-8')",
        "sys.stdout = open(sys.stdout.fileno(), 'w', buffering=4096, closefd=False)",
        "sys.stdout = io.StringIO(); print('captured'); sys.stdout = sys.__stdout__",
        "sys.stdout.close()",
        "sys.stdout.reconfigure(encoding='latin-1')",
        "with contextlib.redirect_stdout(io.StringIO()): print('captured')",
    ],
)
def test_replaced_streams_are_flushed_and_the_next_cell_has_its_own(run, capture):
    first = run(f"import contextlib, io, os, sys\n{capture}\nprint('hello')\nkept = 1")
    second = run("print('second', kept)")
    assert (first.stdout, first.error) == ("hello\n", None)
    assert (second.stdout, second.error) == ("second 1\n", None)


def test_a_writer_over_the_cells_buffer_may_be_collected_while_the_next_cell_prints(run):
    run("import io, sys\nsys.stderr = io.TextIOWrapper(sys.stderr.buffer, write_through=True)\nx = sys.stdout.buffer")
    execution = run("import gc, io\nw = io.TextIOWrapper(x)\nprint('a')\ndel w\ngc.collect()\nprint('b')")
    assert (execution.stdout, execution.error) == ("a\nb\n", None)


def test_text_in_the_c_librarys_buffer_arrives_with_its_cell(run):
    code = "import ctypes\nlibc = ctypes.CDLL(None)\nprint('one')\nlibc.printf(b'two')\n"
    assert run(code).stdout == "one\ntwo"
    streamed = []
    started = time.monotonic()
    run(
        f"{code}import time\ntime.sleep(1.5)",
        on_stdout=lambda text: streamed.append((text, time.monotonic() - started)),
    )
    assert "".join(text for text, _ in streamed) == "one\ntwo"
    assert streamed[-1][1] < 1.2


@pytest.mark.parametrize(
    "start",
    [
        "subprocess.run(['echo', 'child'])",
        "os.system('echo child')",
        "os.waitpid(os.posix_spawn('/bin/echo', ['echo', 'child'], os.environ), 0)",
        "os.waitpid(os.fork() or (print('child', flush=True), os._exit(0)), 0)",
        "subprocess.run(['echo', 'child'], stdout=sys.stdout)",
        "os.popen('echo child >&2').read()",
    ],
)
def test_output_of_a_child_keeps_its_place(run, start):
    code = f"import os, subprocess, sys\nfor n in range(5):\n    print('before', n)\n    {start}\n    print('after', n)"
    lines = run(code).stdout.splitlines()
    expected = [[f"before {n}", "child", f"after {n}"] for n in range(5)]
    if "popen" in start:  # it writes to stderr
        expected = [[f"before {n}", f"after {n}"] for n in range(5)]
    assert lines == [line for each in expected for line in each]


def test_stdout_and_stderr_keep_their_order_around_a_child(sandbox, run):
    seen = []
    run(
        "import subprocess, sys\nprint('1')\nprint('2', file=sys.stderr)\nsubprocess.run(['sh', '-c', 'echo 3'])\n"
        "print('4', file=sys.stderr)\nprint('5')",
        on_stdout=seen.append,
        on_stderr=seen.append,
    )
    assert "".join(seen).split() == ["1", "2", "3", "4", "5"]


def test_no_line_of_a_terminated_pool_is_lost(run):
    code = (
        "import multiprocessing as mp\n"
        "def work(x):\n    print('worker', x)\n    return x\n"
        "with mp.get_context('fork').Pool(4) as pool:\n    pool.map(work, range(40))"
    )
    for _ in range(5):
        assert sorted(run(code).stdout.splitlines()) == sorted(f"worker {n}" for n in range(40))


def test_a_forked_child_logs_and_writes_through_streams_that_were_opened_before(run):
    run("import logging, os, sys\nlogging.basicConfig(format='%(message)s')\nout = sys.stdout")
    execution = run(
        "if not os.fork():\n    logging.warning('logged')\n    print('printed', file=out)\n"
        "    print('to stdout', file=sys.__stdout__)\n    os.abort()\nprint(os.wait()[1] & 127)"
    )
    assert execution.stderr == "logged\n"
    assert execution.stdout.splitlines()[-1] == "6"
    assert sorted(execution.stdout.splitlines()[:-1]) == ["printed", "to stdout"]


def test_code_that_sets_its_own_stdin_reads_from_it(run):
    assert run("import io, sys\nsys.stdin = io.StringIO('5\\n6\\n')\nint(input()) + int(input())").text == "11"
    assert run("import sys\nsys.stdin = sys.__stdin__\nsys.stdin.buffer.read(), sys.stdin.read()").text == "(b'', '')"
    assert run("input('name? ')").error.name == "StdinNotAvailable"


def test_a_password_that_is_asked_for_is_an_error_that_says_what_to_do(run):
    error = run("import getpass; getpass.getpass('key: ')").error
    assert (error.name, error.value[:59]) == (
        "StdinNotAvailable",
        "getpass() is not available: a sandbox has no keyboard (the ",
    )
