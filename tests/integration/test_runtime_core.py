"""The runtime as a process, driven over its socket with raw frames."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sandbox_link.frames import FrameDecoder, FrameType, Stream, encode, encode_json, encode_window, split_data
from sandbox_runtime.python.variable_records import encode_record, read_records
from tests.support.waiting import until


class Outcome:
    def __init__(self):
        self.stdout = b""
        self.stderr = b""
        self.body = b""
        self.events = []
        self.ok = None
        self.error = None

    def __getitem__(self, name):
        return self.ok[name]

    def event(self, kind):
        return next(event for event in self.events if event["type"] == kind)


class Client:
    """One agent: a blocking socket, one or several channels."""

    def __init__(self, path: Path):
        deadline = time.monotonic() + 20
        while True:
            self.socket = socket.socket(socket.AF_UNIX)
            try:
                self.socket.connect(str(path))
                break
            except OSError:
                self.socket.close()
                assert time.monotonic() < deadline, "the runtime does not listen"
                time.sleep(0.005)
        self.socket.settimeout(60)
        self.decoder = FrameDecoder()
        self.frames = []
        self.number = 0
        self.hello = self.next().json()

    def next(self):
        while not self.frames:
            data = self.socket.recv(1 << 20)
            if not data:
                raise EOFError
            self.frames.extend(self.decoder.feed(data))
        return self.frames.pop(0)

    def open(self, op, body=b"", **arguments):
        self.number += 1
        frame = encode_json(FrameType.OPEN, self.number, {"op": op, **arguments})
        self.socket.sendall(frame + b"".join(split_data(self.number, Stream.BODY, body)))
        return self.number

    def take(self, number):
        """The outcome of a channel; frames of others are kept."""
        outcome, kept = Outcome(), []
        output = {stream: bytearray() for stream in Stream}
        while True:
            frame = self.next()
            if frame.channel != number:
                kept.append(frame)
                continue
            if frame.type is FrameType.DATA:
                output[Stream(frame.body[0])] += frame.body[1:]
                self.socket.sendall(encode_window(number, len(frame.body)))
            elif frame.type is FrameType.EVENT:
                outcome.events.append(frame.json())
            else:
                outcome.ok, outcome.error = frame.json().get("ok"), frame.json().get("error")
                outcome.body, outcome.stdout, outcome.stderr = (bytes(output[stream]) for stream in Stream)
                self.frames = kept + self.frames
                return outcome

    def until_started(self, number):
        seen = []
        while True:
            frame = self.next()
            seen.append(frame)
            if frame.channel == number and frame.type is FrameType.EVENT:
                self.frames = seen + self.frames
                return

    def call(self, op, body=b"", **arguments):
        return self.take(self.open(op, body, **arguments))

    def start(self, code, **arguments):
        data = code.encode()
        arguments = {"language": "python", **arguments}
        return self.open("execute", data, code_bytes=len(data), **arguments)

    def execute(self, code, **arguments):
        return self.take(self.start(code, **arguments))


class Runtime:
    def __init__(self, folder: Path, **environ):
        self.folder = folder
        self.workspace = folder / "workspace"
        environment = {
            "PATH": os.environ["PATH"],
            "SANDBOX_LINK_DIR": str(folder / "link"),
            "SANDBOX_WORKSPACE": str(self.workspace),
            "SANDBOX_HOME": str(folder / "home"),
            "SANDBOX_ZYGOTE_PRELOAD": "",
            **environ,
        }
        self.process = subprocess.Popen([sys.executable, "-m", "sandbox_runtime"], env=environment)
        self.socket = folder / "link" / "runtime.sock"

    def connect(self) -> Client:
        return Client(self.socket)

    def stop(self) -> float:
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)
        return time.monotonic() - started


@pytest.fixture
def runtime(tmp_path):
    runtime = Runtime(tmp_path)
    yield runtime
    if runtime.process.poll() is None:
        runtime.stop()


@pytest.fixture
def client(runtime):
    client = runtime.connect()
    yield client
    client.socket.close()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] not in "ZX"
    except OSError:
        return False


def test_the_hello_names_runtime_and_workspace(runtime, client):
    assert client.hello == {
        "type": "hello",
        "protocol": 1,
        "runtime_id": client.hello["runtime_id"],
        "session_uid": "",
        "restored": False,
        "workspace_root": str(runtime.workspace),
        "streams": True,
    }
    assert (runtime.socket.stat().st_mode & 0o777) == 0o660


def test_a_cell_streams_started_output_result_and_end(client):
    outcome = client.execute("import sys\nprint('out')\nprint('err', file=sys.stderr)\n6 * 7")
    assert (outcome.stdout, outcome.stderr, outcome.body) == (b"out\n", b"err\n", b"42")
    assert outcome.events == [
        {"type": "started", "context_id": "python", "execution_count": 1},
        {"type": "result", "is_main": True, "display_id": "", "is_update": False, "parts": [["text/plain", 2]]},
    ]
    duration = outcome.ok.pop("duration")
    assert 0 <= duration < 10
    assert outcome.ok == {
        "status": "OK",
        "exit_code": 0,
        "context_restarted": False,
        "dropped_bytes": 0,
        "execution_count": 1,
    }


def test_state_survives_an_exception_whose_traceback_shows_user_lines_only(client):
    client.execute("kept = 1\ndef fail():\n    return 1 / 0")
    outcome = client.execute("fail()")
    error = outcome.event("error")
    assert (outcome["status"], error["name"], error["value"]) == ("ERROR", "ZeroDivisionError", "division by zero")
    text = "\n".join(error["traceback"])
    assert "return 1 / 0" in text
    assert "fail()" in text
    assert "sandbox_runtime" not in text
    assert client.execute("kept").body == b"1"


def test_top_level_await_keeps_one_loop(client):
    client.execute("import asyncio\nevent = asyncio.Event()\nloop = asyncio.get_running_loop()\nawait asyncio.sleep(0)")
    assert client.execute("event.set()\nawait event.wait()\nloop is asyncio.get_running_loop()").body == b"True"


def test_classes_of_cells_can_be_pickled_and_be_dataclasses(client):
    code = "import pickle, dataclasses\n@dataclasses.dataclass\nclass P:\n    x: int\npickle.loads(pickle.dumps(P(3)))"
    assert client.execute(code).body == b"P(x=3)"


@pytest.mark.parametrize(
    ("code", "status", "name"),
    [
        ("input('?')", "ERROR", "StdinNotAvailable"),
        ("raise SystemExit(3)", "ERROR", "SystemExit"),
        ("def f(:", "ERROR", "SyntaxError"),
        ("raise KeyboardInterrupt", "INTERRUPTED", "KeyboardInterrupt"),
    ],
)
def test_a_cell_that_fails_leaves_the_context_usable(client, code, status, name):
    client.execute("x = 5")
    outcome = client.execute(code)
    assert (outcome["status"], outcome.event("error")["name"]) == (status, name)
    assert client.execute("x").body == b"5"


def test_exit_ends_the_cell_only(client):
    client.execute("x = 5")
    assert client.execute("exit()")["status"] == "OK"
    assert client.execute("print(x)").stdout == b"5\n"


def test_output_of_children_and_of_forks_arrives_before_the_end(client):
    outcome = client.execute("import os, sys\nos.system('echo child; echo bad >&2')")
    assert (outcome.stdout, outcome.stderr) == (b"child\n", b"bad\n")
    forked = client.execute(
        "pid = os.fork()\nif pid == 0:\n    print('forked', flush=True)\n    os._exit(0)\n_ = os.waitpid(pid, 0)"
    )
    assert forked.stdout == b"forked\n"


def test_stdout_and_stderr_stay_in_order(client):
    number = client.start("import sys\nfor i in range(200):\n    print(i)\n    print(i, file=sys.stderr)")
    order = []
    while (frame := client.next()).channel != number or frame.type is not FrameType.CLOSE:
        if frame.type is FrameType.DATA:
            lines = frame.payload[1:].split()
            order.extend((int(line), frame.payload[0]) for line in lines)
    assert order == [(i, stream) for i in range(200) for stream in (1, 2)]


def test_fifty_megabytes_arrive_byte_exact_under_flow_control(client):
    outcome = client.execute("print('0123456789' * 5_000_000, end='')")
    assert outcome.stdout == b"0123456789" * 5_000_000


def test_output_over_the_limit_keeps_head_and_tail(client):
    client.call("configure", session_uid="s", env={}, limits={"output_bytes": 1000})
    outcome = client.execute("print('a' * 5000 + 'z' * 500, end='')")
    assert outcome.stdout == b"a" * 500 + b"z" * 500
    assert outcome["dropped_bytes"] == 4500


def test_output_is_streamed_while_the_cell_runs(runtime, client):
    number = client.start("import os, time\nprint('early')\nwhile not os.path.exists('go'):\n    time.sleep(0.01)")
    while (frame := client.next()).type is not FrameType.DATA:
        pass
    assert frame.payload[1:] == b"early\n"
    (runtime.workspace / "go").touch()
    assert client.take(number)["status"] == "OK"


def test_a_timeout_interrupts_and_keeps_state(client):
    client.execute("x = 5")
    outcome = client.execute("while True: pass", timeout=0.2)
    assert (outcome["status"], outcome["context_restarted"]) == ("TIMED_OUT", False)
    assert client.execute("x").body == b"5"


def test_a_cell_that_ignores_the_interrupt_is_killed_with_its_tree(runtime, client):
    code = (
        "import os, signal, subprocess, time\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "subprocess.Popen(['setsid', 'sleep', '1000'])\n"
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
        "        open('daemon', 'w').write(str(os.getpid()))\n        time.sleep(1000)\n    os._exit(0)\n"
        "while not os.path.exists('daemon') or not open('daemon').read(): pass\n"
        "print(subprocess.run(['pgrep', '-n', 'sleep'], capture_output=True, text=True).stdout, flush=True)\n"
        "while True: time.sleep(100)"
    )
    outcome = client.execute(code, timeout=1)
    assert (outcome["status"], outcome["context_restarted"]) == ("TIMED_OUT", True)
    assert not alive(int((runtime.workspace / "daemon").read_text()))
    assert not alive(int(outcome.stdout))
    assert client.execute("1 + 1").body == b"2"


def test_a_javascript_cell_that_cannot_be_stopped_ends_at_its_limit(client):
    """What the engine is asked of an error runs where nothing can be terminated."""
    outcome = client.execute("throw { get message() { for (;;); } }", language="javascript", timeout=1)
    assert (outcome["status"], outcome["context_restarted"]) == ("TIMED_OUT", True)
    assert client.execute("1 + 1", language="javascript").body.startswith(b"2")


def test_the_stack_of_what_is_thrown_is_not_asked_of_it_unless_it_is_an_error(client):
    outcome = client.execute("throw { get stack() { for (;;); } }", language="javascript", timeout=5)
    assert (outcome["status"], outcome["context_restarted"]) == ("ERROR", False)


def test_an_interrupt_ends_the_cell_and_keeps_state(client):
    client.execute("x = 5")
    number = client.start("import time\ntime.sleep(1000)")
    client.until_started(number)
    assert client.call("interrupt", context_id="python").ok == {"interrupted": True}
    assert client.take(number)["status"] == "INTERRUPTED"
    assert client.call("interrupt", context_id="python").ok == {"interrupted": False}
    assert client.execute("x").body == b"5"


def test_an_interrupt_of_a_cell_that_prints_without_end_leaves_the_framing_intact(client):
    for _ in range(5):
        number = client.start("while True: print('x' * 1000)")
        client.until_started(number)
        client.call("interrupt", context_id="python")
        assert client.take(number)["status"] == "INTERRUPTED"
    assert client.execute("1").body == b"1"


def test_fault_21_a_crash_restarts_the_context_and_says_how_it_ended(client):
    """The cell ends with the process's exit code, and its context starts again without variables."""
    first = client.execute("print('last words', flush=True)\nimport os\nos._exit(7)")
    assert (first["status"], first["exit_code"], first["context_restarted"]) == ("KILLED", 7, True)
    assert first.stdout == b"last words\n"
    second = client.execute("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)")
    assert (second["status"], second["exit_code"]) == ("KILLED", 128 + signal.SIGSEGV)
    assert client.execute("1")["execution_count"] == 1


