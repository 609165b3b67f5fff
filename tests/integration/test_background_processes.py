"""Background processes for real: a local session, terminals, process trees, clients that come and go.

Everything is looked at through the session, so that the same tests hold for a pod: test_sessions_in_a_pod.py.
"""

import asyncio
import contextlib

import pytest

from sandbox_client import (
    AsyncSandbox,
    Conflict,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Sandbox,
    Status,
)
from tests.support.waiting import until


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox.local(env={"COLOR": "blue"}) as sandbox:
        yield sandbox


def states(sandbox, *pids):
    """What stands behind the name in /proc/PID/stat, a list a process; empty where there is none."""
    lines = [sandbox.run(["cat", f"/proc/{pid}/stat"]).stdout for pid in pids]
    return [line.rsplit(") ", 1)[1].split() if line else [] for line in lines]


def are_alive(sandbox, pids):
    return [bool(state) and state[0] not in "ZX" for state in states(sandbox, *pids)]


def is_in_front(sandbox, process):
    """Whether the process is its terminal's foreground job."""
    ((*_, terminal_group),) = [state[:6] for state in states(sandbox, process.pid)]
    return terminal_group == str(process.pid)


def read_if_there(sandbox, path):
    return sandbox.files.read(path).decode() if sandbox.files.exists(path) else ""


def read_until(process, text, offset=0):
    seen = ""
    for piece in process.output(offset):
        seen += piece.text
        if text in seen:
            return piece.end
    raise AssertionError(f"the output ended without {text!r}: {seen!r}")


def test_a_process_runs_in_the_background_and_tells_how_it_ended(sandbox):
    process = sandbox.processes.start("echo out; echo err >&2; echo $COLOR-$SHADE; exit 3", env={"SHADE": "dark"})
    result = process.wait()
    assert (result.stdout, result.stderr, result.exit_code, result.status) == (
        "out\nblue-dark\n",
        "err\n",
        3,
        Status.OK,
    )
    info = process.info()
    assert (info.running, info.exited.exit_code, info.output_bytes) == (False, 3, 18)
    assert info.command == "echo out; echo err >&2; echo $COLOR-$SHADE; exit 3"
    assert info.id in {known.id for known in sandbox.processes.list()}


def test_ten_thousand_lines_are_attached_to_from_the_middle_after_the_end(sandbox):
    process = sandbox.processes.start("seq 1 10000")
    full = process.wait()
    assert full.stdout == "".join(f"{number}\n" for number in range(1, 10001))
    middle = full.stdout.index("5000\n")
    tail = b"".join(piece.data for piece in process.output(middle))
    assert tail.decode() == full.stdout[middle:]
    assert b"".join(piece.data for piece in process.output(len(full.stdout))) == b""
    with pytest.raises(InvalidArgument) as refused:
        list(process.output(len(full.stdout) + 1))
    assert refused.value.field == "offset"


def test_a_process_goes_on_when_its_client_goes_away_and_another_one_attaches(sandbox):
    endpoint = sandbox._core._connection.endpoint

    async def leave():
        async with AsyncSandbox(endpoint) as first:
            process = await first.processes.start("echo one; read line; echo two $line")
            async with contextlib.aclosing(process.output()) as output:
                return process, await anext(output)

    async def come_back(process, piece):
        async with AsyncSandbox(endpoint) as second:
            again = await second.processes.get(process.id)
            assert again.command == process.command
            await again.send_input("more\n")
            rest = [piece.data async for piece in again.output(piece.end)]
            return b"".join(rest), (await again.wait()).stdout

    process, piece = asyncio.run(leave())
    assert piece.data == b"one\n"
    assert asyncio.run(come_back(process, piece)) == (b"two more\n", "one\ntwo more\n")


def test_a_repeated_request_id_finds_the_process_and_another_command_is_refused(sandbox):
    start = "echo x >> counted; sleep 60"
    first = sandbox.processes.start(start, request_id="once")
    second = sandbox.processes.start(start, request_id="once")
    assert second.id == first.id
    with pytest.raises(Conflict):
        sandbox.processes.start("true", request_id="once")
    until(lambda: sandbox.files.exists("counted"))
    first.kill()
    first.wait()
    assert read_if_there(sandbox, "counted") == "x\n"
    assert sandbox.processes.start(start, request_id="once").id == first.id


def test_python_is_talked_to_through_its_input(sandbox):
    process = sandbox.processes.start(["python3", "-i", "-q"])
    process.send_input("x = 6 * 7\n")
    process.send_input("print(f'x is {x}')\n", end=True)
    result = process.wait(timeout=20)
    assert (result.stdout, result.exit_code) == ("x is 42\n", 0)


