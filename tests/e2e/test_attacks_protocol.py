"""Attacks by what a client sends: rows 31, and 34 to 37.

The agent reads requests, and it is the same under each isolation. It is still tried under all three, since what it
passes on (argv, folders, code) is carried out by another kernel.
"""

from __future__ import annotations

import random
import socket
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.duration_pb2 import Duration

from sandbox_client import Conflict, InvalidArgument, NotFound
from sandbox_proto.v1 import file_pb2, interpreter_pb2, process_pb2
from tests.e2e.support.wire import SERVICES, Wire
from tests.support.http2 import MESSAGE_OF_4_GIB, build_call, build_context

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.message import Message

    from tests.e2e.support.arena import Arena

HARMLESS = {
    *("OK", "INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "FAILED_PRECONDITION", "RESOURCE_EXHAUSTED"),
    *("DEADLINE_EXCEEDED", "CANCELLED", "PERMISSION_DENIED", "ABORTED", "UNIMPLEMENTED"),
}
"""How a fuzzed call may end: neither UNKNOWN nor INTERNAL, which would be a defect, nor UNAVAILABLE, a dead runtime."""
FUZZED = 300
FILE, PROCESS, CODE = (f"/sandbox.v1.{name}Service/" for name in ("File", "Process", "Interpreter"))


@pytest.fixture(scope="module")
def wire(arena: Arena) -> Iterator[Wire]:
    """The hostile session's agent, called without the SDK."""
    wire = Wire(arena.sessions, arena.name)
    yield wire
    wire.close()


def test_attack_31_a_message_that_claims_4_gib_is_refused_unread(arena: Arena, wire: Wire):
    """It is refused after its first kilobyte, and the agent takes no memory for it."""
    host, _, port = wire.address.rpartition(":")
    before = arena.peak_of_agent() if arena.has_process_of_agent else 0
    context = build_context(text=wire.authority)
    with arena.unharmed("messages that claim 4 GiB"):
        for _ in range(10):
            with (
                socket.create_connection((host, int(port)), timeout=10) as plain,
                context.wrap_socket(plain, server_hostname=wire.server_name) as stream,
            ):
                stream.sendall(build_call(wire.token, MESSAGE_OF_4_GIB))
                answer = b""
                while b"larger than max" not in answer:
                    more = stream.recv(65536)
                    assert more, answer
                    answer += more
    if arena.has_process_of_agent:
        assert arena.peak_of_agent() - before < 32 << 20


def test_attack_31_nested_a_hundred_thousand_levels_deep_is_refused_or_fails_alone(arena: Arena, wire: Wire):
    """Groups in a message, brackets in code and in a search, lists in a result."""
    depth = 100_000
    sandbox = arena.attacker
    with arena.unharmed("deep nesting"):
        for service in SERVICES:
            for method in service.methods:
                path = f"/{service.full_name}/{method.name}"
                assert wire.call(path, [b"\x0b" * depth])[0] == "INVALID_ARGUMENT", path
        assert sandbox.run_code("(" * depth + ")" * depth, timeout=30).error is not None
        assert sandbox.run_code(f"value = []\nfor _ in range({depth}): value = [value]\nvalue", timeout=30).status
        assert sandbox.run_code("[".join([""] * depth), language="javascript", timeout=30).error is not None
        with pytest.raises(InvalidArgument) as refusal:
            sandbox.files.grep("(" * 10_000 + ")" * 10_000)
        assert refusal.value.field in {"pattern", "content_pattern"}


def seconds(value: int, nanos: int = 0) -> Duration:
    return Duration(seconds=value, nanos=nanos)


def build_requests() -> dict[str, tuple[str, Message, str]]:
    """A method, a request that is wrong in one field, and that field's name."""
    execute = interpreter_pb2.ExecuteRequest
    run, argv = process_pb2.RunRequest, process_pb2.Argv
    return {
        "negative timeout": (CODE + "Execute", execute(code="1", timeout=seconds(-1)), "timeout"),
        "timeout of 292 billion years": (CODE + "Execute", execute(code="1", timeout=seconds(2**63 - 1)), "timeout"),
        "nanoseconds of a second time": (CODE + "Execute", execute(code="1", timeout=seconds(1, 2**31 - 1)), "timeout"),
        "signs that differ": (CODE + "Execute", execute(code="1", timeout=seconds(1, -1)), "timeout"),
        "language": (CODE + "Execute", execute(code="1", language=99), "language"),  # type: ignore[arg-type]
        "type check": (CODE + "Execute", execute(code="1", type_check=99), "type_check"),  # type: ignore[arg-type]
        "request id": (CODE + "Execute", execute(code="1", request_id="x" * 10_000), "request_id"),
        "command's timeout": (PROCESS + "Run", run(shell="true", timeout=seconds(-5)), "timeout"),
        "no command": (PROCESS + "Run", run(), "command"),
        "empty argv": (PROCESS + "Run", run(argv=argv()), "command"),
        "NUL in argv": (PROCESS + "Run", run(argv=argv(args=["a\0b"])), "command"),
        "NUL in env": (PROCESS + "Run", run(shell="true", env={"A": "\0"}), "env"),
        "name in env": (PROCESS + "Run", run(shell="true", env={"A=B": "1"}), "env"),
        "cwd": (PROCESS + "Run", run(shell="true", cwd="../.."), "cwd"),
        "negative offset": (FILE + "Read", file_pb2.ReadRequest(path="a", offset=-1), "offset"),
        "negative length": (FILE + "Read", file_pb2.ReadRequest(path="a", length=-1), "length"),
        "NUL in a path": (FILE + "Stat", file_pb2.StatRequest(path="a\0b"), "path"),
        "mode": (FILE + "Write", file_pb2.WriteRequest(open=file_pb2.WriteOpen(path="m", mode=2**32 - 1)), "mode"),
        "digest": (FILE + "Write", file_pb2.WriteRequest(open=file_pb2.WriteOpen(path="m", sha256="no")), "sha256"),
        "page token": (FILE + "List", file_pb2.ListFilesRequest(page_token="\x00\xff"), "page_token"),
        "number of results": (
            FILE + "Search",
            file_pb2.SearchRequest(name_pattern="*", max_results=2**32 - 1),
            "max_results",
        ),
        "search's timeout": (FILE + "Search", file_pb2.SearchRequest(name_pattern="*", timeout=seconds(-1)), "timeout"),
        "expression": (FILE + "Search", file_pb2.SearchRequest(content_pattern="(a"), "content_pattern"),
    }


REQUESTS = build_requests()


@pytest.mark.parametrize("case", REQUESTS)
def test_attack_34_a_wrong_value_is_refused_and_its_field_is_named(arena: Arena, wire: Wire, case: str):
    """The status is INVALID_ARGUMENT, whatever the value."""
    del arena
    method, request, field = REQUESTS[case]
    status, _, named = wire.call(method, [request.SerializeToString()])
    assert (status, named) == ("INVALID_ARGUMENT", field)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), -1.0, 1e300])