def test_cells_of_one_context_run_in_order_and_other_contexts_do_not_wait(client):
    made = client.call("context.create", language="python").ok
    numbers = [client.start("import time\ntime.sleep(0.3)\nprint(1)"), client.start("print(2)")]
    other = client.execute("print('other')", context_id=made["id"])
    assert other.stdout == b"other\n"
    assert [client.take(number).stdout for number in numbers] == [b"1\n", b"2\n"]


def test_a_context_has_its_own_folder_environment_and_variables(runtime, client):
    (runtime.workspace / "sub").mkdir()
    made = client.call("context.create", language="python", cwd="sub", env={"NAME": "value"}).ok
    assert made == {"id": made["id"], "language": "python", "cwd": "sub", "busy": False, "execution_count": 0}
    outcome = client.execute("import os\nprint(os.getcwd(), os.environ['NAME'])", context_id=made["id"])
    assert outcome.stdout == f"{runtime.workspace}/sub value\n".encode()
    assert client.execute("os", language="python")["status"] == "ERROR"
    assert client.call("context.restart", context_id=made["id"]).ok["execution_count"] == 0
    assert client.call("context.delete", context_id=made["id"]).ok == {}
    assert client.execute("1", context_id=made["id"]).error["reason"] == "UNKNOWN_CONTEXT"
    listed = client.call("context.list").ok["contexts"]
    assert [context["id"] for context in listed] == ["python", "javascript", "typescript"]


