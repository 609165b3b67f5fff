"""Limits of a session, each named when it is hit, and what goes on afterwards. A local session for real."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from sandbox_client import InvalidArgument, NotFound, Sandbox, Status

MEMORY = 400 << 20
FILE = 3 << 20
BOMB = "kept = []\nwhile True:\n    kept.append(b'x' * (4 << 20))\n"


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SANDBOX_ZYGOTE_PRELOAD", "json")
        folders = tmp_path_factory.mktemp("workspace"), tmp_path_factory.mktemp("store")
        with Sandbox.local(*folders, memory_limit=MEMORY, file_size_limit=f"{FILE >> 20}Mi") as sandbox:
            yield sandbox


def test_r25_a_memory_bomb_is_told_by_name_and_its_context_runs_again(sandbox):
    other = sandbox.contexts.create().id
    assert sandbox.run_code("kept = 7", context=other).ok
    bomb = sandbox.run_code(BOMB, timeout=60)
    assert (bomb.status, bomb.context_restarted, bomb.exit_code) == (Status.OOM_KILLED, True, 137)
    assert bomb.limit == "memory"
    assert f"the limit of {MEMORY >> 20} MiB" in bomb.error.value
    assert sandbox.run_code("'kept' in globals()").text == "False"
    assert sandbox.run_code("kept", context=other).text == "7"
    sandbox.contexts.delete(other)


def test_children_count_as_much_as_the_cell_that_started_them(sandbox):
    code = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {BOMB!r}])"
    assert sandbox.run_code(code, timeout=60).status is Status.OOM_KILLED


def test_a_command_that_takes_all_memory_is_told_by_name(sandbox):
    result = sandbox.run(["python3", "-c", BOMB], timeout=60)
    assert (result.status, result.exit_code, result.limit) == (Status.OOM_KILLED, 137, "memory")
    assert sandbox.run_code("1 + 1").text == "2"


def test_a_context_below_the_limit_is_left_alone(sandbox):
    code = f"import time\nheld = b'x' * {MEMORY // 2}\ntime.sleep(0.5)\nlen(held)"
    assert sandbox.run_code(code).text == str(MEMORY // 2)
    sandbox.run_code("del held")


def test_interpreters_and_commands_are_the_kernels_first_choice(sandbox):
    code = "open('/proc/self/oom_score_adj').read().strip()"
    assert sandbox.run_code(code).text == "'1000'"
    assert sandbox.run("cat /proc/self/oom_score_adj").stdout == "1000\n"


@pytest.mark.parametrize(
    ("code", "name", "limit"),
    [
        (f"with open('big', 'wb') as file:\n    file.write(b'x' * {FILE + 1})", "OSError", "file_bytes"),
        ("with open('/dev/full', 'w') as file:\n    file.write('x')", "OSError", "disk"),
        ("bytearray(1 << 62)", "MemoryError", "memory"),
        (
            """import resource, threading
before = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (1 << 20, before[1]))
try:
    threading.Thread(target=print).start()
