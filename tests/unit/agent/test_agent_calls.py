from __future__ import annotations

import asyncio

import grpc
import pytest

from sandbox_link.frames import FrameType, Stream
from sandbox_proto.v1 import (
    file_pb2,
    file_pb2_grpc,
    interpreter_pb2,
    interpreter_pb2_grpc,
    process_pb2,
    process_pb2_grpc,
    types_pb2,
)

PYTHON = types_pb2.LANGUAGE_PYTHON
INFO = {"path": "a.txt", "type": "file", "size": 5, "mode": 0o644, "mtime_ns": 10**18, "symlink_target": None}


@pytest.fixture
def cells(client):
    return interpreter_pb2_grpc.InterpreterServiceStub(client)


@pytest.fixture
def commands(client):
    return process_pb2_grpc.ProcessServiceStub(client)


@pytest.fixture
def files(client):
    return file_pb2_grpc.FileServiceStub(client)


def cell(code="1", **fields):
    return interpreter_pb2.ExecuteRequest(code=code, language=PYTHON, **fields)


async def events_of(call):
    return [event async for response in call for event in response.events]


def kinds(events):
    return [event.WhichOneof("event") for event in events]


def executed(runtime):
    return [opened for opened in runtime.opened if opened["op"] in {"execute", "run"}]


async def test_a_short_cell_is_one_message(cells, runtime):
    responses = [response async for response in cells.Execute(cell("print('hello')"))]
    (response,) = responses
    assert kinds(response.events) == ["started", "output", "completed"]
    assert response.events[1].output == types_pb2.Output(
        stream=types_pb2.Output.STREAM_STDOUT, data=b"hello\n", offset=0
    )
    assert response.events[2].completed.status == types_pb2.EXIT_STATUS_OK
    assert executed(runtime) == [
        {"op": "execute", "context_id": "", "language": "python", "timeout": 300.0, "code_bytes": 14}
    ]


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (cell(""), ("INVALID_ARGUMENT", "EMPTY_CODE", "code")),
        (cell(" \n"), ("INVALID_ARGUMENT", "EMPTY_CODE", "code")),
        (interpreter_pb2.ExecuteRequest(code="1", language=77), ("INVALID_ARGUMENT", "UNKNOWN_LANGUAGE", "language")),
        (cell(timeout={"seconds": 0}), ("INVALID_ARGUMENT", "INVALID_TIMEOUT", "timeout")),
        (cell(timeout={"seconds": -1}), ("INVALID_ARGUMENT", "INVALID_TIMEOUT", "timeout")),
        (cell(timeout={"seconds": 301}), ("INVALID_ARGUMENT", "INVALID_TIMEOUT", "timeout")),
        (cell(timeout={"seconds": 1, "nanos": -5}), ("INVALID_ARGUMENT", "INVALID_TIMEOUT", "timeout")),
        (cell(timeout={"nanos": 2_000_000_000}), ("INVALID_ARGUMENT", "INVALID_TIMEOUT", "timeout")),
        (cell(request_id="x" * 129), ("INVALID_ARGUMENT", "INVALID_ARGUMENT", "request_id")),
        (cell(context_id="x" * 129), ("NOT_FOUND", "UNKNOWN_CONTEXT", "context_id")),
    ],
)
async def test_a_bad_cell_is_refused_by_the_fields_name(cells, runtime, error_of, request_, expected):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await events_of(cells.Execute(request_))
    assert error_of(caught.value) == expected
    assert executed(runtime) == []


async def test_a_cell_without_a_language_runs_in_python(cells, runtime):
    await events_of(cells.Execute(interpreter_pb2.ExecuteRequest(code="1")))
    assert [arguments["language"] for arguments in executed(runtime)] == ["python"]


async def test_a_cell_without_a_language_runs_in_the_first_that_the_session_lists(
    control, bind_request, connect, runtime
):
    bind_request.limits.languages.extend([types_pb2.LANGUAGE_TYPESCRIPT, types_pb2.LANGUAGE_PYTHON])
    await control.Bind(bind_request)
    async with connect() as channel:
        stub = interpreter_pb2_grpc.InterpreterServiceStub(channel)
        await events_of(stub.Execute(interpreter_pb2.ExecuteRequest(code="1")))
    assert [arguments["language"] for arguments in executed(runtime)] == ["typescript"]


