from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime
from unittest import mock

import grpc
import pytest

from sandbox_agent.app import running_agent
from sandbox_agent.server.settings import Settings
from sandbox_link.protocol import OperationError
from sandbox_proto.v1 import file_pb2, file_pb2_grpc, interpreter_pb2, interpreter_pb2_grpc, session_pb2, workspace_pb2
from tests.support.fake_workspace import FakeWorkspace

Description = session_pb2.SessionDescription


@pytest.fixture
async def workspace():
    return FakeWorkspace()


@pytest.fixture
async def agent(runtime, certificates, tmp_path, workspace):
    settings = Settings(
        link_dir=tmp_path,
        tls_dir=certificates,
        listen_address="127.0.0.1",
        grpc_port=0,
        control_port=0,
        health_port=0,
        ready_file=tmp_path / "ready.json",
    )
    async with running_agent(settings, lambda binding, runtime, writer: workspace) as running:
        yield running


@pytest.fixture
def stored_request(bind_request):
    bind_request.workspace.s3.bucket = "b"
    bind_request.workspace.key_prefix = "p/"
    return bind_request


def execute(channel, **fields):
    request = interpreter_pb2.ExecuteRequest(code="1", language=1, **fields)
    return interpreter_pb2_grpc.InterpreterServiceStub(channel).Execute(request)


async def drained(call):
    return [event async for response in call for event in response.events]


async def test_a_blank_agent_describes_itself(control):
    description = await control.Describe(session_pb2.DescribeRequest())
    assert description.state == Description.STATE_BLANK
    assert description.session_uid == ""
    assert description.restore == Description.RESTORE_STATE_UNSPECIFIED
    assert description.agent_version


async def test_bind_configures_the_runtime_with_env_and_default_limits(control, bind_request, runtime):
    bind_request.env["A"] = "1"
    description = await control.Bind(bind_request)
    assert (description.state, description.session_uid) == (Description.STATE_BOUND, "uid-1")
    assert (description.runtime_ready, description.runtime_id) == (True, "r1")
    assert runtime.opened[0] == {
        "op": "configure",
        "session_uid": "uid-1",
        "env": {"A": "1"},
        "limits": {
            "execution_timeout": 300.0,
            "output_bytes": 128 << 20,
            "processes": 512,
            "file_bytes": 5 << 30,
            "languages": ["python", "javascript", "typescript", "bash"],
            "deny_network": False,
            "memory_bytes": 0,
        },
    }


async def test_bind_may_be_repeated_for_the_same_session_only(control, bind_request, error_of):
    first = await control.Bind(bind_request)
    again = await control.Bind(bind_request)
    assert (first.session_uid, again.session_uid) == ("uid-1", "uid-1")
    bind_request.session_uid = "uid-2"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await control.Bind(bind_request)
    assert error_of(caught.value) == ("FAILED_PRECONDITION", "ALREADY_BOUND", "session_uid")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"session_uid": ""}, "session_uid"),
        ({"token_sha256": b"short"}, "token_sha256"),
        ({"env": {"A=B": ""}}, "env"),
        ({"limits": {"languages": [9]}}, "limits.languages"),
        ({"limits": {"execution_timeout": {"seconds": -1}}}, "limits.execution_timeout"),
        ({"lifecycle": {"max_lifetime": {"seconds": 0}}}, "lifecycle.max_lifetime"),
    ],
)
async def test_a_bad_bind_is_refused_by_the_fields_name(control, bind_request, error_of, change, field):
    for name in change:
        bind_request.ClearField(name)
    bind_request.MergeFrom(session_pb2.BindRequest(**change))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await control.Bind(bind_request)
    assert error_of(caught.value) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT", field)
    assert (await control.Describe(session_pb2.DescribeRequest())).state == Description.STATE_BLANK


