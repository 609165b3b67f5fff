"""The command line: exit codes, forms of output, usage errors. Sessions are a scripted agent."""

import contextlib
import json
import os
import sys
import termios
import threading
import time

import grpc
import pytest
from click.testing import CliRunner

from sandbox_client import AsyncSandbox, Sandbox
from sandbox_client.cli import main
from sandbox_client.cli.terminal import attach_terminal
from sandbox_client.sync.loop_thread import LoopThread
from sandbox_proto.v1 import types_pb2
from sandbox_testing.fake_agent import FakeAgent, completed, error, output, result, started


@pytest.fixture
def agent(monkeypatch):
    loop = LoopThread()
    agent = FakeAgent()
    loop.run(agent.__aenter__())

    def open_sandbox(*_args, **_kwargs):
        async def connect():
            return AsyncSandbox(agent.endpoint)

        own = LoopThread()
        return Sandbox(own.run(connect()), own)

    monkeypatch.setattr(Sandbox, "local", open_sandbox)
    monkeypatch.setattr(Sandbox, "connect", open_sandbox)
    yield agent
    loop.run(agent.__aexit__(None, None, None))
    loop.stop()


def sandbox(*words, stdin=None):
    return CliRunner().invoke(main, list(words), input=stdin)


def test_code_is_run_and_its_output_and_value_are_printed(agent):
    events = [started(), output(b"out\n"), result({"text/plain": b"42"}, is_main=True), completed()]
    agent.script("cell", events)
    done = sandbox("run", "-c", "cell")
    assert (done.exit_code, done.stdout) == (0, "out\n42\n")


def test_an_exception_of_the_code_exits_with_1_and_shows_its_traceback(agent):
    events = [started(), error("KeyError", "'x'", ["KeyError: 'x'"]), completed(types_pb2.EXIT_STATUS_ERROR)]
    agent.script("cell", events)
    done = sandbox("run", "--session", "s", "-c", "cell")
    assert (done.exit_code, done.stderr) == (1, "KeyError: 'x'\n")


@pytest.mark.parametrize("words", [["run"], ["run", "a.py", "-c", "1"], ["exec"], ["run", "missing.py"], ["nonsense"]])
def test_a_wrong_command_line_exits_with_2(agent, words):
    assert sandbox(*words).exit_code == 2


def test_code_comes_from_standard_input(agent):
    agent.script("cell", [started(), output(b"hi"), completed()])
    assert sandbox("run", "-", stdin="cell").stdout == "hi"


def test_figures_are_saved(agent, tmp_path):
    agent.script("cell", [started(), result({"image/png": b"\x89PNG"}), completed()])
    done = sandbox("run", "-c", "cell", "--save-figures", str(tmp_path / "f"))
    assert done.exit_code == 0
    assert (tmp_path / "f" / "figure-1.png").read_bytes() == b"\x89PNG"


def test_a_command_exits_with_its_own_code(agent):
    done = sandbox("exec", "--session", "s", "--", "grep", "-c", "x")
    assert (done.exit_code, done.stdout, done.stderr) == (3, "out\n", "err\n")
    assert list(agent.commands[0].argv.args) == ["grep", "-c", "x"]


def test_an_unreachable_sandbox_exits_with_125_and_an_error_on_stderr(agent):
    agent.refuse("Run", grpc.StatusCode.UNAVAILABLE, "RUNTIME_UNAVAILABLE")
    done = sandbox("exec", "--session", "s", "true")
    assert (done.exit_code, done.stdout) == (125, "")
    assert done.stderr == "error: Run was made to fail\n"


def test_errors_are_json_where_json_is_asked_for(agent):
    done = sandbox("files", "get", "--session", "s", "missing", "--output", "json")
    assert done.exit_code == 125
    assert json.loads(done.stderr) == {
        "error": "missing does not exist",
        "type": "NotFound",
        "reason": "FILE_NOT_FOUND",
        "field": "path",
        "status": "error",
    }


