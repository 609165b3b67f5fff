# ruff: noqa: E501 - a table
"""Programs write in every way. All output arrives before the call returns, in the order in which it was written."""

import pytest

SETUP = """
import codecs, contextlib, ctypes, faulthandler, functools, io, logging, multiprocessing as mp, os, signal, subprocess
import sys, tempfile, threading, time, warnings, concurrent.futures as futures
libc = ctypes.CDLL(None)
fork = mp.get_context("fork")
def wait(pid): return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
def shell(line): subprocess.run(["sh", "-c", line])
class Tee:
    def __init__(self, *streams): self.streams = streams
    def write(self, text):
        for stream in self.streams: stream.write(text)
        return len(text)
    def flush(self):
        for stream in self.streams: stream.flush()
class Lazy(io.TextIOBase):
    def __init__(self, stream): self.stream, self.kept = stream, []
    def write(self, text): self.kept.append(text); return len(text)
    def flush(self):
        self.stream.write("".join(self.kept)); self.kept.clear(); self.stream.flush()
def say(x): print("w", x)
def crash(x):
    print("w", x)
    os.abort()
"""
# Name, code, standard output, standard error. "12" stands for the lines 1 and 2, in this order.
PROGRAMS = [
    ("printf between prints", "print(1); libc.printf(b'2\\n'); print(3); libc.printf(b'4\\n'); print(5)", "12345", ""),
    ("puts without flush", "print(1); libc.puts(b'2')", "12", ""),
    ("C first", "libc.puts(b'1'); print(2)", "12", ""),
    ("C, then stderr of Python", "libc.puts(b'1'); print(2, file=sys.stderr)", "1", "2"),
    ("C around a child", "libc.puts(b'1'); shell('echo 2'); libc.puts(b'3'); shell('echo 4')", "1234", ""),
    ("Python, C, child", "print(1); libc.puts(b'2'); shell('echo 3'); print(4)", "1234", ""),
    ("C in a thread", "t = threading.Thread(target=libc.puts, args=(b'1',)); t.start(); t.join(); print(2)", "12", ""),
    (
        "C in a forked child",
        "if not os.fork(): libc.puts(b'1'); libc.fflush(None); os._exit(0)\nos.wait(); print(2)",
        "12",
        "",
    ),
    (
        "C text before a fork is written once",
        "libc.puts(b'1')\nif not os.fork(): libc.fflush(None); os._exit(0)\nos.wait(); print(2)",
        "12",
        "",
    ),
    ("C write", "print(1); libc.write(1, b'2\\n', 2); print(3)", "123", ""),
    ("os.write", "print(1); os.write(1, b'2\\n'); print(3); os.write(1, b'4\\n'); print(5)", "12345", ""),
    ("os.write of the stream's number", "print(1); os.write(sys.stdout.fileno(), b'2\\n'); print(3)", "123", ""),
    ("os.write to stderr", "os.write(2, b'1\\n'); print(2, file=sys.stderr); os.write(2, b'3\\n')", "", "123"),
    (
        "a descriptor that was duplicated",
        "f = os.fdopen(os.dup(1), 'w')\nprint(1)\nf.write('2\\n'); f.close(); print(3)",
        "123",
        "",
    ),
    (
        "an open of the descriptor",
        "print(1)\nwith open(1, 'w', closefd=False) as f: f.write('2\\n')\nprint(3)",
        "123",
        "",
    ),
    ("an open of /dev/stdout", "print(1)\nwith open('/dev/stdout', 'w') as f: f.write('2\\n')\nprint(3)", "123", ""),
    ("an open of /dev/fd/2", "with open('/dev/fd/2', 'w') as f: f.write('1\\n')\nprint(2, file=sys.stderr)", "", "12"),
    ("subprocess", "print(1); subprocess.run(['echo', '2']); print(3)", "123", ""),
    (
        "subprocess with a pipe",
        "p = subprocess.Popen(['cat'], stdin=-1)\nprint(1); p.communicate(b'2\\n'); print(3)",
        "123",
        "",
    ),
    (
        "subprocess that answers each line",
        (
            "p = subprocess.Popen([sys.executable, '-uc', 'import sys, os\\nfor line in sys.stdin: print(line, end=\"\"); os.kill(%d, 10)' % os.getpid()], stdin=-1, bufsize=0)\n"
            "answered = threading.Semaphore(0); old = signal.signal(signal.SIGUSR1, lambda *_: answered.release())\n"
            "for i in range(1, 60, 2):\n    print(i); p.stdin.write(b'%d\\n' % (i + 1)); answered.acquire(timeout=9)\n"
            "p.communicate(); signal.signal(signal.SIGUSR1, old); print(61)"
        ),
        ",".join(map(str, range(1, 62))),
        "",
    ),
    (
        "forked child that answers",
        (
            "r, w = os.pipe(); back, answer = os.pipe()\nif not os.fork():\n    os.close(w)\n"
            "    while os.read(r, 1): print(2); os.write(answer, b'x')\n    os._exit(0)\n"
            "for _ in range(20): print(1); os.write(w, b'x'); os.read(back, 1)\nos.close(w); os.wait(); print(3)"
        ),
        "12" * 20 + "3",
        "",
    ),
    (
        "subprocess to our stream",
        "print(1); subprocess.run(['echo', '2'], stdout=sys.stdout, stderr=sys.stderr); print(3)",
        "123",
        "",
    ),
    (
        "subprocess, stderr joined",
        "print(1); subprocess.run(['sh', '-c', 'echo 2 >&2'], stderr=subprocess.STDOUT); print(3)",
        "123",
        "",
    ),
    ("a child of a child", "print(1); shell('sh -c \"echo 2; (sleep 0.2; echo 3)\"'); print(4)", "1234", ""),
    ("many children", "for n in range(1, 9, 2): print(n); shell(f'echo {n + 1}')", "12345678", ""),
    ("os.system", "print(1); os.system('echo 2'); print(3)", "123", ""),
    ("os.spawnvp", "print(1); os.spawnvp(os.P_WAIT, 'echo', ['echo', '2']); print(3)", "123", ""),
    ("os.posix_spawn", "print(1); wait(os.posix_spawn('/bin/echo', ['echo', '2'], {})); print(3)", "123", ""),
    ("a shell line", "print(1)\n!echo 2\nprint(3)", "123", ""),
    ("a shell cell", "%%bash\necho 1\necho 2", "12", ""),
    (
        "a Python child that crashes",
        "print(1); subprocess.run([sys.executable, '-c', 'import os; print(2, flush=True); os.abort()']); print(3)",
        "123",
        "",
    ),
    ("fork, print and leave", "print(1)\nif not os.fork(): print(2); os._exit(0)\nos.wait(); print(3)", "123", ""),
    (
        "fork with text without end of line",
        "print(1)\nif not os.fork(): sys.stdout.write('2\\n'); sys.stdout.flush(); os._exit(0)\nos.wait(); print(3)",
        "123",
        "",
    ),
    ("fork, text in the parent's buffer", "print(1)\nif not os.fork(): os._exit(0)\nos.wait(); print(2)", "12", ""),
    ("fork and abort", "print(1)\nif not os.fork(): print(2); os.abort()\nos.wait(); print(3)", "123", ""),
    (
        "fork and SIGKILL",
        "print(1)\nif not os.fork(): print(2); os.kill(os.getpid(), 9)\nos.wait(); print(3)",
        "123",
        "",
    ),
    (
        "fork and a segmentation fault",
        "print(1)\nif not os.fork(): print(2); ctypes.string_at(0)\nos.wait(); print(3)",
        "123",
        "",
    ),
    (
        "fork and sys.exit",
        "print(1)\npid = os.fork()\nif not pid: print(2); sys.exit(0)\nwait(pid); print(3)",
        "123",
        "",
    ),
    (
        "fork of a fork",
        "if not os.fork():\n    print(1)\n    if not os.fork(): print(2); os._exit(0)\n    os.wait(); print(3); os._exit(0)\nos.wait(); print(4)",
        "1234",
        "",
    ),
    (
        "fork and a replaced stream",
        "sys.stdout = Lazy(sys.stdout)\nprint(1)\nif not os.fork(): print(2); sys.stdout.flush(); os._exit(0)\nos.wait(); print(3)",
        "123",
        "",
    ),
    ("fork and exec", "print(1)\nif not os.fork(): os.execvp('echo', ['echo', '2'])\nos.wait(); print(3)", "123", ""),
    (
        "fork in a thread",
        "def f():\n    if not os.fork(): print(1); os._exit(0)\n    os.wait()\nt = threading.Thread(target=f); t.start(); t.join(); print(2)",
        "12",
        "",
    ),
    (
        "multiprocessing.Process",
        "print(1); p = fork.Process(target=print, args=(2,)); p.start(); p.join(); print(3)",
        "123",
        "",
    ),
    (
        "a process that crashes",
        "p = fork.Process(target=crash, args=(1,)); p.start(); p.join(); print('w', p.exitcode)",
        "w 1,w -6",
        "",
    ),
    (
        "a spawned process that crashes",
        "p = mp.get_context('spawn').Process(target=crash, args=(1,)); p.start(); p.join(); print('w', p.exitcode)",
        "w 1,w -6",
        "",
    ),
    (
        "a pool of one, terminated",
        "with fork.Pool(1) as pool: pool.map(say, range(3))\nprint('w', 3)",
        "w 0,w 1,w 2,w 3",
        "",
    ),
    (
        "a spawned pool, terminated",
        "with mp.get_context('spawn').Pool(1) as pool: pool.map(say, range(2))\nprint('w', 2)",
        "w 0,w 1,w 2",
        "",
    ),
    (
        "an executor of processes",
        "with futures.ProcessPoolExecutor(1, mp_context=fork) as e: list(e.map(say, range(2)))\nprint('w', 2)",
        "w 0,w 1,w 2",
        "",
    ),
    (
        "an executor of threads",
        "with futures.ThreadPoolExecutor(1) as e: list(e.map(say, range(2)))\nprint('w', 2)",
        "w 0,w 1,w 2",
        "",
    ),
    (
        "logging to stderr",
        "logging.basicConfig(format='%(message)s', force=True); logging.warning('1'); print(2, file=sys.stderr); logging.error('3')",
        "",
        "123",
    ),
    (
        "logging to stdout",
        "logging.basicConfig(stream=sys.stdout, format='%(message)s', force=True); print(1); logging.warning('2'); shell('echo 3'); logging.warning('4')",
        "1234",
        "",
    ),
    (
        "warnings",
        "print(1, file=sys.stderr)\nwarnings.showwarning = lambda m, *_: print(m, file=sys.stderr)\nwarnings.warn('2')\nprint(3, file=sys.stderr)",
        "",
        "123",
    ),
    (
        "a TextIOWrapper over the buffer",
        "sys.stdout = io.TextIOWrapper(sys.stdout.buffer); print(1); shell('echo 2'); print(3)",
        "123",
        "",
    ),
    (
        "a TextIOWrapper over what was detached",
        "sys.stdout = io.TextIOWrapper(sys.stdout.detach()); print(1); shell('echo 2'); print(3)",
        "123",
        "",
    ),
    (
        "a TextIOWrapper in a local variable",
        "w = io.TextIOWrapper(sys.stdout.buffer); w.write('1\\n'); w.flush(); print(2); shell('echo 3')",
        "123",
        "",
    ),
    (
        "the buffer itself",
        "print(1); sys.stdout.flush(); sys.stdout.buffer.write(b'2\\n'); sys.stdout.buffer.flush(); print(3)",
        "123",
        "",
    ),
    (
        "the buffer without flush",
        "sys.stdout.buffer.write(b'1\\n'); shell('echo 2'); sys.stdout.buffer.write(b'3\\n')",
        "123",
        "",
    ),
    (
        "a codecs writer",
        "sys.stdout = codecs.getwriter('utf-8')(sys.stdout.buffer); print(1); shell('echo 2'); print(3)",
        "123",
        "",
    ),
    (
        "a codecs writer over what was detached",
        "sys.stdout = codecs.getwriter('utf-8')(sys.stdout.detach()); print(1); shell('echo 2'); print(3)",
        "123",
        "",
    ),
    ("a tee", "sys.stdout = Tee(sys.stdout, io.StringIO()); print(1); shell('echo 2'); print(3)", "123", ""),
    ("a tee to stderr", "sys.stdout = Tee(sys.__stdout__, sys.__stderr__); print(1); print(2)", "12", "12"),
    (
        "a stream that keeps until flush",
        "sys.stdout = Lazy(sys.stdout); print(1); shell('echo 2'); print(3)",
        "123",
        "",
    ),
    ("a stream that keeps, at an error", "sys.stdout = Lazy(sys.stdout); print(1); 1 / 0", "1", ""),
    (
        "a buffered file over the descriptor",
        "sys.stdout = os.fdopen(1, 'w', closefd=False); print(1); shell('echo 2'); print(3)",
        "123",
        "",
    ),
    (
        "redirect_stdout to StringIO",
        "print(1)\nwith contextlib.redirect_stdout(io.StringIO()) as s: print(2)\nprint(3); print(s.getvalue(), end='')",
        "132",
        "",
    ),
    (
        "redirect_stdout to stderr",
        "with contextlib.redirect_stdout(sys.stderr): print(1); print(2)\nprint(3, file=sys.stderr)",
        "",
        "123",
    ),
    ("StringIO left behind", "print(1); sys.stdout = io.StringIO(); print('lost')", "1", ""),
    (
        "print to __stdout__",
        "sys.stdout = io.StringIO(); print('lost'); print(1, file=sys.__stdout__); shell('echo 2'); print(3, file=sys.__stdout__)",
        "123",
        "",
    ),
    (
        "stdout restored",
        "old, sys.stdout = sys.stdout, io.StringIO(); print('lost'); sys.stdout = old; print(1); shell('echo 2')",
        "12",
        "",
    ),
    ("line buffering", "sys.stdout.reconfigure(line_buffering=True); print(1); shell('echo 2'); print(3)", "123", ""),
    ("write through", "sys.stdout.reconfigure(write_through=True); print(1); shell('echo 2'); print(3)", "123", ""),
    ("writelines", "sys.stdout.writelines(['1\\n', '2\\n']); shell('echo 3')", "123", ""),
    ("no end of line", "print('1', end=''); shell('printf 2'); print('3', end='')", "123=", ""),
    (
        "threads that print lines",
        "ts = [threading.Thread(target=sys.stdout.write, args=('9\\n',)) for _ in range(9)]\nfor t in ts: t.start()\nfor t in ts: t.join()",
        "999999999",
        "",
    ),
    (
        "a thread, then the cell",
        "t = threading.Thread(target=lambda: (print(1), shell('echo 2'))); t.start(); t.join(); print(3)",
        "123",
        "",
    ),
    ("an error after output", "print(1); libc.puts(b'2'); raise ValueError", "12", ""),
    ("sys.exit after output", "print(1); libc.puts(b'2'); sys.exit(3)", "12", ""),
    (
        "a traceback that is printed",
        "import traceback\nprint(1, file=sys.stderr)\ntry: 1 / 0\nexcept Exception: print(traceback.format_exc().splitlines()[-1][:1], file=sys.stderr)\nprint(2, file=sys.stderr)",
        "",
        "1,Z,2",
    ),
    (
        "descriptor 1 replaced and restored",
        "old = os.dup(1); t = tempfile.TemporaryFile(); os.dup2(t.fileno(), 1); shell('echo lost'); os.dup2(old, 1); print(1); shell('echo 2')",
        "12",
        "",
    ),
    ("descriptor 1 closed", "print(1); os.close(1); print(2)", "12", ""),
    (
        "a signal handler",
        "signal.signal(signal.SIGUSR1, lambda *_: print(2)); print(1); os.kill(os.getpid(), signal.SIGUSR1); print(3)",
        "123",
        "",
    ),
    ("much text around a child", "for n in range(3): print('x' * 300_000); shell('echo y')", "X,y,X,y,X,y", ""),
    (
        "a generator's finally",
        "def g():\n    try: yield\n    finally: print(2)\nx = g(); next(x); print(1); del x; print(3)",
        "123",
        "",
    ),
    ("input of a child", "print(1); subprocess.run(['cat'], input=b'2\\n'); print(3)", "123", ""),
    (
        "a child in the background",
        "p = subprocess.Popen(['sh', '-c', 'echo 1; sleep 0.3; echo 2']); p.wait(); print(3)",
        "123",
        "",
    ),
    (
        "tqdm's way",
        "for n in range(3): sys.stderr.write(f'\\r{n}'); sys.stderr.flush()\nprint('\\n9', file=sys.stderr)",
        "",
        "\\r0\\r1\\r2,9",
    ),
    (
        "a C library that was built here",
        "print(1); own = ctypes.CDLL('./libown.so'); own.hello(b'2'); print(3); own.hello(b'4'); print(5)",
        "12345",
        "",
    ),
    (
        "faulthandler in a child",
        "print(1)\nif not os.fork(): faulthandler.enable(sys.stderr); print(2); os.abort()\nos.wait(); print(3)",
        "123",
        None,
    ),
    ("faulthandler's traceback", "print(1); faulthandler.dump_traceback(sys.stderr); print(2)", "12", None),
    (
        "a terminal of its own",
        "import pty\nprint(1); pty.spawn(['echo', '2'], lambda fd: os.read(fd, 99)); print(3)",
        None,
        "",
    ),
]


