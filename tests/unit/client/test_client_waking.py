"""A session that falls asleep, or goes on in another pod, while a client is connected to it."""

import asyncio
import contextlib
import dataclasses

import grpc
import pytest

import sandbox_client.cluster.wake
import sandbox_client.transport.connection
from sandbox_client import (
    AsyncSandbox,
    FailedPrecondition,
    NotFound,
    Sandbox,
    SandboxUnavailable,
    SessionFailed,
    Status,
    Unauthenticated,
)
from sandbox_client.cluster.sessions import SessionApi
from sandbox_client.cluster.wake_policy import SessionFate, fate_of
from sandbox_client.sync.direct import DirectConnection
from sandbox_client.tools import SandboxTools, cluster_sessions
from sandbox_client.transport.connection_policy import CONNECT_TIMEOUT
from sandbox_client.transport.endpoint import PodLife
from sandbox_testing.fake_agent import FakeAgent, started

LOST = "its saved files were kept; variables, installed packages and processes were lost"
SLEPT = f"the session was suspended and has been resumed: {LOST}"
MOVED = f"the session continues in another pod: {LOST}"


def session(phase="Ready", *, pod=1, uid="u", suspended=False, deleted=False):
    metadata = {"uid": uid, **({"deletionTimestamp": "2026-01-01T00:00:00Z"} if deleted else {})}
    # A pod's name may come again.
    status = {"phase": phase, **({"podName": "p", "startedAt": f"2026-01-01T00:00:0{pod}Z"} if pod else {})}
    return {"metadata": metadata, "spec": {"suspended": suspended}, "status": status}


class World:
    """A cluster with one session, in the pod of one agent after the other."""

    def __init__(self, *agents):
        self.agents = list(agents)
        self.pod = 1
        self.session = session()
        self.versions = []
        self.wakes = 0
        self.looks = 0
        self.refusal = None
        self.hangs = False
        self.missing = "NOT_FOUND"

    def fall_asleep(self):
        self.session = session("Suspended", pod=0, suspended=True)
        # The first is still that of before.
        self.versions = [session("Ready", pod=1), session("Starting", pod=2), session("Ready", pod=2)]

    async def get(self, name, *, seconds=30):
        self.looks += 1
        if self.hangs:
            await asyncio.sleep(seconds + 60)
        if self.session is None:
            raise NotFound(f"session {name} is not there", reason=self.missing)
        return self.session

    async def wake(self, name, **_options):
        return False

    async def wait_ready(self, name, **_options):
        pass

    async def suspend(self, name, *, is_suspended):
        assert not is_suspended
        if self.refusal:
            raise self.refusal
        self.wakes += 1

    async def wait_for(self, name, is_over, **_options):
        await asyncio.sleep(0)
        for version in self.versions:
            self.session = version
            if is_over(version):
                self.pod = 2
                break
        return self.session

    async def connect(self, name, _session=None):
        life = PodLife("u", "p", f"2026-01-01T00:00:0{self.pod}Z")
        return dataclasses.replace(self.agents[self.pod - 1].endpoint, life=life), contextlib.AsyncExitStack()


@pytest.fixture
async def next_agent():
    async with FakeAgent() as agent:
        yield agent


@pytest.fixture
def world(agent, next_agent, monkeypatch):
    world = World(agent, next_agent)

    async def open_cluster(_options):
        return world

    monkeypatch.setattr(SessionApi, "open", open_cluster)
    return world


@pytest.fixture
def short_connect(monkeypatch):
    kinds = (sandbox_client.transport.connection.Connection, DirectConnection)
    for kind in kinds:
        defaults = {**kind.__init__.__kwdefaults__, "connect_timeout": 0.5}
        monkeypatch.setattr(kind.__init__, "__kwdefaults__", defaults)


@contextlib.asynccontextmanager
async def connected(**options):
    async with await AsyncSandbox.connect("s", **options) as sandbox:
        # On a busy machine a first call may wait longer for its connection than nobody's answer is waited for.
        await sandbox.files.exists("x")
        yield sandbox


def drain(agent, *methods):
    for method in methods:
        agent.refuse(method, grpc.StatusCode.FAILED_PRECONDITION, "DRAINING", times=9)


async def go_away(agent, *connections):
    """End an agent, and wait until connections know: what is sent before that may have begun, and is not repeated."""
    await agent._server.stop(None)
    async with asyncio.timeout(10):
        while any(is_thought_ready(connection) for connection in connections):  # noqa: ASYNC110 - the blocking channel tells nobody
            await asyncio.sleep(0.001)


def is_thought_ready(connection):
    if isinstance(connection, DirectConnection):
        state = connection._channel.current._channel.check_connectivity_state(False)  # noqa: FBT003 - gRPC's
        return state == grpc.ChannelConnectivity.READY.value[0]
    return connection._channel.current.get_state() is grpc.ChannelConnectivity.READY


