"""The sync face: derived, complete, and safe to leave."""

import asyncio
import inspect
import threading

import pytest

from sandbox_client import AsyncCluster, AsyncSandbox, Cluster, Contexts, Files, Sandbox, Started, Workspace
from sandbox_client.contexts import AsyncContexts
from sandbox_client.files import AsyncFiles
from sandbox_client.sync.direct import run_direct
from sandbox_client.sync.loop_thread import LoopThread
from sandbox_client.workspace import AsyncWorkspace
from sandbox_testing.fake_agent import FakeAgent, completed, output, started

PAIRS = [
    (AsyncSandbox, Sandbox),
    (AsyncFiles, Files),
    (AsyncWorkspace, Workspace),
    (AsyncContexts, Contexts),
    (AsyncCluster, Cluster),
]


@pytest.fixture
def agent():
    loop = LoopThread()
    agent = FakeAgent()
    loop.run(agent.__aenter__())
    yield agent
    loop.run(agent.__aexit__(None, None, None))
    loop.stop()


@pytest.fixture
def sandbox(agent):
    async def connect():
        return AsyncSandbox(agent.endpoint)

    loop = LoopThread()
    with Sandbox(loop.run(connect()), loop) as sandbox:
        yield sandbox


def public(class_):
    return {name for name, _ in inspect.getmembers(class_, callable) if not name.startswith("_")}


@pytest.mark.parametrize(("asynchronous", "blocking"), PAIRS)
def test_the_sync_face_has_every_method_with_its_signature_and_docstring(asynchronous, blocking):
    assert public(blocking) == public(asynchronous)
    for name in public(asynchronous) - {"close"}:
        ours, theirs = getattr(blocking, name), getattr(asynchronous, name)
        assert (inspect.signature(ours), ours.__doc__) == (inspect.signature(theirs), theirs.__doc__), name


def test_code_runs_and_callbacks_are_called(agent, sandbox):
    agent.script("cell", [started(), output(b"hi"), completed()])
    told = []
    assert sandbox.run_code("cell", on_stdout=told.append).ok
    assert told == ["hi"]


def test_events_can_be_left_early(agent, sandbox):
    agent.script("cell", [started("e"), output(b"hi"), completed()])
    for event in sandbox.execute("cell"):
        assert event == Started("e", "python")
        break
    assert sandbox.run_code("cell").stdout == "hi"


def test_files_round_trip(sandbox):
    sandbox.files.write("a", b"1")
    assert b"".join(sandbox.files.stream("a")) == b"1"


def test_threads_may_share_a_sandbox(sandbox):
    threads = [threading.Thread(target=sandbox.files.write, args=(f"f{n}", b"x")) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(sandbox.files.list()) == 8


def test_a_callback_of_a_cell_may_call_the_sandbox(agent, sandbox):
    agent.script("cell", [started(), output(b"hi"), completed()])
    told = []
    sandbox.run_code("cell", on_stdout=lambda _: told.append(sandbox.files.list()))
    assert told == [[]]


def test_a_call_on_the_loops_own_thread_is_refused_instead_of_waiting_forever(sandbox, tmp_path):
    sandbox.files.write("a", b"x")
    with pytest.raises(RuntimeError, match="AsyncSandbox inside callbacks"):
        sandbox.files.download("a", tmp_path, on_progress=lambda *_: sandbox.files.list())


def test_a_short_cell_is_one_call_on_the_calling_thread(agent, sandbox):
    agent.brief_events = 100
    agent.script("cell", [started(), output(b"hi"), completed()])
    threads = []
    execution = sandbox.run_code("cell", on_stdout=lambda _: threads.append(threading.current_thread()))
    assert (execution.stdout, execution.ok, threads) == ("hi", True, [threading.current_thread()])
    assert agent.calls == {"ExecuteBriefly": 1}


def test_a_broken_stream_is_attached_to_without_a_loop(agent, sandbox):
    agent.script("cell", [started(), output(b"one "), output(b"two", offset=4), completed()])
    agent.break_after(2)
    assert sandbox.run_code("cell").stdout == "one two"
    assert agent.executions == 1


def test_a_coroutine_that_needs_a_loop_is_refused():
    with pytest.raises(RuntimeError, match="needs an event loop"):
        run_direct(asyncio.sleep(0))


def test_a_closed_sandbox_says_so_and_leaves_no_thread(agent):
    async def connect():
        return AsyncSandbox(agent.endpoint)

    loop = LoopThread()
    sandbox = Sandbox(loop.run(connect()), loop)
    sandbox.run_code("1")
    sandbox.close()
    sandbox.close()
    assert not loop._thread.is_alive()
    with pytest.raises(RuntimeError, match="closed"):
        sandbox.run_code("1")