async def test_client_calls_wait_for_the_restore(control, stored_request, workspace, connect, runtime):
    workspace.may_restore.clear()
    bound = await control.Bind(stored_request)
    assert bound.restore == Description.RESTORE_STATE_RUNNING
    async with connect() as channel:
        waiting = asyncio.ensure_future(drained(execute(channel)))
        described = await control.Describe(session_pb2.DescribeRequest())
        assert not waiting.done()
        assert "execute" not in [opened["op"] for opened in runtime.opened]
        assert described.restore == Description.RESTORE_STATE_RUNNING
        workspace.may_restore.set()
        assert len(await waiting) == 3
    waited = await control.Describe(session_pb2.DescribeRequest(wait={"seconds": 10}))
    assert waited.restore == Description.RESTORE_STATE_DONE
    assert waited.workspace.generation == 7
    assert [opened["op"] for opened in runtime.opened] == ["configure", "restored", "execute"]


async def test_a_restore_is_no_idle_time(control, stored_request, workspace):
    workspace.may_restore.clear()
    await control.Bind(stored_request)
    await asyncio.sleep(0.5)
    workspace.may_restore.set()
    described = await control.Describe(session_pb2.DescribeRequest(wait={"seconds": 10}))
    assert described.restore == Description.RESTORE_STATE_DONE
    assert described.idle.ToTimedelta().total_seconds() < 0.4


async def test_a_bind_that_waits_tells_the_end_of_the_restore(control, stored_request, runtime):
    stored_request.wait.seconds = 10
    bound = await control.Bind(stored_request)
    assert bound.restore == Description.RESTORE_STATE_DONE
    assert bound.workspace.generation == 7
    assert [opened["op"] for opened in runtime.opened] == ["configure", "restored"]


async def test_a_bind_waits_no_longer_than_it_was_told_and_asks_a_workspace_that_is_being_restored_nothing(
    control, stored_request, workspace
):
    workspace.may_restore.clear()
    stored_request.wait.nanos = 50_000_000
    bound = await control.Bind(stored_request)
    assert (bound.state, bound.restore) == (Description.STATE_BOUND, Description.RESTORE_STATE_RUNNING)
    assert not bound.HasField("workspace")
    workspace.may_restore.set()


async def test_a_runtime_that_was_restored_is_not_restored_again(control, stored_request, workspace, runtime):
    runtime.hello["restored"] = True
    workspace.may_restore.clear()
    assert (await control.Bind(stored_request)).restore == Description.RESTORE_STATE_DONE


async def test_after_a_failed_restore_nobody_may_write_until_it_worked(
    control, stored_request, workspace, connect, error_of
):
    workspace.error = OperationError("PERMISSION_DENIED", "STORAGE_UNAVAILABLE", "access denied")
    await control.Bind(stored_request)
    described = await control.Describe(session_pb2.DescribeRequest(wait={"seconds": 10}))
    assert described.restore == Description.RESTORE_STATE_FAILED
    assert described.restore_error == "STORAGE_UNAVAILABLE: access denied"
    async with connect() as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await drained(execute(channel))
        assert error_of(caught.value) == ("UNAVAILABLE", "STORAGE_UNAVAILABLE", "")
        workspace.error = None
        await control.Renew(session_pb2.RenewRequest(session_uid="uid-1", s3={"access_key_id": "new"}))
        assert len(await drained(execute(channel))) == 3
    assert workspace.renewed == ["new"]


async def test_fault_37_drain_waits_for_work_then_pushes_then_refuses(
    control, stored_request, workspace, connect, runtime, scripted, error_of
):
    """A drain waits for running work, pushes, and then refuses calls."""
    release = asyncio.Event()
    begun = asyncio.Event()

    async def slow(peer, channel, arguments):
        begun.set()
        await release.wait()
        await scripted.print_hello(peer, channel, arguments)

    runtime.handlers["execute"] = slow
    await control.Bind(stored_request)
    async with connect() as channel:
        running = asyncio.ensure_future(drained(execute(channel)))
        await begun.wait()
        draining = asyncio.ensure_future(
            control.Drain(session_pb2.DrainRequest(session_uid="uid-1", grace={"seconds": 30}))
        )
        while (await control.Describe(session_pb2.DescribeRequest())).state != Description.STATE_DRAINING:
            pass
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await drained(execute(channel))
        assert error_of(caught.value) == ("FAILED_PRECONDITION", "DRAINING", "")
        assert workspace.pushes == 0
        release.set()
        description = await draining
        assert len(await running) == 3
    assert (description.state, description.workspace.generation) == (Description.STATE_DRAINED, 8)
    again = await control.Drain(session_pb2.DrainRequest(session_uid="uid-1"))
    assert (again.state, workspace.pushes) == (Description.STATE_DRAINED, 1)


