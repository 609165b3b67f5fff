"""Assembles the agent and runs it: the link to the runtime, two gRPC ports and the HTTP port."""

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
from sandbox_agent.server.http_endpoints import HttpEndpoints, render_metrics
from sandbox_agent.server.interceptors import ClientInterceptor, OperatorInterceptor
from sandbox_agent.server.link_spans import TracedRuntime
from sandbox_agent.services.file import FileServicer
from sandbox_agent.services.interpreter import InterpreterServicer
from sandbox_agent.services.process import ProcessServicer
from sandbox_agent.services.session import SessionServicer
from sandbox_agent.services.workspace import WorkspaceServicer
from sandbox_agent.session.gate import SessionGate
from sandbox_link.client import RuntimeLink
from sandbox_proto import tracing
from sandbox_proto.connection_limits import GRPC_OPTIONS, ConnectionGuard
from sandbox_proto.v1 import (
    file_pb2,
    file_pb2_grpc,
    interpreter_pb2,
    interpreter_pb2_grpc,
    process_pb2,
    process_pb2_grpc,
    session_pb2_grpc,
    workspace_pb2,
    workspace_pb2_grpc,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

    from sandbox_agent.executions.events import CellEvent, CommandEvent
    from sandbox_agent.server.settings import Settings
    from sandbox_agent.session.gate import WorkspaceBuilder
    from sandbox_agent.storage.workspace import Workspace
    from sandbox_link.protocol import Runtime
    from sandbox_proto.v1.session_pb2 import WorkspaceBinding

STOP_GRACE: Final = 5.0
"""Seconds that running calls get to end at SIGTERM."""
_log = logging.getLogger(__name__)


class StartError(RuntimeError):
    """An error that keeps the agent from starting. The message says what to change."""


class Agent:
    """One agent process.

    Args:
        settings: The agent's settings.
        build_workspace: Builds the workspace at Bind. The default builds the real one.

    Attributes:
        grpc_port: Port for clients, once started.
        control_port: Port for the operator, once started.
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
        self._http = HttpEndpoints(self._is_ready, self._metrics)
        self._servers: list[grpc.aio.Server] = []
        self._guard = ConnectionGuard()
        self._preloading: asyncio.Task[None] | None = None

    @property
    def health_port(self) -> int:
        """Port of the HTTP endpoints, once started."""
        return self._http.port

    async def start(self) -> None:
        """Open all ports.

        Raises:
            StartError: A certificate cannot be read, or a port is in use.
        """
        settings = self._settings
        plain, mutual = _read_credentials(settings, lambda: self._guard.limit_bytes(self.grpc_port))
        self._link.start()
        if settings.preload_storage is not None:
            loading = asyncio.to_thread(_preload, settings.preload_storage)
            self._preloading = asyncio.create_task(loading, name="preload")
        self.grpc_port = await self._serve(self._client_server(), settings.grpc_port, plain)
        self.control_port = await self._serve(self._control_server(), settings.control_port, mutual)
        try:
            await self._http.start(settings.listen_address, settings.health_port)
        except OSError as error:
            raise StartError(f"cannot listen on the health port {settings.health_port}: {error}") from error
        for port in (self.grpc_port, self.control_port, self.health_port):
            self._guard.watch(port)
        ports = {"grpc_port": self.grpc_port, "control_port": self.control_port, "health_port": self.health_port}
        if settings.ready_file is not None:
            _write_ready_file(settings.ready_file, ports)
        _log.info("serving", extra=ports)

    async def finish(self) -> None:
        """Refuse new calls and, if the settings allow time for it, save unsaved changes. Never raises."""
        saving = self._sessions.save_last(STOP_GRACE, self._settings.stop_seconds)
        await asyncio.gather(self._refuse_calls(), saving)

    async def stop(self) -> None:
        """Refuse new calls, give running ones a few seconds to end, then close everything."""
        await self._refuse_calls()
        if self._preloading is not None:
            await asyncio.wait({self._preloading})
        await self._sessions.close()
        await self._cells.close()
        await self._commands.close()
        await self._processes.close()
        await self._gate.close()
        await self._http.close()
        self._guard.close()
        await self._link.close()

    async def _refuse_calls(self) -> None:
        await asyncio.gather(*(server.stop(STOP_GRACE) for server in self._servers))

    def _is_ready(self) -> bool:
        is_preloading = self._preloading is not None and not self._preloading.done()
        # The agent cannot call the operator. When the pod stops being ready, the operator gets an event and asks.
        can_serve = not is_preloading and not self._gate.needs_credentials
        return bool(self.control_port and self._link.runtime_id and can_serve)

    def _metrics(self) -> str:
        session = self._gate.session
        return render_metrics(session.stored if session is not None else None)

    def _client_server(self) -> grpc.aio.Server:
        server = grpc.aio.server(
            interceptors=[ClientInterceptor(self._gate, self._guard.admit, self._guard.limits_bytes_now)],
            options=GRPC_OPTIONS,
        )
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
        if self._settings.reflection:
            _add_reflection(server)
        return server

    def _control_server(self) -> grpc.aio.Server:
        server = grpc.aio.server(interceptors=[OperatorInterceptor(self._guard.admit)], options=GRPC_OPTIONS)
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


def _add_reflection(server: grpc.aio.Server) -> None:
    # Few agents serve reflection, so the others do not pay for the import.
    from grpc_reflection.v1alpha import reflection  # noqa: PLC0415

    modules = (interpreter_pb2, process_pb2, file_pb2, workspace_pb2)
    names = [service.full_name for module in modules for service in module.DESCRIPTOR.services_by_name.values()]
    reflection.enable_server_reflection([*names, reflection.SERVICE_NAME], server)


def _write_ready_file(path: Path, ports: Mapping[str, int]) -> None:
    # Renamed into place, so that a reader never sees half of the content.
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps({**ports, "pid": os.getpid()}))
    partial.replace(path)


def _preload(known: Mapping[str, Any]) -> None:
    from sandbox_agent.storage import workspace  # noqa: PLC0415 - see below
    from sandbox_agent.storage.backends.s3 import client as s3_client  # noqa: PLC0415 - see below

    del workspace
    s3_client.preload(s3_client.S3Settings("", **known))


def _build_workspace(binding: WorkspaceBinding, runtime: Runtime, writer: str) -> Workspace:
    # Only at Bind: the storage client needs as much memory as the rest of the agent.
    from sandbox_agent.storage.workspace import Workspace  # noqa: PLC0415

    return Workspace.open(binding, runtime, writer)


def _read_credentials(
    settings: Settings, before_handshake: Callable[[], None]
) -> tuple[grpc.ServerCredentials, grpc.ServerCredentials]:
    """Return the credentials of the clients' port, and those of the control port (mutual TLS).

    Args:
        settings: Where the files are.
        before_handshake: Called on any thread for each new connection of the clients' port. On the other port a
            stranger has no certificate, and does not come through the handshake.
    """
    try:
        key, certificate, authority = (
            (settings.tls_dir / name).read_bytes() for name in ("tls.key", "tls.crt", "ca.crt")
        )
    except OSError as error:
        message = (
            f"{error.filename}: {error.strerror}; the folder SANDBOX_TLS_DIR must have tls.crt, tls.key and ca.crt"
        )
        raise StartError(message) from error
    pair = [(key, certificate)]
    # gRPC asks before each handshake for another certificate. None, which its stubs do not know, means there is none.
    ask: Any = before_handshake
    plain = grpc.dynamic_ssl_server_credentials(
        grpc.ssl_server_certificate_configuration(pair), ask, require_client_authentication=False
    )
    mutual = grpc.ssl_server_credentials(pair, root_certificates=authority, require_client_auth=True)
    return plain, mutual


@contextlib.asynccontextmanager
async def running_agent(settings: Settings, build_workspace: WorkspaceBuilder | None = None) -> AsyncIterator[Agent]:
    """Run an agent within a block, for tests and embedding."""
    agent = Agent(settings, build_workspace)
    try:
        await agent.start()
        yield agent
    finally:
        await agent.stop()
