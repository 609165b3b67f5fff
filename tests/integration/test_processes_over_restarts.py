"""Background processes over crashes of agent and runtime, and at the end of a session: real processes, real kills."""

import asyncio
import contextlib
import os

import pytest

from sandbox_client import Status
from sandbox_proto.v1 import session_pb2
from tests.support.two_processes import Pod


@pytest.fixture
async def pod(tmp_path):
    pod = Pod(tmp_path)
    try:
        await pod.begin()
        yield pod
    finally:
        await pod.close()


async def read(process, offset, size):
    data = b""
    async with contextlib.aclosing(process.output(offset)) as output:
        async for piece in output:
            data += piece.data
            if len(data) >= size:
                return data
    raise AssertionError(f"the output ended after {data!r}")


ECHO = "while read line; do echo got $line; done; exit 4"


async def test_fault_20_after_a_crash_of_the_agent_a_process_is_found_again_with_its_output_from_then_on(pod):
    """The next agent finds background processes again, with their output from then on."""
    async with pod.connect() as sandbox:
        process = await sandbox.processes.start(ECHO, request_id="r1")
        await process.send_input("a\n")
        assert await read(process, 0, 6) == b"got a\n"
        before = await process.info()
    await pod.kill("agent")
    await pod.start_agent()
    await pod.bind()
    async with pod.connect() as sandbox:
        (found,) = await sandbox.processes.list()
        assert (found.id, found.command, found.started_at) == (process.id, ECHO, before.started_at)
        again = await sandbox.processes.get(process.id)
        assert (again.pid, found.running, found.output_bytes) == (process.pid, True, 6)
        await again.send_input("b\n")
        assert await read(again, 6, 6) == b"got b\n"
        assert (await sandbox.processes.start(ECHO, request_id="r1")).id == process.id
        await again.send_input(end=True)
        result = await again.wait(timeout=20)
        assert (result.exit_code, result.stdout, result.dropped_bytes) == (4, "got b\n", 6)


async def test_a_process_that_ended_while_no_agent_was_there_still_tells_how(pod):
    async with pod.connect() as sandbox:
        process = await sandbox.processes.start(ECHO)
        await process.send_input("a\n")
        assert await read(process, 0, 6) == b"got a\n"
    await pod.kill("agent")
    os.kill(process.pid, 15)
    await pod.start_agent()
    await pod.bind()
    async with pod.connect() as sandbox:
        result = await (await sandbox.processes.get(process.id)).wait(timeout=20)
        assert (result.status, result.signal) == (Status.KILLED, 15)


async def test_after_a_crash_of_the_runtime_a_process_is_lost_and_not_started_again(pod):
    marks = pod.folder / "workspace" / "marks"
    async with pod.connect() as sandbox:
        command = "echo x >> marks; echo started; sleep 600"
        process = await sandbox.processes.start(command, request_id="r1")
        await read(process, 0, 8)
        await pod.kill("runtime")
        await pod.start_runtime()
        assert (await process.wait(timeout=30)).status is Status.LOST
        repeated = await sandbox.processes.start(command, request_id="r1")
        assert repeated.id == process.id
        assert (await sandbox.run("true", timeout=30)).ok
    assert marks.read_text() == "x\n"


async def test_a_drain_ends_processes_so_that_they_can_save_and_pushes_what_they_saved(pod):
    async with pod.connect() as sandbox:
        command = "trap 'echo state > saved.txt; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
        saving = await sandbox.processes.start(command)
        await read(saving, 0, 6)
        shell = await sandbox.processes.start(["bash", "--norc", "-i"], terminal=(24, 80))
        waiting = asyncio.create_task(saving.wait())
        described = await pod.call("Describe", session_pb2.DescribeRequest())
        assert (described.processes, described.running) == (2, 2)
        drained = await pod.call("Drain", session_pb2.DrainRequest(session_uid="uid", grace={"seconds": 20}))
        assert (drained.processes, drained.processes_ended) == (0, 2)
        result = await waiting
        assert (result.exit_code, result.message) == (0, "ended because the session was suspended or deleted")
        assert (await shell.info()).exited.message
    assert (pod.folder / "store" / "p" / "code-interpreter" / "saved.txt").read_text() == "state\n"
