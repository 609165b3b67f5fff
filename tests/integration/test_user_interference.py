"""No exception, hook or patch of user code breaks the interpreter: its next cell runs, with all variables."""

import time

import pytest


def check_alive(run):
    execution = run("print('alive', kept)\nkept + 1")
    assert execution.error is None
    assert (execution.stdout, execution.text) == ("alive 41\n", "42")


ASYNC_RAISE = """
import ctypes, threading, time
kept = 41
main = threading.main_thread().ident
def throw(after, times=1, error=TimeoutError):
    def later():
        for _ in range(times):
            time.sleep(after)
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(main), ctypes.py_object(error))
    threading.Thread(target=later, daemon=True).start()
"""


def test_a_handler_that_raises_while_the_cell_prints_is_the_cells_own(run):
    code = """
import signal
kept = 41
class TooLong(Exception): pass
def handler(number, frame): raise TooLong
assert signal.signal(signal.SIGALRM, handler) == signal.SIG_DFL
assert signal.getsignal(signal.SIGALRM) is handler
caught = 0
for k in range(60):
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.003 + k * 0.0002)
        while True: print("x" * 400)
    except TooLong: caught += 1
print("caught", caught)
"""
    execution = run(code)
    assert execution.error is None
    assert execution.stdout.endswith("caught 60\n")
    assert set(execution.stdout.replace("caught 60", "")) <= {"x", "\n"}
    check_alive(run)


def test_a_handler_that_raises_between_cells_is_reported_by_the_next(run):
    run("import signal\nkept = 41\ndef late(*_): raise TimeoutError('too slow')\nsignal.signal(signal.SIGALRM, late)")
    run("signal.alarm(1)")
    time.sleep(1.5)
    execution = run("kept")
    assert execution.text == "41"
    assert "The handler of SIGALRM raised an exception while no cell ran" in execution.stderr
    assert "TimeoutError: too slow" in execution.stderr
    assert "signals.py" not in execution.stderr
    check_alive(run)


def test_handlers_with_a_timer_that_never_stops_leave_results_whole(run):
    run("import signal\nkept = 41\nfired = 0\ndef tick(*_):\n    global fired\n    fired += 1\n    print('.', end='')")
    run("signal.signal(signal.SIGALRM, tick); signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)")
    for number in range(20):
        execution = run(f"sum(range(200_000)) * 0 + {number}")
        assert (execution.text, execution.error) == (str(number), None)
    execution = run("signal.setitimer(signal.ITIMER_REAL, 0); fired > 20")
    assert execution.text == "True"
    # The last signal may print after the end of that cell.
    assert run("pass").stdout in ("", "[late output of cell 23]\n.\n[end of late output]\n")
    check_alive(run)


def test_an_exception_from_another_thread_between_cells_loses_nothing(run):
    run(ASYNC_RAISE)
    run("throw(0.2)")
    time.sleep(0.5)
    check_alive(run)


def test_exceptions_from_another_thread_while_the_cell_prints_never_cut_a_frame(run):
    run(ASYNC_RAISE)
    code = "caught = 0\nthrow(0.002, 50)\nend = time.time() + 1\nwhile time.time() < end:\n    try:\n"
    code += "        while time.time() < end: print('x' * 500)\n    except TimeoutError: caught += 1\ncaught > 0"
    execution = run(code)
    assert not execution.context_restarted
    time.sleep(0.3)
    check_alive(run)


