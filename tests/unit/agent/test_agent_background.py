"""Background processes in the agent: what a scripted runtime says of them, well and badly."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import signal

import grpc
import pytest

from sandbox_agent.processes.process import Start, list_names
from sandbox_agent.processes.registry import read_found, write_label
from sandbox_link.frames import Stream
from sandbox_proto.v1 import process_pb2, process_pb2_grpc, session_pb2, types_pb2

DONE = {"status": "OK", "exit_code": 0, "signal": 0, "duration": 1.5, "dropped_bytes": 0}


class Processes:
    """The runtime's side of background processes, one channel at a time, driven by the test."""

    def __init__(self, runtime):
        self.followed = asyncio.Queue()
        self.signals = []
        self.signalled = asyncio.Event()
        self.offset = 0
        self.listed = []
        self.events = [lambda: {"type": "started", "pid": 42, "offset": self.offset}]
        runtime.handlers |= {
            "process.start": self.follow,
            "process.attach": self.follow,
            "process.signal": self.signal,
            "process.list": self.list,
            "process.input": self.input,
        }
        self.inputs = []

    async def follow(self, peer, channel, arguments):
        for event in self.events:
            peer.event(channel, event())
        self.followed.put_nowait((peer, channel, arguments))

    async def signal(self, peer, channel, arguments):
        self.signals.append(arguments["signal"])
        self.signalled.set()
        peer.ok(channel, {})
        if self.signals[-1] == signal.SIGKILL:
            follower, number, _ = await self.followed.get()
            follower.ok(number, {**DONE, "status": "KILLED", "signal": 9, "exit_code": 137})

    async def first_signal(self):
        await self.signalled.wait()
        return self.signals[0]

    async def list(self, peer, channel, _arguments):
        peer.ok(channel, {"processes": self.listed})

    async def input(self, peer, channel, arguments):
        self.inputs.append((await peer.body(channel, arguments["data_bytes"]), arguments["end"]))
        peer.ok(channel, {})


@pytest.fixture
def processes(runtime):
    return Processes(runtime)


@pytest.fixture
def service(processes, client):
    return process_pb2_grpc.ProcessServiceStub(client)


def start(request_id="", shell="sleep 60", **fields):
    return process_pb2.StartRequest(run={"shell": shell, "request_id": request_id}, **fields)


async def events_of(call):
    return [event async for response in call for event in response.events]


async def get(service, process_id):
    return await service.Get(process_pb2.GetProcessRequest(process_id=process_id))


async def exited(service, process_id):
    (*_, last) = await events_of(service.Attach(process_pb2.AttachRequest(process_id=process_id)))
    return last.exited


