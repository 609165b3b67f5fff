"""Background processes in the SDK: a scripted agent, broken connections, errors by field."""

import grpc
import pytest

from sandbox_client import FailedPrecondition, InvalidArgument, NotFound, SandboxUnavailable, Status
from sandbox_client.models.process_info import ProcessOutput
from sandbox_client.transport.reattach import ExecutionLostError


async def test_a_process_echoes_and_ends(sandbox, agent):
    process = await sandbox.processes.start(["cat"], cwd="src", env={"A": "b"}, timeout=5)
    await process.send_input("grüße\n")
    await process.send_input(end=True)
    result = await process.wait()
    assert (result.stdout, result.status, result.ok) == ("grüße\n", Status.OK, True)
    request = agent.processes[process.id].request
    assert (request.run.cwd, dict(request.run.env), request.run.timeout.seconds) == ("src", {"A": "b"}, 5)
    assert not request.end_input
    (info,) = await sandbox.processes.list()
    assert (info.id, info.command, info.running, info.exited.exit_code) == (process.id, "cat", False, 0)


async def test_output_goes_on_where_a_broken_connection_left_it(sandbox, agent):
    agent.script_process("seq", b"0123456789")
    process = await sandbox.processes.start("seq")
    agent.break_after(1)
    pieces = [piece async for piece in process.output(4)]
    assert pieces == [ProcessOutput(b"456789", 4)]
    assert pieces[0].end == 10
    assert agent.calls["Attach"] == 2


async def test_a_start_whose_answer_was_lost_finds_the_process_again(sandbox, agent):
    first = await sandbox.processes.start("sleep 60", request_id="r")
    agent.refuse("Start", grpc.StatusCode.UNAVAILABLE, "GONE")
    second = await sandbox.processes.start("sleep 60", request_id="r")
    assert (second.id, len(agent.processes)) == (first.id, 1)


async def test_a_start_that_the_agent_knows_nothing_of_is_not_repeated(sandbox, agent):
    agent.refuse("Start", grpc.StatusCode.UNAVAILABLE, "GONE")
    with pytest.raises(ExecutionLostError):
        await sandbox.processes.start("sleep 60")
    assert agent.processes == {}


async def test_an_agent_that_stays_away_is_told(sandbox, agent):
    process = await sandbox.processes.start("sleep 60")
    agent.refuse("Attach", grpc.StatusCode.UNAVAILABLE, "GONE", times=5)
    with pytest.raises(SandboxUnavailable):
        await process.wait()
    assert agent.calls["Attach"] == 5


async def test_long_input_travels_in_pieces_and_its_end_with_the_last(sandbox, agent):
    process = await sandbox.processes.start("cat")
    await process.send_input(b"x" * ((2 << 20) + 5), end=True)
    assert [len(data) for data in agent.processes[process.id].inputs] == [1 << 20, 1 << 20, 5]
    assert (await process.wait()).ok


async def test_signals_sizes_and_kill(sandbox, agent):
    process = await sandbox.processes.start(["bash"], terminal=(24, 80))
    fake = agent.processes[process.id]
    assert fake.size == (24, 80)
    await process.resize(50, 132)
    assert fake.size == (50, 132)
    for wrong in ((0, 80), (24, 65536)):
        with pytest.raises(InvalidArgument) as refused:
            await process.resize(*wrong)
        assert refused.value.field == "terminal"
    await process.signal("TERM")
    assert (await process.wait()).signal == 15
    with pytest.raises(FailedPrecondition) as ended:
        await process.signal(9)
    assert ended.value.field == "process_id"
    await process.kill()
    with pytest.raises(NotFound):
        await sandbox.processes.get("nobody")
