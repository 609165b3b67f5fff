"""Messages of E2B's agent: envelopes, values, paths, processes and files."""

import contextlib
import json
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox_client.errors import (
    Conflict,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    NotSupported,
    PermissionDenied,
    ResourceExhausted,
    SandboxError,
    SandboxUnavailable,
)
from sandbox_client.models.events import Exited
from sandbox_client.models.file_info import FileInfo
from sandbox_client.models.process_info import ProcessInfo
from sandbox_client.models.results import Status
from sandbox_client.search import FileChange
from sandbox_gateway.doors.e2b import errors, values
from sandbox_gateway.doors.e2b.envd import file_messages, process_messages, protocol
from sandbox_gateway.doors.e2b.envd.paths import Place

PLACE = Place("/workspace")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=20), max_size=3), max_size=5), st.integers(1, 9))
def test_messages_arrive_whole_however_their_bytes_are_cut(messages, size):
    data = b"".join(protocol.envelope(each) for each in messages)
    reader, read = protocol.EnvelopeReader(), []
    for start in range(0, len(data), size):
        read += reader.feed(data[start : start + size])
    reader.finish()
    assert read == messages


@given(st.binary(max_size=60))
def test_any_bytes_are_messages_or_an_error_of_ours(data):
    reader = protocol.EnvelopeReader()
    try:
        for message in reader.feed(data):
            assert isinstance(message, dict)
        reader.finish()
    except SandboxError:
        pass


def test_large_and_compressed_messages_are_refused():
    with pytest.raises(ResourceExhausted):
        list(protocol.EnvelopeReader().feed(b"\0\xff\xff\xff\xff"))
    with pytest.raises(InvalidArgument, match="compressed"):
        list(protocol.EnvelopeReader().feed(b"\x01\0\0\0\x02{}"))


def test_the_end_of_a_stream():
    assert protocol.end_of_stream() == b"\x02\0\0\0\x02{}"
    failed = protocol.end_of_stream({"code": "not_found", "message": "m"})
    assert json.loads(failed[5:]) == {"error": {"code": "not_found", "message": "m"}}


@pytest.mark.parametrize(("text", "seconds"), [("", None), ("1500", 1.5), ("0", None), ("9" * 30, 315360000)])
def test_time_limits(text, seconds):
    assert protocol.read_timeout({"connect-timeout-ms": text}) == seconds


@pytest.mark.parametrize(("text", "seconds"), [("50", 50), ("", 90), ("0", 1), ("x", 90), ("9" * 30, 3600)])
def test_signs_of_life(text, seconds):
    assert protocol.read_keepalive({"keepalive-ping-interval": text}) == seconds
    with pytest.raises(InvalidArgument):
        protocol.read_timeout({"connect-timeout-ms": "-1"})


@given(JSON)
def test_any_json_is_a_command_or_an_error_of_ours(value):
    for message in (value, {"process": value}, {"process": {"cmd": "x", "args": value}}, {"pty": value}):
        if isinstance(message, dict):
            with contextlib.suppress(SandboxError):
                process_messages.read_start(message, PLACE)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a/b", "a/b"), ("./a//b/", "a/b"), ("", "."), (".", "."), ("~", "."), ("~/a", "a"), ("~//etc", "etc"),
        ("/workspace", "."), ("/workspace/a", "a"), ("/home/user", "."), ("/home/user/a/../b", "b"),
        ("//workspace/a", "a"), ("/workspace-2/a", "/workspace-2/a"), ("/tmp/x/..", "/tmp"), ("/etc", "/etc"),
        ("/workspace/../etc", "/etc"), ("a/../../workspace", None), ("..", None), ("~/..", None), ("a\0", None),
    ],
)  # fmt: skip
def test_paths(path, expected):
    if expected is None:
        with pytest.raises(InvalidArgument):
            PLACE.to_files(path)
    else:
        assert PLACE.to_files(path) == expected