finally:
    resource.setrlimit(resource.RLIMIT_AS, before)""",
            "RuntimeError",
            "processes",
        ),
    ],
)
def test_r25_a_limit_that_the_code_meets_is_named_and_variables_are_kept(sandbox, code, name, limit):
    sandbox.run_code("kept = 5")
    failed = sandbox.run_code(code)
    assert (failed.status, failed.error.name, failed.limit) == (Status.ERROR, name, limit)
    assert "limit" in failed.error.traceback[-1]
    assert sandbox.run_code("kept").text == "5"


def test_a_command_meets_the_limit_of_a_file_too(sandbox):
    result = sandbox.run(f"head -c {FILE + 1} /dev/zero > big")
    assert result.exit_code == 1
    assert "File too large" in result.stderr
    assert sandbox.files.stat("big").size == FILE


def test_a_limit_of_time_is_named(sandbox):
    assert sandbox.run_code("while True: pass", timeout=0.3).limit == "execution_time"
    assert sandbox.run_code("1").limit == ""


def test_a_limit_below_zero_is_refused_by_name(tmp_path):
    with pytest.raises(InvalidArgument) as error:
        Sandbox.local(tmp_path, memory_limit=0)
    assert error.value.field == "memory_limit"


def test_a_context_can_be_deleted_and_restarted_while_it_is_busy(sandbox):
    context = sandbox.contexts.create(env={"KEPT": "yes"}).id
    cell = start_endless_cell(sandbox, context)
    restarted = sandbox.contexts.restart(context)
    ended = cell()
    assert (restarted.id, restarted.execution_count) == (context, 0)
    assert (ended.status, ended.context_restarted, ended.stdout) == (Status.KILLED, True, "on\n")
    assert sandbox.run_code("import os\nos.environ['KEPT']", context=context).text == "'yes'"

    cell = start_endless_cell(sandbox, context)
    sandbox.contexts.delete(context)
    assert cell().status is Status.KILLED
    with pytest.raises(NotFound) as error:
        sandbox.run_code("1", context=context)
    assert error.value.field == "context_id"


def test_fifty_contexts_run_at_once_each_with_its_own_process_folder_and_variables(sandbox):
    sandbox.files.make_directory("a")
    with ThreadPoolExecutor(10) as pool:
        contexts = list(pool.map(lambda n: sandbox.contexts.create(cwd="a", env={"N": str(n)}).id, range(50)))
        code = "import os\nmine = int(os.environ['N'])\n(mine, os.getcwd().rsplit('/')[-1], os.getpid())"
        values = [run.text for run in pool.map(lambda context: sandbox.run_code(code, context=context), contexts)]
        found = [eval(value) for value in values]
        assert [(number, folder) for number, folder, _ in found] == [(number, "a") for number in range(50)]
        assert len({pid for _, _, pid in found}) == 50
        assert [run.text for run in pool.map(lambda c: sandbox.run_code("mine", context=c), contexts)] == [
            str(number) for number in range(50)
        ]
        list(pool.map(sandbox.contexts.delete, contexts[:5]))
    listed = [context.id for context in sandbox.contexts.list()]
    assert listed == ["python", "javascript", "typescript", *contexts[5:]]


def start_endless_cell(sandbox, context):
    """Run a cell that prints `on` and sleeps, in a thread; once it runs, a function that waits for its end."""
    code, running = "import time\nprint('on')\ntime.sleep(60)", threading.Event()
    pool = ThreadPoolExecutor(1)
    future = pool.submit(sandbox.run_code, code, context=context, on_stdout=lambda _text: running.set())
    pool.shutdown(wait=False)
    assert running.wait(20), "the cell never began"
    return lambda: future.result(20)


def test_a_cell_that_times_out_leaves_nothing_of_what_it_started_and_earlier_cells_keep_theirs(sandbox):
    fork = "import os, signal, subprocess, sys, time\nsleep = [sys.executable, '-c', 'import time; time.sleep(60)']\n"
    context = sandbox.contexts.create().id
    assert sandbox.run_code(f"{fork}kept = subprocess.Popen(sleep, start_new_session=True)", context=context).ok
    # Children of the cell, one of which ignores signals and one of which is an orphan in a session of its own.
    started = """
ignoring = subprocess.Popen(sleep, preexec_fn=lambda: [signal.signal(s, signal.SIG_IGN) for s in (2, 15)])
shell = subprocess.run(["sh", "-c", "setsid sleep 60 >/dev/null 2>&1 & echo $!"], stdout=subprocess.PIPE)
orphan = int(shell.stdout)
time.sleep(60)
"""
    assert sandbox.run_code(started, context=context, timeout=4).status is Status.TIMED_OUT
    state = """
def is_alive(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
[is_alive(pid) for pid in (kept.pid, ignoring.pid, orphan)]
"""
    assert sandbox.run_code(state, context=context).text == "[True, False, False]"
    assert sandbox.run_code("kept.kill()\nkept.wait()", context=context).text == "-9"
    sandbox.contexts.delete(context)


SERVER = """
import os, sys, time
while True:
    try:
        os.rename("ask", "asked")
    except FileNotFoundError:
        time.sleep(0.01)
        continue
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        continue
    os.setsid()
    if os.fork():
        os._exit(0)
    with open("job.part", "w") as file:
        file.write(str(os.getpid()))
    os.rename("job.part", "job")
    time.sleep(60)
    os._exit(0)
"""
ASK = """
open("ask", "w").close()
while not os.path.exists("job"):
    time.sleep(0.01)
job = int(open("job").read())
"""


def test_a_job_of_an_earlier_cells_server_outlives_a_later_cells_timeout(sandbox):
    """Even if it is an orphan, in a session of its own, and began after the later cell."""
    context = sandbox.contexts.create().id
    program = f"[sys.executable, '-c', {SERVER!r}], start_new_session=True"
    start = f"import os, subprocess, sys, time\nserver = subprocess.Popen({program})"
    assert sandbox.run_code(start, context=context).ok
    fork = "shell = subprocess.run(['sh', '-c', 'setsid sleep 60 >/dev/null 2>&1 & echo $!'], stdout=subprocess.PIPE)"
    late = f"{ASK}\n{fork}\nown = int(shell.stdout)\ntime.sleep(60)"
    assert sandbox.run_code(late, context=context, timeout=3).status is Status.TIMED_OUT
    state = """
def is_alive(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
[is_alive(pid) for pid in (server.pid, job, own)]
"""
    assert sandbox.run_code(state, context=context).text == "[True, True, False]"
    sandbox.contexts.delete(context)


def test_nothing_of_a_cell_lives_two_seconds_after_its_deadline(sandbox):
    stubborn = "import time\nwhile True:\n    try:\n        time.sleep(60)\n    except BaseException:\n        pass"
    ended = sandbox.run_code(stubborn, timeout=0.5)
    assert (ended.status, ended.context_restarted) == (Status.TIMED_OUT, True)
    assert 1.5 < ended.duration < 0.5 + 2.0 + 1.0, "and a busy machine"