async def test_a_process_is_started_listed_and_attached_to_from_an_offset(service, processes, runtime):
    started = await service.Start(start("r1", terminal={"rows": 24, "columns": 80}))
    peer, channel, arguments = await processes.followed.get()
    assert (started.pid, started.command, started.running, started.has_terminal) == (42, "sleep 60", True, True)
    assert {name: arguments[name] for name in ("shell", "rows", "columns", "end")} == {
        "shell": "sleep 60",
        "rows": 24,
        "columns": 80,
        "end": False,
    }
    assert arguments["process_id"] == started.process_id
    assert "timeout" not in arguments
    peer.data(channel, b"0123456789")
    peer.data(channel, b"error", Stream.STDERR)
    peer.ok(channel, {**DONE, "exit_code": 3})
    first, middle, last, end = await events_of(
        service.Attach(process_pb2.AttachRequest(process_id=started.process_id, offset=4))
    )
    assert first.started.pid == 42
    assert middle.output == types_pb2.Output(stream=types_pb2.Output.STREAM_STDOUT, data=b"456789", offset=4)
    assert last.output == types_pb2.Output(stream=types_pb2.Output.STREAM_STDERR, data=b"error", offset=10)
    assert (end.exited.status, end.exited.exit_code) == (types_pb2.EXIT_STATUS_OK, 3)
    (listed,) = (await service.List(process_pb2.ListProcessesRequest())).processes
    assert (listed.running, listed.output_bytes, listed.exited.exit_code) == (False, 15, 3)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (start(shell=" "), ("INVALID_ARGUMENT", "INVALID_ARGUMENT", "command")),
        (process_pb2.StartRequest(), ("INVALID_ARGUMENT", "INVALID_ARGUMENT", "command")),
        (start(terminal={"rows": 0, "columns": 80}), ("INVALID_ARGUMENT", "INVALID_ARGUMENT", "terminal")),
        (start(terminal={"rows": 24, "columns": 65536}), ("INVALID_ARGUMENT", "INVALID_ARGUMENT", "terminal")),
        (
            start(terminal={"rows": 24, "columns": 80}, end_input=True),
            ("INVALID_ARGUMENT", "INVALID_ARGUMENT", "end_input"),
        ),
        (
            process_pb2.StartRequest(run={"shell": "true", "timeout": {"seconds": 0}}),
            ("INVALID_ARGUMENT", "INVALID_TIMEOUT", "timeout"),
        ),
        (
            process_pb2.StartRequest(run={"shell": "true", "end_with_client": True}),
            ("INVALID_ARGUMENT", "INVALID_ARGUMENT", "end_with_client"),
        ),
        (start("x" * 129), ("INVALID_ARGUMENT", "INVALID_ARGUMENT", "request_id")),
    ],
)
async def test_a_bad_start_is_refused_by_the_fields_name(service, error_of, request_, expected, runtime):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.Start(request_)
    assert error_of(caught.value) == expected
    assert "process.start" not in [opened["op"] for opened in runtime.opened]


async def test_a_repeated_start_starts_nothing_and_another_body_is_refused(service, runtime, error_of):
    first = await service.Start(start("r1"))
    second = await service.Start(start("r1"))
    assert first.process_id == second.process_id
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.Start(start("r1", "sleep 61"))
    assert error_of(caught.value) == ("ALREADY_EXISTS", "REQUEST_ID_REUSED", "request_id")
    assert [opened["op"] for opened in runtime.opened].count("process.start") == 1


async def test_a_start_that_only_wants_to_attach_starts_nothing(service, error_of):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.Start(start("r9"), metadata=(("sandbox-attach-only", "1"),))
    assert error_of(caught.value) == ("NOT_FOUND", "UNKNOWN_REQUEST", "request_id")


async def test_a_process_that_could_not_be_started_is_forgotten(service, runtime, error_of, processes):
    async def refuse(peer, channel, _arguments):
        peer.error(channel, "NOT_FOUND", "FILE_NOT_FOUND", "no such program", "command")

    runtime.handlers["process.start"] = refuse
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.Start(start("r1"))
    assert error_of(caught.value) == ("NOT_FOUND", "FILE_NOT_FOUND", "command")
    assert not (await service.List(process_pb2.ListProcessesRequest())).processes
    runtime.handlers["process.start"] = processes.follow
    assert (await service.Start(start("r1"))).running


@pytest.mark.parametrize(
    "misbehave",
    [
        lambda peer, channel: peer.event(channel, {"type": "started", "pid": 43, "offset": 0}),
        lambda peer, channel: peer.event(channel, {"type": "nonsense"}),
        lambda peer, channel: peer.data(channel, b"x", Stream.BODY),
        lambda peer, channel: peer.ok(channel, {"status": "FINE"}),
        lambda peer, channel: peer.ok(channel, {**DONE, "exit_code": "0"}),
        lambda peer, channel: peer.ok(channel, {**DONE, "duration": "long"}),
        lambda peer, channel: peer.error(channel, "INTERNAL", "INTERNAL", "boom"),
    ],
)
async def test_what_a_hostile_runtime_says_makes_the_process_lost_and_no_more(service, processes, misbehave):
    process = await service.Start(start())
    peer, channel, _ = await processes.followed.get()
    peer.data(channel, b"before")
    misbehave(peer, channel)
    assert (await exited(service, process.process_id)).status == types_pb2.EXIT_STATUS_LOST
    assert not (await get(service, process.process_id)).running