@pytest.mark.parametrize(
    ("arguments", "code", "reason", "field"),
    [
        ({}, " \n", "EMPTY_CODE", "code"),
        ({}, "", "EMPTY_CODE", "code"),
        ({"language": "ruby"}, "1", "UNKNOWN_LANGUAGE", "language"),
        ({"context_id": "nope"}, "1", "UNKNOWN_CONTEXT", "context_id"),
        ({"timeout": -1}, "1", "INVALID_TIMEOUT", "timeout"),
        ({"timeout": 301}, "1", "INVALID_TIMEOUT", "timeout"),
        ({"timeout": float("nan")}, "1", "INVALID_TIMEOUT", "timeout"),
    ],
)
def test_a_bad_execute_is_refused_naming_the_field(client, arguments, code, reason, field):
    error = client.execute(code, **arguments).error
    assert (error["reason"], error["field"]) == (reason, field)
    if reason == "UNKNOWN_LANGUAGE":
        assert "python, javascript, typescript" in error["message"]


def test_a_command_gets_stdin_folder_environment_and_its_exit_code_is_told(runtime, client):
    (runtime.workspace / "sub").mkdir()
    outcome = client.call(
        "run", b"in", shell='cat; pwd; echo "$A" >&2; exit 3', cwd="sub", env={"A": "b"}, stdin_bytes=2
    )
    assert outcome.stdout == f"in{runtime.workspace}/sub\n".encode()
    assert outcome.stderr == b"b\n"
    assert (outcome["status"], outcome["exit_code"], outcome["signal"]) == ("OK", 3, 0)
    assert client.call("run", argv=["echo", "$HOME;"]).stdout == b"$HOME;\n"