@pytest.mark.parametrize("is_brief", [True, False], ids=["brief", "streamed"])
@pytest.mark.parametrize("is_drained", [True, False], ids=["refused", "out of reach"])
async def test_a_call_wakes_a_session_that_fell_asleep_and_its_caller_is_told(
    agent, next_agent, world, is_brief, is_drained
):
    agent.brief_events = next_agent.brief_events = 99 if is_brief else None
    async with connected() as sandbox:
        assert (await sandbox.run_code("1")).ok
        assert (sandbox.notice, world.looks) == ("", 0)
        world.fall_asleep()
        await (refuse_work(agent) if is_drained else go_away(agent, sandbox._connection))
        assert (await sandbox.run_code("2")).ok
        assert sandbox.notice == SLEPT
        assert (await sandbox.run("x")).stdout == "out\n"
        assert (world.wakes, next_agent.executions, len(next_agent.commands)) == (1, 1, 1)
        assert sandbox.endpoint.address == next_agent.endpoint.address


async def refuse_work(agent):
    drain(agent, "Execute", "ExecuteBriefly", "Write")


@pytest.mark.parametrize("is_drained", [True, False], ids=["refused", "out of reach"])
async def test_the_sync_face_wakes_too_and_both_of_its_connections_follow(agent, next_agent, world, is_drained):
    with await asyncio.to_thread(Sandbox.connect, "s") as sandbox:
        assert (await asyncio.to_thread(sandbox.run_code, "1")).ok
        await asyncio.to_thread(sandbox.files.write, "a", "1")
        world.fall_asleep()
        connections = (sandbox._direct, sandbox._core._connection)
        await (refuse_work(agent) if is_drained else go_away(agent, *connections))
        assert (await asyncio.to_thread(sandbox.run_code, "2")).ok
        assert sandbox.notice == SLEPT
        await asyncio.to_thread(sandbox.files.write, "b", "2")
        assert (await asyncio.to_thread(sandbox.run, "x")).stdout == "out\n"
        await asyncio.to_thread(sandbox.close)
    assert (world.wakes, next_agent.executions, next_agent.files) == (1, 1, {"b": b"2"})


async def test_calls_at_the_same_time_share_one_wake(agent, next_agent, world):
    async with connected() as sandbox:
        world.fall_asleep()
        await go_away(agent, sandbox._connection)
        calls = [sandbox.files.write(f"{number}", "x") for number in range(5)]
        await asyncio.gather(*calls, *(sandbox.run_code("1") for _ in range(5)))
    assert (world.wakes, next_agent.executions, len(next_agent.files)) == (1, 5, 5)
    # One, and one more where the next pod, on a busy machine, does not answer at once.
    assert world.looks < 5


async def test_a_file_that_was_refused_is_sent_again_whole(agent, next_agent, world):
    content = bytes(3 << 20)
    async with connected() as sandbox:
        world.fall_asleep()
        drain(agent, "Write")
        await sandbox.files.write("large", content)
    assert next_agent.files == {"large": content}


async def test_a_cell_that_was_under_way_is_lost_and_never_run_again(agent, next_agent, world):
    async def pass_by(_context):
        pass

    agent.script("x", [started(), started()])
    async with connected() as sandbox:
        agent.break_after(1)
        agent.faults["Execute"] = [pass_by]
        drain(agent, "Execute")
        world.fall_asleep()
        assert (await sandbox.run_code("x")).status is Status.LOST
        assert sandbox.notice == SLEPT
    assert (world.wakes, next_agent.executions) == (1, 0)


async def test_a_change_that_was_under_way_is_not_made_again(agent, next_agent, world):
    next_agent.files["a"] = b"1"
    async with connected() as sandbox:
        agent.refuse("Remove", grpc.StatusCode.UNAVAILABLE, "RUNTIME_UNAVAILABLE")
        world.fall_asleep()
        with pytest.raises(SandboxUnavailable):
            await sandbox.files.remove("a")
    assert (world.wakes, next_agent.files) == (0, {"a": b"1"})


async def test_a_session_that_somebody_else_woke_is_followed(agent, next_agent, world):
    async with connected() as sandbox:
        world.session = session(pod=2)
        world.versions = [world.session]
        await go_away(agent, sandbox._connection)
        assert (await sandbox.run_code("1")).ok
        assert sandbox.notice == MOVED
    assert world.wakes == 0


async def test_a_tools_call_wakes_its_session_and_its_result_says_so_once(agent, next_agent, world):
    async with SandboxTools(cluster_sessions("s")) as tools:
        assert (await tools.execute_code("1")).notice == ""
        world.fall_asleep()
        # The question that comes before each call is still answered.
        await refuse_work(agent)
        assert (await tools.execute_code("2")).notice == SLEPT
        assert (await tools.execute_code("3")).notice == ""
    assert (world.wakes, next_agent.executions) == (1, 2)


