"""gRPC's private names that the SDK uses: whether the installed grpcio still has them, and that calls work without."""

import concurrent.futures

import grpc
import pytest

from sandbox_client import AsyncSandbox, Sandbox
from sandbox_client.sync import direct
from sandbox_client.sync.loop_thread import LoopThread
from sandbox_proto import tracing
from sandbox_testing.fake_agent import FakeAgent

ADVICE = "grpcio %s no longer has %s: calls still work, but %s. Find the new name."


# The thread of gRPC's public API that polls a channel's state fails if the channel is closed meanwhile.
polls_closed_channels = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


class PublicChannel:
    """A blocking channel of gRPC with its public names only."""

    def __init__(self, channel):
        for name in (
            "unary_unary",
            "unary_stream",
            "stream_unary",
            "stream_stream",
            "subscribe",
            "unsubscribe",
            "close",
        ):
            setattr(self, name, getattr(channel, name))


@pytest.fixture
def agent():
    loop = LoopThread()
    agent = FakeAgent()
    loop.run(agent.__aenter__())
    yield agent
    loop.run(agent.__aexit__(None, None, None))
    loop.stop()


@pytest.fixture
def sandbox(agent, monkeypatch):
    real = grpc.secure_channel
    monkeypatch.setattr(direct.grpc, "secure_channel", lambda *args, **options: PublicChannel(real(*args, **options)))

    async def connect():
        return AsyncSandbox(agent.endpoint)

    loop = LoopThread()
    with Sandbox(loop.run(connect()), loop) as sandbox:
        yield sandbox


@pytest.mark.parametrize("name", ["check_connectivity_state", "watch_connectivity_state"])
def test_the_installed_grpcio_has_the_connection_state_that_the_blocking_connection_reads(name):
    with grpc.insecure_channel("127.0.0.1:1") as channel:
        inner = getattr(channel, "_channel", None)
        consequence = "each connects through the slower public API"
        assert hasattr(inner, name), ADVICE % (grpc.__version__, f"Channel._channel.{name}", consequence)


async def test_the_installed_grpcio_has_the_path_of_a_method_that_traces_show():
    async with grpc.aio.insecure_channel("127.0.0.1:1") as asynchronous:
        with grpc.insecure_channel("127.0.0.1:1") as blocking:
            for channel in (asynchronous, blocking):
                method = channel.unary_unary("/s/M")
                has_path = getattr(method, "_method", None) in ("/s/M", b"/s/M")
                consequence = "their spans have no name"
                assert has_path, ADVICE % (grpc.__version__, f"{type(method).__name__}._method", consequence)


@polls_closed_channels
def test_a_blocking_connection_works_with_grpcs_public_names_alone(agent, sandbox):
    assert not hasattr(sandbox._direct._channel.current, "_channel")
    assert sandbox.run_code("1").ok
    agent.brief_events = 9
    sandbox._direct.has_brief_call = True
    assert sandbox.run_code("2").ok
    assert agent.calls == {"Execute": 1, "ExecuteBriefly": 1}


@polls_closed_channels
def test_an_agent_that_does_not_answer_is_reported_in_time_with_grpcs_public_names_alone():
    with grpc.insecure_channel("127.0.0.1:1") as channel, concurrent.futures.ThreadPoolExecutor() as pool:
        assert pool.submit(direct.is_connected, PublicChannel(channel), 0.2).result(5) is False


def test_a_method_without_a_path_is_called_without_a_span_name():
    with tracing.calling(object()) as span:
        assert span.metadata == ()
