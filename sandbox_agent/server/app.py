"""Puts the agent together and runs it: the link, two gRPC ports, the health port."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from typing import TYPE_CHECKING, Any, Final

import grpc
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health import aio as async_health  # type: ignore[attr-defined]  # bound by version check

from sandbox_agent.executions.registry import ExecutionRegistry
from sandbox_agent.processes.registry import BackgroundRegistry
from sandbox_agent.server.http_endpoints import HealthServer
from sandbox_agent.server.interceptors import ClientInterceptor, OperatorInterceptor
from sandbox_agent.server.link_spans import TracedRuntime
from sandbox_agent.server.metrics import render_metrics
from sandbox_agent.services.file import FileServicer
from sandbox_agent.services.interpreter import InterpreterServicer
from sandbox_agent.services.process import ProcessServicer
from sandbox_agent.services.session import SessionServicer
from sandbox_agent.session.gate import SessionGate
from sandbox_link.client import RuntimeLink
from sandbox_proto import tracing
from sandbox_proto.v1 import (
    file_pb2_grpc,
    interpreter_pb2_grpc,
    process_pb2_grpc,
    session_pb2_grpc,
    workspace_pb2_grpc,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from sandbox_agent.executions.events import CellEvent, CommandEvent
    from sandbox_agent.server.settings import Settings
    from sandbox_agent.session.gate import WorkspaceBuilder
    from sandbox_agent.storage.workspace import Workspace
    from sandbox_link.protocol import Runtime
    from sandbox_proto.v1.session_pb2 import WorkspaceBinding

MAX_MESSAGE: Final = 4 << 20
MAX_FRAME: Final = 1 << 20
"""Bytes of an HTTP/2 frame, 16 KiB by default: a file's chunk is one frame instead of many."""
STOP_GRACE: Final = 5.0
"""Seconds that calls under way get at SIGTERM."""
OPTIONS: Final[Sequence[tuple[str, Any]]] = (
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_concurrent_streams", 512),
    ("grpc.http2.max_frame_size", MAX_FRAME),
    ("grpc.so_reuseport", 0),
    # A client that is half open is found within 30 s; executions go on without it.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # What gRPC really waits for an answer to a ping: a minute, unless it is told.
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
)

_log = logging.getLogger(__name__)


class StartError(RuntimeError):
    """The agent cannot start; the message says what to change."""


