"""`sandbox run FILE` beside the interpreter itself: the same output, input, errors and exit status."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest

from sandbox_client.cli.options import LOCAL_NOTE

RUN = [sys.executable, "-m", "sandbox_client", "run"]
FACTS = """
import atexit, os, sys, threading, time
print(__file__, __name__, __spec__, __package__, __doc__, sys.argv, sys.path[0], os.getcwd())
print(sys.modules["__main__"].__file__, __builtins__ is not None, sys.stdin.readline())
def late():
    time.sleep(0.2)
    print("thread")
threading.Thread(target=late).start()
atexit.register(print, "atexit")
import helper
from pathlib import Path
print(Path("data.txt").read_text(), helper.VALUE)
sys.exit(7)
"""
ERROR = """
import sys
def deep(): raise ValueError("wrong")
class Weird(Exception): pass
try:
    deep()
except ValueError as error:
    raise Weird("second") from error
"""
SPAWN = """
import multiprocessing
def work(x): return x * 2
if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    with multiprocessing.Pool(1) as pool:
        print(pool.map(work, [1, 2, 3]))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.txt").write_text("data")
    (tmp_path / "helper.py").write_text("VALUE = 42")
    return tmp_path


def sandbox(*words, stdin="", **options):
    done = subprocess.run([*RUN, *words], input=stdin, capture_output=True, text=True, check=False, **options)
    return done.returncode, done.stdout, done.stderr.removeprefix(LOCAL_NOTE)


def plain(program, *words, stdin=""):
    done = subprocess.run([program, *words], input=stdin, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("facts.py", FACTS.encode()),
        ("error.py", ERROR.encode()),
        ("syntax.py", b"print('a')\ndef f(:\n"),
        ("message.py", b"raise SystemExit('a message')"),
        ("latin.py", "# -*- coding: latin-1 -*-\nprint(len('caf\xe9'))".encode("latin-1")),
        ("mark.py", b"\xef\xbb\xbfprint('mark')\r\n"),
        ("spawn.py", SPAWN.encode()),
        ("hook.py", b"import sys\nsys.excepthook = lambda *a: print(a[0].__name__, a[2].tb_lineno)\n1/0"),
    ],
)
def test_a_python_file_ends_as_with_python(folder, name, code):
    (folder / name).write_bytes(code)
    words = (name, "-x", "two words")
    assert sandbox(*words, stdin="line\nrest") == plain(sys.executable, *words, stdin="line\nrest")


def test_other_files_run_as_what_they_are(folder):
    (folder / "a.sh").write_text('#!/bin/sh\nread x; echo "$0 $1 $x"; exit 4')
    assert sandbox("a.sh", "one two", stdin="in\n") == (4, "a.sh one two in\n", "")
    (folder / "a.js").write_text(
        "setTimeout(() => console.log('timer', require('path').basename(__filename)), 100);"
        "process.on('exit', () => console.log(process.argv[2])); process.exitCode = 5"
    )
    assert sandbox("a.js", "arg") == (5, "timer a.js\narg\n", "")
    (folder / "a.ts").write_text("enum A { X = 4 }\nconst n: number = A.X;\nconsole.log(n)")
    assert sandbox("a.ts") == (0, "4\n", "")


_ELEMENT = """/** @jsx h */
const h = (tag, props, ...children) => [tag, props, children];
console.log(JSON.stringify(<p id="x">{process.argv[2]}</p>));
"""
_DECORATED = """function logged(value: any, { name }: any) { return () => console.log("call", name) }
class A { @logged hello() {} }
new A().hello();
interface Unused {
  a: number;
}
throw new Error("here");
"""


@pytest.mark.parametrize("suffix", ["tsx", "jsx"])
def test_files_with_jsx_run_as_their_cells_do(folder, suffix):
    code = _ELEMENT.replace("(tag, props,", "(tag: any, props: any,") if suffix == "tsx" else _ELEMENT
    (folder / f"a.{suffix}").write_text(code)
    assert sandbox(f"a.{suffix}", "arg") == (0, '["p",{"id":"x"},["arg"]]\n', "")


def test_workers_and_forked_programs_are_compiled_too(folder):
    (folder / "worker.ts").write_text(
        "import { parentPort } from 'node:worker_threads'\n"
        "function keep(value: any, _: any) { return value }\n"
        "class Maker { @keep make() { return 'made' } }\n"
        "parentPort ? parentPort.postMessage(new Maker().make()) : process.send!(new Maker().make())\n"
    )
    (folder / "main.ts").write_text(
        "import { Worker } from 'node:worker_threads'\nimport { fork } from 'node:child_process'\n"
        "new Worker(new URL('./worker.ts', import.meta.url)).on('message', (text) => {\n"
        "  console.log('worker', text)\n"
        "  fork('./worker.ts').on('message', (text) => console.log('fork', text))\n"
        "})\n"
    )
    assert sandbox("main.ts") == (0, "worker made\nfork made\n", "")


