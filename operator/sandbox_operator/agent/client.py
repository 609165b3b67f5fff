"""Calls agents over gRPC with mutual TLS. The name in an agent's certificate proves which pod answered.

Every call has a deadline, and none blocks the event loop. A call raises AgentUnreachableError if it may be retried, and
AgentError if the agent refused it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from sandbox_operator.agent.model import AgentAddress, AgentView
from sandbox_operator.errors import AgentError, AgentUnreachableError, NotLeadingError
from sandbox_proto import tracing
from sandbox_proto.v1 import session_pb2, session_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from google.protobuf.timestamp_pb2 import Timestamp

    from sandbox_operator.kube.write_hook import WriteHook
    from sandbox_operator.pki.certificates import Authority
    from sandbox_operator.watch.work_queue import Key
    from sandbox_proto.v1 import workspace_pb2

_CERTIFICATE_MAX_AGE: Final = 86400.0
"""Seconds after which the operator signs itself a new client certificate."""
_ANSWER_SECONDS: Final = 15.0
"""Seconds after a drain's time limit in which the agent has to answer."""
_MAX_UNSAVED: Final = 8
"""Files that could not be saved whose names are kept. A further item counts the others."""
_MAX_REASON: Final = 300
_MAX_CHANNELS: Final = 64
"""Channels that stay open. An open channel costs 85 KiB."""
# By default gRPC reconnects after a second, which is longer than an agent takes to start.
_CHANNEL_OPTIONS: Final[list[tuple[str, Any]]] = [
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.enable_http_proxy", 0),
]
_UNREACHABLE: Final = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}


class Agents(Protocol):
    """The calls that the operator makes to agents. `sandbox_testing.operator_agents` has a fake."""

    async def describe(self, address: AgentAddress, wait: float = 0.0, timeout: float = 2.0) -> AgentView:  # noqa: ASYNC109 - gRPC has deadlines of its own
        """Return an agent's description of itself.

        Args:
            address: The agent's address.
            wait: Seconds that the agent may delay the answer until its restore has ended.
            timeout: Seconds, in addition to `wait`, in which the agent must answer. It may still be starting.
        """
        ...

    async def bind(self, address: AgentAddress, request: session_pb2.BindRequest) -> AgentView:
        """Give a blank agent its session, and return its new description."""
        ...

    async def renew(self, address: AgentAddress, request: session_pb2.RenewRequest) -> AgentView:
        """Give an agent new storage credentials, and return its new description."""
        ...

    async def set_lifetime(self, address: AgentAddress, session_uid: str, remaining: float) -> AgentView:
        """Make an agent stop accepting calls after this many seconds, and return its new description."""
        ...

    async def drain(
        self,
        address: AgentAddress,
        session_uid: str,
        grace: float,
        timeout: float,  # noqa: ASYNC109 - as above
        *,
        require_all: bool = False,
    ) -> AgentView:
        """Make an agent refuse new work and push its workspace. Return its description once the push is durable.

        Args:
            address: The agent's address.
            session_uid: Session that the agent must be serving.
            grace: Seconds that running work may go on.
            timeout: Seconds that the push may take.
            require_all: Fail with FILES_NOT_SAVED, and go on serving, if a file could not be saved.
        """
        ...

    def connect(self, address: AgentAddress) -> None:
        """Start connecting to an agent that will be called soon."""
        ...

    async def forget(self, address: AgentAddress) -> None:
        """Close the connection to an agent whose pod has ended."""
        ...


@dataclass(slots=True)
class _OpenChannel:
    channel: grpc.aio.Channel
    calls: int = 0
    """Number of calls in progress."""


