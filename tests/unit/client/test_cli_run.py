"""`sandbox run` and `sandbox exec`: what they start, print and exit with. Sessions are a scripted agent."""

import json

import pytest
from click.testing import CliRunner

from sandbox_client import AsyncSandbox, Sandbox
from sandbox_client.cli import main
from sandbox_client.cli.ending import (
    command_exit_code,
    describe_command_end,
    execution_exit_code,
    start_exit_code,
)
from sandbox_client.cli.options import LOCAL_NOTE
from sandbox_client.cli.run.script import fetch_shown
from sandbox_client.errors import InvalidArgument, NotFound, SandboxError
from sandbox_client.models.results import CodeError, CommandResult, Execution, Status
from sandbox_client.sync.loop_thread import LoopThread
from sandbox_proto.v1 import types_pb2
from sandbox_testing.fake_agent import FakeAgent, completed, error, output, result, started


@pytest.fixture
def agent(monkeypatch):
    loop = LoopThread()
    agent = FakeAgent()
    agent.opened = []
    loop.run(agent.__aenter__())

    def open_sandbox(*words, **options):
        agent.opened.append((words, options))
        own = LoopThread()

        async def connect():
            return AsyncSandbox(agent.endpoint)

        return Sandbox(own.run(connect()), own)

    monkeypatch.setattr(Sandbox, "local", open_sandbox)
    monkeypatch.setattr(Sandbox, "connect", open_sandbox)
    yield agent
    loop.run(agent.__aexit__(None, None, None))
    loop.stop()


def sandbox(*words, stdin=None):
    return CliRunner().invoke(main, list(words), input=stdin)


def started_words(agent):
    (process,) = agent.processes.values()
    return list(process.request.run.argv.args)