@given(st.text(alphabet="ab./~", max_size=20))
def test_a_relative_path_never_leaves_the_workspace(path):
    try:
        found = PLACE.to_files(path)
    except InvalidArgument:
        return
    assert found.startswith("/") or found.split("/")[0] != ".."


def test_absolute_paths():
    assert [PLACE.to_absolute(path) for path in (".", "", "a/b", "/tmp/x")] == [
        "/workspace", "/workspace", "/workspace/a/b", "/tmp/x",
    ]  # fmt: skip


def start(*arguments, **fields):
    return process_messages.read_start({"process": {"cmd": arguments[0], "args": list(arguments[1:])}, **fields}, PLACE)


def test_the_commands_of_the_sdks():
    assert start("/bin/bash", "-l", "-c", "echo hi").command == "echo hi"
    assert start("/bin/bash", "-i", "-l", pty={"size": {"rows": 3, "cols": 4}}).terminal == (3, 4)
    assert start("/bin/bash", "-i", "-l").command == ["/bin/bash", "-i"]
    assert start("python", "-c", "1").command == ["python", "-c", "1"]
    assert (start("x").keep_input, start("x", stdin=False).keep_input) == (True, False)


def test_commands_that_cannot_start():
    for message in ({}, {"process": {}}, {"process": {"cmd": 1}}, {"process": {"cmd": "x", "envs": {"A": 1}}}):
        with pytest.raises(InvalidArgument):
            process_messages.read_start(message, PLACE)


def test_a_process_is_found_by_its_pid_while_it_runs():
    processes = [ProcessInfo("a", 7, running=False), ProcessInfo("b", 7), ProcessInfo("c", 8)]
    assert process_messages.select({"process": {"pid": 7}}, processes).id == "b"
    assert process_messages.select({"process": {"pid": 9}}, processes) is None
    assert process_messages.select({"process": {"tag": ""}}, processes) is None
    tagged = [ProcessInfo("a", 1, running=False, tag="x"), ProcessInfo("b", 2, tag="x")]
    assert process_messages.select({"process": {"tag": "x"}}, tagged).id == "b"
    for message in ({}, {"process": {}}, {"process": {"pid": -1}}, {"process": {"pid": True}}):
        with pytest.raises(InvalidArgument):
            process_messages.select(message, processes)


@pytest.mark.parametrize(
    ("exited", "expected"),
    [
        (Exited(Status.OK), {"exitCode": 0, "exited": True, "status": "exit status 0"}),
        (Exited(Status.ERROR, 3), {"exitCode": 3, "exited": True, "status": "exit status 3", "error": "exit status 3"}),
        (
            Exited(Status.KILLED, 137, signal.SIGKILL),
            {"exitCode": -1, "exited": False, "status": "signal: killed", "error": "signal: killed"},
        ),
        (
            Exited(Status.OOM_KILLED, message="too much memory"),
            {"exitCode": -1, "exited": False, "status": "signal: killed", "error": "signal: killed: too much memory"},
        ),
    ],
)
def test_ends(exited, expected):
    assert process_messages.end_event(exited) == {"event": {"end": expected}}


def test_a_process_in_a_list():
    info = ProcessInfo("a", 7, "sleep 1", tag="t", cwd="sub", env_names=("A",))
    assert process_messages.process_message(info, PLACE) == {
        "pid": 7,
        "tag": "t",
        "config": {
            "cmd": "/bin/bash", "args": ["-l", "-c", "sleep 1"], "envs": {"A": ""}, "cwd": "/workspace/sub",
        },
    }  # fmt: skip