def test_input_behind_its_end_or_of_a_process_that_ended_is_refused(sandbox):
    process = sandbox.processes.start("cat; sleep 60")
    process.send_input("a", end=True)
    with pytest.raises(FailedPrecondition) as refused:
        process.send_input("b")
    assert (refused.value.reason, refused.value.field) == ("INPUT_CLOSED", "data")
    process.kill()
    process.wait()
    for act in (lambda: process.send_input("b"), lambda: process.signal("TERM"), lambda: process.resize(1, 1)):
        with pytest.raises(FailedPrecondition) as refused:
            act()
        assert (refused.value.reason, refused.value.field) == ("PROCESS_ENDED", "process_id")
    process.kill()


def test_a_process_that_was_started_without_input_reads_its_end_at_once(sandbox):
    process = sandbox.processes.start("cat; echo end", stdin="first\n", keep_input=False)
    assert process.wait(timeout=20).stdout == "first\nend\n"
    running = sandbox.processes.start("sleep 60", keep_input=False)
    with pytest.raises(FailedPrecondition) as refused:
        running.send_input("x")
    assert refused.value.field == "data"
    running.kill()


def test_ten_megabytes_of_input_wait_for_the_process_that_reads_them(sandbox):
    process = sandbox.processes.start("sleep 0.2; wc -c")
    process.send_input(b"x" * (10 << 20), end=True)
    assert process.wait(timeout=30).stdout.strip() == str(10 << 20)


def test_a_terminal_has_the_size_it_was_given_and_the_one_it_is_changed_to(sandbox):
    process = sandbox.processes.start(["bash", "--norc", "-i"], terminal=(24, 80), env={"PS1": "ready> "})
    at = read_until(process, "ready> ")
    process.send_input("stty size; echo $TERM\n")
    at = read_until(process, "24 80\r\nxterm-256color\r\n", at)
    process.resize(50, 132)
    process.send_input("stty size\n")
    read_until(process, "50 132\r\n", at)
    assert process.info().has_terminal
    process.send_input("exit 5\n")
    assert process.wait(timeout=20).exit_code == 5


def test_ctrl_c_in_a_terminal_ends_the_job_and_not_the_shell(sandbox):
    process = sandbox.processes.start(["bash", "--norc", "-i"], terminal=(24, 80), env={"PS1": "ready> "})
    at = read_until(process, "ready> ")
    process.send_input("sleep 60\n")
    # The job is in the foreground once the shell is not.
    until(lambda: not is_in_front(sandbox, process))
    process.send_input("\x03")
    at = read_until(process, "ready> ", at)
    process.send_input("sleep 60\n")
    until(lambda: not is_in_front(sandbox, process))
    process.signal("INT")
    at = read_until(process, "ready> ", at)
    process.send_input("", end=True)
    assert process.wait(timeout=20).status is Status.OK


def test_resize_needs_a_terminal_and_a_size(sandbox):
    process = sandbox.processes.start("sleep 60")
    with pytest.raises(FailedPrecondition) as refused:
        process.resize(10, 10)
    assert (refused.value.reason, refused.value.field) == ("NO_TERMINAL", "terminal")
    with pytest.raises(InvalidArgument) as wrong:
        process.resize(0, 10)
    assert wrong.value.field == "terminal"
    process.kill()


@pytest.mark.parametrize(("name", "number"), [("TERM", 15), ("SIGUSR1", 10), ("int", 2), (9, 9)])
def test_signals_by_name_and_number_end_a_process_and_are_told(sandbox, name, number):
    process = sandbox.processes.start(["sleep", "60"])
    process.signal(name)
    result = process.wait(timeout=20)
    assert (result.status, result.signal, result.exit_code) == (Status.KILLED, number, 128 + number)


@pytest.mark.parametrize("name", ["NONSENSE", "SIG", 0, 65, -1, 1 << 40])
def test_a_signal_that_does_not_exist_is_refused_by_name(sandbox, name):
    process = sandbox.processes.start(["sleep", "60"])
    with pytest.raises(InvalidArgument) as refused:
        process.signal(name)
    assert refused.value.field == "signal"
    assert process.info().running
    process.kill()


def test_an_unknown_id_is_not_found(sandbox):
    with pytest.raises(NotFound) as missing:
        sandbox.processes.get("nobody")
    assert (missing.value.reason, missing.value.field) == ("UNKNOWN_PROCESS", "process_id")


ESCAPES = """
import os, resource, sys, time
def escape(name, clear=False, lower=False):
    if os.fork():
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    if lower:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10**9, 10**9))
    code = "import sys, os, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)"
    argv = [sys.executable, "-c", code, name]
    os.execve(argv[0], argv, {} if clear else dict(os.environ))
escape("marked.pid")
escape("cleared.pid", clear=True)
escape("lowered.pid", lower=True)
escape("bare.pid", clear=True, lower=True)
time.sleep(600)
"""