class AgentClient:
    """The gRPC implementation of `Agents`: one channel per agent, of which the most recently used stay open."""

    def __init__(self, authority: Authority, write_hook: WriteHook, may_write: Callable[[], bool]) -> None:
        self._authority, self._write_hook, self._may_write = authority, write_hook, may_write
        self._credentials: tuple[float, bytes, grpc.ChannelCredentials] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._channels: OrderedDict[AgentAddress, _OpenChannel] = OrderedDict()

    async def describe(self, address: AgentAddress, wait: float = 0.0, timeout: float = 2.0) -> AgentView:  # noqa: ASYNC109 - gRPC has deadlines of its own
        """Return an agent's description of itself."""
        request = session_pb2.DescribeRequest(wait=timedelta(seconds=wait))
        with self._use(address) as stub, tracing.calling(stub.Describe, only_within=True) as span:
            call = stub.Describe(request, timeout=timeout + wait, wait_for_ready=True, metadata=span.metadata)
            return _view(await _call(call))

    async def bind(self, address: AgentAddress, request: session_pb2.BindRequest) -> AgentView:
        """Give a blank agent its session."""
        with self._use(address) as stub, tracing.calling(stub.Bind, only_within=True) as span:
            return await self._write(lambda: stub.Bind(request, timeout=10.0, metadata=span.metadata))

    async def renew(self, address: AgentAddress, request: session_pb2.RenewRequest) -> AgentView:
        """Give an agent new storage credentials."""
        with self._use(address) as stub, tracing.calling(stub.Renew, only_within=True) as span:
            return await self._write(lambda: stub.Renew(request, timeout=15.0, metadata=span.metadata))

    async def set_lifetime(self, address: AgentAddress, session_uid: str, remaining: float) -> AgentView:
        """Move the time at which an agent stops accepting calls."""
        request = session_pb2.SetLifetimeRequest(session_uid=session_uid, remaining=timedelta(seconds=remaining))
        with self._use(address) as stub, tracing.calling(stub.SetLifetime, only_within=True) as span:
            return await self._write(lambda: stub.SetLifetime(request, timeout=5.0, metadata=span.metadata))

    async def drain(
        self,
        address: AgentAddress,
        session_uid: str,
        grace: float,
        timeout: float,  # noqa: ASYNC109 - as above
        *,
        require_all: bool = False,
    ) -> AgentView:
        """Make an agent refuse new work and push its workspace."""
        seconds = timeout + grace
        request = session_pb2.DrainRequest(
            session_uid=session_uid,
            grace=timedelta(seconds=grace),
            require_all_files=require_all,
            time_limit=timedelta(seconds=seconds),
        )
        with self._use(address) as stub, tracing.calling(stub.Drain, only_within=True) as span:
            # The agent ends the drain itself, and says so. Only one that does not answer is left to the deadline.
            wait = seconds + _ANSWER_SECONDS
            return await self._write(lambda: stub.Drain(request, timeout=wait, metadata=span.metadata))

    def connect(self, address: AgentAddress) -> None:
        """Start connecting to an agent."""
        self._open(address).channel.get_state(try_to_connect=True)

    async def forget(self, address: AgentAddress) -> None:
        """Close the connection to an agent."""
        if opened := self._channels.pop(address, None):
            await opened.channel.close(None)

    async def close(self) -> None:
        """Close every channel."""
        for address in list(self._channels):
            await self.forget(address)
        await asyncio.gather(*self._closing)

    async def _write(self, call: Callable[[], Awaitable[Any]]) -> AgentView:
        if not self._may_write():
            raise NotLeadingError("this replica is not the leader, so it does not call agents")
        with self._write_hook.write():
            return _view(await _call(call()))

    @contextlib.contextmanager
    def _use(self, address: AgentAddress) -> Iterator[Any]:
        """Yield a stub for one call, and keep its channel open meanwhile."""
        opened = self._open(address)
        opened.calls += 1
        try:
            yield session_pb2_grpc.SessionServiceStub(opened.channel)  # type: ignore[no-untyped-call]
        finally:
            opened.calls -= 1

    def _open(self, address: AgentAddress) -> _OpenChannel:
        """Return the agent's channel, creating it if necessary. The first call connects it."""
        opened = self._channels.get(address)
        if opened is None:
            options = [*_CHANNEL_OPTIONS, ("grpc.ssl_target_name_override", address.server_name)]
            opened = _OpenChannel(grpc.aio.secure_channel(address.target, self._channel_credentials(), options=options))
            self._channels[address] = opened
            self._close_oldest()
        self._channels.move_to_end(address)
        return opened

    def _close_oldest(self) -> None:
        """Close the least recently used idle channels while too many are open."""
        for address, opened in list(self._channels.items())[:-1]:
            if len(self._channels) <= _MAX_CHANNELS:
                return
            if not opened.calls:
                del self._channels[address]
                closing = asyncio.create_task(opened.channel.close(None), name="close-channel")
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)

    def _channel_credentials(self) -> grpc.ChannelCredentials:
        now, trusted = time.monotonic(), self._authority.pem
        made = self._credentials
        if made is None or now - made[0] > _CERTIFICATE_MAX_AGE or made[1] != trusted:
            pair = self._authority.sign_operator(datetime.now(UTC))
            made = (now, trusted, grpc.ssl_channel_credentials(trusted, pair.key, pair.certificate))
            self._credentials = made
        return made[2]


