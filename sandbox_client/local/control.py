"""Plays the operator's part for a local session: Bind at the start, Drain at the end."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import grpc

from sandbox_client.errors import InvalidArgument, SandboxError, SessionFailed, from_rpc_error
from sandbox_client.transport.endpoint import channel_options
from sandbox_proto.v1 import session_pb2
from sandbox_proto.v1.session_pb2_grpc import SessionServiceStub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

START_TIMEOUT: Final = 60.0
"""Seconds for the processes to start, on a very slow machine."""
RESTORE_TIMEOUT: Final = 600.0
"""Seconds for the workspace to be restored from the store."""
SUSPEND_TIMEOUT: Final = 600.0
"""Seconds for the workspace to be saved to the store."""
_GRACE: Final = dt.timedelta(seconds=5)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Control:
    """A client of an agent's control port.

    Attributes:
        tls: The folder with the operator's certificate.
        port: The control port on loopback.
        server_name: The name in the agent's certificate.
        read_logs: Returns the end of the processes' logs, for error messages.
    """

    tls: Path
    port: int
    server_name: str
    read_logs: Callable[[], str]

    async def bind(self, request: session_pb2.BindRequest, on_progress: Callable[[str], object]) -> None:
        """Give a blank agent its session, and wait until its workspace is restored.

        Args:
            request: The session.
            on_progress: Called with each step's text.

        Raises:
            SessionFailed: The agent refused, or the workspace could not be restored.
        """
        async with self._stub() as stub:
            try:
                await stub.Bind(request, timeout=START_TIMEOUT, wait_for_ready=True)
                on_progress("Restoring the workspace")
                description = await stub.Describe(
                    session_pb2.DescribeRequest(wait=dt.timedelta(seconds=RESTORE_TIMEOUT)),
                    timeout=RESTORE_TIMEOUT + 5,
                )
            except grpc.RpcError as error:
                cause: SandboxError = from_rpc_error(error)
                if isinstance(cause, InvalidArgument):
                    raise cause from error
                message = f"the session could not be bound: {cause}\n{self.read_logs()}"
                raise SessionFailed(message, reason=cause.reason) from error
        if description.restore == session_pb2.SessionDescription.RESTORE_STATE_FAILED:
            message = f"the workspace could not be restored: {description.restore_error}"
            raise SessionFailed(message, reason="RESTORE_FAILED")

    async def drain(self, session_uid: str) -> None:
        """End running work, and save files and variables. The agent accepts no more calls then.

        Raises:
            SandboxError: Something was not saved. The agent continues to accept calls.
        """
        async with self._stub() as stub:
            request = session_pb2.DrainRequest(session_uid=session_uid, grace=_GRACE)
            try:
                await stub.Drain(request, timeout=SUSPEND_TIMEOUT)
            except grpc.RpcError as error:
                raise from_rpc_error(error) from error

    async def save_last(self, session_uid: str) -> None:
        """Save files and variables. A failure is only logged, because the session must end anyway."""
        try:
            await self.drain(session_uid)
        except SandboxError as error:
            _log.warning("the session was not saved: %s", error)

    async def idle_seconds(self) -> float:
        """Return the seconds since the last call or running work.

        Raises:
            SandboxError: The agent does not answer.
        """
        async with self._stub() as stub:
            try:
                description = await stub.Describe(session_pb2.DescribeRequest(), timeout=START_TIMEOUT)
            except grpc.RpcError as error:
                raise from_rpc_error(error) from error
        idle: float = description.idle.ToTimedelta().total_seconds()
        return idle

    @contextlib.asynccontextmanager
    async def _stub(self) -> AsyncIterator[Any]:
        credentials = grpc.ssl_channel_credentials(
            root_certificates=(self.tls / "ca.crt").read_bytes(),
            private_key=(self.tls / "operator.key").read_bytes(),
            certificate_chain=(self.tls / "operator.crt").read_bytes(),
        )
        stub_class: Any = SessionServiceStub
        address, options = f"127.0.0.1:{self.port}", channel_options(self.server_name)
        async with grpc.aio.secure_channel(address, credentials, options=options) as channel:
            yield stub_class(channel)