async def test_fault_29_a_suspend_waits_for_a_slow_storage_and_says_so_to_whoever_asks(
    control, stored_request, workspace
):
    """A suspend waits for slow storage, and the agent answers DRAINING meanwhile."""
    await control.Bind(stored_request)
    await control.Describe(session_pb2.DescribeRequest(wait={"seconds": 10}))
    workspace.may_push.clear()
    for _ in range(2):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await control.Drain(session_pb2.DrainRequest(session_uid="uid-1"), timeout=0.2)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        described = await control.Describe(session_pb2.DescribeRequest())
        assert described.state == Description.STATE_DRAINING, "the push goes on without the one who asked for it"
    workspace.may_push.set()
    drained = await control.Drain(session_pb2.DrainRequest(session_uid="uid-1"))
    assert drained.state == Description.STATE_DRAINED
    assert (len(workspace.pushed_for), workspace.pushes) == (1, 1), "a repeat joined the push under way"


async def test_an_agent_whose_push_failed_serves_again(control, stored_request, workspace, connect, error_of):
    await control.Bind(stored_request)
    await control.Describe(session_pb2.DescribeRequest(wait={"seconds": 10}))
    workspace.error = OperationError("UNAVAILABLE", "STORAGE_UNAVAILABLE", "storage is down")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await control.Drain(session_pb2.DrainRequest(session_uid="uid-1"))
    assert error_of(caught.value) == ("UNAVAILABLE", "STORAGE_UNAVAILABLE", "")
    async with connect() as channel:
        assert len(await drained(execute(channel))) == 3
    workspace.error = None
    assert (await control.Drain(session_pb2.DrainRequest(session_uid="uid-1"))).state == Description.STATE_DRAINED


async def test_a_drain_may_insist_on_every_file_and_names_those_that_it_could_not_save(
    control, stored_request, workspace, connect, error_of
):
    await control.Bind(stored_request)
    await control.Describe(session_pb2.DescribeRequest(wait={"seconds": 10}))
    workspace.failed = [workspace_pb2.FileFailure(path="a", reason="too long"), workspace_pb2.FileFailure(path="b")]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await control.Drain(session_pb2.DrainRequest(session_uid="uid-1", require_all_files=True))
    assert error_of(caught.value) == ("FAILED_PRECONDITION", "FILES_NOT_SAVED", "")
    assert "'a' and 1 more (too long)" in caught.value.details()
    described = await control.Describe(session_pb2.DescribeRequest())
    assert described.state == Description.STATE_BOUND
    assert [failure.path for failure in described.workspace.unsaved] == ["a", "b"]
    async with connect() as channel:
        assert len(await drained(execute(channel))) == 3
    ended = await control.Drain(session_pb2.DrainRequest(session_uid="uid-1"))
    assert ended.state == Description.STATE_DRAINED
    assert [failure.path for failure in ended.workspace.unsaved] == ["a", "b"]


async def test_a_drain_that_takes_too_long_is_ended_and_may_be_tried_again(
    control, stored_request, workspace, connect, error_of
):
    await control.Bind(stored_request)
    await control.Describe(session_pb2.DescribeRequest(wait={"seconds": 10}))
    workspace.may_push.clear()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await control.Drain(session_pb2.DrainRequest(session_uid="uid-1", time_limit={"nanos": 200_000_000}))
    assert error_of(caught.value) == ("DEADLINE_EXCEEDED", "DRAIN_TIMEOUT", "")
    workspace.may_push.set()
    assert (await control.Describe(session_pb2.DescribeRequest())).state == Description.STATE_BOUND
    async with connect() as channel:
        assert len(await drained(execute(channel))) == 3
    ended = await control.Drain(session_pb2.DrainRequest(session_uid="uid-1", time_limit={"seconds": 20}))
    assert ended.state == Description.STATE_DRAINED
    assert workspace.pushes == 1