async def _call(call: Awaitable[Any]) -> Any:
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        reason = _reason(error) or error.code().name
        kind = AgentUnreachableError if error.code() in _UNREACHABLE else AgentError
        raise kind(reason, error.details() or error.code().name) from error


def _reason(error: grpc.aio.AioRpcError) -> str:
    """Return the reason in the error's ErrorInfo, or "" if it has none or is malformed. Agents are not trusted."""
    try:
        call: Any = error
        status = rpc_status.from_call(call)
        information = error_details_pb2.ErrorInfo()
        if status is not None and any(detail.Unpack(information) for detail in status.details):
            return str(information.reason)[:64]
    except (ValueError, DecodeError):
        # The details contradict the status (ValueError), or are not valid protobuf.
        return ""
    return ""


def _view(description: session_pb2.SessionDescription) -> AgentView:
    """Return an agent's description of itself.

    Raises:
        AgentError: It contains unknown states, or times out of range.
    """
    try:
        return _read(description)
    except (ValueError, OverflowError) as error:
        raise AgentError("INVALID_ANSWER", f"the agent described itself wrongly: {error}"[:_MAX_REASON]) from None


def _read(description: session_pb2.SessionDescription) -> AgentView:
    states, restores = session_pb2.SessionDescription.State, session_pb2.SessionDescription.RestoreState
    workspace = description.workspace
    return AgentView(
        state=states.Name(description.state).removeprefix("STATE_"),
        session_uid=description.session_uid,
        restore=restores.Name(description.restore).removeprefix("RESTORE_STATE_"),
        restore_error=description.restore_error[:500],
        runtime_ready=description.runtime_ready,
        running=description.running,
        last_active=_moment(description.last_active) if description.HasField("last_active") else None,
        idle=description.idle.ToTimedelta() if description.HasField("idle") else None,
        remaining_lifetime=description.remaining_lifetime.ToTimedelta()
        if description.HasField("remaining_lifetime")
        else None,
        generation=workspace.generation,
        files=workspace.files,
        bytes=workspace.bytes,
        synced_at=_moment(workspace.synced_at) if workspace.HasField("synced_at") else None,
        dirty=workspace.dirty,
        workspace_error=workspace.last_error[:500],
        has_storage=description.HasField("workspace") or description.restore != restores.Value("RESTORE_STATE_DONE"),
        unsaved=_name_unsaved(workspace),
        unsaved_count=max(len(workspace.unsaved), workspace.unsaved_count),
        credentials_expire_at=_moment(description.credentials_expire_at)
        if description.HasField("credentials_expire_at")
        else None,
        needs_credentials=description.needs_credentials,
    )


def _name_unsaved(workspace: workspace_pb2.WorkspaceStatus) -> tuple[str, ...]:
    names = [f"{each.path}: {each.reason}" if each.path else each.reason for each in workspace.unsaved]
    shown = [name[:_MAX_REASON] for name in names[:_MAX_UNSAVED]]
    # An agent of an earlier version does not count them.
    if more := max(len(names), workspace.unsaved_count) - len(shown):
        shown.append(f"and {more} more" if workspace.unsaved_count else f"and at least {more} more")
    return tuple(shown)


def _moment(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(tzinfo=UTC)


class AgentViewCache:
    """Descriptions of agents that are known already, so that the next observation of a session needs no call.

    Bind and Renew return one, and a pod that was just claimed is blank. The cache keeps one description per session,
    which can be taken once.
    """

    def __init__(self) -> None:
        self._views: dict[Key, tuple[str, AgentView]] = {}

    def put(self, key: Key, server_name: str, view: AgentView) -> None:
        """Keep the description that the agent with this server name has just returned."""
        self._views[key] = (server_name, view)

    def take(self, key: Key, server_name: str) -> AgentView | None:
        """Return and drop a session's description. Returns None if another agent, or no agent, gave it."""
        name, view = self._views.pop(key, ("", None))
        return view if name == server_name else None