@pytest.fixture(scope="module")
def run(sandbox):
    """Runs cells in one context: what a program does to its streams must not reach the next one."""
    context = sandbox.contexts.create("python").id
    assert sandbox.run_code(SETUP, context=context).error is None
    return lambda code, **options: sandbox.run_code(code, context=context, timeout=60, **options)


def _lines(text):
    if "," in text or " " in text:
        parts = text.split(",")
    elif text.endswith("="):
        return text[:-1]
    else:
        parts = list(text)
    return "".join(f"{part}\n" for part in parts).replace("\\r", "\r").replace("X", "x" * 300_000)


@pytest.mark.parametrize(("code", "out", "err"), [pytest.param(*each[1:], id=each[0]) for each in PROGRAMS])
def test_all_output_arrives_in_order(sandbox, run, code, out, err):
    if "libown" in code:
        sandbox.files.write("own.c", "#include <stdio.h>\nvoid hello(char *text) { puts(text); }")
        if not sandbox.run("cc -shared -fPIC -o libown.so own.c").ok:
            pytest.skip("there is no C compiler")
    streamed = []
    execution = run(code, on_stdout=streamed.append)
    expected = [execution.stdout if out is None else _lines(out), execution.stderr if err is None else _lines(err)]
    assert [execution.stdout, execution.stderr] == expected
    if out is None:
        assert execution.stdout.split() == ["1", "2", "3"]
    if err is None:
        assert "most recent call first" in execution.stderr
    assert "".join(streamed) == execution.stdout
    assert not execution.context_restarted