async def test_a_language_the_session_may_not_use_is_unknown(control, bind_request, connect, error_of):
    bind_request.limits.languages.append(types_pb2.LANGUAGE_JAVASCRIPT)
    await control.Bind(bind_request)
    async with connect() as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await events_of(interpreter_pb2_grpc.InterpreterServiceStub(channel).Execute(cell()))
    assert error_of(caught.value) == ("INVALID_ARGUMENT", "UNKNOWN_LANGUAGE", "language")
    assert "javascript" in caught.value.details()


async def test_a_repeated_request_attaches_and_another_body_is_refused(cells, runtime, error_of):
    first = await events_of(cells.Execute(cell(request_id="r")))
    again = await events_of(cells.Execute(cell(request_id="r")))
    assert (again, len(executed(runtime))) == (first, 1)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await events_of(cells.Execute(cell("2", request_id="r")))
    assert error_of(caught.value) == ("ALREADY_EXISTS", "REQUEST_ID_REUSED", "request_id")


async def test_fault_36_a_cell_goes_on_when_its_client_goes_away(cells, runtime, scripted):
    """A cell continues when its client goes away."""
    release = asyncio.Event()

    async def slow(peer, channel, arguments):
        peer.event(channel, {"type": "started", "context_id": "python"})
        await release.wait()
        peer.data(channel, b"late")
        peer.ok(channel, scripted.DONE)

    runtime.handlers["execute"] = slow
    call = cells.Execute(cell(request_id="r"))
    await call.read()
    call.cancel()
    release.set()
    events = await events_of(cells.Execute(cell(request_id="r")))
    assert kinds(events) == ["started", "output", "completed"]
    assert len(executed(runtime)) == 1


async def test_fault_19_what_ran_when_the_link_was_lost_is_lost_and_not_run_again(cells, runtime, scripted):
    """A cell that ran when the link was lost is reported as LOST and does not run again."""

    async def die(peer, channel, arguments):
        peer.event(channel, {"type": "started", "context_id": "python"})
        peer.data(channel, b"half")
        await peer.close()

    runtime.handlers["execute"] = die
    for _ in range(2):
        events = await events_of(cells.Execute(cell(request_id="r")))
        assert kinds(events) == ["started", "output", "completed"]
        assert events[-1].completed.status == types_pb2.EXIT_STATUS_LOST
    assert len(executed(runtime)) == 1


async def test_a_cell_that_never_started_fails_as_the_runtime_says_and_may_be_repeated(
    cells, runtime, error_of, scripted
):
    async def refuse(peer, channel, arguments):
        peer.error(channel, "NOT_FOUND", "UNKNOWN_CONTEXT", "there is no context x", "context_id")

    runtime.handlers["execute"] = refuse
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await events_of(cells.Execute(cell(request_id="r")))
    assert error_of(caught.value) == ("NOT_FOUND", "UNKNOWN_CONTEXT", "context_id")
    runtime.handlers["execute"] = scripted.print_hello
    assert len(await events_of(cells.Execute(cell(request_id="r")))) == 3


async def test_results_are_put_together_from_their_parts_and_errors_passed_on(cells, runtime, scripted):
    async def show(peer, channel, arguments):
        peer.event(channel, {"type": "started", "context_id": "python"})
        parts = [["text/plain", 3], ["image/png", 4], ["text/html", 0]]
        peer.event(channel, {"type": "result", "is_main": True, "display_id": None, "is_update": False, "parts": parts})
        peer.data(channel, b"abc\x89", Stream.BODY)
        peer.data(channel, b"PNG", Stream.BODY)
        peer.event(channel, {"type": "error", "name": "ValueError", "value": "\udcff", "traceback": ["a", "b"]})
        peer.ok(channel, {**scripted.DONE, "status": "ERROR", "dropped_bytes": 7})

    runtime.handlers["execute"] = show
    _, result, error, completed = await events_of(cells.Execute(cell()))
    assert dict(result.result.data) == {"text/plain": b"abc", "image/png": b"\x89PNG", "text/html": b""}
    assert result.result.is_main
    assert error.error == interpreter_pb2.ExecutionError(name="ValueError", value="\\udcff", traceback=["a", "b"])
    assert completed.completed.truncation.dropped_bytes == 7


async def test_a_part_too_large_for_a_message_is_left_out_by_name(cells, runtime, scripted):
    async def show(peer, channel, arguments):
        peer.event(channel, {"type": "started", "context_id": "python"})
        peer.event(channel, {"type": "result", "is_main": True, "parts": [["image/png", 3_200_000]]})
        for _ in range(4):
            peer.data(channel, b"x" * 800_000, Stream.BODY)
        peer.ok(channel, scripted.DONE)

    runtime.handlers["execute"] = show
    events = await events_of(cells.Execute(cell()))
    assert kinds(events) == ["started", "result", "completed"]
    assert b"image/png of 3200000 bytes exceeds the limit" in events[1].result.data["text/plain"]


