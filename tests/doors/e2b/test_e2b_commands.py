"""E2B's SDK: commands and terminals."""

import contextlib
import threading
import time

import pytest
from e2b import CommandExitException, InvalidArgumentException, NotFoundException, PtySize, TimeoutException


def test_a_command(shared):
    result = shared.commands.run("echo out; echo err >&2")
    assert (result.stdout, result.stderr, result.exit_code, result.error) == ("out\n", "err\n", 0, None)


def test_an_exit_code(shared):
    with pytest.raises(CommandExitException) as caught:
        shared.commands.run("echo before; exit 7")
    assert (caught.value.exit_code, caught.value.stdout, caught.value.error) == (7, "before\n", "exit status 7")


def test_special_characters_and_many_lines(shared):
    assert shared.commands.run("echo '!@#$%^&*()_+ ü 日本'").stdout == "!@#$%^&*()_+ ü 日本\n"
    assert shared.commands.run("seq 100000").stdout == "".join(f"{n}\n" for n in range(1, 100001))


def test_folder_and_variables(shared):
    shared.files.make_dir("sub")
    root = shared.commands.run("pwd").stdout.strip()
    assert shared.commands.run("pwd", cwd="sub").stdout == f"{root}/sub\n"
    assert shared.commands.run("pwd", cwd="/home/user/sub").stdout == f"{root}/sub\n"
    assert shared.commands.run("echo $GREETING $A", envs={"A": "1"}).stdout == "hello 1\n"
    assert shared.commands.run("echo $A-", envs={}).stdout == "-\n"


def test_a_folder_that_does_not_exist(shared):
    with pytest.raises(InvalidArgumentException):
        shared.commands.run("pwd", cwd="missing")


def test_output_arrives_while_the_command_runs(shared):
    arrivals = []
    shared.commands.run(
        "for i in 1 2 3; do echo $i; sleep 0.4; done", on_stdout=lambda text: arrivals.append((text, time.monotonic()))
    )
    assert "".join(text for text, _ in arrivals) == "1\n2\n3\n"
    assert arrivals[-1][1] - arrivals[0][1] > 0.5


def test_a_time_limit_ends_the_command(shared):
    with pytest.raises(TimeoutException):
        shared.commands.run("sleep 30.123", timeout=1)
    time.sleep(0.5)
    assert shared.commands.run("pgrep -f 'sleep 30.12[3]' || echo none").stdout == "none\n"


def test_a_background_command(shared):
    handle = shared.commands.run("sleep 1; echo done", background=True)
    assert handle.pid in [each.pid for each in shared.commands.list()]
    assert handle.wait().stdout == "done\n"
    assert handle.pid not in [each.pid for each in shared.commands.list()]


def test_a_list_shows_the_command(shared):
    handle = shared.commands.run("sleep 60; true", background=True, envs={"A": "1"}, cwd="/tmp")
    [info] = [each for each in shared.commands.list() if each.pid == handle.pid]
    assert (info.cmd, info.args) == ("/bin/bash", ["-l", "-c", "sleep 60; true"])
    assert (info.cwd, info.envs, info.tag) == ("/tmp", {"A": ""}, None)
    handle.kill()


def test_kill(shared):
    handle = shared.commands.run("sleep 60", background=True)
    assert shared.commands.kill(handle.pid)
    with pytest.raises(CommandExitException) as caught:
        handle.wait()
    assert (caught.value.exit_code, caught.value.error) == (-1, "signal: killed")
    assert not shared.commands.kill(handle.pid)
    assert not shared.commands.kill(999999)


def test_a_client_that_disconnects_leaves_the_command_running(shared):
    handle = shared.commands.run("for i in $(seq 30); do echo $i; sleep 0.1; done", background=True)
    handle.disconnect()
    again = shared.commands.connect(handle.pid)
    assert again.pid == handle.pid
    assert again.wait().stdout.endswith("29\n30\n")


def test_connect_to_a_process_that_does_not_exist(shared):
    with pytest.raises(NotFoundException):
        shared.commands.connect(999999)


def test_input(shared):
    handle = shared.commands.run("cat", background=True, stdin=True)
    shared.commands.send_stdin(handle.pid, "one\n")
    shared.commands.send_stdin(handle.pid, "")
    shared.commands.send_stdin(handle.pid, "two ü\n" * 50_000)
    shared.commands.close_stdin(handle.pid)
    assert handle.wait().stdout == "one\n" + "two ü\n" * 50_000


def test_a_stream_of_input(shared):
    handle = shared.commands.run("cat", background=True, stdin=True)
    shared.commands.stream_input(handle.pid, (f"{n}\n" for n in range(20)))
    shared.commands.close_stdin(handle.pid)
    assert handle.wait().stdout == "".join(f"{n}\n" for n in range(20))


def test_without_input_a_command_reads_its_end(shared):
    assert shared.commands.run("cat; echo end").stdout == "end\n"


def test_input_for_a_process_that_does_not_exist(shared):
    with pytest.raises(NotFoundException):
        shared.commands.send_stdin(999999, "x")


def test_a_terminal(shared):
    output = bytearray()
    terminal = shared.pty.create(PtySize(rows=24, cols=80), envs={"ABC": "123"}, timeout=30)
    reader = threading.Thread(target=lambda: terminal.wait(on_pty=output.extend))
    reader.start()
    shared.pty.send_stdin(terminal.pid, b"echo $ABC; tput cols\n")
    wait_for(lambda: b"123\r\n80\r\n" in output)
    shared.pty.resize(terminal.pid, PtySize(rows=30, cols=100))
    shared.pty.send_stdin(terminal.pid, b"tput cols; exit\n")
    reader.join(10)
    assert b"100\r\n" in output
    assert not shared.pty.kill(terminal.pid)


def test_connect_to_a_terminal_and_kill_it(shared):
    terminal = shared.pty.create(PtySize(rows=24, cols=80), timeout=30)
    terminal.disconnect()
    output = bytearray()
    again = shared.pty.connect(terminal.pid)
    shared.pty.send_stdin(terminal.pid, b"echo $((40 + 2))\n")
    reader = threading.Thread(target=drain, args=(again, output))
    reader.start()
    wait_for(lambda: b"42" in output)
    assert shared.pty.kill(terminal.pid)
    reader.join(10)
    assert not reader.is_alive()


def drain(handle, output):
    with contextlib.suppress(CommandExitException):
        handle.wait(on_pty=output.extend)


def wait_for(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_sandbox_that_is_killed_ends_its_command(new):
    sandbox = new()
    threading.Timer(1.5, sandbox.kill).start()
    with pytest.raises(TimeoutException):
        sandbox.commands.run("sleep 60")