@pytest.mark.parametrize(
    "now",
    [session("Failed", suspended=True), session("Terminating"), session(uid="another"), None],
    ids=["failed", "ends", "another of the name", "deleted"],
)
async def test_a_session_that_is_over_gives_the_error_of_the_call(agent, world, now):
    async with connected() as sandbox:
        world.session = now
        drain(agent, "Execute")
        with pytest.raises(FailedPrecondition) as caught:
            await sandbox.run_code("1")
    assert (caught.value.reason, world.wakes, world.looks) == ("DRAINING", 0, 1)


@pytest.mark.parametrize(
    ("now", "why"),
    [
        (session("Failed", pod=0), "it is Failed"),
        (session(uid="another"), "it was deleted, and its name now belongs to another session"),
        (None, "it was deleted"),
    ],
    ids=["failed", "another of the name", "deleted"],
)
async def test_a_session_that_is_over_is_told_so_without_waiting_for_its_agent(agent, world, now, why):
    async with connected() as sandbox:
        world.session = now
        await go_away(agent, sandbox._connection)
        async with asyncio.timeout(CONNECT_TIMEOUT / 2):
            with pytest.raises(SandboxUnavailable, match=f"session s is over: {why}") as caught:
                await sandbox.run_code("1")
    assert (caught.value.reason, world.wakes, world.looks) == ("SESSION_OVER", 0, 1)


async def test_a_session_in_the_same_pod_that_does_not_answer_is_unreachable_as_ever(agent, world, short_connect):
    async with connected() as sandbox:
        await go_away(agent, sandbox._connection)
        with pytest.raises(SandboxUnavailable) as caught:
            await sandbox.run_code("1")
    assert (caught.value.reason, world.wakes, world.looks) == ("UNREACHABLE", 0, 2)


async def test_a_404_that_is_no_word_on_the_session_does_not_end_it(agent, world, short_connect):
    world.missing = "NO_SUCH_PATH"
    async with connected() as sandbox:
        world.session = None
        await go_away(agent, sandbox._connection)
        with pytest.raises(SandboxUnavailable) as caught:
            await sandbox.run_code("1")
    assert caught.value.reason == "UNREACHABLE"


async def test_an_api_server_that_does_not_answer_either_holds_no_call_up(agent, world, short_connect, monkeypatch):
    monkeypatch.setattr(sandbox_client.cluster.wake, "_CHECK_TIMEOUT", 0.05)
    async with connected() as sandbox:
        await go_away(agent, sandbox._connection)
        world.hangs = True
        async with asyncio.timeout(10):
            with pytest.raises(SandboxUnavailable) as caught:
                await sandbox.run_code("1")
    assert caught.value.reason == "UNREACHABLE"


async def test_whoever_does_not_want_it_woken_gets_the_error_of_the_call(agent, world):
    async with connected(wake=False) as sandbox:
        world.fall_asleep()
        drain(agent, "Execute")
        with pytest.raises(FailedPrecondition):
            await sandbox.run_code("1")
    assert (world.wakes, world.looks) == (0, 0)


async def test_a_wake_that_is_refused_or_fails_says_why(agent, world):
    async with connected() as sandbox:
        world.fall_asleep()
        drain(agent, "Execute")
        world.refusal = Unauthenticated("sessions are not yours to change")
        with pytest.raises(
            SessionFailed, match="session s was suspended and could not be resumed: sessions are not yours"
        ):
            await sandbox.run_code("1")
        world.refusal, world.versions = None, [session("Starting", pod=2)]
        with pytest.raises(SessionFailed, match=r"could not be resumed: it is Starting"):
            await sandbox.run_code("1")
        world.fall_asleep()
        assert (await sandbox.run_code("1")).ok


@pytest.mark.parametrize(
    ("now", "fate"),
    [
        (session(), SessionFate.UNCHANGED),
        (session("Starting"), SessionFate.UNCHANGED),
        (session(pod=2), SessionFate.MOVED),
        (session("Starting", pod=0), SessionFate.MOVED),
        (session("Suspended", pod=0, suspended=True), SessionFate.SUSPENDED),
        (session("Suspending", suspended=True), SessionFate.SUSPENDED),
        (session("Ready", suspended=True), SessionFate.SUSPENDED),
        (session("Failed", pod=0, suspended=True), SessionFate.OVER),
        (session("Failed", pod=2), SessionFate.OVER),
        (session("Failed"), SessionFate.ENDING),
        (session("Failed", suspended=True), SessionFate.ENDING),
        (session("Terminating"), SessionFate.ENDING),
        (session(suspended=True, deleted=True), SessionFate.ENDING),
        (session(uid="v", suspended=True), SessionFate.OVER),
    ],
)
def test_where_a_session_stands_is_told_by_its_pod_and_its_spec(now, fate):
    assert fate_of(now, PodLife("u", "p", "2026-01-01T00:00:01Z")) is fate