async def test_much_output_arrives_whole_under_credit_with_its_offsets(cells, runtime, scripted):
    async def talk(peer, channel, arguments):
        await peer.body(channel, arguments["code_bytes"])
        peer.event(channel, {"type": "started", "context_id": "python"})
        credit = 4 << 20
        for number in range(100):
            while credit < 200_001:
                frame = await peer.receive(channel)
                assert frame.type is FrameType.WINDOW
                credit += frame.window()
            credit -= 200_001
            peer.data(channel, bytes([number]) * 200_000, Stream.STDOUT)
            await peer.writer.drain()
        peer.ok(channel, scripted.DONE)

    runtime.handlers["execute"] = talk
    outputs = [event.output for event in await events_of(cells.Execute(cell())) if event.HasField("output")]
    assert b"".join(output.data for output in outputs) == b"".join(bytes([n]) * 200_000 for n in range(100))
    position = 0
    for output in outputs:
        assert output.offset == position
        position += len(output.data)


async def test_a_command_runs_with_its_input(commands, runtime, scripted):
    async def run(peer, channel, arguments):
        received = await peer.body(channel, arguments["stdin_bytes"])
        peer.event(channel, {"type": "started", "pid": 42})
        peer.data(channel, received.upper(), Stream.STDERR)
        peer.ok(channel, {"status": "OK", "exit_code": 3, "signal": 0, "duration": 1.5, "dropped_bytes": 0})

    runtime.handlers["run"] = run
    request = process_pb2.RunRequest(argv={"args": ["tr", "a"]}, stdin=b"abc", env={"A": "b"}, timeout={"seconds": 5})
    started, output, exited = await events_of(commands.Run(request))
    assert started.started.pid == 42
    assert (output.output.stream, output.output.data) == (types_pb2.Output.STREAM_STDERR, b"ABC")
    assert (exited.exited.exit_code, exited.exited.duration.ToMilliseconds()) == (3, 1500)
    assert executed(runtime)[0] == {
        "op": "run",
        "argv": ["tr", "a"],
        "cwd": "",
        "env": {"A": "b"},
        "timeout": 5.0,
        "stdin_bytes": 3,
        "process_id": started.started.process_id,
    }


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (process_pb2.RunRequest(), "command"),
        (process_pb2.RunRequest(shell=" "), "command"),
        (process_pb2.RunRequest(argv={}), "command"),
        (process_pb2.RunRequest(argv={"args": ["a\0"]}), "command"),
        (process_pb2.RunRequest(shell="true", stdin=b"x" * ((1 << 20) + 1)), "stdin"),
        (process_pb2.RunRequest(shell="true", cwd="\0"), "cwd"),
        (process_pb2.RunRequest(shell="true", env={"": "x"}), "env"),
    ],
)
async def test_a_bad_command_is_refused_by_the_fields_name(commands, error_of, request_, field):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await events_of(commands.Run(request_))
    assert error_of(caught.value) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT", field)


@pytest.mark.parametrize(
    "event",
    [
        {"type": "matches", "matches": [{"path": 1}]},
        {"type": "matches", "matches": [{"path": "a"}] * 501},
        {"type": "matches", "matches": [{"info": {"type": "nothing"}}]},
        {"type": "matches", "matches": "a"},
    ],
)
async def test_a_search_that_is_answered_with_nonsense_fails(runtime, files, error_of, event):
    async def nonsense(peer, channel, _arguments):
        peer.event(channel, event)
        peer.ok(channel, {})

    runtime.handlers["file.search"] = nonsense
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in files.Search(file_pb2.SearchRequest()):
            pass
    assert error_of(caught.value) == ("UNAVAILABLE", "RUNTIME_UNAVAILABLE", "")


async def test_a_watch_is_no_work_and_ends_with_its_client(runtime, agent, files):
    async def watch(peer, channel, _arguments):
        peer.event(channel, {"type": "watching"})
        assert (await peer.receive(channel)).type is FrameType.CLOSE
        assert (await peer.receive(channel)).type is FrameType.CANCEL
        peer.error(channel, "CANCELLED", "CANCELLED", "ended")
        ended.set()

    ended = asyncio.Event()
    runtime.handlers["file.watch"] = watch
    call = files.Watch(file_pb2.WatchRequest(recursive=True))
    assert (await call.read()).change == file_pb2.WatchResponse.CHANGE_WATCHING
    assert agent._gate.active == 0
    call.cancel()
    await ended.wait()