def test_stdout_and_stderr_of_python_keep_their_order_while_a_child_lives(run):
    execution = run(
        "p = subprocess.Popen(['sleep', '100'])\n"
        "for i in range(200): print(i); print(i, file=sys.stderr)\n"
        "p.kill(); p.wait()"
    )
    assert execution.stdout == execution.stderr == "".join(f"{i}\n" for i in range(200))
    kinds = [kind for kind, _size in execution.order if kind != "result"]
    assert kinds == ["stdout", "stderr"] * 200


def test_a_child_that_makes_the_pipe_non_blocking_neither_fails_nor_doubles_a_print(run):
    """Node and others do so with the pipe that they share with Python."""
    execution = run(
        "p = subprocess.Popen(['sleep', '100'])\n"
        "os.set_blocking(1, False); os.set_blocking(2, False)\n"
        "for i in range(5): print(str(i) * 500_000)\n"
        "p.kill(); p.wait()"
    )
    assert execution.error is None
    assert execution.stdout == "".join(f"{str(i) * 500_000}\n" for i in range(5))


def test_a_child_that_fills_a_pipe_without_a_pause_does_not_hold_up_each_print(run):
    execution = run(
        "p = subprocess.Popen(['sh', '-c', 'yes >&2'])\n"
        "start = time.monotonic()\n"
        "for i in range(20): print(i); print('e', file=sys.stderr)\n"
        "spent = time.monotonic() - start\n"
        "p.kill(); p.wait(); print(spent)"
    )
    assert execution.error is None
    assert float(execution.stdout.split()[-1]) < 10