@pytest.mark.parametrize(
    "event",
    [
        {"type": "started", "pid": -1},
        {"type": "started", "pid": "42"},
        {"type": "started", "pid": 42, "offset": -1},
        {"type": "stopped"},
        {},
    ],
)
async def test_a_start_that_a_hostile_runtime_garbles_is_lost(service, processes, event):
    processes.events = [lambda: event]
    process = await service.Start(start())
    assert (process.running, process.exited.status) == (False, types_pb2.EXIT_STATUS_LOST)


async def test_output_goes_on_over_a_lost_link_and_what_was_missed_is_counted(service, processes):
    process = await service.Start(start())
    peer, channel, _ = await processes.followed.get()
    attached = service.Attach(process_pb2.AttachRequest(process_id=process.process_id))
    peer.data(channel, b"before")
    messages = aiter(attached)
    seen = []
    while not any(event.HasField("output") for event in seen):
        seen.extend((await anext(messages)).events)
    processes.offset = 16
    await peer.close()
    peer, channel, arguments = await processes.followed.get()
    assert arguments == {"op": "process.attach", "process_id": process.process_id}
    peer.data(channel, b"after")
    peer.ok(channel, DONE)
    seen.extend([event async for response in messages for event in response.events])
    before, after = [event.output for event in seen if event.HasField("output")]
    assert (before.data, before.offset, after.data, after.offset) == (b"before", 0, b"after", 16)
    assert (seen[-1].exited.status, seen[-1].exited.truncation.dropped_bytes) == (types_pb2.EXIT_STATUS_OK, 10)


async def test_a_runtime_that_restarted_has_lost_its_processes_and_starts_none_again(service, processes, runtime):
    process = await service.Start(start("r1"))
    peer, _, _ = await processes.followed.get()
    del runtime.handlers["process.attach"]
    await peer.close()
    assert (await exited(service, process.process_id)).status == types_pb2.EXIT_STATUS_LOST
    assert (await service.Start(start("r1"))).exited.status == types_pb2.EXIT_STATUS_LOST
    assert [opened["op"] for opened in runtime.opened].count("process.start") == 1


async def test_a_process_that_was_lost_may_still_be_killed(service, processes, runtime):
    process = await service.Start(start())
    peer, _, _ = await processes.followed.get()
    del runtime.handlers["process.attach"]
    await peer.close()
    assert (await exited(service, process.process_id)).status == types_pb2.EXIT_STATUS_LOST
    await service.Signal(process_pb2.SignalRequest(process_id=process.process_id, name="TERM"))
    assert processes.signals == [signal.SIGTERM]


async def test_output_that_takes_itself_back_is_a_breach(service, processes):
    process = await service.Start(start())
    peer, channel, _ = await processes.followed.get()
    peer.data(channel, b"before")
    attached = service.Attach(process_pb2.AttachRequest(process_id=process.process_id))
    messages = aiter(attached)
    while not any(event.HasField("output") for event in (await anext(messages)).events):
        pass
    attached.cancel()
    processes.offset = 3
    await peer.close()
    assert (await exited(service, process.process_id)).status == types_pb2.EXIT_STATUS_LOST


