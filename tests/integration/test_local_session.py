"""A local session for real: agent and runtime as processes, Python and Node, a directory as the store."""

import dataclasses
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from sandbox_client import (
    AsyncSandbox,
    Conflict,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Sandbox,
    SandboxError,
    SessionFailed,
    Status,
)
from sandbox_client.cluster.port_forward import PortForward, _shut
from sandbox_client.transport.reattach import ATTACH_ONLY
from sandbox_proto.v1 import interpreter_pb2, process_pb2
from tests.support.socket_stream import dial


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return tmp_path_factory.mktemp("workspace")


@pytest.fixture(scope="module")
def sandbox(store, workspace):
    with Sandbox.local(workspace, store, env={"COLOR": "blue"}) as sandbox:
        yield sandbox


@pytest.mark.parametrize(
    ("language", "first", "second", "expected"),
    [
        ("python", "kept = [1, 2]", "print(kept + [3])", "[1, 2, 3]\n"),
        ("javascript", "const kept = [1, 2]", "console.log(kept.concat(3).join())", "1,2,3\n"),
        ("typescript", "const list: number[] = [1, 2]", "console.log(list.concat(3).join())", "1,2,3\n"),
    ],
)
def test_variables_persist_in_every_language_and_survive_an_exception(sandbox, language, first, second, expected):
    assert sandbox.run_code(first, language).ok
    failed = sandbox.run_code("raise ValueError('x')" if language == "python" else "throw new Error('x')", language)
    assert (failed.status, failed.error.name) == (Status.ERROR, "ValueError" if language == "python" else "Error")
    assert sandbox.run_code(second, language).stdout == expected


def test_the_last_expression_is_the_value_and_stderr_is_not_lost(sandbox):
    execution = sandbox.run_code("import sys\nprint('err', file=sys.stderr)\n6 * 7")
    assert (execution.text, execution.stderr, execution.stdout) == ("42", "err\n", "")


def test_output_is_streamed_while_the_code_runs(sandbox):
    gate = "gate-for-streaming"
    wait = f"while not os.path.exists({gate!r}): time.sleep(0.01)"
    code = f"import os, time\nprint('first', flush=True)\n{wait}\nprint('second')"
    opener = threading.Thread(target=sandbox.files.write, args=(gate, ""))
    seen = []

    def on_stdout(text):
        # The cell ends only if its first line reaches us before its end.
        seen.append(text)
        if "first" in text:
            opener.start()

    assert sandbox.run_code(code, timeout=30, on_stdout=on_stdout).ok
    opener.join()
    assert "".join(seen) == "first\nsecond\n"


def test_a_picture_is_a_result(sandbox):
    code = "import matplotlib.pyplot as plt\nplt.plot([1, 3, 2])\nplt.show()"
    execution = sandbox.run_code(code, timeout=60)
    assert [content[:8] for _, content in execution.figures] == [b"\x89PNG\r\n\x1a\n"]


def test_the_shell_has_pipes_environment_and_the_same_folder(sandbox):
    sandbox.run_code("open('shared.txt', 'w').write('one\\ntwo\\n')")
    result = sandbox.run("cat shared.txt | wc -l && echo $COLOR >&2; exit 4")
    assert (result.stdout.strip(), result.stderr, result.exit_code) == ("2", "blue\n", 4)


def test_a_command_whose_reader_leaves_ends_by_sigpipe_without_a_complaint(sandbox):
    result = sandbox.run("yes | head -1; echo ${PIPESTATUS[0]}")
    assert (result.stdout, result.stderr) == ("y\n141\n", "")


def test_a_list_never_passes_a_shell(sandbox):
    assert sandbox.run(["printf", "%s", "$HOME; `id`"]).stdout == "$HOME; `id`"


@pytest.mark.parametrize(
    "content",
    [b"", bytes(range(256)), "Grüße, 世界 'quoted' \\ \n".encode(), os.urandom(1 << 20) * 5],
    ids=["empty", "binary", "text", "5 MB"],
)
@pytest.mark.parametrize("path", ["f.bin", "päth/with ünïcode/ file"])
def test_a_file_round_trips(sandbox, path, content, tmp_path):
    assert sandbox.files.write(path, content).size == len(content)
    assert sandbox.files.read(path) == content
    (tmp_path / "up").write_bytes(content)
    sandbox.files.upload(tmp_path / "up", "uploaded")
    assert sandbox.files.download("uploaded", tmp_path / "down").read_bytes() == content


def test_files_are_listed_moved_made_and_removed(sandbox):
    sandbox.files.make_directory("dir/sub")
    sandbox.files.write("dir/a", "1")
    sandbox.files.move("dir/a", "dir/sub/b")
    assert [entry.path for entry in sandbox.files.list("dir", depth=2)] == ["dir/sub", "dir/sub/b"]
    with pytest.raises(SandboxError):
        sandbox.files.remove("dir")
    sandbox.files.remove("dir", recursive=True)
    assert not sandbox.files.exists("dir")


