"""A cancelled call interrupts what it ran: variables stay, and the next call does not wait."""

import asyncio
import contextlib
import time

import pytest
import pytest_asyncio

from sandbox_client import AsyncSandbox, SandboxUnavailable, Status

SOON = 10.0
"""Seconds that count as "at once" on a busy machine. Without the interrupt, each wait here is far longer."""


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox():
    async with await AsyncSandbox.local() as sandbox:
        yield sandbox


@contextlib.contextmanager
def soon():
    begin = time.monotonic()
    yield
    assert time.monotonic() - begin < SOON


async def cancel(call, after=0.3):
    task = asyncio.ensure_future(call)
    await asyncio.sleep(after)
    task.cancel()
    with soon(), pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    ("language", "define", "endless", "use"),
    [
        ("python", "import time\nkept = 41", "time.sleep(300)", "print(kept + 1)"),
        ("python", "kept = 41", "while True: pass", "print(kept + 1)"),
        ("javascript", "var kept = 41", "while (true) {}", "console.log(kept + 1)"),
        (
            "typescript",
            "var kept: number = 41",
            "await new Promise(r => setTimeout(r, 300000))",
            "console.log(kept + 1)",
        ),
    ],
)
async def test_a_cancelled_cell_is_interrupted_and_the_next_call_has_its_variables(
    sandbox, language, define, endless, use
):
    assert (await sandbox.run_code(define, language)).ok
    await cancel(sandbox.run_code(endless, language))
    with soon():
        assert (await sandbox.run_code(use, language)).stdout == "42\n"


async def test_a_timeout_of_asyncio_is_a_cancel(sandbox):
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await sandbox.run_code("import time; time.sleep(300)")
    with soon():
        assert (await sandbox.run_code("print(1)")).ok


async def test_a_cancelled_command_is_killed_with_its_children(sandbox):
    await cancel(sandbox.run("sleep 7331 & sleep 7331"))
    deadline = time.monotonic() + SOON
    while (await sandbox.run("pgrep -f '[s]leep 7331'")).ok:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)


async def test_a_cancelled_cell_that_waits_never_runs_and_the_others_do(sandbox):
    first = asyncio.create_task(sandbox.run_code("import time; time.sleep(1); ran = ['first']"))
    await asyncio.sleep(0.2)
    waiting = [asyncio.create_task(sandbox.run_code(f"ran.append({number})")) for number in range(6)]
    await asyncio.sleep(0.2)
    for task in waiting[::2]:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert (await first).ok
    assert (await sandbox.run_code("print(ran)")).stdout == "['first', 1, 3, 5]\n"


async def test_a_cell_that_ignores_its_interrupt_is_killed(sandbox):
    await sandbox.run_code("import time; kept = 1")
    await cancel(sandbox.run_code("while True:\n  try: time.sleep(1)\n  except BaseException: pass"))
    with soon():
        execution = await sandbox.run_code("print('kept' in dir())")
    assert (execution.stdout, execution.execution_count) == ("False\n", 1)


async def test_a_detached_cell_runs_to_its_end(sandbox):
    await sandbox.run_code("import time")
    await cancel(sandbox.run_code("time.sleep(1); ended = 1", on_cancel="detach"))
    assert (await sandbox.run_code("print(ended)")).stdout == "1\n"
    await cancel(sandbox.run("sleep 1; touch ended", on_cancel="detach"))
    deadline = time.monotonic() + SOON
    while not (await sandbox.run("test -e ended")).ok:
        assert time.monotonic() < deadline


async def test_a_reader_of_a_cancelled_cell_sees_its_output_and_its_end(sandbox):
    code = "import time; print('begun', flush=True); time.sleep(300)"
    first = asyncio.create_task(sandbox.run_code(code, request_id="shared"))
    await asyncio.sleep(0.5)
    second = asyncio.create_task(sandbox.run_code(code, request_id="shared"))
    await asyncio.sleep(0.3)
    first.cancel()
    with soon():
        execution = await second
    assert (execution.stdout, execution.status) == ("begun\n", Status.INTERRUPTED)


async def test_a_storm_of_cancels_leaves_a_session_that_answers_at_once(sandbox):
    calls = [sandbox.run_code("import time; time.sleep(300)") for _ in range(100)]
    calls += [sandbox.run("sleep 300") for _ in range(10)]
    tasks = [asyncio.create_task(call) for call in calls]
    for number, task in enumerate(tasks):
        # Some were not sent yet, some are on their way, and some run.
        await asyncio.sleep(0.005 * (number % 3))
        task.cancel()
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    with soon():
        assert (await sandbox.run_code("print(1)")).ok
        assert (await sandbox.run("true")).ok


async def test_a_lost_connection_cancels_nothing(sandbox):
    async with AsyncSandbox(sandbox.endpoint) as other:
        await other.run_code("import time")
        task = asyncio.create_task(other.run_code("time.sleep(1); survived = 1"))
        await asyncio.sleep(0.3)
    await asyncio.wait({task}, timeout=SOON)
    assert (await sandbox.run_code("print(survived)")).stdout == "1\n"


async def test_a_cell_is_interrupted_by_its_request_id_and_no_other_one(sandbox):
    has_begun = asyncio.Event()
    code = "print('begun', flush=True)\nimport time; time.sleep(300)"
    running = asyncio.ensure_future(sandbox.run_code(code, on_stdout=lambda _text: has_begun.set(), request_id="first"))
    await has_begun.wait()
    waiting = asyncio.ensure_future(sandbox.run_code("ran = True", request_id="second"))
    await asyncio.sleep(0.5)
    with soon():
        assert await sandbox.contexts.interrupt(request_id="second")
        assert (await waiting).status is Status.INTERRUPTED
    assert not running.done()
    with soon():
        assert await sandbox.contexts.interrupt(request_id="first")
        assert (await running).status is Status.INTERRUPTED
    assert (await sandbox.run_code("'ran' in globals()")).text == "False"


async def test_a_connection_that_is_closed_during_a_call_is_an_error_of_ours():
    async with await AsyncSandbox.local() as sandbox:
        process = await sandbox.processes.start("sleep 300")
        following = asyncio.ensure_future(anext(process.output(), None))
        await asyncio.sleep(0.5)
        await sandbox._connection.close()
        with soon(), pytest.raises(SandboxUnavailable):
            await following