def test_attack_34_a_timeout_that_is_no_time_is_refused_by_name(arena: Arena, value: float):
    """The SDK has floats where the protocol has none."""
    sandbox = arena.attacker
    calls: dict[str, Any] = {
        "code": lambda: sandbox.run_code("1", timeout=value),
        "command": lambda: sandbox.run("true", timeout=value),
        "search": lambda: sandbox.files.find("*", timeout=value),
    }
    for name, call in calls.items():
        with pytest.raises(InvalidArgument) as refusal:
            call()
        assert refusal.value.field == "timeout", name


def test_attack_34_fuzzed_messages_end_calls_and_nothing_else(arena: Arena, wire: Wire):
    """Random bytes, cut and changed requests, to every method: no UNKNOWN, no INTERNAL, no UNAVAILABLE."""
    choose = random.Random(34)
    methods = [f"/{service.full_name}/{method.name}" for service in SERVICES for method in service.methods]
    seeds = [request.SerializeToString() for _, request, _ in REQUESTS.values()]
    ends: dict[str, tuple[str, str, bytes]] = {}
    with arena.unharmed(f"{FUZZED} fuzzed messages"):
        for _ in range(FUZZED):
            message, method = bytearray(choose.choice(seeds)), choose.choice(methods)
            for _ in range(choose.randrange(4)):
                position = choose.randrange(len(message) + 1)
                message[position : position + choose.randrange(3)] = choose.randbytes(choose.randrange(6))
            status, *_ = wire.call(method, [bytes(message)] * choose.randrange(1, 3), timeout=0.5)
            ends.setdefault(status, (method, status, bytes(message)))
    assert set(ends) <= HARMLESS, {key: value for key, value in ends.items() if key not in HARMLESS}
    assert "INVALID_ARGUMENT" in ends
    assert len(ends) > 2, "the fuzzer reaches nothing behind the parser"


