"""The interpreter as a process."""

from __future__ import annotations

import json
import signal
import sys
import time

import pytest

from sandbox_link.frames import FrameType, encode_json
from sandbox_runtime.javascript import find_node


def test_environment_and_working_directory_are_those_of_init(shared):
    assert shared.value(
        "[process.env.GREETING, process.cwd() === __dirname, process.env.SANDBOX_CONTROL_FD ?? null]"
    ) == [
        "hello",
        True,
        None,
    ]


def test_user_code_sees_a_plain_node(shared):
    assert shared.value(
        "[process.argv[1] === __filename, process.argv.length, process.execArgv, require.main === module]"
    ) == [True, 2, [], True]
    assert shared.run("require('internal/deps/acorn/acorn/dist/acorn')").error["value"].startswith("Cannot find module")


@pytest.mark.parametrize("control_fd", [None, 60])
def test_children_do_not_inherit_the_control_socket(start, control_fd):
    interpreter = start(control_fd=control_fd)
    listing = interpreter.value(
        "require('child_process').execFileSync("
        f"{json.dumps(sys.executable)}, ['-c', `import os, stat\n"
        "for fd in range(3, 100):\n"
        "    try: print(stat.S_ISSOCK(os.fstat(fd).st_mode))\n"
        "    except OSError: pass`]).toString()"
    )
    assert "True" not in listing


def test_the_process_ends_when_its_supervisor_is_gone(own):
    own.begin("for (;;) {}")
    own.socket.close()
    assert own.process.wait(timeout=30) == -signal.SIGKILL


def test_an_unknown_operation_is_refused(own):
    own._send_open(7, {"op": "nonsense"})
    assert own._next().json()["error"]["code"] == "UNIMPLEMENTED"
    assert own.value("1") == 1


def test_cells_sent_at_once_run_one_after_the_other(own):
    own.begin("let order = []; await new Promise((resolve) => setTimeout(resolve, 5)); order.push('first')")
    own.begin("order.push('second'); order")
    own._channel = 1
    own.finish()
    own._channel = 2
    assert json.loads(own.finish().parts["application/json"]) == ["first", "second"]


def test_latency_of_a_small_cell_is_reported(own, record_property):
    times = []
    for _ in range(200):
        start = time.perf_counter()
        own.run("1 + 1")
        times.append(time.perf_counter() - start)
    record_property("p50_ms", round(sorted(times)[100] * 1000, 3))


def test_node_is_found_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path):
    node = tmp_path / "node"
    node.write_text("#!/bin/sh\n")
    node.chmod(0o755)
    monkeypatch.setenv("SANDBOX_NODE", str(node))
    assert find_node() == str(node)
    monkeypatch.setenv("SANDBOX_NODE", str(tmp_path / "missing"))
    with pytest.raises(FileNotFoundError, match="SANDBOX_NODE"):
        find_node()


@pytest.mark.parametrize("control_fd", [None, 60])
def test_children_start_in_every_way_with_any_descriptor(start, control_fd):
    interpreter = start(control_fd=control_fd)
    code = (
        "const cp = require('child_process'); const child = cp.spawn('sh', ['-c', 'cat; exit 4']); let text = '';\n"
        "child.stdout.on('data', (data) => (text += data)); child.stdin.end('sent');\n"
        "const status = await new Promise((resolve) => child.on('close', resolve));\n"
        "[text, status, cp.spawnSync('sh', ['-c', 'echo out'], { encoding: 'utf8' }).output]"
    )
    assert interpreter.value(code) == ["sent", 4, [None, "out\n", ""]]


def test_a_child_that_prints_starts_after_what_was_printed_before_was_read(own):
    """The supervisor answers `synchronize`; then the bytes in the pipe are later than those in its socket."""
    own.begin("console.log('before'); require('child_process').execSync('echo child', {stdio: 'inherit'}); 1")
    seen = []
    while (frame := own._next()).type is not FrameType.CLOSE:
        seen.append((frame.channel, bytes(frame.payload)))
        if frame.channel == 0:
            break
    assert seen[0] == (1, b"\x01before\n")
    assert json.loads(seen[1][1]) == {"type": "synchronize"}
    own.socket.sendall(encode_json(FrameType.EVENT, 0, {"type": "synchronized"}))
    assert own.finish().text == "1"
    assert own.process.stdout.readline() == b"child\n"


def test_the_variables_can_be_replaced_but_not_by_what_throws_while_node_handles_an_exit(own):
    getter = "Object.defineProperty(process, 'env', { get() { throw new Error('no') } })"
    error = own.run(getter).error
    assert (error["name"], error["value"]) == ("TypeError", "Cannot redefine property: env")
    exited = own.run("process.exit(3)")
    assert (exited.status, exited.error["value"]) == ("ERROR", "3")
    assert own.value("process.env = { A: '1' }; process.env.A") == "1"
    assert own.value("Object.defineProperty(process, 'env', { value: { B: '2' } }).env.B") == "2"