async def test_input_and_signals_reach_the_runtime_and_bad_ones_do_not(service, processes, error_of):
    process_id = (await service.Start(start())).process_id
    await service.SendInput(process_pb2.SendInputRequest(process_id=process_id, data=b"in", end=True))
    assert processes.inputs == [(b"in", True)]
    await service.Signal(process_pb2.SignalRequest(process_id=process_id, name="SIGUSR1"))
    await service.Signal(process_pb2.SignalRequest(process_id=process_id, signal=15))
    assert processes.signals == [10, 15]
    for request, expected in [
        (process_pb2.SignalRequest(process_id=process_id), ("INVALID_ARGUMENT", "INVALID_ARGUMENT", "signal")),
        (
            process_pb2.SignalRequest(process_id=process_id, name="NO"),
            ("INVALID_ARGUMENT", "INVALID_ARGUMENT", "signal"),
        ),
        (
            process_pb2.SignalRequest(process_id=process_id, signal=65),
            ("INVALID_ARGUMENT", "INVALID_ARGUMENT", "signal"),
        ),
        (
            process_pb2.SignalRequest(process_id=process_id, signal=9, name="KILL"),
            ("INVALID_ARGUMENT", "INVALID_ARGUMENT", "signal"),
        ),
        (process_pb2.SignalRequest(signal=9), ("NOT_FOUND", "UNKNOWN_PROCESS", "process_id")),
        (
            process_pb2.SignalRequest(process_id=process_id, request_id="r", signal=9),
            ("INVALID_ARGUMENT", "INVALID_ARGUMENT", "request_id"),
        ),
        (
            process_pb2.SignalRequest(request_id="r", signal=15),
            ("INVALID_ARGUMENT", "INVALID_ARGUMENT", "signal"),
        ),
    ]:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await service.Signal(request)
        assert error_of(caught.value) == expected
    for request, field in [
        (process_pb2.SendInputRequest(process_id=process_id, data=b"x" * ((1 << 20) + 1)), "data"),
    ]:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await service.SendInput(request)
        assert error_of(caught.value) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT", field)
    assert processes.signals == [10, 15]


async def test_an_unknown_id_is_not_found_in_every_call(service, error_of):
    calls = [
        service.Get(process_pb2.GetProcessRequest(process_id="x")),
        events_of(service.Attach(process_pb2.AttachRequest(process_id="x"))),
        service.SendInput(process_pb2.SendInputRequest(process_id="x", data=b"x")),
        service.Resize(process_pb2.ResizeRequest(process_id="x", terminal={"rows": 1, "columns": 1})),
    ]
    for call in calls:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert error_of(caught.value) == ("NOT_FOUND", "UNKNOWN_PROCESS", "process_id")


async def test_a_sessions_limit_of_processes_is_named(control, bind_request, connect, processes, error_of):
    bind_request.limits.processes = 2
    await control.Bind(bind_request)
    async with connect() as channel:
        service = process_pb2_grpc.ProcessServiceStub(channel)
        for _ in range(2):
            await service.Start(start())
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await service.Start(start())
    assert error_of(caught.value) == ("RESOURCE_EXHAUSTED", "TOO_MANY_PROCESSES", "")
    assert "2 background processes" in caught.value.details()


async def test_a_process_is_activity_and_a_drain_ends_it_and_says_so(service, control, processes):
    process = await service.Start(start())
    described = await control.Describe(session_pb2.DescribeRequest())
    assert (described.running, described.processes) == (1, 1)
    later = await control.Describe(session_pb2.DescribeRequest())
    assert later.last_active.ToNanoseconds() >= described.last_active.ToNanoseconds() > 0
    drained = await control.Drain(session_pb2.DrainRequest(session_uid="uid-1", grace={"nanos": 100_000_000}))
    assert processes.signals == [signal.SIGTERM, signal.SIGKILL]
    assert (drained.processes, drained.processes_ended) == (0, 1)
    end = await exited(service, process.process_id)
    assert (end.status, end.message) == (
        types_pb2.EXIT_STATUS_KILLED,
        "ended because the session was suspended or deleted",
    )


async def until_relinked(control, runtime):
    async def is_relinked():
        described = await control.Describe(session_pb2.DescribeRequest())
        return described.runtime_ready and runtime.connections > 1

    while not await is_relinked():  # noqa: ASYNC110 - the agent tells nobody when it has dialled
        await asyncio.sleep(0.01)


LABEL = {
    "request_id": "r1",
    "fingerprint": "00ff",
    "command": "sleep 60",
    "started_ms": 1_700_000_000_000,
    "has_terminal": True,
}