class Agent:
    """One agent process.

    Args:
        settings: Where it listens and finds what.
        build_workspace: Makes the workspace at Bind; the default is the real one.

    Attributes:
        grpc_port, control_port: Where it listens, once started.
    """

    def __init__(self, settings: Settings, build_workspace: WorkspaceBuilder | None = None) -> None:
        self.grpc_port = 0
        self.control_port = 0
        self._settings = settings
        self._link = RuntimeLink(settings.socket_path)
        runtime = TracedRuntime(self._link) if tracing.is_on() else self._link
        self._gate = SessionGate(runtime, build_workspace or _build_workspace)
        self._link.greet = self._gate.greet
        self._cells: ExecutionRegistry[CellEvent] = ExecutionRegistry(self._gate)
        self._commands: ExecutionRegistry[CommandEvent] = ExecutionRegistry(self._gate)
        self._processes = BackgroundRegistry(self._gate)
        self._sessions = SessionServicer(
            self._gate, lambda: self._cells.running + self._commands.running, self._processes
        )
        self._health = HealthServer(self._is_ready, self._metrics)
        self._servers: list[grpc.aio.Server] = []
        self._preloading: asyncio.Task[None] | None = None

    @property
    def health_port(self) -> int:
        """Where the health port is, once started."""
        return self._health.port

    async def start(self) -> None:
        """Open all ports.

        Raises:
            StartError: A certificate or a port cannot be used.
        """
        settings = self._settings
        plain, mutual = _read_credentials(settings)
        self._link.start()
        if settings.preload_storage is not None:
            loading = asyncio.to_thread(_preload, settings.preload_storage)
            self._preloading = asyncio.create_task(loading, name="preload")
        self.grpc_port = await self._serve(self._client_server(), settings.grpc_port, plain)
        self.control_port = await self._serve(self._control_server(), settings.control_port, mutual)
        try:
            await self._health.start(settings.listen_address, settings.health_port)
        except OSError as error:
            raise StartError(f"cannot listen on the health port {settings.health_port}: {error}") from error
        if settings.ready_file is not None:
            self._tell_ready(settings)
        _log.info("serving", extra={"grpc_port": self.grpc_port, "control_port": self.control_port})

    async def finish(self) -> None:
        """Refuse new calls, and save what is not saved yet, where the settings leave time for it. Never fails."""
        saving = self._sessions.save_last(STOP_GRACE, self._settings.stop_seconds)
        await asyncio.gather(self._refuse_calls(), saving)

    async def stop(self) -> None:
        """Refuse new calls, let those under way end for a while, then close everything."""
        await self._refuse_calls()
        if self._preloading is not None:
            await asyncio.wait({self._preloading})
        await self._sessions.close()
        await self._cells.close()
        await self._commands.close()
        await self._processes.close()
        await self._gate.close()
        await self._health.close()
        await self._link.close()

    async def _refuse_calls(self) -> None:
        await asyncio.gather(*(server.stop(STOP_GRACE) for server in self._servers))

    def _is_ready(self) -> bool:
        is_preloading = self._preloading is not None and not self._preloading.done()
        # A pod that is not ready any more is an event for the operator, whom the agent cannot call: it comes to look.
        can_serve = not is_preloading and not self._gate.needs_credentials
        return bool(self.control_port and self._link.runtime_id and can_serve)

    def _metrics(self) -> str:
        session = self._gate.session
        return render_metrics(session.stored if session is not None else None)

    def _client_server(self) -> grpc.aio.Server:
        server = grpc.aio.server(interceptors=[ClientInterceptor(self._gate)], options=OPTIONS)
        from sandbox_agent.services.workspace import WorkspaceServicer  # noqa: PLC0415 - it may import storage

        servicers: list[tuple[Any, Any]] = [
            (
                interpreter_pb2_grpc.add_InterpreterServiceServicer_to_server,
                InterpreterServicer(self._gate, self._cells),
            ),
            (
                process_pb2_grpc.add_ProcessServiceServicer_to_server,
                ProcessServicer(self._gate, self._commands, self._processes),
            ),
            (file_pb2_grpc.add_FileServiceServicer_to_server, FileServicer(self._gate)),
            (workspace_pb2_grpc.add_WorkspaceServiceServicer_to_server, WorkspaceServicer(self._gate)),
            (health_pb2_grpc.add_HealthServicer_to_server, async_health.HealthServicer()),
        ]
        for add, servicer in servicers:
            add(servicer, server)
        return server

    def _control_server(self) -> grpc.aio.Server:
        server = grpc.aio.server(interceptors=[OperatorInterceptor()], options=OPTIONS)
        add: Any = session_pb2_grpc.add_SessionServiceServicer_to_server
        add(self._sessions, server)
        return server

    async def _serve(self, server: grpc.aio.Server, port: int, credentials: grpc.ServerCredentials) -> int:
        address = f"{self._settings.listen_address}:{port}"
        try:
            chosen = server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise StartError(f"cannot listen on {address}: is another agent running there?") from error
        await server.start()
        self._servers.append(server)
        return chosen

    def _tell_ready(self, settings: Settings) -> None:
        if settings.ready_file is None:
            return
        told = {
            "grpc_port": self.grpc_port,
            "control_port": self.control_port,
            "health_port": self.health_port,
            "pid": os.getpid(),
        }
        # Renamed into place: whoever waits for it never reads half of it.
        partial = settings.ready_file.with_name(f"{settings.ready_file.name}.partial")
        partial.write_text(json.dumps(told))
        partial.replace(settings.ready_file)


def _preload(known: Mapping[str, Any]) -> None:
    from sandbox_agent.storage import workspace  # noqa: PLC0415 - see below
    from sandbox_agent.storage.backends.s3 import client as s3_client  # noqa: PLC0415 - see below

    del workspace
    s3_client.preload(s3_client.S3Settings("", **known))


def _build_workspace(binding: WorkspaceBinding, runtime: Runtime, writer: str) -> Workspace:
    # At Bind and not before: the storage client is as large as the rest of the agent.
    from sandbox_agent.storage.workspace import Workspace  # noqa: PLC0415

    return Workspace.open(binding, runtime, writer)


def _read_credentials(settings: Settings) -> tuple[grpc.ServerCredentials, grpc.ServerCredentials]:
    """For the clients' port, and (mutual) for the control port."""
    try:
        key, certificate, authority = (
            (settings.tls_dir / name).read_bytes() for name in ("tls.key", "tls.crt", "ca.crt")
        )
    except OSError as error:
        message = f"{error.filename}: {error.strerror}; SANDBOX_TLS_DIR must have tls.crt, tls.key and ca.crt"
        raise StartError(message) from error
    pair = [(key, certificate)]
    plain = grpc.ssl_server_credentials(pair)
    mutual = grpc.ssl_server_credentials(pair, root_certificates=authority, require_client_auth=True)
    return plain, mutual


@contextlib.asynccontextmanager
async def running_agent(settings: Settings, build_workspace: WorkspaceBuilder | None = None) -> AsyncIterator[Agent]:
    """An agent for the length of a block, for tests and embedding."""
    agent = Agent(settings, build_workspace)
    try:
        await agent.start()
        yield agent
    finally:
        await agent.stop()
