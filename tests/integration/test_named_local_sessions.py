"""Local sessions that outlive a command, for real: their life, their crashes, and what is left of them."""

import asyncio
import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import grpc
import pytest
from click.testing import CliRunner

from sandbox_client import (
    AsyncSandbox,
    Conflict,
    InvalidArgument,
    NotFound,
    Sandbox,
    SandboxError,
    SandboxUnavailable,
    SessionFailed,
    Status,
)
from sandbox_client.cli import main
from sandbox_client.local.named import operations, reports
from sandbox_client.local.named.record import LocalRequest, Phase, Run, load_record, save_record
from sandbox_client.local.named.registry import Registry
from sandbox_client.options import LOCAL_DEFAULTS, complete
from sandbox_client.tools import cluster_sessions
from sandbox_proto.v1 import interpreter_pb2
from sandbox_proto.v1.interpreter_pb2_grpc import InterpreterServiceStub

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    """The registry and the store of one test. All sessions end with it."""
    for variable, name in (("XDG_STATE_HOME", "state"), ("XDG_DATA_HOME", "data")):
        monkeypatch.setenv(variable, str(tmp_path / name))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "no-kubeconfig"))
    # A long path would be replaced by /tmp.
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        (tmp_path / "tmp").symlink_to(folder)
        yield tmp_path
        for name in Registry().names():
            asyncio.run(operations.delete(name))
        assert processes_of(tmp_path) == []


def cli(*words, stdin=None):
    return CliRunner().invoke(main, list(words), input=stdin)


def succeed(*words):
    done = cli(*words)
    assert done.exit_code == 0, done.output
    return done.stdout


def processes_of(folder):
    """Return the ids of the processes that have a folder in their environment, or below it as their own folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            is_ours = os.fsencode(folder) in (path / "environ").read_bytes()
            if is_ours and int(path.name) != os.getpid():
                found.append(int(path.name))
    return found


def until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not become true"
        time.sleep(0.05)


def keeper_of(name):
    return int((Registry().folder(name) / "keeper.lock").read_text())


def children_of(pid):
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def module_of(pid):
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")


def process_of(name, module):
    """Return the id of the session's process that runs a module or script."""
    keeper = keeper_of(name)
    pids = [keeper, *children_of(keeper)]
    pids += [below for pid in pids[1:] for below in children_of(pid)]
    return next(pid for pid in pids if any(module in word for word in module_of(pid)))


def phase_of(name):
    return Registry().read(name).phase


def test_the_tour_works_without_a_cluster(home, tmp_path):
    assert succeed("create", "--local", "demo", "--env", "COLOR=blue") == "local/demo\n"
    succeed("run", "--session", "local/demo", "-c", "x = 6 * 7")
    assert succeed("run", "--session", "local/demo", "-c", "print(x)") == "42\n"
    assert succeed("exec", "--session", "local/demo", "--shell", "--", "echo $COLOR") == "blue\n"
    (tmp_path / "data.csv").write_text("a,b\n")
    succeed("files", "put", "--session", "local/demo", str(tmp_path / "data.csv"))
    assert "data.csv" in succeed("files", "ls", "--session", "local/demo")
    process = succeed("exec", "--session", "local/demo", "--detach", "--", "sleep", "600").strip()
    assert process[:12] in succeed("ps", "--session", "local/demo")
    succeed("kill", "--session", "local/demo", process)
    assert "1 files are saved" in succeed("push", "local/demo")
    assert json.loads(succeed("list", "--output", "json"))[0]["name"] == "local/demo"
    assert [row["name"] for row in json.loads(succeed("top", "-o", "json"))["sessions"]] == ["local/demo"]
    assert "store: " in succeed("describe", "local/demo")
    assert "Suspended" in succeed("suspend", "local/demo")
    assert [row["phase"] for row in json.loads(succeed("list", "--local", "--output", "json"))] == ["Suspended"]
    done = cli("files", "get", "--session", "local/demo", "data.csv", str(tmp_path / "back.csv"))
    assert "was suspended and has been resumed" in done.stderr
    assert (tmp_path / "back.csv").read_text() == "a,b\n"
    assert "keeper: " in succeed("logs", "local/demo")
    deleted = cli("delete", "local/demo")
    stored = home / "data" / "sandbox" / "store" / "local" / "demo"
    assert str(stored) in deleted.stderr
    assert (stored / "code-interpreter" / "data.csv").read_text() == "a,b\n"
    assert list((home / "tmp").iterdir()) == []
    assert processes_of(home) == []


