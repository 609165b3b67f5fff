"""A pod that is told to end without a drain (eviction, a drained node, deleted by hand): what was not saved yet is."""

import asyncio
import contextlib
import time

import pytest

from sandbox_proto.v1 import session_pb2
from tests.support.two_processes import Pod

STOP = {"SANDBOX_STOP_SECONDS": "20"}


@pytest.fixture
async def new_pod(tmp_path):
    """Makes pods of one session, one after the other."""
    async with contextlib.AsyncExitStack() as stack:

        async def factory(**environment):
            folder = tmp_path / f"pod-{len(list(tmp_path.glob('pod-*')))}"
            pod = Pod(folder, tmp_path / "store", keep_variables=True, **environment)
            stack.push_async_callback(pod.close)
            await pod.begin()
            return pod

        yield factory


async def test_fault_22_a_pod_that_is_evicted_saves_everything_and_the_next_one_has_it(new_pod, tmp_path):
    """Agent and runtime, as real processes, save everything after SIGTERM; the next pod has it."""
    pod = await new_pod(**STOP)
    async with pod.connect() as sandbox:
        await sandbox.files.write("written.txt", "never pushed")
        command = "trap 'echo state > saved.txt; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
        process = await sandbox.processes.start(command)
        async with contextlib.aclosing(process.output(0)) as output:
            assert (await anext(output)).data == b"ready\n"
        # It takes a second of the grace, and ends well within it.
        cell = asyncio.create_task(
            sandbox.run_code("import time; time.sleep(1); open('cell.txt', 'w').write('done'); kept = 41", timeout=30)
        )
        while (await pod.call("Describe", session_pb2.DescribeRequest())).running != 2:
            pass
        await pod.terminate("runtime", "agent")
        # Its client would look for the agent for a while.
        cell.cancel()
        await asyncio.gather(cell, return_exceptions=True)
    head = (tmp_path / "store/p/.workspace/HEAD").read_text()
    assert '"pushing":null' in head, "no claim is left behind"

    heir = await new_pod(**STOP)
    async with heir.connect() as sandbox:
        names = ("written.txt", "saved.txt", "cell.txt")
        assert [await sandbox.files.read(name) for name in names] == [b"never pushed", b"state\n", b"done"]
        assert (await sandbox.run_code("kept + 1")).text == "42"
    described = await heir.call("Describe", session_pb2.DescribeRequest())
    assert described.state == session_pb2.SessionDescription.STATE_BOUND


async def test_fault_22_a_pod_that_was_drained_ends_at_once(new_pod):
    """A pod that was already drained ends at once."""
    pod = await new_pod(**STOP)
    async with pod.connect() as sandbox:
        await sandbox.files.write("f", "1")
    await pod.call("Drain", session_pb2.DrainRequest(session_uid="uid", grace={"seconds": 5}))
    began = time.monotonic()
    await pod.terminate("runtime", "agent")
    assert time.monotonic() - began < 8