async def test_a_file_is_written_and_read(files, runtime):
    written = []

    async def write(peer, channel, arguments):
        while (frame := await peer.receive(channel)).type is FrameType.DATA:
            written.append(frame.payload[1:])
        assert frame.type is FrameType.CLOSE
        peer.ok(channel, {"info": INFO, "sha256": "0" * 64})

    async def read(peer, channel, arguments):
        peer.event(channel, {"type": "info", "info": INFO})
        peer.data(channel, b"hello", Stream.BODY)
        peer.ok(channel, {"bytes": 5})

    runtime.handlers.update({"file.write": write, "file.read": read})
    opening = file_pb2.WriteRequest(open={"path": "a.txt", "mode": 0o600})
    pieces = [file_pb2.WriteRequest(data=b"hel"), file_pb2.WriteRequest(data=b"lo")]
    answered = await files.Write(iter([opening, *pieces]))
    assert (answered.info.path, answered.info.modified.seconds, b"".join(written)) == ("a.txt", 10**9, b"hello")
    info, data = [part async for part in files.Read(file_pb2.ReadRequest(path="a.txt"))]
    assert (info.info.size, data.data) == (5, b"hello")


async def test_a_write_that_breaks_off_never_ends_well(files, runtime):
    ends = asyncio.Queue()

    async def write(peer, channel, arguments):
        while (frame := await peer.receive(channel)).type is FrameType.DATA:
            pass
        ends.put_nowait(frame.type)
        peer.error(channel, "CANCELLED", "CANCELLED", "cancelled")

    runtime.handlers["file.write"] = write
    for _ in range(200):
        call = files.Write()
        await call.write(file_pb2.WriteRequest(open={"path": "a.txt"}))
        await call.write(file_pb2.WriteRequest(data=b"half"))
        call.cancel()
    # A call that was cancelled before it reached the agent never opened anything.
    opened = sum(o["op"] == "file.write" for o in runtime.opened)
    assert [await ends.get() for _ in range(opened)] == [FrameType.CANCEL] * opened


@pytest.mark.parametrize(
    ("requests", "field"),
    [
        ([], "open"),
        ([file_pb2.WriteRequest(data=b"x")], "open"),
        ([file_pb2.WriteRequest(open={"path": ""})], "path"),
        ([file_pb2.WriteRequest(open={"path": "a", "sha256": "X" * 64})], "sha256"),
        ([file_pb2.WriteRequest(open={"path": "a", "mode": 0o10000})], "mode"),
    ],
)
async def test_a_bad_write_is_refused_by_the_fields_name(files, error_of, requests, field):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await files.Write(iter(requests))
    assert error_of(caught.value) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT", field)


async def test_listing_and_stat_pass_on_what_was_checked(files, runtime, scripted, error_of):
    async def page(peer, channel, arguments):
        peer.event(channel, {"type": "entries", "entries": [INFO, {**INFO, "path": "b\udcff"}]})
        peer.ok(channel, {"next_page_token": "t"})

    runtime.handlers.update({"file.list": page, "file.stat": scripted.answer({"info": {**INFO, "type": "alien"}})})
    listed = await files.List(file_pb2.ListFilesRequest(path="."))
    assert ([info.path for info in listed.files], listed.next_page_token) == (["a.txt", "b\\udcff"], "t")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await files.Stat(file_pb2.StatRequest(path="a.txt"))
    assert error_of(caught.value) == ("UNAVAILABLE", "RUNTIME_UNAVAILABLE", "")


@pytest.mark.parametrize(("field", "value"), [("offset", -1), ("length", -1)])
async def test_negative_positions_are_refused(files, error_of, field, value):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in files.Read(file_pb2.ReadRequest(path="a", **{field: value})):
            pass
    assert error_of(caught.value) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT", field)


async def test_a_message_over_the_limit_is_refused(cells):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await events_of(cells.Execute(cell("x" * (5 << 20))))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_an_unexpected_error_is_internal_with_an_id_and_tells_nothing(
    agent, cells, error_of, caplog, monkeypatch
):
    def fail():
        raise RuntimeError("secret")

    monkeypatch.setattr(agent._gate, "require_bound", fail)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await cells.Interrupt(interpreter_pb2.InterruptRequest(context_id="python"))
    assert error_of(caught.value) == ("INTERNAL", "INTERNAL", "")
    assert "secret" not in caught.value.details()
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.error_id in caught.value.details()