@pytest.mark.parametrize("command", ["list", "get", "top"])
def test_lists_say_what_there_is_without_a_cluster(command, home, monkeypatch):
    monkeypatch.delenv("KUBECONFIG")
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(home / "none"))
    empty = cli(command)
    assert empty.exit_code == 0
    assert "no cluster is configured" in empty.output
    assert cli(command, "-n", "team").exit_code == 125
    succeed("create", "--local", "demo")
    done = cli(command)
    assert "local/demo" in done.stdout
    assert command == "top" or done.stderr == ""
    assert "local/demo" not in cli(command, "-n", "team").output
    # A kubeconfig that cannot be read is a mistake, which must not go unnoticed.
    monkeypatch.setenv("KUBECONFIG", str(home / "no-kubeconfig"))
    assert "no-kubeconfig" in cli(command).output


def test_a_store_that_is_full_is_named():
    with tempfile.TemporaryDirectory(dir="/tmp") as store:
        # A write to this device fails as on a full disk.
        (Path(store) / ".sessions").mkdir()
        (Path(store) / ".sessions" / "demo").symlink_to("/dev/full")
        done = cli("create", "--local", "demo", "--store", store)
        assert done.exit_code == 125
        assert done.stderr == f"error: {store}/.sessions/demo: No space left on device\n"


def test_the_stored_workspace_of_a_suspended_session_is_not_deleted():
    succeed("create", "--local", "demo")
    succeed("exec", "--session", "local/demo", "--", "touch", "a.txt")
    succeed("suspend", "local/demo")
    delete = ["workspaces", "delete", "demo", "--local", "--yes"]
    assert "local/demo" in succeed("workspaces", "list", "--local")
    done = cli(*delete)
    assert done.exit_code == 125
    assert "in use by a session of this machine (local/demo)" in done.stderr
    succeed("files", "get", "--session", "local/demo", "a.txt", "-")
    succeed("delete", "local/demo")
    assert succeed(*delete) == "demo is deleted\n"


def test_a_session_that_is_named_without_local_is_found_by_a_hint():
    succeed("create", "--local", "demo")
    for words in (["run", "-s", "demo", "-c", "1"], ["suspend", "demo"]):
        done = cli(*words)
        assert done.exit_code == 125
        assert done.stderr.endswith("the session demo on this machine is local/demo\n")
    assert "local/other" not in cli("suspend", "other").stderr


def test_the_logs_of_a_session_are_followed_until_it_is_deleted():
    succeed("create", "--local", "demo")
    command = [sys.executable, "-m", "sandbox_client", "logs", "--follow", "--tail", "1", "local/demo"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as following:
        old = {following.stdout.readline().partition(":")[0], following.stdout.readline().partition(":")[0]}
        assert old == {"keeper", "agent"}
        succeed("suspend", "local/demo")
        assert any("a client asks: suspend" in line for line in iter(following.stdout.readline, ""))
        succeed("resume", "local/demo")
        assert any("the session is ready" in line for line in iter(following.stdout.readline, ""))
        succeed("delete", "local/demo")
        assert following.wait(timeout=20) == 0
        assert following.stderr.read() == "the log has ended: local/demo is deleted\n"


def test_a_session_outlives_the_program_that_created_it():
    script = (
        "import os, signal\nfrom sandbox_client import Sandbox\n"
        "Sandbox.create_local('demo').run_code('x = 5')\nos.killpg(0, signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", script], start_new_session=True, check=False)
    assert done.returncode == -signal.SIGKILL
    with Sandbox.connect("local/demo") as sandbox:
        assert sandbox.run_code("x").text == "5"
        assert sandbox.name == "local/demo"