def test_a_command_ended_by_a_signal_has_exit_code_128_and_more(client):
    outcome = client.call("run", argv=["sh", "-c", "kill -TERM $$"])
    assert (outcome["status"], outcome["exit_code"], outcome["signal"]) == ("KILLED", 143, 15)


def test_a_timeout_kills_a_commands_tree(client):
    outcome = client.call("run", shell="setsid sleep 1000 & echo $!; sleep 1000", timeout=0.3)
    assert (outcome["status"], outcome["signal"]) == ("TIMED_OUT", 9)
    until(lambda: not alive(int(outcome.stdout)), 2)


def test_a_background_child_does_not_hang_the_call(client):
    outcome = client.call("run", shell="sleep 1000 & echo $!")
    assert outcome["duration"] < 5
    os.kill(int(outcome.stdout), signal.SIGKILL)


@pytest.mark.parametrize(
    ("arguments", "code", "field"),
    [
        ({"shell": "true", "cwd": "../.."}, "INVALID_ARGUMENT", "cwd"),
        ({"shell": "true", "cwd": "/etc"}, "INVALID_ARGUMENT", "cwd"),
        ({"shell": "true", "cwd": "absent"}, "NOT_FOUND", "cwd"),
        ({"shell": "true", "cwd": "file"}, "INVALID_ARGUMENT", "cwd"),
        ({"shell": "true", "cwd": "out"}, "INVALID_ARGUMENT", "cwd"),
        ({"shell": " "}, "INVALID_ARGUMENT", "command"),
        ({"argv": []}, "INVALID_ARGUMENT", "command"),
        ({"argv": ["no-such-program"]}, "NOT_FOUND", "command"),
        ({"shell": "true", "timeout": 0}, "INVALID_ARGUMENT", "timeout"),
    ],
)
def test_a_bad_command_is_refused_naming_the_field(runtime, client, arguments, code, field):
    (runtime.workspace / "file").touch()
    (runtime.workspace / "out").symlink_to("/etc")
    error = client.call("run", **arguments).error
    assert (error["code"], error["field"]) == (code, field)


