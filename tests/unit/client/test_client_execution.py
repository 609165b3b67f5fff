"""Running code and commands against a scripted agent."""

import dataclasses

import grpc
import pytest

from sandbox_client import (
    AsyncSandbox,
    CodeError,
    CommandResult,
    Completed,
    Conflict,
    Execution,
    InvalidArgument,
    PermissionDenied,
    Result,
    SandboxUnavailable,
    Started,
    Status,
    Stderr,
    Stdout,
    Unauthenticated,
)
from sandbox_proto.v1 import types_pb2
from sandbox_testing.fake_agent import completed, error, output, result, started


async def test_an_execution_holds_output_results_and_how_it_ended(agent, sandbox):
    agent.script(
        "cell",
        [
            started(),
            output(b"out"),
            output(b"err", offset=3, is_stderr=True),
            result({"text/plain": b"42"}, is_main=True),
            completed(seconds=0.25),
        ],
    )
    execution = await sandbox.run_code("cell", request_id="r1")
    assert execution == Execution(
        stdout="out",
        stderr="err",
        results=(Result({"text/plain": b"42"}, is_main=True),),
        status=Status.OK,
        duration=0.25,
        execution_count=1,
        context_id="python",
        request_id="r1",
    )
    assert execution.text == "42"


async def test_an_exception_of_the_code_is_a_result_and_no_error_of_the_call(agent, sandbox):
    events = [started(), error("KeyError", "'x'", ["line 1"]), completed(types_pb2.EXIT_STATUS_ERROR)]
    agent.script("boom", events)
    execution = await sandbox.run_code("boom")
    assert (execution.ok, execution.error) == (False, CodeError("KeyError", "'x'", ("line 1",)))


async def test_events_arrive_in_order_and_typed(agent, sandbox):
    agent.script("cell", [started("e7"), output(b"a"), output(b"b", offset=1, is_stderr=True), completed()])
    events = [event async for event in sandbox.execute("cell")]
    assert events == [
        Started("e7", "python"),
        Stdout("a"),
        Stderr("b"),
        Completed(Status.OK, duration=0.5, execution_count=1),
    ]


async def test_a_character_that_two_messages_share_is_one_character(agent, sandbox):
    data = "ü€".encode()
    agent.script("cell", [started(), output(data[:3]), output(data[3:], offset=3), completed()])
    told = []
    execution = await sandbox.run_code("cell", on_stdout=told.append)
    assert (execution.stdout, told) == ("ü€", ["ü", "€"])


async def test_bytes_that_are_no_text_are_replaced_and_not_lost(agent, sandbox):
    agent.script("cell", [started(), output(b"a\xff"), output(b"\xe2\x82", offset=2), completed()])
    assert (await sandbox.run_code("cell")).stdout == "a\ufffd\ufffd"


async def test_an_updated_display_replaces_what_it_showed(agent, sandbox):
    shown = result({"text/plain": b"0%"}, display_id="d")
    update = result({"text/plain": b"100%"}, display_id="d", is_update=True)
    agent.script("cell", [started(), shown, update, completed()])
    execution = await sandbox.run_code("cell")
    assert [each.text for each in execution.results] == ["100%"]


async def test_a_broken_stream_is_attached_to_and_nothing_comes_twice(agent, sandbox):
    events = [started(), output(b"one"), result({"text/plain": b"r"}), output(b"two", offset=3), completed()]
    for position in range(len(events)):
        agent.script(f"cell {position}", events)
        agent.break_after(position)
        agent.calls.clear()
        execution = await sandbox.run_code(f"cell {position}")
        assert (execution.stdout, len(execution.results), execution.status) == ("onetwo", 1, Status.OK)
        assert agent.calls["Execute"] == 2


async def test_code_that_an_agent_forgot_is_lost_and_never_run_again(agent, sandbox):
    agent.script("cell", [started(), output(b"one"), completed()])
    agent.break_after(2)
    execution = await sandbox.run_code("cell", on_stdout=lambda _: agent.forget())
    assert (execution.stdout, execution.status) == ("one", Status.LOST)


