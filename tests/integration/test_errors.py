"""Every error of the SDK names its object, the reason, and what to do. A local session for real.

To add errors of another surface, write a table of calls and what they must name, and check each message with
`tests.support.error_rules.faults`.
"""

import os

import pytest

from sandbox_client import Sandbox, SandboxError
from tests.support.error_rules import faults


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SANDBOX_ZYGOTE_PRELOAD", "json")
        folders = tmp_path_factory.mktemp("workspace"), tmp_path_factory.mktemp("store")
        with Sandbox.local(*folders, file_size_limit="1Mi", execution_timeout=20) as sandbox:
            sandbox.files.write("file.txt", "text")
            sandbox.files.write("folder/a", "text")
            sandbox.run("mkfifo fifo; ln -s /etc out; ln -s loop loop")
            yield sandbox


def ended(sandbox):
    process = sandbox.processes.start("true", keep_input=False)
    process.wait()
    return process


def watch_once(sandbox, *args, **kwargs):
    for _change in sandbox.files.watch(*args, **kwargs):
        break


ERRORS = {
    # Files: the call, and what the message must name.
    "read": (lambda s: s.files.read("nope"), "'nope'", "workspace ("),
    "read below": (lambda s: s.files.read("folder/nope"), "'folder/nope'"),
    "read a folder": (lambda s: s.files.read("folder"), "'folder'"),
    "read below a file": (lambda s: s.files.read("file.txt/a"), "'file.txt/a'"),
    "read a fifo": (lambda s: s.files.read("fifo"), "'fifo'"),
    "read outside": (lambda s: s.files.read("../a"), "'../a'"),
    "read absolute": (lambda s: s.files.read("/etc/passwd"), "'/etc/passwd'"),
    "read through a link": (lambda s: s.files.read("out/passwd"), "'out/passwd'"),
    "read a loop": (lambda s: s.files.read("loop"), "'loop'"),
    "read behind the end": (lambda s: s.files.read("file.txt", offset=99), "99", "4 bytes"),
    "read an empty path": (lambda s: s.files.read(""), "path"),
    "read NUL": (lambda s: s.files.read("a\0b"), "path"),
    "long name": (lambda s: s.files.write("x" * 300, "a"), "xxx"),
    "stat": (lambda s: s.files.stat("nope"), "'nope'"),
    "list": (lambda s: s.files.list("nope"), "'nope'"),
    "list a file": (lambda s: s.files.list("file.txt"), "'file.txt'"),
    "write a folder": (lambda s: s.files.write("folder", "x"), "'folder'"),
    "write below a file": (lambda s: s.files.write("file.txt/a", "x"), "'file.txt/a'"),
    "write too much": (lambda s: s.files.write("big", b"x" * (2 << 20)), "'big'", "1048576 bytes"),
    "write a wrong mode": (lambda s: s.files.write("a", "x", mode=0o77777), "mode"),
    "remove": (lambda s: s.files.remove("nope"), "'nope'"),
    "remove a folder": (lambda s: s.files.remove("folder"), "'folder'", "recursive"),
    "remove the root": (lambda s: s.files.remove(".", recursive=True), "the workspace", "contents"),
    "move": (lambda s: s.files.move("nope", "b"), "'nope'"),
    "move onto": (lambda s: s.files.move("file.txt", "folder/a"), "'folder/a'"),
    "move onto a folder": (lambda s: s.files.move("file.txt", "folder", overwrite=True), "'folder'"),
    "move into itself": (lambda s: s.files.move("folder", "folder/x"), "folder"),
    "make a folder over a file": (lambda s: s.files.make_directory("file.txt"), "'file.txt'"),
    "download": (lambda s: s.files.download("nope"), "'nope'"),
    "find in": (lambda s: s.files.find("*", "nope"), "'nope'"),
    "find too many": (lambda s: s.files.find("*", max_results=20_000), "max_results", "20000"),
    "find too long": (lambda s: s.files.find("*", timeout=1e6), "timeout"),
    "grep": (lambda s: s.files.grep("(unclosed"), "'(unclosed'"),
    "watch": (lambda s: watch_once(s, "nope"), "'nope'"),
    "watch a file": (lambda s: watch_once(s, "file.txt"), "'file.txt'"),
    # Code and commands.
    "empty code": (lambda s: s.run_code("  "), "code"),
    "language": (lambda s: s.run_code("1", "cobol"), "'cobol'", "python"),
    "language of a context": (lambda s: s.run_code("1", "javascript", context="python"), "'python'", "javascript"),
    "context": (lambda s: s.run_code("1", context="nope"), "'nope'"),
    "long context": (lambda s: s.run_code("1", context="x" * 200), "xxx"),
    "timeout": (lambda s: s.run_code("1", timeout=400), "400 s", "20 s"),
    "negative timeout": (lambda s: s.run_code("1", timeout=-1), "timeout is -1"),
    "no time": (lambda s: s.run_code("1", timeout=float("nan")), "timeout", "nan"),
    "type check": (lambda s: s.run_code("1", type_check="report"), "type_check", "python"),
    "unknown type check": (lambda s: s.run_code("1", "typescript", type_check="strict"), "'strict'"),
    "request id": (lambda s: s.run_code("1", request_id="x" * 200), "request_id"),
    "half a character": (lambda s: s.run_code("'\ud800'"), "code"),
    "empty command": (lambda s: s.run(""), "command"),
    "blank command": (lambda s: s.run("  "), "command"),
    "program": (lambda s: s.run(["no-such-program"]), "'no-such-program'"),
    "folder as a program": (lambda s: s.run(["/etc"]), "'/etc'"),
    "cwd": (lambda s: s.run("ls", cwd="nope"), "'nope'"),
    "cwd outside": (lambda s: s.run("ls", cwd="/etc"), "'/etc'"),
    "cwd is a file": (lambda s: s.run("ls", cwd="file.txt"), "'file.txt'"),
    "variable": (lambda s: s.run("ls", env={"A=B": "x"}), "'A=B'"),
    "stdin": (lambda s: s.processes.start("cat", stdin=b"x" * (2 << 20)), "stdin", "send_input"),
    # Contexts.
    "create a context": (lambda s: s.contexts.create("cobol"), "'cobol'"),
    "create a context in": (lambda s: s.contexts.create(cwd="nope"), "'nope'"),
    "interrupt": (lambda s: s.contexts.interrupt("nope"), "'nope'"),
    "restart": (lambda s: s.contexts.restart("nope"), "'nope'"),
    "delete": (lambda s: s.contexts.delete("nope"), "'nope'"),
    "delete a default context": (lambda s: s.contexts.delete("python"), "'python'"),
    "no context": (lambda s: s.contexts.delete(""), "context"),
    # Processes.
    "get a process": (lambda s: s.processes.get("nope"), "'nope'"),
    "signal a process": (lambda s: s.processes.signal("nope", "TERM"), "'nope'"),
    "start": (lambda s: s.processes.start(["no-such-program"]), "'no-such-program'"),
    "start in": (lambda s: s.processes.start("ls", cwd="nope"), "'nope'"),
    "signal name": (lambda s: s.processes.start("sleep 9").signal("NOPE"), "'NOPE'"),
    "signal number": (lambda s: s.processes.start("sleep 9").signal(99), "99"),
    "terminal": (lambda s: s.processes.start("ls", terminal=(0, 80)), "terminal", "0 rows"),
    "input of an ended process": (lambda s: ended(s).send_input("x"), "process"),
    "input that is closed": (lambda s: s.processes.start("sleep 9", keep_input=False).send_input("x"), "input"),
    "resize without a terminal": (lambda s: s.processes.start("sleep 9").resize(24, 80), "terminal"),
    "behind the output": (lambda s: list(ended(s).output(10**6)), "offset"),
    # The workspace in storage.
    "push": (lambda s: s.workspace.push(["nope"]), "'nope'"),
    "stored file": (lambda s: s.workspace.read("nope"), "'nope'"),
    "stored file outside": (lambda s: s.workspace.read("../nope"), "../nope"),
    # A session.
    "session limit": (lambda _: Sandbox.local(memory_limit="2 gigabytes"), "memory_limit", "'2 gigabytes'"),
    "session time": (lambda _: Sandbox.local(execution_timeout=0), "execution_timeout"),
    "session egress": (lambda _: Sandbox.local(egress="all"), "egress", "'all'"),
    "session sync": (lambda _: Sandbox.local(sync="often"), "sync", "'often'"),
    "session name": (lambda _: Sandbox.local(name="a/b"), "'a/b'"),
    "session workspace": (lambda _: Sandbox.local("/etc/passwd"), "/etc/passwd"),
    "session environment": (lambda _: Sandbox.local(env={"A=B": "x"}), "env", "'A=B'"),
    "kubeconfig": (lambda _: Sandbox.connect("s", kubeconfig="/nope/config"), "/nope/config", "no such file"),
    # Wrong types are refused before anything is sent; test_client_arguments.py has all of them.
    "code is a number": (lambda s: s.run_code(5), "code", "5", "int"),
    "content is a number": (lambda s: s.files.write("a", 5), "content", "5", "int"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_names_the_object_the_reason_and_what_to_do(sandbox, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call, *names = ERRORS[name]
    with pytest.raises(SandboxError) as caught:
        call(sandbox)
    assert not faults(str(caught.value), *names), str(caught.value)
    assert caught.value.reason or caught.value.field


def test_a_context_or_an_entry_of_a_listing_stands_for_its_id(sandbox):
    context = sandbox.contexts.create()
    assert sandbox.run_code("kept = 5; kept", context=context).context_id == context.id
    assert sandbox.contexts.interrupt(context) is False
    assert sandbox.contexts.restart(context).id == context.id
    sandbox.contexts.delete(context)
    process = sandbox.processes.start("sleep 30")
    listed = next(entry for entry in sandbox.processes.list() if entry.id == process.id)
    sandbox.processes.signal(sandbox.processes.get(listed).info(), "KILL")
    assert process.wait().signal == 9


def test_the_sandbox_goes_on_after_all_errors(sandbox):
    assert sandbox.run_code("6 * 7").text == "42"
    assert os.sep not in sandbox.files.list()[0].path


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        ("path: There is no such file or folder.", "begins with the name of a field"),
        ("there is no file 'a'", "does not say what to do"),
        ("there is no such file: list the folder", "does not name 'a'"),
        ("'a': try again", "gives no reason"),
    ],
)
def test_the_rules_find_what_is_missing(message, fault):
    assert any(fault in found for found in faults(message, "'a'"))