def test_configure_binds_once_and_its_environment_reaches_cells_and_commands(client):
    first = client.call("configure", session_uid="one", env={"KEY": "v"}, limits={})
    assert first.ok == {"restored": False, "runtime_id": client.hello["runtime_id"]}
    assert client.execute("import os\nprint(os.environ['KEY'])").stdout == b"v\n"
    assert client.call("run", shell="echo $KEY").stdout == b"v\n"
    assert client.call("configure", session_uid="two").error["reason"] == "ALREADY_BOUND"
    assert client.call("restored", session_uid="one").ok == {}
    assert client.call("configure", session_uid="one").ok["restored"] is True


def test_without_network_neither_cells_nor_commands_get_a_socket(client):
    client.call("configure", session_uid="s", limits={"deny_network": True})
    probe = "import socket\nsocket.socket(socket.AF_UNIX).close()\nsocket.socket()"
    assert client.execute(probe).event("error")["name"] == "PermissionError"
    command = client.call("run", argv=["python3", "-c", probe])
    assert b"PermissionError" in command.stderr


def test_an_environment_that_does_not_fit_into_a_frame_is_refused_and_no_cell_runs_without_the_filter(client):
    """An interpreter that never got its `init` would run cells without environment, folder and socket filter."""
    client.call("configure", session_uid="s", limits={"deny_network": True})
    large = {"LARGE": "x" * ((1 << 20) - 200)}
    refused = client.call("context.create", language="python", env=large)
    if refused.ok:
        outcome = client.execute("import socket\nsocket.socket()", context_id=refused["id"])
        assert outcome.event("error")["name"] == "PermissionError"
    assert refused.error["field"] == "env"
    half = {"LARGE": "x" * (600 << 10)}
    created = client.call("context.create", language="python", env=half)["id"]
    assert client.call("configure", session_uid="s", env={"ALSO": half["LARGE"]}).error["field"] == "env"
    assert client.call("context.delete", context_id=created).ok == {}
    client.call("configure", session_uid="s", env={"ALSO": half["LARGE"]}, limits={"deny_network": True})
    assert client.call("context.create", language="python", env=half).error["field"] == "env"
    assert client.execute("import os\nprint(len(os.environ['ALSO']))").stdout == b"614400\n"


