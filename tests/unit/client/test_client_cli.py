"""The command line: exit codes, forms of output, usage errors. Sessions are a scripted agent."""

import contextlib
import json

import grpc
import pytest
from click.testing import CliRunner

from sandbox_client import AsyncSandbox, Sandbox
from sandbox_client.blocking import LoopThread
from sandbox_client.cli import main
from sandbox_client.testing import FakeAgent, completed, error, output, result, started
from sandbox_proto.v1 import types_pb2


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
    done = sandbox("run", "-c", "cell")
    assert (done.exit_code, done.stderr) == (1, "KeyError: 'x'\n")


@pytest.mark.parametrize("words", [["run"], ["run", "a.py", "-c", "1"], ["exec"], ["run", "missing.py"], ["nonsense"]])
def test_a_wrong_command_line_exits_with_2(agent, words):
    assert sandbox(*words).exit_code == 2


def test_code_comes_from_a_file_and_its_extension_tells_the_language(agent, tmp_path):
    (tmp_path / "a.ts").write_text("cell")
    agent.script("cell", [started(context_id="typescript"), completed()])
    done = sandbox("run", str(tmp_path / "a.ts"), "--output", "json")
    assert json.loads(done.stdout)["context_id"] == "typescript"


def test_code_comes_from_standard_input(agent):
    agent.script("cell", [started(), output(b"hi"), completed()])
    assert sandbox("run", "-", stdin="cell").stdout == "hi"


def test_figures_are_saved(agent, tmp_path):
    agent.script("cell", [started(), result({"image/png": b"\x89PNG"}), completed()])
    done = sandbox("run", "-c", "cell", "--save-figures", str(tmp_path / "f"))
    assert done.exit_code == 0
    assert (tmp_path / "f" / "figure-1.png").read_bytes() == b"\x89PNG"


def test_a_command_exits_with_its_own_code(agent):
    done = sandbox("exec", "--", "grep", "-c", "x")
    assert (done.exit_code, done.stdout, done.stderr) == (3, "out\n", "err\n")
    assert list(agent.commands[0].argv.args) == ["grep", "-c", "x"]


def test_an_unreachable_sandbox_exits_with_3_and_an_error_on_stderr(agent):
    agent.refuse("Run", grpc.StatusCode.UNAVAILABLE, "RUNTIME_UNAVAILABLE")
    done = sandbox("exec", "true")
    assert (done.exit_code, done.stdout) == (3, "")
    assert done.stderr == "error: Run was told to fail\n"


def test_errors_are_json_where_json_is_asked_for(agent):
    done = sandbox("files", "get", "--session", "s", "missing", "--output", "json")
    assert done.exit_code == 1
    assert json.loads(done.stderr) == {
        "error": "missing is not there",
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


def test_a_name_cannot_write_control_characters_to_the_terminal(agent):
    agent.files["evil\x1b[31m\n"] = b""
    assert "\x1b" not in sandbox("files", "ls", "--session", "s").stdout


def test_a_push_that_misses_a_file_exits_with_1_and_names_it(agent):
    agent.files["a"] = b"1"
    done = sandbox("push", "s", "a", "b")
    assert (done.exit_code, done.stderr) == (1, "not saved: b: not there\n")
    assert done.stdout.startswith("1 files are saved")


@pytest.mark.parametrize("command", sorted(main.commands))
def test_every_command_has_help_with_an_example(command):
    done = sandbox(command, "--help")
    assert done.exit_code == 0
    assert "sandbox" in done.stdout