@pytest.mark.parametrize(
    ("entry", "is_adopted"),
    [
        ({"process_id": "p1", "label": json.dumps(LABEL)}, True),
        ({"process_id": "p1", "label": ""}, True),
        ({"process_id": "p1", "label": "[]"}, False),
        ({"process_id": "p1", "label": "{"}, False),
        ({"process_id": "p1", "label": json.dumps({**LABEL, "fingerprint": 7})}, False),
        ({"process_id": "p1", "label": json.dumps({**LABEL, "started_ms": 1 << 60})}, False),
        ({"process_id": "p1", "label": json.dumps({**LABEL, "request_id": 7})}, False),
        ({"process_id": "", "label": ""}, False),
        ({"process_id": 7}, False),
        ({"label": "[" * 20_000}, False),
    ],
)
async def test_an_agent_that_restarted_finds_what_runs_whatever_the_runtime_says(
    runtime, processes, control, bind_request, connect, entry, is_adopted
):
    runtime.hello["session_uid"] = "uid-1"
    for peer in list(runtime.peers):
        await peer.close()
    processes.listed = [entry]
    processes.offset = 100
    await until_relinked(control, runtime)
    await control.Bind(bind_request)
    async with connect() as channel:
        service = process_pb2_grpc.ProcessServiceStub(channel)
        if is_adopted:
            peer, number, _ = await processes.followed.get()
            peer.data(number, b"new")
            peer.ok(number, DONE)
            end = await exited(service, "p1")
            assert (end.status, end.truncation.dropped_bytes) == (types_pb2.EXIT_STATUS_OK, 100)
        known = (await service.List(process_pb2.ListProcessesRequest())).processes
        assert [process.process_id for process in known] == (["p1"] if is_adopted else [])


async def test_more_processes_than_may_be_are_not_adopted(runtime, processes, control, bind_request, connect):
    runtime.hello["session_uid"] = "uid-1"
    for peer in list(runtime.peers):
        await peer.close()
    processes.listed = [{"process_id": f"p{number}", "label": ""} for number in range(513)]
    await until_relinked(control, runtime)
    await control.Bind(bind_request)
    async with connect() as channel:
        service = process_pb2_grpc.ProcessServiceStub(channel)
        assert not (await service.List(process_pb2.ListProcessesRequest())).processes


async def test_a_command_whose_client_wanted_that_is_killed_when_it_goes_away(service, processes, runtime):
    begun = asyncio.Queue()

    async def run(peer, channel, arguments):
        peer.event(channel, {"type": "started", "pid": 7})
        begun.put_nowait((peer, channel))
        processes.followed.put_nowait((peer, channel, arguments))

    runtime.handlers["run"] = run
    for end_with_client in (False, True):
        call = service.Run(process_pb2.RunRequest(shell="sleep 60", end_with_client=end_with_client))
        await anext(aiter(call))
        peer, channel = await begun.get()
        call.cancel()
        if not end_with_client:
            peer.ok(channel, DONE)
            await processes.followed.get()
            assert processes.signals == []
    assert await processes.first_signal() == signal.SIGKILL


def test_a_label_brings_back_what_a_process_was_started_with_however_long_it_is():
    start = Start("r", b"\1", "\U0001f600" * 4096, 5.0, has_terminal=True, tag="t" * 256, cwd="ü" * 1024)
    start = dataclasses.replace(start, env_names=list_names({f"{number:04}" * 16: "" for number in range(500)}))
    label = write_label(start)
    assert len(start.env_names) == 16
    assert len(label) <= 64 << 10
    assert read_found({"process_id": "p", "label": label}) == ("p", start)


def test_a_label_of_an_earlier_version_has_no_tag_and_the_workspace_as_its_folder():
    label = json.dumps({"request_id": "r", "fingerprint": "01", "command": "c", "started_ms": 5000})
    found = read_found({"process_id": "p", "label": label})[1]
    assert (found.tag, found.cwd, found.env_names) == ("", ".", ())
