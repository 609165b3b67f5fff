"""Small programs that end in different ways, and how each ends under `sandbox run` and under the interpreter itself."""

import re
import shutil
import subprocess
import sys

import pytest

from sandbox_client.cli.options import LOCAL_NOTE

PYTHON = {
    "plain": "print('a'); print('b')",
    "no line break": "print('a', end='')",
    "atexit": "import atexit; atexit.register(print, 'at exit'); print('a')",
    "atexit that fails": "import atexit\natexit.register(lambda: 1 / 0)\nprint('a')",
    "thread": "import threading, time\n"
    "threading.Thread(target=lambda: (time.sleep(0.2), print('late'))).start(); print('a')",
    "daemon thread": "import threading, time\n"
    "threading.Thread(target=lambda: (time.sleep(9), print('never')), daemon=True).start(); print('a')",
    "timer": "import threading; threading.Timer(0.1, print, ('timer',)).start(); print('a')",
    "thread that fails": "import threading; threading.Thread(target=lambda: 1 / 0, name='T').start()",
    "executor": "from concurrent.futures import ThreadPoolExecutor as T; import time\n"
    "T().submit(lambda: (time.sleep(0.2), print('job'))); print('a')",
    "exit 3": "import sys; sys.exit(3)",
    "exit text": "import sys; sys.exit('a message')",
    "exit None": "import sys; sys.exit(None)",
    "exit 256": "import sys; sys.exit(256)",
    "exit -1": "import sys; sys.exit(-1)",
    "exit tuple": "import sys; sys.exit((1, 2))",
    "exit in thread": "import sys, threading; threading.Thread(target=sys.exit, args=(4,)).start()",
    "os._exit": "import os; print('a', flush=True); os._exit(5)",
    "os._exit unflushed": "import os; os._exit(6)",
    "SIGTERM": "import os, signal; print('a', flush=True); os.kill(os.getpid(), signal.SIGTERM)",
    "SIGKILL": "import os; print('a', flush=True); os.kill(os.getpid(), 9)",
    "abort": "import os; print('a', flush=True); os.abort()",
    "handled signal": "import os, signal; signal.signal(15, lambda *_: print('got it')); os.kill(os.getpid(), 15)",
    "KeyboardInterrupt": "raise KeyboardInterrupt",
    "error": "def f(): raise ValueError('wrong')\nf()",
    "syntax error": "print('a'\n",
    "SystemExit subclass": "class E(SystemExit): pass\nraise E(9)",
    "exception group": "raise ExceptionGroup('g', [ValueError('a')])",
    "stderr": "import sys; print('e', file=sys.stderr); print('o')",
    "asyncio": "import asyncio\nasync def main():\n    await asyncio.sleep(0)\n    print('a')\n    raise OSError('o')\n"
    "asyncio.run(main())",
    "child": "import subprocess; print('a', flush=True); subprocess.run(['echo', 'child'])",
    "fork": "import os; pid = os.fork(); os._exit(2) if not pid else print(os.waitpid(pid, 0)[1])",
    "excepthook": "import sys; sys.excepthook = lambda *_: print('hook'); 1 / 0",
    "closed stdout": "import sys; print('a'); sys.stdout.close()",
    "del": "class D:\n    def __del__(self): print('deleted')\nd = D()",
    "input at the end": "try: input()\nexcept EOFError: print('no input')",
}
NODE = {
    "plain": "console.log('a')",
    "timer": "setTimeout(() => console.log('late'), 100); console.log('a')",
    "unref": "setTimeout(() => console.log('never'), 9000).unref(); console.log('a')",
    "exitCode": "process.exitCode = 4; setTimeout(() => console.log('late'), 50)",
    "exit": "process.on('exit', (c) => console.log('exit', c)); setTimeout(() => {}, 9000); process.exit(3)",
    "rejection": "Promise.reject(new Error('unhandled'))",
    "late rejection": "setTimeout(() => Promise.reject(new Error('unhandled')), 50)",
    "handled later": "const p = Promise.reject(new Error('x')); p.catch(() => console.log('caught'))",
    "error": "throw new TypeError('wrong')",
    "error in a timer": "setTimeout(() => { throw new Error('timer') }, 20); console.log('a')",
    "uncaughtException": "process.on('uncaughtException', (e) => console.log('got', e.message)); throw new Error('u')",
    "kill": "console.log('a'); process.kill(process.pid, 'SIGTERM'); setTimeout(() => {}, 5000)",
    "abort": "process.abort()",
    "syntax": "let x = ;",
    "beforeExit": "process.once('beforeExit', () => console.log('before exit'))",
    "stdin": "process.stdin.on('data', () => {}).on('end', () => console.log('end'))",
    "server": "const s = require('http').createServer().listen(0, '127.0.0.1', () => { console.log('up'); s.close() })",
    "await": "(async () => { await new Promise((r) => setTimeout(r, 50)); console.log('done') })()",
}


def compare_python(folder, name):
    """Run one of PYTHON in a folder, with the command and with Python."""
    (folder / "program.py").write_text(PYTHON[name])
    _compare("program.py", sys.executable)


def compare_node(folder, name):
    """Run one of NODE in a folder, with the command and with Node."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node to compare with")
    (folder / "program.js").write_text(NODE[name])
    _compare("program.js", node)


def _compare(path, interpreter):
    """Run a program both ways. Fail if output, exit status or errors differ."""
    code, out, err = _outcome(sys.executable, "-m", "sandbox_client", "run", path)
    wanted_code, wanted_out, wanted_err = _outcome(interpreter, path)
    assert (code, out) == (wanted_code, wanted_out)
    assert _error_lines(err) == _error_lines(wanted_err)
    assert "sandbox_runtime" not in err


def _outcome(*command):
    done = subprocess.run(command, input="", capture_output=True, text=True, check=False, timeout=100)
    # A shell, and `sandbox`, report a signal as 128 and its number.
    code = 128 - done.returncode if done.returncode < 0 else done.returncode
    return code, done.stdout, done.stderr.removeprefix(LOCAL_NOTE)


def _error_lines(text):
    """Return the lines that name errors, without what differs: places, addresses, and a line of ours about a signal."""
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Exit|Interrupt|Group)\b", line)]
    return [re.sub(r" \(.*\)|0x\w+", "", line) for line in lines]