FOUND = {"path": "report.csv", "type": "file", "size": 1, "mode": 0o644, "mtime_ns": 1, "ctime_ns": 1, "ino": 1}


@pytest.mark.parametrize("files", [[FOUND], []], ids=["files", "none"])
async def test_a_session_without_storage_is_suspended_only_if_it_has_no_files_or_may_lose_them(
    control, bind_request, runtime, error_of, files
):
    async def scan(peer, channel, _arguments):
        peer.event(channel, {"type": "entries", "entries": files})
        peer.ok(channel, {})

    runtime.handlers["workspace.scan"] = scan
    await control.Bind(bind_request)
    described = await control.Describe(session_pb2.DescribeRequest(wait={"seconds": 10}))
    assert (described.restore, described.HasField("workspace")) == (Description.RESTORE_STATE_DONE, False)
    request = session_pb2.DrainRequest(session_uid="uid-1", require_all_files=True)
    ended = mock.patch("sandbox_agent.processes.registry.BackgroundRegistry.end_all", autospec=True)
    if not files:
        assert (await control.Drain(request)).state == Description.STATE_DRAINED
        return
    with ended as end_all, pytest.raises(grpc.aio.AioRpcError) as caught:
        await control.Drain(request)
    assert not end_all.called, "the session goes on, and so do its processes"
    assert error_of(caught.value) == ("FAILED_PRECONDITION", "FILES_NOT_SAVED", "")
    assert "no storage" in caught.value.details()
    assert "'report.csv'" in caught.value.details()
    assert "storage.bucket" in caught.value.details()
    assert (await control.Describe(session_pb2.DescribeRequest())).state == Description.STATE_BOUND
    request.require_all_files = False
    assert (await control.Drain(request)).state == Description.STATE_DRAINED


async def test_a_description_comes_before_the_callers_deadline_though_the_status_does_not(
    control, stored_request, workspace
):
    async def hang():
        await asyncio.Event().wait()

    await control.Bind(stored_request)
    await control.Describe(session_pb2.DescribeRequest(wait={"seconds": 10}))
    workspace.status = hang
    described = await control.Describe(session_pb2.DescribeRequest(), timeout=1.0)
    assert described.workspace.dirty
    assert "too long" in described.workspace.last_error


@pytest.mark.parametrize("name", ["grace", "time_limit"])
async def test_a_drain_for_a_negative_time_is_refused(control, bind_request, error_of, name):
    await control.Bind(bind_request)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await control.Drain(session_pb2.DrainRequest(session_uid="uid-1", **{name: {"seconds": -1}}))
    assert error_of(caught.value) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT", name)


async def test_calls_of_another_session_are_refused(control, bind_request, error_of):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await control.Drain(session_pb2.DrainRequest(session_uid="uid-1"))
    assert error_of(caught.value) == ("FAILED_PRECONDITION", "NOT_BOUND", "session_uid")
    await control.Bind(bind_request)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await control.Renew(session_pb2.RenewRequest(session_uid="uid-2"))
    assert error_of(caught.value) == ("FAILED_PRECONDITION", "ALREADY_BOUND", "session_uid")


async def test_fault_10_a_session_ends_with_its_lifetime_even_without_an_operator(
    control, bind_request, connect, error_of
):
    """A session ends with its lifetime even without an operator."""
    bind_request.lifecycle.max_lifetime.nanos = 1
    await control.Bind(bind_request)
    async with connect() as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await file_pb2_grpc.FileServiceStub(channel).Stat(file_pb2.StatRequest(path="."))
    assert error_of(caught.value) == ("FAILED_PRECONDITION", "LIFETIME_EXPIRED", "")