@pytest.mark.parametrize("suffix", ["ts", "mts", "cts", "tsx"])
def test_files_with_decorators_run_and_their_errors_have_the_lines_as_written(folder, suffix):
    (folder / f"a.{suffix}").write_text(_DECORATED)
    code, out, err = sandbox(f"a.{suffix}")
    assert (code, out) == (1, "call hello\n")
    assert f"a.{suffix}:7" in err


def test_a_file_of_a_module_package_is_a_module(folder):
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "a.tsx").write_text("console.log(typeof require, typeof import.meta.url, await 5)")
    assert sandbox("a.tsx") == (0, "undefined string 5\n", "")
    (folder / "b.tsx").write_text("console.log(typeof require)")
    assert sandbox("b.tsx") == (0, "undefined\n", "")


def test_a_notebook_prints_saves_its_pictures_and_stops_at_an_error(folder):
    cells = [
        "x = 1",
        "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()\ndisplay('shown')\nx + 1",
        "1/0",
        "5",
    ]
    content = {"cells": [{"cell_type": "code", "source": cell} for cell in cells], "metadata": {}, "nbformat": 4}
    (folder / "n.ipynb").write_text(json.dumps(content))
    code, out, err = sandbox("--save-figures", "pictures", "n.ipynb")
    assert (code, out) == (1, "'shown'\n2\n")
    assert "ZeroDivisionError" in err
    assert f"saved pictures{os.sep}figure-1.png" in err
    assert (folder / "pictures/figure-1.png").read_bytes().startswith(b"\x89PNG")


def test_pictures_and_displays_of_a_file_are_kept(folder):
    (folder / "chart.py").write_text(
        "import matplotlib.pyplot as plt\n"
        "from IPython.display import HTML, Markdown, display as show\n"
        "plt.plot([1, 2]); plt.savefig('own.png')\n"
        "plt.figure(); plt.plot([2, 1])\n"
        "display(Markdown('# title')); show({'a': 1}); show(HTML('<b>page</b>'))\n"
    )
    code, out, err = sandbox("chart.py")
    assert (code, out) == (0, "# title\n{'a': 1}\npage\n")
    assert err == "1 picture and 1 page were not saved: --save-figures FOLDER saves them\n"
    code, out, err = sandbox("--save-figures", "out", "chart.py")
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["figure-1.html", "figure-2.png"]


def test_the_time_limit_is_named_and_exits_with_124(folder):
    (folder / "loop.py").write_text("print('begun', flush=True)\nwhile True: pass")
    code, out, err = sandbox("--timeout", "2", "loop.py")
    assert (code, out) == (124, "begun\n")
    assert "time limit" in err
    assert "--timeout" in err


def test_output_arrives_while_the_file_runs_and_ctrl_c_ends_it(folder):
    (folder / "slow.py").write_text("import time\nprint('first')\ntime.sleep(60)")
    running = subprocess.Popen([*RUN, "slow.py"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    watchdog = threading.Timer(50, running.kill)
    watchdog.start()
    assert running.stdout.readline() == "first\n"
    begun = time.monotonic()
    running.send_signal(signal.SIGINT)
    _, err = running.communicate()
    watchdog.cancel()
    assert running.returncode == 130
    assert "KeyboardInterrupt" in err
    assert "runtime" not in err
    assert time.monotonic() - begun < 30


def test_a_reader_that_has_had_enough_ends_the_file(folder):
    (folder / "endless.py").write_text("while True: print('x')")
    head = shutil.which("head")
    command = f"{' '.join(RUN)} endless.py | {head} -2; echo ${{PIPESTATUS[@]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=50, check=False)
    assert done.stdout == "x\nx\n141 0\n"
    assert done.stderr == LOCAL_NOTE


def test_code_on_the_command_line_is_waited_for_as_python_and_node_do(folder):
    code = "import threading, time\nthreading.Thread(target=lambda: (time.sleep(0.3), print('late'))).start()\n'value'"
    assert sandbox("-c", code) == (0, "'value'\nlate\n", "")
    assert sandbox("--language", "javascript", "-c", "setTimeout(() => console.log('late'), 100); 1") == (
        0,
        "1\nlate\n",
        "",
    )
    assert sandbox("-c", "import sys; sys.exit(3)") == (3, "", "")
    code, _, err = sandbox("--timeout", "1", "-c", "while True: pass")
    assert (code, "time limit" in err) == (124, True)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run", "--egress", "none", "net.py"], True),
        (["exec", "--egress", "none", "--", "python3", "net.py"], True),
        (["exec", "--egress", "none", "--", "python3", "-c", "1 / 0"], False),
        (["exec", "--", "sh", "-c", "echo failure in name resolution; exit 3"], False),
    ],
)
def test_a_failure_for_lack_of_a_network_says_so(folder, words, says):
    (folder / "net.py").write_text("import urllib.request\nurllib.request.urlopen('http://a.example')")
    command = [*RUN[:-1], *words[:-1], words[-1].replace("net.py", str(folder / "net.py"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode not in (0, 125)
    assert ("this session has no network" in done.stderr) is says, done.stderr