@pytest.mark.parametrize(
    ("call", "class_", "field"),
    [
        (lambda s: s.run_code("  \n"), InvalidArgument, "code"),
        (lambda s: s.run_code("1", "cobol"), InvalidArgument, "language"),
        (lambda s: s.run_code("1", timeout=-1), InvalidArgument, "timeout"),
        (lambda s: s.run_code("1", timeout=10**6), InvalidArgument, "timeout"),
        (lambda s: s.run_code("1", context="none"), NotFound, "context_id"),
        (lambda s: s.run("true", cwd="nowhere"), NotFound, "cwd"),
        (lambda s: s.run(["no-such-program"]), NotFound, "command"),
        (lambda s: s.files.read("../x"), InvalidArgument, "path"),
        (lambda s: s.files.read("/etc/passwd"), InvalidArgument, "path"),
        (lambda s: s.files.write("../x", ""), InvalidArgument, "path"),
        (lambda s: s.files.read("missing"), NotFound, "path"),
        (lambda s: s.files.read("."), FailedPrecondition, "path"),
        (lambda s: s.files.write(".", "x"), SandboxError, "path"),
        (lambda s: s.workspace.read("code-interpreter/none"), NotFound, "path"),
    ],
)
def test_an_error_names_the_field(sandbox, call, class_, field):
    with pytest.raises(class_) as caught:
        call(sandbox)
    assert caught.value.field == field


def test_fault_35_a_repeated_request_runs_once_and_another_body_is_a_conflict(sandbox):
    """A repeated request id runs once; the same id with another body is refused."""
    sandbox.run_code("times = 0")
    first = sandbox.run_code("times += 1; print(times)", request_id="once")
    second = sandbox.run_code("times += 1; print(times)", request_id="once")
    assert (first.stdout, second.stdout) == ("1\n", "1\n")
    with pytest.raises(Conflict):
        sandbox.run_code("other", request_id="once")


def test_fault_35_a_repeat_that_only_attaches_never_starts_anything(sandbox):
    """A repeat that may only attach starts nothing if the agent does not know the request."""
    core = sandbox._core._connection

    async def repeat(method, request):
        return [response async for response in core.stream(method, request, metadata=ATTACH_ONLY)]

    cell = interpreter_pb2.ExecuteRequest(code="1", language=1, request_id="never seen")
    command = process_pb2.RunRequest(shell="true", request_id="never seen")
    for method, request in ((core.interpreter.Execute, cell), (core.process.Run, command)):
        with pytest.raises(NotFound) as caught:
            sandbox._loop.run(repeat(method, request))
        assert (caught.value.reason, caught.value.field) == ("UNKNOWN_REQUEST", "request_id")
    sandbox.run_code("2 + 3", request_id="seen")
    cell = interpreter_pb2.ExecuteRequest(code="2 + 3", language=1, request_id="seen")
    events = [event for each in sandbox._loop.run(repeat(core.interpreter.Execute, cell)) for event in each.events]
    assert events[-1].completed.status == 1


async def test_fault_36_a_connection_that_breaks_in_the_middle_loses_and_repeats_nothing(sandbox):
    """A client whose stream breaks attaches again; no output is lost or repeated."""
    endpoint = sandbox._core._connection.endpoint
    host, port = endpoint.address.split(":")
    with PortForward(lambda: dial((host, int(port)))) as forward:

        def cut(text):
            if "first" in text:
                for connection in list(forward._open):
                    _shut(connection)
                # The cell goes on only now, so that its end is told on another connection.
                opener.start()

        opener = threading.Thread(target=sandbox.files.write, args=("gate-for-breaking", ""))
        async with AsyncSandbox(dataclasses.replace(endpoint, address=forward.address)) as through:
            wait = "while not os.path.exists('gate-for-breaking'): time.sleep(0.01)"
            code = f"import os, time\nprint('first', flush=True)\n{wait}\nprint('second')\n'value'"
            execution = await through.run_code(code, timeout=30, on_stdout=cut)
        opener.join()
    assert (execution.stdout, execution.text, execution.status) == ("first\nsecond\n", "'value'", Status.OK)
    assert len(execution.results) == 1


def test_the_time_limit_is_named_and_variables_are_kept(sandbox):
    sandbox.run_code("before = 1")
    execution = sandbox.run_code("import time\nwhile True: time.sleep(0.01)", timeout=0.3)
    assert execution.status is Status.TIMED_OUT
    assert execution.context_restarted or sandbox.run_code("before").text == "1"