async def test_code_of_which_nothing_is_known_raises_instead_of_running_again(agent, sandbox):
    agent.refuse("Execute", grpc.StatusCode.UNAVAILABLE, "GOING_AWAY")
    with pytest.raises(SandboxUnavailable) as caught:
        await sandbox.run_code("cell")
    assert caught.value.reason == "EXECUTION_LOST"
    assert agent.calls["Execute"] == 2


@pytest.mark.parametrize(
    ("code", "language", "seconds", "field"),
    [("", "python", None, "code"), ("1", "cobol", None, "language"), ("1", "python", float("nan"), "timeout")],
)
async def test_a_wrong_argument_is_named(sandbox, code, language, seconds, field):
    with pytest.raises(InvalidArgument) as caught:
        await sandbox.run_code(code, language, seconds)
    assert caught.value.field == field


async def test_text_that_is_no_unicode_is_refused_by_name(sandbox):
    with pytest.raises(InvalidArgument) as caught:
        await sandbox.run_code("'\ud800'")
    assert caught.value.field == "code"


async def test_an_unknown_language_names_the_three(sandbox):
    with pytest.raises(InvalidArgument, match="python, javascript, typescript"):
        await sandbox.run_code("1", "ruby")


async def test_a_reused_request_id_is_a_conflict(agent, sandbox):
    agent.refuse("Execute", grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED", field="request_id")
    with pytest.raises(Conflict) as caught:
        await sandbox.run_code("1", request_id="r")
    assert (caught.value.reason, caught.value.field) == ("REQUEST_ID_REUSED", "request_id")


async def test_a_wrong_token_is_refused(agent):
    endpoint = dataclasses.replace(agent.endpoint, token="another")
    async with AsyncSandbox(endpoint) as sandbox:
        with pytest.raises(Unauthenticated):
            await sandbox.run_code("1")


async def test_a_missing_permission_of_a_file_says_nothing_about_the_token(agent, sandbox):
    agent.refuse("Stat", grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED", field="path")
    with pytest.raises(PermissionDenied) as caught:
        await sandbox.files.stat("a")
    assert (caught.value.reason, caught.value.field) == ("PERMISSION_DENIED", "path")


async def test_a_token_is_not_shown_in_a_repr(agent):
    assert agent.endpoint.token not in repr(agent.endpoint)


async def test_a_command_line_goes_to_the_shell_and_a_list_does_not(agent, sandbox):
    await sandbox.run("ls | wc -l", cwd="data", env={"A": "1"}, timeout=1.5)
    await sandbox.run(["ls", "-l"])
    shell, argv = agent.commands
    assert (shell.shell, shell.cwd, dict(shell.env), shell.timeout.ToMilliseconds()) == (
        "ls | wc -l",
        "data",
        {"A": "1"},
        1500,
    )
    assert (argv.WhichOneof("command"), list(argv.argv.args)) == ("argv", ["ls", "-l"])


async def test_a_non_zero_exit_code_is_a_result(sandbox):
    outcome = await sandbox.run("false", stdin="in", request_id="r")
    assert outcome == CommandResult("in", "err\n", exit_code=3, status=Status.OK, request_id="r")
    assert not outcome.ok


@pytest.mark.parametrize("command", ["", []])
async def test_an_empty_command_is_named(sandbox, command):
    with pytest.raises(InvalidArgument) as caught:
        await sandbox.run(command)
    assert caught.value.field == "command"


async def test_notebooks_show_the_value_and_the_picture(agent, sandbox):
    agent.script("cell", [started(), result({"image/png": b"\x89PNG", "text/plain": b"<Figure>"}), completed()])
    execution = await sandbox.run_code("cell")
    assert execution.results[0]._repr_mimebundle_() == {"image/png": "iVBORw==", "text/plain": "<Figure>"}
    assert execution.figures == (("png", b"\x89PNG"),)