def test_input_and_signals():
    assert process_messages.read_input({"input": {"stdin": "aGk"}}) == b"hi"
    assert process_messages.read_input({"input": {"pty": "_-8="}}) == b"\xff\xef"
    assert process_messages.read_input({"input": {"stdin": ""}}) == b""
    for message in ({}, {"input": {}}, {"input": {"stdin": "%"}}, {"input": {"stdin": 1}}):
        with pytest.raises(InvalidArgument):
            process_messages.read_input(message)
    assert process_messages.read_signal({"signal": "SIGNAL_SIGKILL"}) == process_messages.read_signal({"signal": 9})
    for value in (None, "KILL", [], 1):
        with pytest.raises(InvalidArgument):
            process_messages.read_signal({"signal": value})


def test_a_file_and_a_link():
    attributes = {"e2b.key": "v", "other": "x"}
    file = FileInfo("dir/f", "file", 4, 0o640, owner="sandbox", group="users", metadata=attributes)
    shown = file_messages.entry(file, PLACE)
    assert (shown["name"], shown["path"], shown["size"]) == ("f", "/workspace/dir/f", "4")
    assert (shown["type"], shown["permissions"]) == ("FILE_TYPE_FILE", "-rw-r-----")
    assert (shown["owner"], shown["group"], shown["metadata"]) == ("sandbox", "users", {"key": "v"})
    assert file_messages.write_metadata({"Key": "v"}) == {"e2b.key": "v"}
    link = FileInfo("dir/l", "symlink", 1, 0o777, symlink_target="../dir/f")
    shown = file_messages.entry(link, PLACE, file)
    assert (shown["isSymlink"], shown["symlinkTarget"], shown["mode"]) == (True, "/workspace/dir/f", 0o640)
    assert (shown["type"], shown["permissions"]) == ("FILE_TYPE_FILE", "Lrwxrwxrwx")
    assert file_messages.entry(FileInfo(".", "directory", 0, 0o755), PLACE)["name"] == "workspace"


def test_events_have_names_relative_to_the_watched_folder():
    change = FileChange("added", "dir/sub/x")
    assert file_messages.event(change, "dir") == {"name": "sub/x", "type": "EVENT_TYPE_CREATE"}
    assert file_messages.event(change, ".")["name"] == "dir/sub/x"
    assert file_messages.event(FileChange("overflow"), ".") is None


@pytest.mark.parametrize(
    ("error", "control", "file", "rpc"),
    [
        (InvalidArgument("m"), 400, 400, (400, "invalid_argument")),
        (NotFound("m"), 404, 404, (404, "not_found")),
        (Conflict("m"), 409, 409, (409, "already_exists")),
        (FailedPrecondition("m", reason="IS_A_DIRECTORY"), 409, 400, (400, "invalid_argument")),
        (FailedPrecondition("m", reason="PROCESS_ENDED"), 409, 409, (404, "not_found")),
        (ResourceExhausted("m", reason="DISK_FULL"), 429, 507, (429, "resource_exhausted")),
        (PermissionDenied("m", reason="PERMISSION_DENIED"), 403, 403, (403, "permission_denied")),
        (NotSupported("m"), 501, 501, (501, "unimplemented")),
        (SandboxUnavailable("m"), 503, 503, (503, "unavailable")),
        (SandboxError("m"), 500, 500, (500, "internal")),
    ],
)
def test_errors(error, control, file, rpc):
    assert errors.control_error(error)[0] == errors.control_error(error)[1]["code"] == control
    assert errors.file_error(error) == (file, {"code": file, "message": "m"})
    assert errors.rpc_error(error) == (rpc[0], {"code": rpc[1], "message": "m"})


def test_the_words_that_the_sdks_look_for():
    assert "was not found" in errors.missing_sandbox("a")[1]["message"]
    assert "port is not open" in errors.closed_port("a", 1)[1]["message"]


@given(JSON)
def test_any_json_is_a_value_or_an_error_of_ours(value):
    message = {"field": value}
    for read in (values.text, values.integer, values.flag, values.child, values.texts, values.text_map, values.binary):
        with contextlib.suppress(InvalidArgument):
            read(message, "field")
