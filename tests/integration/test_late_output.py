"""Output that comes after the end of its cell appears in the next call of its context, marked as that cell's."""

import asyncio
import time

import pytest

from sandbox_client import AsyncSandbox
from sandbox_client.tools import SandboxTools

END = "[end of late output]\n"
SECONDS = 0.5


@pytest.fixture(params=["python"])
def run(sandbox, request):
    context = sandbox.contexts.create(request.param).id
    # The first cell of a context may take longer than the others, so that it is not late.
    sandbox.run_code("0", context=context)
    yield lambda code: sandbox.run_code(code, context=context)
    sandbox.contexts.delete(context)


def settled(run, code="'own'", until="late output", seconds=30):
    """Runs a cell until one gets late output. A busy machine may need longer than the code says."""
    deadline = time.monotonic() + seconds
    while True:
        time.sleep(1)
        execution = run(code)
        if until in execution.stdout + execution.stderr or time.monotonic() > deadline:
            return execution


in_javascript = pytest.mark.parametrize("run", ["javascript"], indirect=True)
START = {
    "a thread": f"import threading\nthreading.Timer({SECONDS}, lambda: print('late')).start()",
    "a line without end": f"import threading\nthreading.Timer({SECONDS}, lambda: print('late', end='')).start()",
    "a task": (
        f"import asyncio\nasync def work():\n    await asyncio.sleep({SECONDS})\n    print('late')\n"
        "task = asyncio.create_task(work())"
    ),
    "a child": f"import subprocess\nchild = subprocess.Popen(['sh', '-c', 'sleep {SECONDS}; echo late'])",
}


@pytest.mark.parametrize("start", START.values(), ids=START)
def test_the_next_cell_has_late_output_before_its_own(run, start):
    first = run(start)
    assert (first.ok, first.stdout) == (True, "")
    second = settled(run, "print('own'); 5")
    # What a child prints counts as output of the last cell, and a busy machine may need another one.
    stdout = second.stdout.replace("cell 3", "cell 2") if "child" in start else second.stdout
    assert stdout == f"[late output of cell 2]\nlate\n{END}own\n"
    assert second.text == "5"
    assert "late" not in run("print('own')").stdout


@in_javascript
@pytest.mark.parametrize(
    "start",
    [
        "setTimeout(() => console.log('late'), 500); 0",
        "void (async () => { await new Promise((r) => setTimeout(r, 500)); console.log('late') })(); 0",
        "require('fs').readFile('/dev/null', () => setTimeout(() => process.stdout.write('late'), 500)); 0",
        "require('child_process').exec('sleep 0.5; echo late', (_, out) => console.log(out.trim())); 0",
    ],
    ids=["timer", "async function", "callback", "child"],
)
def test_javascript_prints_late_output_first_too(run, start):
    assert run(start).stdout == ""
    second = settled(run, "console.log('own'); 5")
    assert second.stdout == f"[late output of cell 2]\nlate\n{END}own\n"
    assert second.text == "5"


@pytest.mark.parametrize("run", ["python", "javascript"], indirect=True)
def test_a_late_display_is_shown_between_the_marks(run, request):
    if request.node.callspec.params["run"] == "python":
        run("import threading\nthreading.Timer(0.5, lambda: display({'a': 1})).start()")
    else:
        run("setTimeout(() => display({a: 1}), 500); 0")
    shown = str(settled(run))
    assert shown.startswith("[late output of cell 2]\n")
    assert [line.replace(" ", "") for line in shown.splitlines()[1:]] in (
        ["{'a':1}", END.strip().replace(" ", ""), "'own'"],
        ["{a:1}", END.strip().replace(" ", ""), "'own'"],
    )


@pytest.mark.parametrize(
    ("run", "start", "reported"),
    [
        (
            "python",
            "import threading\nthreading.Timer(0.5, lambda: 1 / 0).start()",
            "ZeroDivisionError: division by zero\n",
        ),
        ("javascript", "setTimeout(() => Promise.reject(new Error('boo')), 500); 0", "Uncaught Error: boo\n"),
        ("javascript", "setTimeout(() => { throw new Error('boo') }, 500); 0", "Uncaught Error: boo\n"),
        ("javascript", "setTimeout(() => process.exit(3), 500); 0", "process.exit(3) was called after the end"),
    ],
    indirect=["run"],
)
def test_a_late_error_is_reported_with_the_next_call(run, start, reported):
    run(start)
    second = settled(run)
    assert second.ok
    assert second.stderr.startswith("[late output of cell 2]\n")
    assert reported in second.stderr
    assert second.stderr.endswith(END)
    assert (second.text, second.stdout) == ("'own'", "")