def test_files_go_there_and_back(agent, tmp_path):
    (tmp_path / "a.txt").write_bytes(b"123")
    with contextlib.chdir(tmp_path):
        assert sandbox("files", "put", "--session", "s", "a.txt", "data/").stdout == "data/a.txt\n"
        assert sandbox("files", "get", "--session", "s", "data/a.txt", "b.txt").stdout == "b.txt\n"
    assert (tmp_path / "b.txt").read_bytes() == b"123"
    assert sandbox("files", "ls", "--session", "s").stdout.split() == ["3", "data/a.txt"]
    assert sandbox("files", "rm", "--session", "s", "data/a.txt").exit_code == 0
    assert agent.files == {}


def test_folders_go_there_and_back(agent, tmp_path):
    (tmp_path / "in/deep").mkdir(parents=True)
    (tmp_path / "in/a").write_bytes(b"1")
    (tmp_path / "in/deep/b").write_bytes(b"22")
    (tmp_path / "in/link").symlink_to("a")
    sent = sandbox("files", "put", "--session", "s", "-r", str(tmp_path / "in"), "data")
    assert (sent.stdout, sent.stderr) == ("data: 2 files, 3 bytes\n", "skipped, not a regular file: link\n")
    assert agent.files == {"data/a": b"1", "data/deep/b": b"22"}
    (tmp_path / "out/deep").mkdir(parents=True)  # the scripted agent lists no folders
    got = sandbox("files", "get", "--session", "s", "-r", "data", str(tmp_path / "out"))
    assert got.exit_code == 0, got.output
    assert (tmp_path / "out/deep/b").read_bytes() == b"22"
    refused = sandbox("files", "put", "--session", "s", str(tmp_path / "in"))
    assert refused.exit_code == 2
    assert "use -r" in refused.stderr


def test_files_are_found_by_name_and_lines_by_content(agent):
    agent.files.update({"a.txt": b"one\ntwo\n", "b.py": b"two\x1b\n"})
    assert sandbox("files", "find", "--session", "s", "*.txt").stdout == "a.txt\n"
    assert sandbox("files", "grep", "--session", "s", "-F", "two").stdout == "a.txt:2:two\nb.py:1:two\\x1b\n"
    nothing = sandbox("files", "grep", "--session", "s", "three")
    assert (nothing.exit_code, nothing.stdout) == (1, "")


def test_a_watch_tells_changes(agent):
    agent.changes = [("added", "a"), ("removed", "b"), ("overflow", "")]
    done = sandbox("files", "watch", "--session", "s")
    assert done.stdout == "added    a\nremoved  b\n"
    assert "changes were lost" in done.stderr


def test_a_name_cannot_write_control_characters_to_the_terminal(agent):
    agent.files["evil\x1b[31m\n"] = b""
    assert "\x1b" not in sandbox("files", "ls", "--session", "s").stdout


def test_a_push_that_misses_a_file_exits_with_1_and_names_it(agent):
    agent.files["a"] = b"1"
    done = sandbox("push", "s", "a", "b")
    assert (done.exit_code, done.stderr) == (1, "not saved: b: not there\n")
    assert done.stdout.startswith("1 files are saved")


@pytest.mark.parametrize("command", sorted(main.table))
def test_every_command_has_help_with_an_example(command):
    done = sandbox(command, "--help")
    assert done.exit_code == 0
    assert "sandbox" in done.stdout


def test_a_detached_command_prints_its_id_and_is_listed(agent):
    started = sandbox("exec", "--session", "s", "--detach", "--cwd", "src", "--", "sleep", "60")
    assert (started.exit_code, started.stdout) == (0, "p1\n")
    (process,) = agent.processes.values()
    assert (process.request.run.cwd, process.request.end_input) == ("src", True)
    listed = sandbox("ps", "--session", "s")
    assert listed.stdout.splitlines()[1].split() == ["p1", "101", "running", "sleep", "60"]
    (told,) = json.loads(sandbox("ps", "--session", "s", "--output", "json").stdout)
    assert (told["id"], told["running"], told["command"]) == ("p1", True, "sleep 60")