def start_escapes(sandbox):
    until(lambda: not any(process.running for process in sandbox.processes.list()), 30)
    files = [f"{name}.pid" for name in ("marked", "cleared", "lowered", "bare")]
    sandbox.run(["rm", "-f", *files])
    process = sandbox.processes.start("python3 escapes.py & sleep 600")
    with contextlib.suppress(AssertionError):
        until(lambda: all(read_if_there(sandbox, file) for file in files), 15)
    return process, [int(read_if_there(sandbox, file) or 0) for file in files]


def test_everything_that_a_process_started_is_killed_whatever_it_did_to_get_away(sandbox):
    sandbox.files.write("escapes.py", ESCAPES)
    process, pids = start_escapes(sandbox)
    for _ in range(5):
        if all(are_alive(sandbox, pids)):
            break
        # What has no mark at all goes with whichever tree is killed next: the end of an earlier one came between.
        process.kill()
        process.wait(timeout=20)
        process, pids = start_escapes(sandbox)
    assert all(are_alive(sandbox, pids))
    process.kill()
    assert process.wait(timeout=20).status is Status.KILLED
    until(lambda: not any(are_alive(sandbox, pids)), 5)


def test_a_shell_is_killed_before_it_can_tell_that_its_children_were(sandbox):
    shell = "for n in $(seq 25); do sleep 600 & done; echo on; wait -n; echo survived"
    started = [sandbox.processes.start(shell) for _ in range(4)]
    for process in started:
        read_until(process, "on\n")
        process.kill()
    ends = [process.wait(timeout=20) for process in started]
    assert {(end.status, end.signal, end.stdout, end.stderr) for end in ends} == {(Status.KILLED, 9, "on\n", "")}


def test_what_a_process_leaves_behind_ends_with_it(sandbox):
    process = sandbox.processes.start("sleep 600 & echo $! > left.pid")
    assert process.wait(timeout=20).exit_code == 0
    assert are_alive(sandbox, [int(read_if_there(sandbox, "left.pid"))]) == [False]


def test_a_time_limit_of_its_own_ends_the_tree(sandbox):
    result = sandbox.processes.start("sleep 600 | sleep 600", timeout=0.2).wait(timeout=20)
    assert result.status is Status.TIMED_OUT


def test_a_wait_that_takes_too_long_leaves_the_process_running(sandbox):
    process = sandbox.processes.start("sleep 600")
    with pytest.raises(TimeoutError):
        process.wait(timeout=0.05)
    assert process.info().running
    process.kill()


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"command": " "}, "command"),
        ({"command": "true", "cwd": "../.."}, "cwd"),
        ({"command": "true", "timeout": -1}, "timeout"),
        ({"command": "true", "terminal": (0, 80)}, "terminal"),
        ({"command": "true", "env": {"A=B": ""}}, "env"),
    ],
)
def test_a_wrong_argument_is_refused_by_name_and_nothing_starts(sandbox, arguments, field):
    before = len(sandbox.processes.list())
    with pytest.raises(InvalidArgument) as refused:
        sandbox.processes.start(**arguments)
    assert refused.value.field == field
    assert len(sandbox.processes.list()) == before


def test_a_program_that_is_not_there_is_told_at_the_start(sandbox):
    with pytest.raises(NotFound) as missing:
        sandbox.processes.start(["no-such-program"])
    assert missing.value.field == "command"


def test_a_list_tells_what_each_process_was_started_with(sandbox):
    sandbox.files.make_directory("folder")
    command = ["sh", "-c", "sleep 60"]
    process = sandbox.processes.start(command, cwd="folder", env={"B": "secret", "A": "1"}, tag="server 1")
    try:
        info = next(each for each in sandbox.processes.list() if each.id == process.id)
        assert (info.command, info.cwd, info.env_names, info.tag) == (
            "sh -c 'sleep 60'",
            "folder",
            ("A", "B"),
            "server 1",
        )
        assert "secret" not in repr(info)
        assert process.info().tag == "server 1"
    finally:
        process.kill()
    plain = sandbox.processes.start("true").info()
    assert (plain.tag, plain.cwd, plain.env_names) == ("", ".", ())


def test_a_tag_that_is_too_long_is_refused_by_its_name(sandbox):
    for tag in ("x" * 257, "a\0b"):
        with pytest.raises(InvalidArgument) as refused:
            sandbox.processes.start("true", tag=tag)
        assert refused.value.field == "tag"