@in_javascript
def test_an_unhandled_rejection_is_reported_at_the_latest_with_the_next_call(run):
    first = run("Promise.reject(new Error('boo')); 0")
    second = run("1")
    assert (first.stderr + second.stderr).count("Uncaught Error: boo\n    at cell-2.js:1:16\n") == 1


def test_threads_of_an_earlier_cell_do_not_mix_with_the_running_one(run):
    run(
        "import threading\ngo = threading.Event()\ndef work():\n    go.wait(60)\n    for i in range(3):\n"
        "        print('from', 'the', 'thread', i)\nthread = threading.Thread(target=work)\nthread.start()"
    )
    second = run("print('before'); go.set(); thread.join(); print('after')")
    lines = "".join(f"from the thread {i}\n" for i in range(3))
    assert second.stdout == f"before\n[late output of cell 2]\n{lines}{END}after\n"


@in_javascript
def test_timers_of_an_earlier_cell_do_not_mix_with_the_running_one(run):
    run(
        "let release; const waiting = new Promise((r) => (release = r)); void waiting.then(() => console.log('old')); 0"
    )
    second = run("console.log('before'); release(); await new Promise((r) => setTimeout(r, 50)); console.log('after')")
    assert second.stdout == f"before\n[late output of cell 2]\nold\n{END}after\n"
    run("setTimeout(() => process.exit(4), 500); 0")
    assert run("await new Promise((r) => setTimeout(r, 1500)); 'not ended'").text == "'not ended'"


def test_pools_and_awaited_tasks_print_for_the_cell_that_uses_them(run):
    run(
        "import asyncio, concurrent.futures, multiprocessing.pool\n"
        "pool, other = concurrent.futures.ThreadPoolExecutor(1), multiprocessing.pool.ThreadPool(1)\n"
        "list(pool.map(str, [1])), other.map(str, [1])"
    )
    second = run("list(pool.map(print, 'ab')); other.map(print, 'cd'); await asyncio.to_thread(print, 'e')")
    assert second.stdout == "a\nb\nc\nd\ne\n"
    run("async def work():\n    await asyncio.sleep(0.5)\n    print('done')\ntask = asyncio.create_task(work())")
    assert run("await task").stdout == "done\n"


@pytest.mark.parametrize(("size", "is_cut"), [(1 << 20, False), ((1 << 20) + 1, True)])
def test_very_long_late_output_says_how_much_is_missing(run, size, is_cut):
    run(f"import threading\nthreading.Timer(0.5, lambda: print('x' * {size - 1})).start()")
    text = settled(run).stdout
    assert ("[... 1 bytes of late output left out ...]\n" in text) == is_cut
    assert text.endswith(f"xxx\n{END}")
    assert text.count("x") == size - 1 - is_cut


@pytest.mark.parametrize(("size", "is_cut"), [(256 << 10, False), ((256 << 10) + 5, True)])
def test_very_long_late_output_of_a_child_says_how_much_is_missing(run, size, is_cut):
    run(f"import subprocess\nsubprocess.Popen(['sh', '-c', 'sleep 0.5; yes | head -c {size}'])")
    deadline, text = time.monotonic() + 30, ""
    while "y" not in text and time.monotonic() < deadline:
        time.sleep(1)
        text = run("0").stdout
    assert ("[... 5 bytes of late output left out ...]\n" in text) == is_cut
    assert text.count("y") >= (128 << 10) - 3


@in_javascript
def test_very_long_late_output_of_javascript_says_how_much_is_missing(run):
    run("setTimeout(() => { process.stdout.write('x'.repeat(2 << 20)); console.log('end') }, 500); 0")
    second = settled(run)
    left_out = int(second.stderr.partition("[... ")[2].partition(" ")[0])
    assert second.stdout.count("x") + left_out >= 2 << 20


async def test_a_model_is_told_of_late_output(tmp_path):
    async def open_session():
        return await AsyncSandbox.local(tmp_path)

    async with SandboxTools(open_session) as tools:
        await tools.execute_code("import threading\nthreading.Timer(0.5, lambda: print('late')).start()")
        await asyncio.sleep(2)
        second = await tools.execute_code("print('own')")
    assert second.text == f"[late output of cell 1]\nlate\n{END}own\n"
