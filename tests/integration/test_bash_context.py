"""Stateful bash contexts, through local sessions for real."""

from __future__ import annotations

import threading
import time

import pytest

from sandbox_client import FailedPrecondition, InvalidArgument, Sandbox


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox.local() as sandbox:
        yield sandbox


@pytest.fixture
def bash(sandbox):
    """Runs cells in a new context."""
    context = sandbox.contexts.create("bash")
    yield lambda code, **options: sandbox.run_code(code, context=context, **options)
    sandbox.contexts.delete(context)


def test_variables_functions_options_and_the_folder_persist(bash, sandbox):
    sandbox.files.make_directory("deep")
    assert bash("x=5; f() { echo f $x $1; }; cd deep; set -u; shopt -s nullglob; alias hi='echo hi'; export E=1").ok
    result = bash("f 2; pwd; echo *.none $-; hi; env | grep ^E=; echo $0")
    lines = result.stdout.splitlines()
    assert (lines[0], lines[1].endswith("/deep"), lines[3:]) == ("f 5 2", True, ["hi", "E=1", "bash"])
    assert "u" in lines[2]
    assert (result.stderr, result.ok, result.execution_count) == ("", True, 2)
    assert "nope: unbound variable" in bash("echo $nope; echo never").stderr
    assert bash("echo $x").stdout == "5\n"


def test_the_default_context_begins_with_its_first_cell():
    with Sandbox.local() as sandbox:
        assert [context.id for context in sandbox.contexts.list()] == ["python", "javascript", "typescript"]
        sandbox.run_code("x=1", "bash")
        assert sandbox.run_code("echo $x", "bash").stdout == "1\n"
        assert [context.language for context in sandbox.contexts.list()][-1] == "bash"
        with pytest.raises(FailedPrecondition):
            sandbox.contexts.delete("bash")
        with pytest.raises(InvalidArgument):
            sandbox.run_code("1", "python", context=sandbox.contexts.create("bash"), type_check="report")


def test_output_is_whole_and_in_the_order_of_its_stream(bash):
    result = bash("for i in $(seq 20000); do echo line $i; done; seq 3 >&2; printf end")
    assert result.stdout == "".join(f"line {number}\n" for number in range(1, 20001)) + "end"
    assert result.stderr == "1\n2\n3\n"


def test_a_failing_last_command_is_an_error_with_its_status(bash):
    failed = bash("echo out; grep -q x /dev/null")
    assert (failed.ok, failed.status, failed.error.name, failed.error.value) == (
        False,
        "error",
        "ExitStatus",
        "exit status 1",
    )
    assert failed.stdout == "out\n"
    assert bash("false; true").ok
    assert bash("(exit 7)").error.value == "exit status 7"
    missing = bash("echo a\necho b\nnosuch")
    assert missing.error.value == "exit status 127"
    assert missing.stderr == "bash: nosuch: command not found\n"
    broken = bash("echo one\nif [")
    assert "syntax error" in broken.stderr
    assert bash("echo still").stdout == "still\n"


@pytest.mark.parametrize(
    "code",
    [
        "sleep 60; echo never",
        "while :; do :; done; echo never",
        "while :; do sleep 0.1; done",
        "echo a | { sleep 60; cat; }; echo never",
        "(sleep 60); echo never",
        "f() { sleep 60; }; f; echo never",
        "read -t 60 y < <(sleep 60); echo never",
    ],
)
def test_an_interrupt_ends_the_cell_and_keeps_the_variables(sandbox, bash, code):
    context = sandbox.contexts.create("bash")
    sandbox.run_code("x=kept; f() { echo $x; }", context=context)
    timer = threading.Timer(0.7, lambda: sandbox.contexts.interrupt(context))
    timer.start()
    began = time.monotonic()
    result = sandbox.run_code(code, context=context, timeout=30)
    assert (result.status, "never" in result.stdout) == ("interrupted", False)
    assert time.monotonic() - began < 10
    after = sandbox.run_code("echo $x", context=context)
    assert (after.stdout, after.context_restarted) == ("kept\n", False)
    sandbox.contexts.delete(context)