def test_a_child_that_lives_does_not_make_prints_slow(sandbox):
    context = sandbox.contexts.create("python").id

    def run(code):
        return sandbox.run_code(code, context=context)

    run("import subprocess, time")
    seconds = "start = time.monotonic()\nfor i in range(50_000): print(i)\nspent = time.monotonic() - start"
    run(f"p = subprocess.Popen(['sleep', '100'])\n{seconds}\np.kill(); p.wait()")
    # 0.3 s on a quiet machine. A system call and a wait for its reader per line would take over 5 s.
    assert float(run("spent").text) < 3
    run(f"subprocess.run('true'); time.sleep(0.2)\n{seconds}")
    assert float(run("spent").text) < 1
    sandbox.contexts.delete(context)


def test_streams_and_handlers_of_an_earlier_cell_keep_the_order_too(sandbox):
    context = sandbox.contexts.create("python").id

    def run(code):
        return sandbox.run_code(code, context=context)

    run(f"{SETUP}\nlogging.basicConfig(format='%(message)s'); out, err, tee = sys.stdout, sys.stderr, Tee(sys.stdout)")
    for _ in range(2):
        execution = run("logging.warning('1'); shell('echo 2 >&2'); logging.warning('3'); print(4, file=err)")
        assert execution.stderr == "1\n2\n3\n4\n"
        execution = run("print(1, file=out); shell('echo 2'); print(3, file=tee); os.write(1, b'4\\n'); print(5)")
        assert execution.stdout == "1\n2\n3\n4\n5\n"
        run("f = os.fdopen(os.dup(1), 'w', 1)")
        assert run("print(1); f.write('2\\n')").stdout.count("\n") == 2
    sandbox.contexts.delete(context)


def test_descriptors_that_a_cell_closes_or_replaces_are_there_in_the_next(run):
    assert run("os.close(1); os.close(2); kept = open('taken', 'w'); os.close(0)").error is None
    execution = run("print(1); shell('cat; echo 2; echo 3 >&2'); print(4)")
    assert (execution.stdout, execution.stderr) == ("1\n2\n4\n", "3\n")


def test_pickles_of_the_functions_that_are_watched_work(run):
    assert run("import pickle\npickle.loads(pickle.dumps(os.write)) is os.write").text == "True"