@pytest.mark.parametrize("is_denied", [True, False])
def test_a_runtime_that_was_told_of_the_network_before_keeps_the_node_that_waits_unless_configure_says_otherwise(
    tmp_path, is_denied
):
    runtime = Runtime(tmp_path, SANDBOX_DENY_NETWORK="1")
    client = runtime.connect()
    try:
        waiting = until(lambda: (found := node_processes(runtime.process.pid)) and found)
        client.call("configure", session_uid="s", limits={"deny_network": is_denied})
        pid = int(client.execute("console.log(process.pid)", language="javascript").stdout)
        assert (pid in waiting) is is_denied
        opened = client.execute("import socket\nsocket.socket().close()").events
        assert [event["name"] for event in opened if event["type"] == "error"] == ["PermissionError"] * is_denied
    finally:
        client.socket.close()
        runtime.stop()


def node_processes(runtime: int) -> set[int]:
    """Node processes below a runtime, by their process ids."""
    parents, nodes = {}, set()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(") ")[2].split()[1])
            if (folder / "exe").readlink().name == "node":
                nodes.add(int(folder.name))
    return {pid for pid in nodes if parents.get(parents[pid]) == runtime}


def test_fault_20_an_execution_outlives_its_connection_and_variables_outlive_the_agent(runtime, client):
    """The cell runs to its end in the sandbox, and the next agent finds all variables."""
    client.start("import time\ntime.sleep(0.2)\nx = 7")
    client.until_started(1)
    client.socket.close()
    again = runtime.connect()
    assert again.hello["runtime_id"] == client.hello["runtime_id"]
    assert again.execute("x").body == b"7"
    again.socket.close()


def test_a_new_connection_replaces_the_old_one(runtime, client):
    again = runtime.connect()
    with pytest.raises((EOFError, ConnectionError)):
        client.next()
    assert again.execute("1").body == b"1"
    again.socket.close()


def test_garbage_ends_the_connection_and_not_the_runtime(runtime, client):
    client.socket.sendall(b"\xff" * 64)
    with pytest.raises((EOFError, ConnectionError)):
        client.next()
    again = runtime.connect()
    assert again.execute("1").body == b"1"
    again.socket.close()


def test_an_unknown_operation_is_unimplemented(client):
    assert client.call("nope").error["code"] == "UNIMPLEMENTED"


def test_sigterm_ends_everything_within_seconds(runtime, client):
    pid = int(client.execute("import os\nprint(os.getpid())").stdout)
    client.start("import signal, time\nsignal.signal(2, signal.SIG_IGN)\ntime.sleep(1000)")
    command = client.open("run", shell="sleep 1000")
    client.until_started(command)
    assert runtime.stop() < 5
    assert not alive(pid)
    assert not runtime.socket.exists()


def test_a_killed_runtime_leaves_no_interpreter(runtime, client):
    pid = int(client.execute("import os\nprint(os.getpid())").stdout)
    runtime.process.kill()
    runtime.process.wait()
    until(lambda: not alive(pid))


def test_a_module_installed_into_the_venv_is_seen_by_the_next_cell(runtime, client):
    assert client.execute("import fresh")["status"] == "ERROR"
    site_packages = next((runtime.folder / "home" / "venv" / "lib").glob("python*/site-packages"))
    (site_packages / "fresh.py").write_text("value = 9")
    assert client.execute("import fresh\nfresh.value").body == b"9"
    assert client.call("run", shell="python -c 'import fresh; print(fresh.value)'").stdout == b"9\n"


def test_javascript_and_typescript_share_a_context(client):
    assert client.execute("let shared = 20", language="javascript")["status"] == "OK"
    outcome = client.execute("const n: number = shared + 1; console.log(n)", language="typescript")
    assert outcome.stdout == b"21\n"


def test_a_figure_left_open_is_shown_and_closed(client):
    pytest.importorskip("matplotlib")
    outcome = client.execute("import matplotlib.pyplot as plt\nfig = plt.figure()\nfig.add_axes((0, 0, 1, 1))\nNone")
    parts = dict(outcome.event("result")["parts"])
    assert outcome.body[-parts["image/png"] :].startswith(b"\x89PNG")
    assert client.execute("plt.get_fignums()").body == b"[]"