async def test_a_cancel_by_request_id_reaches_its_cell_alone_once(cells, runtime):
    has_begun, release = asyncio.Event(), asyncio.Event()
    received = []

    async def hold(peer, channel, arguments):
        await peer.body(channel, arguments["code_bytes"])
        peer.event(channel, {"type": "started", "context_id": "python", "execution_count": 1})
        has_begun.set()
        await release.wait()
        received.extend(frame.type for frame in peer.inbox[channel]._queue)
        peer.ok(channel, {"status": "INTERRUPTED", "exit_code": 0, "duration": 0.1, "execution_count": 1})

    runtime.handlers["execute"] = hold
    running = asyncio.create_task(events_of(cells.Execute(cell(request_id="r1"))))
    await has_begun.wait()
    assert not (await cells.Interrupt(interpreter_pb2.InterruptRequest(request_id="other"))).interrupted
    for _ in range(3):
        assert (await cells.Interrupt(interpreter_pb2.InterruptRequest(request_id="r1"))).interrupted
    # The frames of these calls are on one socket, in order.
    runtime.handlers["context.list"] = lambda peer, channel, _: released(peer, channel)

    async def released(peer, channel):
        release.set()
        peer.ok(channel, {"contexts": [], "variables": None})

    await cells.ListContexts(interpreter_pb2.ListContextsRequest())
    _, ended = await running
    assert ended.completed.status == types_pb2.EXIT_STATUS_INTERRUPTED
    assert received == [FrameType.CANCEL]
    assert not (await cells.Interrupt(interpreter_pb2.InterruptRequest(request_id="r1"))).interrupted


async def test_a_cancel_that_overtakes_its_request_is_not_lost(cells, commands, runtime, error_of):
    await cells.Interrupt(interpreter_pb2.InterruptRequest(request_id="r1"))
    await commands.Signal(process_pb2.SignalRequest(request_id="r2", name="KILL"))
    for call in (
        cells.Execute(cell(request_id="r1")),
        commands.Run(process_pb2.RunRequest(shell="x", request_id="r2")),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await events_of(call)
        assert error_of(caught.value) == ("CANCELLED", "CANCELLED", "")
    assert executed(runtime) == []
    assert kinds(await events_of(cells.Execute(cell(request_id="r3")))) == ["started", "output", "completed"]


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (interpreter_pb2.InterruptRequest(), ("INVALID_ARGUMENT", "INVALID_ARGUMENT", "context_id")),
        (
            interpreter_pb2.InterruptRequest(context_id="python", request_id="r"),
            ("INVALID_ARGUMENT", "INVALID_ARGUMENT", "request_id"),
        ),
        (
            interpreter_pb2.InterruptRequest(request_id="x" * 129),
            ("INVALID_ARGUMENT", "INVALID_ARGUMENT", "request_id"),
        ),
    ],
)
async def test_a_bad_interrupt_is_refused_by_the_fields_name(cells, error_of, request_, expected):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await cells.Interrupt(request_)
    assert error_of(caught.value) == expected


REPORT = {"kept": [["python", "a"]], "lost": [["ctx-1", "b\udc80", "x" * 600]], "omitted": [3, 0], "problem": ""}


async def test_what_a_wake_brought_back_of_variables_is_told_with_the_contexts(cells, runtime, scripted):
    empty = interpreter_pb2.ListContextsRequest()
    runtime.handlers["context.list"] = scripted.answer({"contexts": [], "variables": None})
    assert not (await cells.ListContexts(empty)).HasField("variables")
    runtime.handlers["context.list"] = scripted.answer({"contexts": [], "variables": REPORT})
    assert (await cells.ListContexts(empty)).variables == interpreter_pb2.KeptVariables(
        kept=[interpreter_pb2.Variable(context_id="python", name="a")],
        lost=[interpreter_pb2.LostVariable(context_id="ctx-1", name="b\\udc80", reason="x" * 512)],
        kept_omitted=3,
    )


@pytest.mark.parametrize(
    "change",
    [
        {"kept": None},
        {"kept": [["python", "a"]] * 301},
        {"kept": [["python", 1]]},
        {"lost": [["python", "a"]]},
        {"omitted": [1]},
        {"omitted": [-1, 0]},
        {"omitted": [1 << 70, 0]},
        {"problem": 5},
    ],
)
async def test_a_report_of_variables_that_is_none_is_an_error(cells, runtime, scripted, error_of, change):
    runtime.handlers["context.list"] = scripted.answer({"contexts": [], "variables": {**REPORT, **change}})
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await cells.ListContexts(interpreter_pb2.ListContextsRequest())
    assert error_of(raised.value) == ("UNAVAILABLE", "RUNTIME_UNAVAILABLE", "")