async def run_cell(connect):
    async with connect() as channel:
        assert len(await drained(execute(channel))) == 3


async def test_a_deadline_moves_both_ways_even_after_it_has_passed(control, bind_request, connect, error_of):
    bind_request.lifecycle.max_lifetime.seconds = 3600
    bound = await control.Bind(bind_request)
    assert 3590 < bound.remaining_lifetime.seconds <= 3600
    request = session_pb2.SetLifetimeRequest(session_uid="uid-1", remaining={"seconds": 0})
    ended = await control.SetLifetime(request)
    assert (ended.HasField("remaining_lifetime"), ended.remaining_lifetime.ToNanoseconds()) == (True, 0)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await run_cell(connect)
    assert error_of(caught.value) == ("FAILED_PRECONDITION", "LIFETIME_EXPIRED", "")
    request.remaining.seconds = 7200
    moved = await control.SetLifetime(request)
    assert 7190 < moved.remaining_lifetime.seconds <= 7200
    await run_cell(connect)
    request.ClearField("remaining")
    assert not (await control.SetLifetime(request)).HasField("remaining_lifetime")
    await run_cell(connect)


async def test_a_repeated_bind_moves_the_deadline_too(control, bind_request):
    bind_request.lifecycle.max_lifetime.seconds = 3600
    await control.Bind(bind_request)
    bind_request.lifecycle.max_lifetime.seconds = 60
    assert 50 < (await control.Bind(bind_request)).remaining_lifetime.seconds <= 60
    bind_request.lifecycle.ClearField("max_lifetime")
    assert not (await control.Bind(bind_request)).HasField("remaining_lifetime")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"session_uid": "uid-2"}, ("FAILED_PRECONDITION", "ALREADY_BOUND", "session_uid")),
        ({"remaining": {"seconds": -1}}, ("INVALID_ARGUMENT", "INVALID_ARGUMENT", "remaining")),
        ({"remaining": {"seconds": 1, "nanos": -1}}, ("INVALID_ARGUMENT", "INVALID_ARGUMENT", "remaining")),
    ],
)
async def test_a_lifetime_that_makes_no_sense_changes_nothing(control, bind_request, error_of, change, error):
    bind_request.lifecycle.max_lifetime.seconds = 3600
    await control.Bind(bind_request)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await control.SetLifetime(session_pb2.SetLifetimeRequest(**{"session_uid": "uid-1", **change}))
    assert error_of(caught.value) == error
    assert 3590 < (await control.Describe(session_pb2.DescribeRequest())).remaining_lifetime.seconds <= 3600


async def test_the_lifetime_of_a_blank_agent_cannot_be_set(control, error_of):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await control.SetLifetime(session_pb2.SetLifetimeRequest(session_uid="uid-1"))
    assert error_of(caught.value) == ("FAILED_PRECONDITION", "NOT_BOUND", "session_uid")
    assert not (await control.Describe(session_pb2.DescribeRequest())).HasField("remaining_lifetime")


async def test_fault_19_a_runtime_that_restarted_is_configured_again_and_not_restored(
    control, stored_request, client, runtime, workspace
):
    """A runtime that restarted is configured again, and its files are not restored over."""
    await control.Bind(stored_request)
    await control.Describe(session_pb2.DescribeRequest(wait={"seconds": 10}))
    await runtime.stop()
    runtime.hello.update(runtime_id="r2", session_uid="")
    runtime.opened.clear()
    workspace.may_restore.clear()
    await runtime.start()
    assert len(await drained(execute(client))) == 3
    assert [opened["op"] for opened in runtime.opened] == ["configure", "restored", "execute"]
    assert (await control.Describe(session_pb2.DescribeRequest())).runtime_id == "r2"


async def get(port, path):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer.split(b"\r\n")[0]