@pytest.fixture
def node_script(agent, tmp_path, monkeypatch):
    """A JavaScript file in the current folder, which ends with exit code 3."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.js").write_text("process.exit(3)")
    agent.script_process("node a.js -x --output json", b"out\n", exit_code=3)
    return "a.js"


def test_a_file_is_copied_into_a_session_and_started_there_with_its_arguments(agent, node_script):
    done = sandbox("run", "--session", "s", node_script, "-x", "--output", "json")
    assert (done.exit_code, done.stdout, done.stderr) == (3, "out\n", "")
    assert agent.files == {"a.js": b"process.exit(3)"}
    assert started_words(agent) == ["node", "a.js", "-x", "--output", "json"]
    (process,) = agent.processes.values()
    assert process.request.run.timeout.seconds == 300


def test_a_file_runs_where_it_is_on_this_machine_and_one_line_says_so(agent, node_script, tmp_path):
    agent.script_process(f'sh -c \'cd "$1" && shift && exec "$@"\' sh {tmp_path} node a.js', b"here\n")
    done = sandbox("run", "--timeout", "7", node_script)
    assert (done.exit_code, done.stdout, done.stderr) == (0, "here\n", LOCAL_NOTE)
    assert agent.files == {}
    assert agent.opened[0][1]["execution_timeout"] == 7


def test_limits_and_variables_reach_the_local_session(agent, node_script):
    sandbox("run", "--memory", "2Gi", "--file-size", "1Mi", "--timeout", "5", "--env", "A=1=2", "-c", "1")
    options = agent.opened[0][1]
    assert (options["memory_limit"], options["file_size_limit"], options["execution_timeout"]) == ("2Gi", "1Mi", 5)
    assert options["env"] == {"A": "1=2"}
    sandbox("run", "-s", "s", "--env", "A=1", node_script, "-x", "--output", "json")
    (process,) = agent.processes.values()
    assert dict(process.request.run.env) == {"A": "1"}
    sandbox("exec", "-s", "s", "--env", "B=2", "ls")
    assert dict(agent.commands[-1].env) == {"B": "2"}


def test_a_python_file_is_started_by_the_runtimes_launcher(agent, tmp_path):
    (tmp_path / "a.py").write_text("")
    # The scripted agent's commands all exit with 3, so that the pictures cannot be fetched.
    agent.process_scripts = _Any((b"", 0))
    done = sandbox("run", "--session", "s", str(tmp_path / "a.py"), "x")
    launcher, run_id, *words = started_words(agent)
    assert (launcher, words, done.exit_code) == ("sandbox-script", ["a.py", "x"], 0)
    assert list(agent.commands[0].argv.args) == ["sandbox-script", "--discard", run_id]
    assert "a.py may have shown cannot be fetched" in done.stderr


class _Any(dict):
    """A dictionary that has one value for every key."""

    def __init__(self, value):
        super().__init__()
        self._value = value

    def __contains__(self, _key):
        return True

    def __getitem__(self, _key):
        return self._value


def test_json_has_the_output_and_the_end_of_a_file(agent, node_script):
    agent.script_process("node a.js", b"out\n", exit_code=3)
    done = sandbox("-o", "json", "run", "-s", "s", node_script)
    told = json.loads(done.stdout)
    assert done.exit_code == 3
    assert (told["stdout"], told["exit_code"], told["saved_figures"]) == ("out\n", 3, [])


def test_a_notebook_runs_cell_by_cell_until_one_fails(agent, tmp_path):
    agent.script("a", [started(), output(b"first\n"), completed()])
    agent.script("b", [started(), error("KeyError", "'x'", ["KeyError: 'x'"]), completed(types_pb2.EXIT_STATUS_ERROR)])
    cells = [{"cell_type": "code", "source": source} for source in ("a", "b", "c")]
    (tmp_path / "n.ipynb").write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4}))
    done = sandbox("run", "-s", "s", str(tmp_path / "n.ipynb"))
    assert (done.exit_code, done.stdout, done.stderr) == (1, "first\n", "KeyError: 'x'\n")
    assert [cell.code for cell in agent.cells] == ["a", "b"]


def test_displays_and_values_are_printed_in_order_and_pictures_are_announced(agent):
    events = [
        started(),
        output(b"one\n"),
        result({"text/plain": b"<IPython.core.display.Markdown object>", "text/markdown": b"# two"}),
        result({"text/plain": b"<Figure size 640x480>", "image/png": b"\x89PNG"}),
        result({"text/plain": b"<HTML object>", "text/html": b"<b>page</b>"}),
        output(b"three\n"),
        result({"text/plain": b"4"}, is_main=True),
        completed(),
    ]
    agent.script("cell", events)
    done = sandbox("run", "-s", "s", "-c", "cell")
    assert done.stdout == "one\n# two\npage\nthree\n4\n"
    assert done.stderr == "1 picture and 1 page were not saved: --save-figures FOLDER saves them\n"


def test_pictures_and_pages_are_saved(agent, tmp_path):
    page = result({"text/plain": b"<HTML object>", "text/html": b"<b>page</b>"})
    agent.script("cell", [started(), result({"image/png": b"\x89PNG"}), page, completed()])
    done = sandbox("run", "-s", "s", "--save-figures", str(tmp_path / "f"), "-c", "cell")
    assert done.stderr.count("saved ") == 2
    assert (tmp_path / "f/figure-1.png").read_bytes() == b"\x89PNG"
    assert (tmp_path / "f/figure-2.html").read_bytes() == b"<b>page</b>"


def test_code_on_this_machine_is_waited_for_and_code_in_a_session_is_not(agent):
    agent.script("cell", [started(), completed()])
    sandbox("run", "-s", "s", "-c", "cell")
    assert [cell.code for cell in agent.cells] == ["cell"]
    sandbox("run", "-c", "cell")
    assert "threading" in agent.cells[-1].code
    sandbox("run", "--language", "typescript", "-c", "cell")
    assert "getActiveResourcesInfo" in agent.cells[-1].code


@pytest.mark.parametrize(
    ("ended", "code"),
    [
        (Execution(status=Status.OK), 0),
        (Execution(status=Status.ERROR, error=CodeError("ValueError", "x")), 1),
        (Execution(status=Status.ERROR, error=CodeError("SystemExit", "3")), 3),
        (Execution(status=Status.ERROR, error=CodeError("SystemExit", "-1")), 255),
        (Execution(status=Status.ERROR, error=CodeError("SystemExit", "a message")), 1),
        (Execution(status=Status.ERROR, error=CodeError("ProcessExit", "4")), 4),
        (Execution(status=Status.ERROR, exit_code=7), 7),
        (Execution(status=Status.KILLED, exit_code=-9), 137),
        (Execution(status=Status.TIMED_OUT), 124),
        (Execution(status=Status.OOM_KILLED), 137),
        (Execution(status=Status.INTERRUPTED), 130),
        (Execution(status=Status.LOST), 125),
    ],
)
def test_a_cell_gives_its_exit_code(ended, code):
    assert execution_exit_code(ended) == code


@pytest.mark.parametrize(
    ("ended", "code", "text"),
    [
        (CommandResult(status=Status.OK), 0, ""),
        (CommandResult(status=Status.OK, exit_code=3), 3, ""),
        (CommandResult(status=Status.KILLED, exit_code=139, signal=11), 139, "signal 11 (SIGSEGV)"),
        (CommandResult(status=Status.KILLED, exit_code=130, signal=2), 130, ""),
        (
            CommandResult(status=Status.TIMED_OUT, exit_code=137, signal=9, duration=5),
            124,
            "5.0 s: --timeout raises it",
        ),
        (CommandResult(status=Status.OOM_KILLED, exit_code=137, signal=9), 137, "out of memory"),
        (CommandResult(status=Status.LOST), 125, "restarted"),
        (CommandResult(status=Status.KILLED, exit_code=143, signal=15, message="ended because"), 143, "ended because"),
    ],
)
def test_a_command_gives_its_exit_code_and_says_what_that_hides(ended, code, text):
    assert command_exit_code(ended) == code
    assert text in describe_command_end(ended)
    assert bool(text) == bool(describe_command_end(ended))


def test_both_spellings_name_the_session_of_a_command(agent):
    agent.files["a"] = b"1"
    assert sandbox("ps", "s").stdout == sandbox("ps", "--session", "s").stdout
    assert sandbox("push", "s", "a").stdout == sandbox("push", "-s", "s", "a").stdout
    assert {words for words, _ in agent.opened} == {("s",)}
    assert sandbox("ps").exit_code == sandbox("ps", "s", "-s", "t").exit_code == sandbox("push").exit_code == 2


@pytest.mark.parametrize("words", [("push", "s"), ("push", "-s", "s"), ("ps", "s"), ("ps", "-s", "s")])
def test_both_spellings_work_beside_options_that_choose_the_cluster(agent, words):
    done = sandbox(*words, "--namespace", "team")
    assert done.exit_code == 0, done.output
    assert [(name, options["namespace"]) for (name,), options in agent.opened] == [("s", "team")]


class _Answers:
    """A session whose commands print this text."""

    def __init__(self, text, **ended):
        self._result = CommandResult(stdout=text, status=Status.OK, **ended)

    def run(self, _command):
        return self._result


def test_what_a_file_has_shown_is_read():
    text = '{"suffix": "png", "data": "cG5n"}\n{"suffix": "html"}\n'
    assert fetch_shown(_Answers(text), "id", wants_content=True) == [("png", b"png"), ("html", b"")]


@pytest.mark.parametrize(
    "answer",
    [
        _Answers('{"suffix": "png/../../../evil", "data": ""}\n'),
        _Answers('{"suffix": "sh", "data": ""}\n'),
        _Answers("no json\n"),
        _Answers("[1]\n"),
        _Answers('{"suffix": "png", "data": "?"}\n'),
        _Answers('{"data": ""}\n'),
        _Answers("", exit_code=1),
        _Answers("", dropped_bytes=1),
    ],
)
def test_a_hostile_or_broken_answer_is_an_error_and_never_a_path(answer):
    with pytest.raises(SandboxError):
        fetch_shown(answer, "id", wants_content=True)


@pytest.mark.parametrize(
    ("error", "program", "code"),
    [
        (NotFound("no such program: x", field="command"), "x", 127),
        (InvalidArgument("cannot run x: Permission denied", field="command"), "x", 126),
        (InvalidArgument("give a program", field="command"), "", None),
        (NotFound("no such folder", field="cwd"), "x", None),
    ],
)
def test_a_program_that_cannot_be_started_has_the_exit_code_of_a_shell(error, program, code):
    assert start_exit_code(error, program) == code