def test_the_token_is_on_no_command_line_and_only_this_user_can_read_the_files():
    with Sandbox.create_local("demo") as sandbox:
        folder, token = Registry().folder("demo"), sandbox._core.endpoint.token
        assert stat.S_IMODE(Registry().root.stat().st_mode) == 0o700
        for name in ("session.json", "token", "ca.crt"):
            assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
        assert (folder / "token").read_text() == token
        assert token not in repr(Registry().read("demo"))
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                assert token.encode() not in path.read_bytes()


def test_endpoint_has_all_that_a_client_in_another_language_needs():
    succeed("create", "--local", "demo")
    facts = json.loads(succeed("endpoint", "local/demo", "--output", "json"))
    assert "token" not in facts
    credentials = grpc.ssl_channel_credentials(Path(facts["ca_file"]).read_bytes())
    options = [("grpc.ssl_target_name_override", facts["server_name"])]
    metadata = [("authorization", f"Bearer {Path(facts['token_file']).read_text()}")]
    with grpc.secure_channel(facts["address"], credentials, options) as channel:
        answer = InterpreterServiceStub(channel).ListContexts(interpreter_pb2.ListContextsRequest(), metadata=metadata)
        assert answer.contexts
    assert facts["ca_pem"] == Path(facts["ca_file"]).read_text()
    shown = json.loads(succeed("endpoint", "local/demo", "--output", "json", "--show-token"))
    assert shown["token"] == Path(facts["token_file"]).read_text()
    exports = succeed("endpoint", "local/demo", "--export")
    assert shown["token"] not in exports
    script = f'{exports}\nprintf "%s %s" "$SANDBOX_ADDRESS" "$SANDBOX_TOKEN"'
    said = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
    assert said == f"{facts['address']} {shown['token']}"


def test_endpoint_resumes_a_suspended_session():
    succeed("create", "--local", "demo")
    succeed("suspend", "local/demo")
    assert "127.0.0.1:" in succeed("endpoint", "local/demo")
    assert phase_of("demo") is Phase.READY


def test_a_killed_keeper_leaves_no_process_and_the_files_are_kept(home):
    with Sandbox.create_local("demo") as sandbox:
        sandbox.files.write("unsaved.txt", "precious")
        sandbox.run("setsid sleep 600 >/dev/null 2>&1 &")
    os.kill(keeper_of("demo"), signal.SIGKILL)
    until(lambda: processes_of(home) == [] and list((home / "tmp").iterdir()) == [])
    with pytest.raises(SessionFailed, match="sandbox logs local/demo"):
        Sandbox.connect("local/demo")
    assert [row["phase"] for row in json.loads(succeed("list", "--local", "--output", "json"))] == ["Failed"]
    assert "is Ready" in succeed("resume", "local/demo")
    with Sandbox.connect("local/demo") as sandbox:
        assert sandbox.files.read_text("unsaved.txt") == "precious"


@pytest.mark.parametrize("command", ["resume", "delete"])
def test_what_outlives_a_killed_keeper_and_guard_ends_with_the_next_command(home, command):
    with Sandbox.create_local("demo") as sandbox:
        sandbox.run("setsid sleep 600 >/dev/null 2>&1 &")
        until(lambda: any("sleep" in module_of(pid) for pid in processes_of(home)))
    before = {pid for pid in processes_of(home) if "sleep" in module_of(pid)}
    guard = process_of("demo", "process_guard.py")
    os.kill(guard, signal.SIGSTOP)
    os.kill(keeper_of("demo"), signal.SIGKILL)
    os.kill(guard, signal.SIGKILL)
    until(lambda: phase_of("demo") is Phase.FAILED)
    assert before & set(processes_of(home)), "the test has nothing to find"
    succeed(command, "local/demo")
    assert not before & set(processes_of(home))
    assert len(list((home / "tmp").iterdir())) == (command == "resume")