def test_attack_35_a_request_id_with_another_body_is_refused_and_runs_nothing(arena: Arena):
    """The first call's answer comes again for the same body; another body is ALREADY_EXISTS."""
    sandbox = arena.attacker
    calls = {
        "code": lambda body: sandbox.run_code(f"open('ran.txt', 'a').write('{body}')", request_id="row-35-code"),
        "command": lambda body: sandbox.run(f"printf {body} >> ran.txt", request_id="row-35-command"),
        "process": lambda body: sandbox.processes.start(f"printf {body} >> ran.txt", request_id="row-35-start").wait(),
    }
    for name, call in calls.items():
        sandbox.run("rm -f ran.txt")
        call("a")
        call("a")
        with pytest.raises(Conflict) as refusal:
            call("b")
        assert refusal.value.reason == "REQUEST_ID_REUSED", name
        assert sandbox.files.read("ran.txt") == b"a", name


def test_attack_36_what_another_session_runs_is_not_found(arena: Arena):
    """Ids of processes, contexts and calls of one session mean nothing to another, whose calls still run."""
    mine, theirs = arena.neighbour, arena.attacker
    process = mine.processes.start("sleep 60", request_id="row-36-process")
    context = mine.contexts.create().id
    cell = mine.run_code("open('mine.txt', 'w').write('x')", request_id="row-36-cell", context=context)
    attempts: dict[str, Any] = {
        "attach": lambda: list(theirs.processes.get(process.id).output()),
        "signal": lambda: theirs.processes.signal(process.id, "KILL"),
        "run in a context": lambda: theirs.run_code("1", context=context),
        "interrupt": lambda: theirs.contexts.interrupt(context),
        "delete": lambda: theirs.contexts.delete(context),
    }
    for name, attempt in attempts.items():
        with pytest.raises(NotFound) as refusal:
            attempt()
        assert refusal.value.reason in {"UNKNOWN_PROCESS", "UNKNOWN_CONTEXT"}, name
    other = Wire(arena.sessions, arena.name)
    request = interpreter_pb2.ExecuteRequest(
        code="open('mine.txt', 'w').write('x')", request_id=cell.request_id, context_id=context
    )
    only = (("sandbox-attach-only", "1"),)
    found = other.call(CODE + "Execute", [request.SerializeToString()], metadata=only)
    other.close()
    assert found[:2] == ("NOT_FOUND", "UNKNOWN_REQUEST")
    assert process.info().running
    process.kill()
    mine.contexts.delete(context)


HOSTILE = "$(touch pwned) `touch pwned`; touch pwned | touch pwned & touch pwned\n'\"\\*"


def test_attack_37_argv_env_and_cwd_never_pass_a_shell_unless_asked(arena: Arena):
    """Each arrives as it is, in a command and in a process; a string is a shell's, as documented."""
    sandbox, folder = arena.attacker, "f $(touch pwned);x"
    sandbox.files.make_directory(folder)
    options: dict[str, Any] = {"env": {"HOSTILE": HOSTILE}, "cwd": folder}
    code = "import os, sys; sys.stdout.write(repr((sys.argv[1], os.environ['HOSTILE'], os.path.basename(os.getcwd()))))"
    argv = ["python3", "-c", code, HOSTILE]
    for done in (sandbox.run(argv, **options), sandbox.processes.start(argv, **options).wait(timeout=30)):
        assert done.stdout == repr((HOSTILE, HOSTILE, folder)), done
    context = sandbox.contexts.create(**options).id
    assert sandbox.run_code("import os\nos.environ['HOSTILE']", context=context).text == repr(HOSTILE)
    sandbox.contexts.delete(context)
    assert not sandbox.files.exists("pwned")
    assert not sandbox.files.exists(f"{folder}/pwned")
    assert sandbox.run("touch asked", cwd=folder).ok
    assert sandbox.files.exists(f"{folder}/asked")