def test_options_behind_the_command_are_the_commands_own(agent):
    assert sandbox("exec", "--session", "s", "-d", "-i", "ls", "-t", "--detach").exit_code == 0
    (process,) = agent.processes.values()
    assert list(process.request.run.argv.args) == ["ls", "-t", "--detach"]
    assert not process.request.end_input


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--detach", "--", "true"], "--session"),
        (["--tty", "--", "bash"], "terminal"),
        (["--tty", "--output", "json", "--", "bash"], "JSON"),
    ],
)
def test_a_command_that_cannot_be_detached_or_have_a_terminal_says_why(agent, words, part):
    done = sandbox("exec", *words)
    assert done.exit_code == 2
    assert part in done.stderr


def test_attach_shows_the_output_from_an_offset_and_exits_as_the_process_did(agent):
    agent.script_process("seq 3", b"1\n2\n3\n", exit_code=4)
    sandbox("exec", "--session", "s", "--detach", "--", "seq", "3")
    attached = sandbox("attach", "--session", "s", "p", "--offset", "2")
    assert (attached.exit_code, attached.stdout) == (4, "2\n3\n")
    told = sandbox("attach", "--session", "s", "p1", "--output", "json")
    assert told.exit_code == 4
    assert json.loads(told.stdout)["stdout"] == "1\n2\n3\n"


def test_kill_sends_the_signal_it_is_told_and_kill_by_itself(agent):
    for _ in range(2):
        sandbox("exec", "--session", "s", "--detach", "--", "sleep", "60")
    assert sandbox("kill", "--session", "s", "p1").exit_code == 0
    assert sandbox("kill", "--session", "s", "--signal", "15", "p2").exit_code == 0
    assert [process.signals for process in agent.processes.values()] == [["KILL"], [15]]
    ended = sandbox("ps", "--session", "s").stdout.splitlines()
    assert "killed by signal 9" in ended[1]
    assert "killed by signal 15" in ended[2]
    again = sandbox("kill", "--session", "s", "p1")
    assert (again.exit_code, "has ended" in again.stderr) == (125, True)


@pytest.mark.parametrize(("words", "code"), [(["nobody"], 125), (["p"], 2)])
def test_an_id_that_is_unknown_or_not_alone_is_refused(agent, words, code):
    for _ in range(2):
        sandbox("exec", "--session", "s", "--detach", "--", "sleep", "60")
    assert sandbox("kill", "--session", "s", *words).exit_code == code


def test_in_a_terminal_every_key_goes_to_the_process_but_the_one_that_leaves(agent, monkeypatch):
    keyboard, slave = os.openpty()
    before = termios.tcgetattr(slave)

    def type_once_it_is_raw():
        while termios.tcgetattr(slave)[3] & termios.ICANON:
            time.sleep(0.005)
        os.write(keyboard, b"ls\r\x03\x1dnot for it")

    with os.fdopen(slave, "r") as stdin, Sandbox.connect("s") as session:
        monkeypatch.setattr(sys, "stdin", stdin)
        process = session.processes.start(["bash"], terminal=(24, 80))
        threading.Thread(target=type_once_it_is_raw).start()
        assert attach_terminal(process, is_raw=True, passes_input=True, shows=False) is None
        assert b"".join(agent.processes[process.id].inputs) == b"ls\r\x03"
        assert agent.processes[process.id].exited is None
        assert termios.tcgetattr(slave) == before
    os.close(keyboard)


def test_standard_input_that_ends_ends_the_process_input_and_its_output_is_told(agent, monkeypatch):
    read, write = os.pipe()
    os.write(write, b"words")
    os.close(write)
    with os.fdopen(read) as stdin, Sandbox.connect("s") as session:
        monkeypatch.setattr(sys, "stdin", stdin)
        process = session.processes.start(["cat"])
        result = attach_terminal(process, is_raw=False, passes_input=True, shows=False)
    assert (result.stdout, result.exit_code) == ("words", 0)