@pytest.mark.parametrize(
    ("module", "what"),
    [
        ("sandbox_agent", "its agent process ended by SIGKILL"),
        ("sandbox_runtime", "its runtime process ended by SIGKILL"),
        ("process_guard.py", "its process guard ended by SIGKILL"),
    ],
)
def test_a_crashed_process_fails_the_session_and_is_named(home, module, what):
    succeed("create", "--local", "demo")
    os.kill(process_of("demo", module), signal.SIGKILL)
    until(lambda: phase_of("demo") is Phase.FAILED and not processes_of(home))
    done = cli("run", "--session", "local/demo", "-c", "1")
    assert done.exit_code not in (0, 2)
    assert what in done.stderr
    assert "sandbox logs local/demo" in done.stderr
    assert what in succeed("logs", "local/demo")


def test_an_entry_from_before_a_restart_of_the_machine_harms_no_process(home):
    succeed("create", "--local", "demo")
    folder = Registry().folder("demo")
    record = load_record(folder)
    succeed("suspend", "local/demo")
    with subprocess.Popen(["sleep", "600"]) as innocent:
        # As after a power cut: the record says Ready, the lock file has a process id, but no process holds the lock.
        save_record(folder, record)
        (folder / "keeper.lock").write_text(str(innocent.pid))
        assert phase_of("demo") is Phase.FAILED
        with pytest.raises(SessionFailed, match="this machine restarted"):
            Sandbox.connect("local/demo")
        succeed("delete", "local/demo")
        assert innocent.poll() is None
        innocent.kill()


def test_the_folder_of_a_run_that_belongs_to_another_program_is_not_removed(home):
    succeed("create", "--local", "demo")
    succeed("suspend", "local/demo")
    folder = Registry().folder("demo")
    other = home / "tmp" / "other"
    other.mkdir()
    (other / "kept").write_text("")
    record = load_record(folder)
    run = Run(str(other), "127.0.0.1:1", "t", "s", "c", 0.0, 0.0)
    save_record(folder, type(record)(**{**vars_of(record), "run": run}))
    succeed("delete", "local/demo")
    assert (other / "kept").exists()


def vars_of(record):
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


async def test_of_two_creates_at_once_one_succeeds_and_its_session_works():
    made = await asyncio.gather(
        AsyncSandbox.create_local("demo"), AsyncSandbox.create_local("demo"), return_exceptions=True
    )
    losers = [each for each in made if isinstance(each, Conflict)]
    assert len(losers) == 1, made
    winner = next(each for each in made if isinstance(each, AsyncSandbox))
    async with winner:
        assert (await winner.run_code("1 + 1")).text == "2"


async def test_commands_that_wake_a_session_at_once_start_it_once():
    async with await AsyncSandbox.create_local("demo") as sandbox:
        await operations.suspend("demo")
        woken = await asyncio.gather(
            AsyncSandbox.connect("local/demo"), AsyncSandbox.connect("local/demo"), operations.resume("demo")
        )
        assert len({each.endpoint.address for each in woken[:2]}) == 1
        await woken[0].run_code("x = 3")
        assert (await woken[1].run_code("x")).text == (await sandbox.run_code("x")).text == "3"
        for each in woken[:2]:
            await each.close()


async def test_a_session_that_is_suspended_stays_so_for_a_client_that_does_not_wake_it():
    async with await AsyncSandbox.create_local("demo"):
        await operations.suspend("demo")
    with pytest.raises(SessionFailed, match="sandbox resume local/demo"):
        await AsyncSandbox.connect("local/demo", wake=False)
    await operations.resume("demo")
    async with await AsyncSandbox.connect("local/demo", wake=False) as sandbox:
        assert (await sandbox.run_code("1")).text == "1"
        await operations.suspend("demo")
        with pytest.raises(SandboxUnavailable):
            await sandbox.run_code("1")
    assert phase_of("demo") is Phase.SUSPENDED