def test_a_time_limit_ends_the_cell_and_what_it_started_but_not_the_shell(sandbox, bash):
    bash("x=kept")
    result = bash("sleep 4712 & sleep 4712; echo never", timeout=1)
    assert (result.status, result.context_restarted) == ("timed_out", False)
    assert bash("echo $x").stdout == "kept\n"
    assert sandbox.run("pgrep -f 'sleep 471[2]'").exit_code == 1


def test_a_cell_that_resists_the_interrupt_costs_its_context(bash):
    bash("x=lost")
    result = bash("trap '' INT; sleep 60", timeout=1)
    assert (result.status, result.context_restarted) == ("timed_out", True)
    assert bash("echo [$x]").stdout == "[]\n"


def test_exit_is_reported_and_the_next_cell_has_a_new_shell(bash):
    bash("x=lost; trap 'echo bye' EXIT")
    result = bash("echo out; exit 3; echo never")
    assert (result.stdout, result.stderr, result.exit_code, result.context_restarted) == ("out\nbye\n", "", 3, True)
    assert bash("echo [$x]").stdout == "[]\n"
    strict = bash("set -e; false; echo never")
    assert (strict.stdout, strict.exit_code, strict.context_restarted) == ("", 1, True)
    killed = bash("kill -KILL $$")
    assert (killed.status, killed.context_restarted) == ("killed", True)
    assert bash("exec true").context_restarted


def test_background_jobs_go_on_quietly_between_cells(bash):
    started = bash("(sleep 0.5; echo done > late) & echo started")
    assert (started.stdout, started.stderr) == ("started\n", "")
    assert bash("wait; cat late").stdout == "done\n"


def test_a_cell_has_no_input_but_what_it_brings(bash):
    assert bash("cat; read line; echo [$line]; cat <<EOF\n$((6 * 7))\nEOF").stdout == "[]\n42\n"


def test_large_and_odd_cells_run(bash):
    assert bash("x='" + "ü" * 500_000 + "'; echo ${#x}").stdout == "500000\n"
    assert bash("echo 'a!b' \"hi!\" !!").stdout == "a!b hi! !!\n"
    assert bash("# only a comment").ok
    assert bash("echo a\r\n").stdout == "a\r\n"


def test_the_environment_and_the_folder_of_a_context_are_those_that_were_asked_for(sandbox):
    sandbox.files.make_directory("here")
    context = sandbox.contexts.create("bash", cwd="here", env={"NAME": "value"})
    result = sandbox.run_code(
        "echo $NAME; pwd; python -c 'print(1)'; echo $HISTFILE $SANDBOX_CONTROL_FD", context=context
    )
    name, folder, python, rest = result.stdout.splitlines()
    assert (name, folder.endswith("/here"), python, rest) == ("value", True, "1", "")


def test_the_shell_cannot_be_given_a_false_status(bash):
    result = bash("echo 0 >&200; echo 0 > /proc/$PPID/fd/1; false")
    assert result.error.value == "exit status 1"


def test_a_session_without_network_refuses_sockets_in_bash_too():
    with Sandbox.local(egress="none") as sandbox:
        result = sandbox.run_code("exec 3<>/dev/tcp/127.0.0.1/9", "bash")
        assert "Permission denied" in result.stderr


def test_bash_is_refused_where_the_session_does_not_allow_it(sandbox):
    with pytest.raises(InvalidArgument, match="bash"):
        sandbox.run_code("1", "ruby")


def test_a_time_limit_in_the_very_first_cell_leaves_the_shell_alone(sandbox):
    context = sandbox.contexts.create("bash")
    result = sandbox.run_code("x=kept; sleep 4714 & sleep 4714", context=context, timeout=1)
    assert (result.status, result.context_restarted) == ("timed_out", False)
    after = sandbox.run_code("echo $x", context=context)
    assert (after.stdout, after.context_restarted, after.execution_count) == ("kept\n", False, 2)
    assert sandbox.run("pgrep -f 'sleep 471[4]'").exit_code == 1