def test_a_running_cell_can_be_interrupted_and_variables_are_kept(sandbox):
    sandbox.run_code("before = 2")
    interrupt = threading.Thread(target=sandbox.contexts.interrupt, args=("python",))
    code = "print('on', flush=True)\nimport time\nwhile True: time.sleep(0.01)"
    execution = sandbox.run_code(code, timeout=30, on_stdout=lambda _: interrupt.start())
    interrupt.join()
    assert execution.status is Status.INTERRUPTED
    assert sandbox.run_code("before").text == "2"


def test_contexts_have_their_own_variables(sandbox):
    context = sandbox.contexts.create("python", env={"COLOR": "red"})
    sandbox.run_code("mine = 1", context=context.id)
    assert sandbox.run_code("'mine' in globals()").text == "False"
    assert sandbox.run_code("import os; os.environ['COLOR']", context=context.id).text == "'red'"
    sandbox.contexts.delete(context.id)
    assert context.id not in [each.id for each in sandbox.contexts.list()]


def test_what_is_pushed_is_in_the_store_and_in_the_next_session(sandbox, store, tmp_path):
    content = os.urandom(300_000)
    sandbox.files.write("kept/data.bin", content)
    report = sandbox.workspace.push(["kept"])
    assert (report.files_saved, report.failed) == (1, ())
    stored = store / "local" / "default" / "code-interpreter" / "kept" / "data.bin"
    assert stored.read_bytes() == content
    assert sandbox.workspace.read("code-interpreter/kept/data.bin") == content
    assert "code-interpreter/kept/data.bin" in [entry.path for entry in sandbox.workspace.list("code-interpreter/")]
    with Sandbox.local(store=store) as other:
        assert other.files.read("kept/data.bin") == content
        assert other.run_code("'times' in globals()").text == "False"


def test_r24_a_session_without_egress_has_no_sockets():
    with Sandbox.local(egress="none") as sandbox:
        execution = sandbox.run_code("import socket\nsocket.socket(socket.AF_INET)")
        assert execution.error.name == "PermissionError"
        assert execution.limit == "network"
        assert execution.error.traceback[-1] == "  this session has no network"
        assert sandbox.run_code("import urllib.request as u\nu.urlopen('http://a.example')").limit == "network"
        assert sandbox.run_code("1 / 0").limit == ""
        connect = "await new Promise((_, refuse) => require('net').connect(9, '127.0.0.1').on('error', refuse))"
        for context in ("javascript", sandbox.contexts.create("javascript").id):
            execution = sandbox.run_code(connect, "javascript", context=context)
            assert execution.error.value.startswith("connect EACCES"), execution
            assert execution.limit == "network"
        failed = sandbox.run("python3 -c 'import urllib.request as u; u.urlopen(\"http://a.example\")'")
        assert (failed.limit, failed.no_network, failed.exit_code) == ("network", True, 1)
        assert "[this session has no network, so" in str(failed)
        other = sandbox.run("exit 3")
        assert (other.limit, other.no_network, "network" in str(other)) == ("", True, False)
        assert not sandbox.run("echo failure in name resolution").no_network
        process = sandbox.processes.start("python3 -c 'import socket; socket.socket()'")
        assert process.wait().limit == "network"


def descendants(marker):
    found = []
    for status in Path("/proc").glob("[0-9]*/environ"):
        try:
            if marker.encode() in status.read_bytes():
                found.append(int(status.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_killed_owner_leaves_no_process_and_no_folder(tmp_path):
    script = (
        "from sandbox_client import Sandbox\n"
        "sandbox = Sandbox.local()\n"
        "sandbox.run_code(\"import subprocess; subprocess.Popen(['setsid', 'sleep', '600'])\")\n"
        "print('ready', flush=True)\n"
        "import time; time.sleep(600)\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE) as owner:
        assert owner.stdout.readline() == b"ready\n"
        assert len(descendants(str(tmp_path))) > 3
        owner.kill()
    deadline = time.monotonic() + 20
    while (descendants(str(tmp_path)) or any(tmp_path.iterdir())) and time.monotonic() < deadline:
        os.sched_yield()
    assert descendants(str(tmp_path)) == []
    assert list(tmp_path.iterdir()) == []


def test_a_session_that_cannot_use_its_folder_leaves_none_behind(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(NotADirectoryError):
        Sandbox.local(Path(__file__, "below"))
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_does_not_start_is_reported_with_its_log(monkeypatch, tmp_path):
    (tmp_path / "sandbox_agent").mkdir()
    (tmp_path / "sandbox_agent" / "__init__.py").write_text("raise SystemExit('broken on purpose')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(SessionFailed, match="broken on purpose"):
        Sandbox.local()


@pytest.mark.parametrize(
    ("options", "field"), [({"name": "../x"}, "name"), ({"egress": "some"}, "egress"), ({"store": __file__}, "store")]
)
def test_a_wrong_option_is_named(options, field):
    with pytest.raises(InvalidArgument) as caught:
        Sandbox.local(**options)
    assert caught.value.field == field