async def test_a_call_during_a_suspend_waits_and_runs_in_the_resumed_session():
    async with await AsyncSandbox.create_local("demo") as sandbox:
        await sandbox.run("head -c 30000000 /dev/urandom > large")
        suspending = asyncio.create_task(operations.suspend("demo"))
        await asyncio.sleep(0.2)
        assert (await sandbox.run_code("1 + 1")).text == "2"
        await suspending


async def test_the_openers_of_two_agents_share_one_session():
    opener = cluster_sessions("local/demo")
    first, second = await asyncio.gather(opener(), opener())
    async with first, second:
        await first.run_code("x = 1")
        assert (await second.run_code("x")).text == "1"


async def test_a_cancelled_create_leaves_nothing(home):
    started = asyncio.Event()
    creating = asyncio.create_task(AsyncSandbox.create_local("demo", on_progress=lambda _: started.set()))
    await started.wait()
    creating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await creating
    assert Registry().names() == []
    assert processes_of(home) == []


def test_a_create_that_is_killed_ends_its_processes_and_can_be_deleted(home):
    script = (
        "from sandbox_client import Sandbox\nSandbox.create_local('demo', on_progress=lambda s: print(s, flush=True))"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as creator:
        creator.stdout.readline()
        creator.kill()
    until(lambda: processes_of(home) == [])
    assert phase_of("demo") is Phase.FAILED
    succeed("delete", "local/demo")
    assert Registry().names() == []


def test_a_session_that_does_not_start_says_why_and_leaves_nothing(monkeypatch, home, tmp_path):
    (tmp_path / "broken" / "sandbox_agent").mkdir(parents=True)
    (tmp_path / "broken" / "sandbox_agent" / "__init__.py").write_text("raise SystemExit('broken on purpose')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "broken"))
    with pytest.raises(SessionFailed, match="broken on purpose"):
        Sandbox.create_local("demo")
    assert Registry().names() == []
    assert processes_of(home) == []


def test_paths_that_are_too_long_for_a_socket_work(monkeypatch, home):
    deep = home / ("d" * 100) / ("e" * 100)
    for variable in ("XDG_STATE_HOME", "TMPDIR"):
        monkeypatch.setenv(variable, str(deep / variable))
        (deep / variable).mkdir(parents=True)
    with Sandbox.create_local("n" * 63) as sandbox:
        assert sandbox.run("pwd").stdout.startswith(str(deep))
        asyncio.run(operations.suspend("n" * 63))
        assert sandbox.run_code("1").text == "1"
    asyncio.run(operations.delete("n" * 63))


def test_an_idle_session_is_suspended_and_the_next_call_resumes_it(home):
    with Sandbox.create_local("demo", idle_timeout="1s") as sandbox:
        sandbox.files.write("kept.txt", "kept")
        until(lambda: phase_of("demo") is Phase.SUSPENDED and not processes_of(home))
        assert sandbox.files.read_text("kept.txt") == "kept"
        assert "variables and processes were lost" in sandbox.notice
    stored = home / "data" / "sandbox" / "store" / "local" / "demo" / "code-interpreter" / "kept.txt"
    assert stored.read_text() == "kept"


def test_a_running_cell_is_not_idle():
    with Sandbox.create_local("demo", idle_timeout=1) as sandbox:
        assert sandbox.run_code("import time\ntime.sleep(4)\nprint('done')").stdout == "done\n"


def test_an_idle_session_is_deleted_if_it_was_created_so(home):
    with Sandbox.create_local("demo", idle_timeout="1s", on_idle="delete") as sandbox:
        until(lambda: Registry().names() == [] and not processes_of(home))
        with pytest.raises(SandboxUnavailable, match="it was deleted"):
            sandbox.run_code("1")


def test_a_session_is_suspended_at_the_end_of_its_lifetime_which_can_be_moved():
    with Sandbox.create_local("demo", lifetime="2s") as sandbox:
        moved = sandbox.set_timeout("1h")
        assert moved.timestamp() > time.time() + 3000
        time.sleep(3)
        assert phase_of("demo") is Phase.READY
        assert "local/demo ends at" in succeed("timeout", "local/demo", "1s")
        until(lambda: phase_of("demo") is Phase.SUSPENDED and not Registry().is_alive("demo"))
        assert sandbox.run_code("1").text == "1"


def test_a_sandbox_controls_its_session():
    with Sandbox.create_local("demo", egress="none") as sandbox:
        info = sandbox.info()
        assert (info.name, info.phase, info.egress, info.is_suspended) == ("local/demo", "Ready", "none", False)
        sandbox.suspend()
        assert sandbox.info().is_suspended
        sandbox.resume(expires=60)
        assert sandbox.info().expires_at.timestamp() < time.time() + 61
        assert sandbox.set_timeout(None).timestamp() > time.time() + 80_000
        sandbox.delete()
    assert Registry().names() == []


def test_variables_are_kept_over_a_suspend():
    with Sandbox.create_local("demo", keep_variables=True) as sandbox:
        sandbox.run_code("x = [1, 2]")
        asyncio.run(operations.suspend("demo"))
        assert sandbox.run_code("x").text == "[1, 2]"
        assert "1 variable was kept (x)" in sandbox.notice


def test_files_that_the_user_changes_while_the_session_is_suspended_are_not_replaced(tmp_path):
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "code.py").write_text("old")
    with Sandbox.create_local("demo", tmp_path / "project") as sandbox:
        sandbox.workspace.push()
        asyncio.run(operations.suspend("demo"))
        (tmp_path / "project" / "code.py").write_text("new")
        assert sandbox.files.read_text("code.py") == "new"
        sandbox.workspace.push()
        assert sandbox.workspace.read("code-interpreter/code.py") == b"new"
    asyncio.run(operations.delete("demo"))
    assert (tmp_path / "project" / "code.py").read_text() == "new"
    with pytest.raises(Conflict, match="would replace files"):
        Sandbox.create_local("demo", tmp_path / "project")
    with Sandbox.create_local("demo") as sandbox:
        assert sandbox.files.read_text("code.py") == "new"


def test_nothing_is_said_about_pushed_files_if_there_are_none(home):
    succeed("create", "--local", "demo")
    assert "pushed files" not in cli("delete", "local/demo").stderr
    assert list((home / "data" / "sandbox" / "store").glob("local/*")) == []


def test_a_terminated_keeper_saves_the_session(home):
    with Sandbox.create_local("demo") as sandbox:
        sandbox.files.write("kept.txt", "kept")
    os.kill(keeper_of("demo"), signal.SIGTERM)
    until(lambda: phase_of("demo") is Phase.SUSPENDED and not processes_of(home))
    assert Registry().read("demo").was_saved


async def test_calls_that_run_while_their_session_is_deleted_are_lost():
    async with await AsyncSandbox.create_local("demo") as sandbox:
        started = asyncio.Event()
        cell = sandbox.run_code(
            "print('on', flush=True)\nimport time\ntime.sleep(600)", on_stdout=lambda _: started.set()
        )
        running = asyncio.gather(cell, sandbox.run("sleep 600"))
        await started.wait()
        await operations.delete("demo")
        async with asyncio.timeout(30):
            assert [result.status for result in await running] == [Status.LOST, Status.LOST]
        with pytest.raises(SandboxUnavailable, match="it was deleted"):
            await sandbox.run_code("1")


async def test_a_session_of_the_same_name_is_not_mistaken_for_the_deleted_one():
    async with await AsyncSandbox.create_local("demo") as sandbox:
        await operations.delete("demo")
        async with await AsyncSandbox.create_local("demo"):
            with pytest.raises(SandboxUnavailable, match="now belongs to another session"):
                await sandbox.run_code("1")


def test_a_session_whose_record_is_damaged_is_listed_and_can_be_deleted(home):
    succeed("create", "--local", "demo")
    (Registry().folder("demo") / "session.json").write_text("{")
    (described,) = [reports.describe(record) for record in reports.list_records()]
    assert (described["phase"], "cannot be read" in described["problem"]) == ("Failed", True)
    succeed("delete", "local/demo")
    assert processes_of(home) == []


def test_a_suspend_that_cannot_save_says_so_and_the_session_goes_on(home):
    with Sandbox.create_local("demo", store=home / "store") as sandbox:
        sandbox.files.write("a.txt", "x")
        (home / "store" / "local").rename(home / "store" / "away")
        (home / "store" / "local").write_text("a file is in the way")
        with pytest.raises(SandboxError):
            asyncio.run(operations.suspend("demo"))
        assert phase_of("demo") is Phase.READY
        assert sandbox.run_code("1").text == "1"
        os.kill(keeper_of("demo"), signal.SIGTERM)
        until(lambda: phase_of("demo") is Phase.SUSPENDED and not processes_of(home))
        assert "All files are still in" in Registry().read("demo").problem
        (home / "store" / "local").unlink()
        (home / "store" / "away").rename(home / "store" / "local")
        assert sandbox.files.read_text("a.txt") == "x"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to give a folder to another user")
def test_the_registry_of_another_user_is_refused():
    root = Registry().root
    root.mkdir(parents=True)
    os.chown(root, 12345, 12345)
    with pytest.raises(SessionFailed, match="belongs to user 12345"):
        Sandbox.create_local("demo")
    os.chown(root, 0, 0)


def test_options_of_a_cluster_are_refused_for_a_local_session():
    with pytest.raises(InvalidArgument) as caught:
        Sandbox.connect("local/demo", namespace="prod")
    assert caught.value.field == "namespace"
    with pytest.raises(InvalidArgument):
        Sandbox.create("local/demo")
    with pytest.raises(NotFound, match="sandbox create --local demo"):
        Sandbox.connect("local/demo")
    for words in (
        ["suspend", "local/demo"],
        ["delete", "local/demo"],
        ["logs", "local/demo"],
        ["logs", "--follow", "local/demo"],
        ["describe", "local/demo"],
        ["endpoint", "local/demo"],
    ):
        assert cli(*words, "-n", "prod").exit_code == 2
        done = cli(*words)
        assert done.exit_code not in (0, 2)
        assert "there is no session local/demo" in done.stderr


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"name": "Demo"}, "name"),
        ({"name": "../x"}, "name"),
        ({"idle_timeout": "soon"}, "idle_timeout"),
        ({"lifetime": "1000h"}, "lifetime"),
        ({"on_idle": "stop"}, "on_idle"),
        ({"egress": "some"}, "egress"),
        ({"keep_variables": True, "workspace": "."}, "keep_variables"),
        ({"store": __file__}, "store"),
    ],
)
def test_a_wrong_option_is_named_and_nothing_is_left(options, field):
    with pytest.raises(InvalidArgument) as caught:
        Sandbox.create_local(**{"name": "demo", **options})
    assert caught.value.field == field
    assert Registry().names() == []


def test_every_option_of_a_local_session_is_passed_on():
    options = complete({"egress": "none", "execution_timeout": 1.0}, LOCAL_DEFAULTS)
    record = asyncio.run(operations.create(LocalRequest("demo"), options))
    assert record.options.keys() == LOCAL_DEFAULTS.keys()
    with Sandbox.connect("local/demo") as sandbox:
        assert sandbox.run_code("import socket\nsocket.socket()").error.name == "PermissionError"
        assert sandbox.run_code("import time\ntime.sleep(30)").status is Status.TIMED_OUT