def test_status_counts_what_runs(client):
    number = client.start("import time\ntime.sleep(1000)")
    client.until_started(number)
    assert client.call("status").ok["running"] == 1
    client.call("interrupt", context_id="python")
    client.take(number)


def test_the_preloaded_zygote_takes_over_a_context_that_ran_nothing(tmp_path):
    runtime = Runtime(tmp_path, SANDBOX_ZYGOTE_PRELOAD="xmlrpc.client")
    client = runtime.connect()
    try:
        made = {"status": ""}
        deadline = time.monotonic() + 30
        while made.get("preloaded") != b"True":
            assert time.monotonic() < deadline
            context = client.call("context.create", language="python").ok["id"]
            made["preloaded"] = client.execute("import sys\n'xmlrpc.client' in sys.modules", context_id=context).body
            client.call("context.delete", context_id=context)
        assert client.execute("import sys\n'xmlrpc.client' in sys.modules").body == b"True"
    finally:
        client.socket.close()
        runtime.stop()


def test_json_of_every_event_is_ascii_safe(client):
    outcome = client.execute("raise ValueError('\\udcff \\u20ac')")
    assert json.dumps(outcome.event("error"))
    with contextlib.suppress(KeyError):
        assert outcome["status"] == "ERROR"


@pytest.mark.parametrize(
    ("language", "code"), [("python", "import time\ntime.sleep(1000)"), ("javascript", "for (;;) {}")]
)
def test_an_interrupt_before_the_cell_began_is_not_lost_and_hits_no_other_cell(client, language, code):
    for _ in range(10):
        number = client.start(code, language=language)
        client.call("interrupt", context_id=language)
        assert client.take(number)["status"] == "INTERRUPTED"
        assert client.execute("1", language=language)["status"] == "OK"


def records(body):
    return [(header, bytes(content)) for header, content in read_records(body)]


def test_variables_that_hold_up_their_saving_are_named_and_the_others_saved(client):
    assert client.call("variables.save", limit=1000, timeout=5).ok == {"bytes": 0}
    client.execute("""
class Deaf:
    def __reduce__(self):
        # No signal ends this: it does not return to Python.
        __import__("hashlib").pbkdf2_hmac("sha256", b"", b"", 2 ** 31 - 1)
before, deaf, after = 1, Deaf(), 2
""")
    started = time.monotonic()
    saved = client.call("variables.save", limit=1 << 20, timeout=1)
    assert time.monotonic() - started < 10
    (context, _), *variables = records(saved.body)
    assert saved["bytes"] == len(saved.body)
    assert [header["name"] for header, _ in variables] == ["<cells>", "Deaf", "before"]
    assert context["lost"] == [["deaf", "it took too long"], ["after", "it took too long"]]
    assert context["context"] == {"id": "python", "language": "python", "cwd": "", "env": {}, "execution_count": 1}


def test_an_interpreter_that_ends_while_it_saves_or_loads_is_told(client):
    client.execute("import os\nclass Ends:\n    def __reduce__(self): os._exit(3)\nends = Ends()\nlast = 1")
    (context, _), *variables = records(client.call("variables.save", limit=1 << 20, timeout=20).body)
    assert [header["name"] for header, _ in variables] == ["<cells>", "os", "Ends"]
    why = "the interpreter ended while its variables were saved"
    assert context["lost"] == [["ends", why], ["last", why]]

    ends = b"cos\n_exit\n(I3\ntR."
    blob = [*encode_record(context), *encode_record({"name": "fine"}, pickle.dumps(1))]
    blob += encode_record({"name": "ends"}, ends)
    channel = client.open("variables.load", b"".join(blob), limit=1 << 20, timeout=20)
    client.socket.sendall(encode_json(FrameType.CLOSE, channel, {}))
    assert client.take(channel).ok == {}
    told = client.call("context.list")["variables"]
    assert told["kept"] == []
    why = "the interpreter ended while its variables were restored"
    assert told["lost"][-2:] == [["python", "fine", why], ["python", "ends", why]]
    assert client.execute("1 + 1").body == b"2"