@pytest.mark.parametrize(
    "sabotage",
    [
        "import time; time.sleep = lambda s: 1 / 0",
        "import json; json.dumps = json.loads = json.JSONEncoder.encode = None",
        "import os; os.write = os.read = os.getpid = os.stat = None",
        "import io; open = io.open = io.TextIOWrapper = io.BytesIO = None",
        "import threading; threading.Event.wait = threading.Lock = threading.RLock = None",
        "import signal; signal.signal = signal.getsignal = signal.pthread_kill = None",
        "import contextlib, functools; functools.partial = None",
        "import linecache; linecache.cache.clear(); linecache.cache = {}",
        "import os; os.close(0); os.close(1); os.close(2)",
        "import os; n = os.open('/dev/null', os.O_WRONLY); [os.dup2(n, fd) for fd in (0, 1, 2)]",
        "import gc; gc.disable(); gc.set_threshold(1)",
        "import locale; locale.setlocale(locale.LC_ALL, 'C')",
        "import sys; sys.setrecursionlimit(60)",
        "import sys; sys.stdout = sys.stderr = None",
        "import sys; sys.stdout.buffer.raw.close()",
        "import sys; sys.excepthook = sys.unraisablehook = sys.displayhook = None",
        "import sys; sys.settrace(lambda f, *a: 1 / ('sandbox_runtime' not in f.f_code.co_filename) and None)",
        "import sys; sys.setprofile(lambda *a: None)",
        "import sys; del sys.modules['sandbox_link.frames'], sys.modules['json']",
        "class D:\n    def __del__(self): raise ValueError('late')\nd = D(); d.me = d; del d",
        "import builtins; builtins.__import__ = lambda *a, **k: 1 / 0",
        "__name__ = __doc__ = None",
        "import warnings; warnings.simplefilter('error')",
        "import logging; logging.disable(); logging.root.handlers = None",
        "import sys; sys.displayhook = lambda value: 1 / 0",
        "import tokenize, re, ast, inspect; tokenize.generate_tokens = re.compile = ast.parse = None",
        "import builtins; builtins.compile = builtins.eval = None",
        "import sys; sys.setswitchinterval(100); sys.getframe = sys._getframe = None",
        "import traceback; traceback.TracebackException = traceback.format_exception = None",
        "import os, resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))",
        "import os; os.chdir('/'); os.environ.clear()",
        "import asyncio; asyncio.new_event_loop = asyncio.set_event_loop = None",
        "import signal, os; signal.signal(signal.SIGINT, signal.SIG_IGN); signal.pthread_sigmask(0, range(1, 65))",
        "import socket; socket.socket.send = socket.socket.recv = None",
        "import struct, time; struct.pack = struct.Struct = None; time.monotonic = None",
        "import sys; sys.path.clear(); sys.meta_path.clear(); sys.path_hooks.clear()",
        "import faulthandler; faulthandler.enable(); faulthandler.register(10)",
        "del In, Out, _, __, ___, _i, _ii, _iii, _ih, _oh",
        "In = Out = _ih = _oh = _i = None; Out, In",
        "In.clear(); Out.clear(); globals().pop('_i1', None)",
        "get_ipython().history_manager = None",
        "class T:\n    def visit(self, node): raise ValueError('no')\nget_ipython().ast_transformers.append(T())",
        "get_ipython().display_formatter = get_ipython().display_pub = None",
        "import IPython; IPython.get_ipython = IPython.display.display = None",
        "import linecache; linecache.getline = linecache.checkcache = None",
        "import threading\nfor n in range(20): threading.Thread(target=lambda: 1 / 0, daemon=True).start()",
        "import weakref, gc\ngc.callbacks.append(lambda *a: 1 / 0)\ngc.collect()",
        "import sys; sys.unraisablehook = sys.excepthook = lambda *a: 1 / 0",
        "import sys; sys.stdin = None; sys.__stdin__ = None",
        "import os, tempfile; open('full', 'wb').truncate(1 << 30); tempfile.tempdir = '/nowhere'",
        "import atexit, sys; atexit.register(lambda: 1 / 0); sys.exit",
    ],
)
def test_the_next_cell_runs_after(run, sabotage):
    run(f"kept = 41\n{sabotage}")
    check_alive(run)


def test_an_audit_hook_that_raises_fails_the_users_calls_only(run):
    run("import sys\nkept = 41\ndef hook(event, args):\n    if event == 'open' and armed: raise RuntimeError('no')")
    run("armed = False; sys.addaudithook(hook)")
    execution = run("armed = True\ntry:\n    open('/etc/hostname')\nexcept RuntimeError as e: print('refused', e)")
    assert execution.stdout == "refused no\n"
    run("armed = False")
    check_alive(run)


def test_a_trace_function_sees_the_cells_and_not_the_runtime(run):
    run("import sys\nkept = 41\nseen = set()\ndef trace(frame, event, arg): seen.add(frame.f_code.co_filename)")
    run("sys.settrace(trace)")
    run("def f(): return 1\nf()")
    execution = run(
        "sys.settrace(None)\nsorted(name for name in seen if 'sandbox_runtime' in name), any('cell' in s for s in seen)"
    )
    assert execution.text == "([], True)"


def test_a_patched_sleep_counts_only_the_users_calls(run):
    code = "from unittest.mock import patch\nimport time\nwith patch('time.sleep') as m:\n    time.sleep(1)\n"
    assert run(f"{code}    sum(i * i for i in range(2_000_000))\nm.call_count").text == "1"


@pytest.mark.parametrize(
    ("language", "death", "cause"),
    [
        ("python", "import os, threading; threading.Timer(0.3, os._exit, (3,)).start()", "with exit code 3."),
        (
            "python",
            "import os, threading; threading.Timer(0.3, os.kill, (os.getpid(), 9)).start()",
            "by SIGKILL.",
        ),
        ("python", "import signal; kept = signal.setitimer(signal.ITIMER_REAL, 0.3)", "by SIGALRM."),
        ("javascript", "setTimeout(() => process.kill(process.pid, 'SIGKILL'), 300); 1", "by SIGKILL."),
    ],
)
def test_the_next_cell_reports_that_the_interpreter_died_between_cells(sandbox, language, death, cause):
    context = sandbox.contexts.create(language).id
    first = sandbox.run_code(death, language, context=context)
    assert not first.context_restarted
    time.sleep(1)
    seen = [sandbox.run_code("1 + 1", language, context=context) for _ in range(2)]
    assert [execution.text for execution in seen] == ["2", "2"]
    assert [execution.context_restarted for execution in seen] == [True, False]
    notice = seen[0].stderr.splitlines()[-1]  # Node has a word of its own before
    assert notice.startswith("The interpreter ")
    assert notice.endswith(f" since the previous cell, {cause} Its variables are lost.")
    assert seen[1].stderr == ""
    sandbox.contexts.delete(context)