async def test_health_port_and_ready_file_tell_the_truth(agent, control, runtime, tmp_path):
    told = json.loads((tmp_path / "ready.json").read_text())
    assert (told["grpc_port"], told["control_port"]) == (agent.grpc_port, agent.control_port)
    while not (await control.Describe(session_pb2.DescribeRequest())).runtime_ready:
        pass
    assert await get(told["health_port"], "/readyz") == b"HTTP/1.1 200 OK"
    await runtime.stop()
    while (await control.Describe(session_pb2.DescribeRequest())).runtime_ready:
        pass
    assert await get(told["health_port"], "/readyz") == b"HTTP/1.1 503 Service Unavailable"
    assert await get(told["health_port"], "/livez") == b"HTTP/1.1 200 OK"
    assert await get(told["health_port"], "/etc/passwd") == b"HTTP/1.1 404 Not Found"


async def test_an_agent_that_needs_credentials_tells_the_operator_and_by_the_kubelet_has_it_come(
    agent, control, stored_request, workspace
):
    await control.Bind(stored_request)
    described = await control.Describe(session_pb2.DescribeRequest(wait={"seconds": 10}))
    assert (described.needs_credentials, described.HasField("credentials_expire_at")) == (False, False)
    while not (await control.Describe(session_pb2.DescribeRequest())).runtime_ready:
        pass
    assert await get(agent.health_port, "/readyz") == b"HTTP/1.1 200 OK"
    workspace.needs_credentials, workspace.credentials_expire_at = True, datetime(2030, 1, 2, tzinfo=UTC)
    described = await control.Describe(session_pb2.DescribeRequest())
    assert described.needs_credentials
    assert described.credentials_expire_at.ToDatetime(tzinfo=UTC) == workspace.credentials_expire_at
    assert await get(agent.health_port, "/readyz") == b"HTTP/1.1 503 Service Unavailable"
    assert await get(agent.health_port, "/livez") == b"HTTP/1.1 200 OK"


async def test_a_status_that_waits_for_credentials_keeps_those_who_bring_them_waiting_for_a_second_only(
    control, stored_request, workspace
):
    await control.Bind(stored_request)
    await control.Describe(session_pb2.DescribeRequest(wait={"seconds": 10}))
    workspace.needs_credentials = True
    workspace.status = asyncio.Event().wait
    described = await control.Describe(session_pb2.DescribeRequest(), timeout=2)
    assert described.needs_credentials
    assert described.workspace.dirty, "what is not known counts as not saved"


async def test_fault_18_how_long_nothing_was_done_is_counted_whatever_happens_to_the_clock(control, monkeypatch):
    """The agent counts idle time correctly whatever happens to the wall clock."""
    before = time.time
    for skew in (-600, 600):
        monkeypatch.setattr(time, "time", lambda skew=skew: before() + skew)
        described = await control.Describe(session_pb2.DescribeRequest())
        assert described.HasField("idle")
        assert 0 <= described.idle.ToTimedelta().total_seconds() < 60


async def test_a_status_that_runs_on_is_told_to_the_next_call_and_never_ends_another(
    control, stored_request, workspace
):
    may_end = asyncio.Event()
    checks = []

    async def wait():
        checks.append(1)
        await may_end.wait()
        return workspace_pb2.WorkspaceStatus(generation=5)

    await control.Bind(stored_request)
    await control.Describe(session_pb2.DescribeRequest(wait={"seconds": 10}))
    workspace.status = wait
    assert (await control.Describe(session_pb2.DescribeRequest(), timeout=1.0)).workspace.dirty
    waiting = asyncio.ensure_future(control.Describe(session_pb2.DescribeRequest(), timeout=20.0))
    await asyncio.sleep(0.1)
    assert len(checks) == 1
    drained = asyncio.ensure_future(control.Drain(session_pb2.DrainRequest(session_uid="uid-1")))
    while len(checks) < 2:  # noqa: ASYNC110 - a fake sets no event; after the push it is looked at again
        await asyncio.sleep(0.01)
    may_end.set()
    assert (await waiting).workspace.generation == 5
    assert (await drained).state == Description.STATE_DRAINED