def test_a_variable_that_cannot_be_brought_back_in_time_costs_its_context_alone(client):
    class Hangs:
        def __reduce__(self):
            return hashlib.pbkdf2_hmac, ("sha256", b"", b"", 2**31 - 1)

    blob = []
    for name in ("python", "ctx-0123456789ab"):
        context = {"id": name, "language": "python", "cwd": "gone", "env": {}, "execution_count": 4}
        blob += encode_record({"context": context, "lost": [], "omitted": 0})
        blob += encode_record({"name": "fine"}, pickle.dumps(name))
    blob += encode_record({"name": "hangs"}, pickle.dumps(Hangs()))
    channel = client.open("variables.load", b"".join(blob), limit=1 << 20, timeout=2)
    client.socket.sendall(encode_json(FrameType.CLOSE, channel, {}))
    assert client.take(channel).ok == {}
    answer = client.call("context.list")
    assert answer["variables"] == {
        "kept": [["python", "fine"]],
        "lost": [["ctx-0123456789ab", name, "it took too long"] for name in ("fine", "hangs")],
        "omitted": [0, 0],
        "problem": "",
    }
    assert [context["execution_count"] for context in answer["contexts"]] == [4, 0, 0, 0]
    assert client.execute("fine").body == b"'python'"
    assert client.execute("1", context_id="ctx-0123456789ab").body == b"1"


def test_a_busy_context_is_not_waited_for_when_variables_are_saved(client):
    channel = client.start("kept = 1\nimport time\nwhile True: time.sleep(0.01)")
    client.until_started(channel)
    [(context, _)] = records(client.call("variables.save", limit=1000, timeout=20).body)
    assert context["lost"] == [["", "a cell was still running"]]
    client.call("interrupt", context_id="python")
    assert client.take(channel)["status"] == "INTERRUPTED"


def test_without_cloudpickle_every_variable_is_named_with_what_to_install(client):
    client.execute("import sys\nsys.modules['cloudpickle'] = None\nkept = 1")
    [(context, _)] = records(client.call("variables.save", limit=1000, timeout=20).body)
    assert [name for name, _ in context["lost"]] == ["sys", "kept"]
    assert all("pip install cloudpickle" in why for _, why in context["lost"])


@pytest.mark.parametrize(
    "blob",
    [
        b"rubbish",
        b"\xff" * 100,
        b"".join(encode_record({"name": "of no context"}, b"1")),
        b"".join(encode_record({"context": {"id": "../up", "language": "python"}})),
        b"".join(encode_record({"name": "cut off"}, b"1" * 100))[:-1],
    ],
)
def test_saved_variables_that_are_no_such_thing_cost_a_sentence(client, blob):
    channel = client.open("variables.load", blob, limit=1 << 20, timeout=20)
    client.socket.sendall(encode_json(FrameType.CLOSE, channel, {}))
    assert client.take(channel).ok == {}
    assert client.call("context.list")["variables"]["problem"].startswith("the saved variables are damaged")
    assert client.execute("1 + 1").body == b"2"


def test_an_operation_that_is_cancelled_with_its_open_still_ends(client):
    client.number += 1
    opened = encode_json(FrameType.OPEN, client.number, {"op": "variables.load", "limit": 1, "timeout": 1})
    client.socket.sendall(opened + encode(FrameType.CANCEL, client.number))
    assert client.take(client.number).error["code"] == "CANCELLED"


def test_an_agent_that_gave_up_on_variables_says_so_beside_what_is_there(client):
    channel = client.open("variables.load", b"", limit=1, timeout=1)
    client.socket.sendall(encode_json(FrameType.CLOSE, channel, {}))
    assert client.take(channel).ok == {}
    assert client.call("context.list")["variables"]["problem"] == ""
    assert client.call("variables.load", limit=1, timeout=1, problem="it took too long").ok == {}
    assert client.call("context.list")["variables"]["problem"] == "it took too long"
