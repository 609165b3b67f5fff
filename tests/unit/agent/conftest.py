"""An agent on loopback with a scripted runtime, and channels to it."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from sandbox_agent.app import running_agent
from sandbox_agent.server.local_certificates import issue_local_certificates
from sandbox_agent.server.settings import Settings
from sandbox_proto.v1 import session_pb2, session_pb2_grpc


def _load_scripted_runtime():
    # Tests have no packages (importlib mode), so the module is loaded by its path, once.
    name = "agent_tests_scripted_runtime"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("scripted_runtime.py"))
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


SERVER_NAME = "agent.test"
TOKEN = "t" * 43


@pytest.fixture(scope="session")
def scripted():
    return _load_scripted_runtime()


@pytest.fixture
async def runtime(scripted, tmp_path):
    async with scripted.ScriptedRuntime(tmp_path / "runtime.sock") as running:
        yield running


@pytest.fixture
def held_cell(runtime, scripted):
    """A cell that, once it has begun, ends when it is released."""
    events = SimpleNamespace(has_begun=asyncio.Event(), release=asyncio.Event())

    async def hold(peer, channel, arguments):
        events.has_begun.set()
        await events.release.wait()
        await scripted.print_hello(peer, channel, arguments)

    runtime.handlers["execute"] = hold
    return events


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    issue_local_certificates(folder, SERVER_NAME)
    return folder


@pytest.fixture
async def agent(runtime, certificates, tmp_path):
    settings = Settings(
        link_dir=tmp_path,
        tls_dir=certificates,
        listen_address="127.0.0.1",
        grpc_port=0,
        control_port=0,
        health_port=0,
        ready_file=tmp_path / "ready.json",
    )
    async with running_agent(settings) as running:
        yield running


@pytest.fixture(scope="session")
def channel_options():
    return _channel_options


def _channel_options(token: str | None, certificates: Path, client: str | None):
    names = (f"{client}.key", f"{client}.crt") if client else ()
    pair = [(certificates / name).read_bytes() for name in names] or [None, None]
    credentials = grpc.ssl_channel_credentials((certificates / "ca.crt").read_bytes(), *pair)
    if token is not None:
        credentials = grpc.composite_channel_credentials(credentials, grpc.access_token_call_credentials(token))
    return credentials, [("grpc.ssl_target_name_override", SERVER_NAME)]


@pytest.fixture
def connect(agent, certificates):
    @asynccontextmanager
    async def open_channel(token: str | None = TOKEN, *, port: int | None = None, client: str | None = None):
        credentials, options = _channel_options(token, certificates, client)
        async with grpc.aio.secure_channel(f"127.0.0.1:{port or agent.grpc_port}", credentials, options) as channel:
            yield channel

    return open_channel


@pytest.fixture
async def control(agent, connect):
    async with connect(None, port=agent.control_port, client="operator") as channel:
        yield session_pb2_grpc.SessionServiceStub(channel)


@pytest.fixture
def bind_request():
    return session_pb2.BindRequest(
        session_uid="uid-1", session_name="team/one", token_sha256=hashlib.sha256(TOKEN.encode()).digest()
    )


@pytest.fixture
async def client(control, bind_request, connect):
    """A channel to an agent that is bound and restored."""
    await control.Bind(bind_request)
    async with connect() as channel:
        yield channel


@pytest.fixture
def error_of():
    def read(error: grpc.aio.AioRpcError):
        status = rpc_status.from_call(
            SimpleNamespace(trailing_metadata=error.trailing_metadata, code=error.code, details=error.details)
        )
        info = error_details_pb2.ErrorInfo()
        assert status.details[0].Unpack(info)
        assert info.domain == "sandboxsessions.dev"
        return error.code().name, info.reason, info.metadata.get("field", "")

    return read
