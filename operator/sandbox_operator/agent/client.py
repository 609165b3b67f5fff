"""The operator's calls of SessionService: mutual TLS to a pod's address, the certificate's name decides who answered.

Every call has a deadline and none blocks the loop. Errors: AgentUnreachableError (try again), AgentError (refused).
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
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2

from sandbox_operator.errors import AgentError, AgentUnreachableError, NotLeadingError
from sandbox_proto import tracing
from sandbox_proto.v1 import session_pb2, session_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from google.protobuf.timestamp_pb2 import Timestamp

    from sandbox_operator.kube.write_hook import WriteHook
    from sandbox_operator.pki.certificates import Authority

_CERTIFICATE_MAX_AGE: Final = 86400.0
_MOST_CHANNELS: Final = 64
_DETAILS: Final = "grpc-status-details-bin"
# grpc's own first retry comes after a second, which is longer than an agent takes to start.
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


@dataclass(frozen=True, slots=True)
class AgentAddress:
    """Where an agent's control port is, and the name its certificate has to have."""

    target: str
    server_name: str


@dataclass(frozen=True, slots=True)
class AgentView:
    """What an agent said of itself. States are the names of the proto's enums without their prefix."""

    state: str = "BLANK"
    session_uid: str = ""
    restore: str = "UNSPECIFIED"
    restore_error: str = ""
    runtime_ready: bool = True
    running: int = 0
    last_active: datetime | None = None
    """By its own clock, which may be off."""
    idle: timedelta | None = None
    """How long ago that was; None: an agent of before, which does not tell."""
    generation: int = 0
    files: int = 0
    bytes: int = 0
    synced_at: datetime | None = None
    dirty: bool = False
    workspace_error: str = ""
    credentials_expire_at: datetime | None = None
    """When its storage credentials end; None: it was not told."""
    needs_credentials: bool = False
    """Storage refuses them, or their time is over."""


class Agents(Protocol):
    """What the operator asks of agents; `testing_agents.FakeAgents` is another one."""

    async def describe(self, address: AgentAddress, wait: float = 0.0, timeout: float = 2.0) -> AgentView:  # noqa: ASYNC109 - gRPC has deadlines of its own
        """What an agent knows of itself; `wait` lets it wait for the end of a restore, `timeout` for its start."""
        ...

    async def bind(self, address: AgentAddress, request: session_pb2.BindRequest) -> AgentView:
        """Give a blank agent its session."""
        ...

    async def renew(self, address: AgentAddress, request: session_pb2.RenewRequest) -> AgentView:
        """Give an agent new storage credentials."""
        ...

    async def drain(self, address: AgentAddress, session_uid: str, grace: float, timeout: float) -> AgentView:  # noqa: ASYNC109 - as above
        """Refuse new work, wait, push; returns when the push is durable."""
        ...

    def connect(self, address: AgentAddress) -> None:
        """Begin to connect to an agent: it is called soon."""
        ...

    async def forget(self, address: AgentAddress) -> None:
        """Close what is open to an agent that is gone."""
        ...


@dataclass(slots=True)
class _Link:
    channel: grpc.aio.Channel
    calls: int = 0
    """Under way."""


class AgentClient:
    """Agents over gRPC, one channel an agent, and the channels that were used last kept open."""

    def __init__(self, authority: Authority, faults: WriteHook, may_write: Callable[[], bool]) -> None:
        self._authority, self._faults, self._may_write = authority, faults, may_write
        self._credentials: tuple[float, bytes, grpc.ChannelCredentials] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._links: OrderedDict[AgentAddress, _Link] = OrderedDict()

    async def describe(self, address: AgentAddress, wait: float = 0.0, timeout: float = 2.0) -> AgentView:  # noqa: ASYNC109 - gRPC has deadlines of its own
        """See Agents."""
        request = session_pb2.DescribeRequest(wait=_duration(wait))
        with self._use(address) as stub, tracing.calling(stub.Describe, only_within=True) as span:
            call = stub.Describe(request, timeout=timeout + wait, wait_for_ready=True, metadata=span.metadata)
            return _view(await _call(call))

    async def bind(self, address: AgentAddress, request: session_pb2.BindRequest) -> AgentView:
        """See Agents."""
        with self._use(address) as stub, tracing.calling(stub.Bind, only_within=True) as span:
            return await self._write(lambda: stub.Bind(request, timeout=10.0, metadata=span.metadata))

    async def renew(self, address: AgentAddress, request: session_pb2.RenewRequest) -> AgentView:
        """See Agents."""
        with self._use(address) as stub, tracing.calling(stub.Renew, only_within=True) as span:
            return await self._write(lambda: stub.Renew(request, timeout=15.0, metadata=span.metadata))

    async def drain(self, address: AgentAddress, session_uid: str, grace: float, timeout: float) -> AgentView:  # noqa: ASYNC109 - as above
        """See Agents."""
        request = session_pb2.DrainRequest(session_uid=session_uid, grace=_duration(grace))
        with self._use(address) as stub, tracing.calling(stub.Drain, only_within=True) as span:
            return await self._write(lambda: stub.Drain(request, timeout=timeout + grace, metadata=span.metadata))

    def connect(self, address: AgentAddress) -> None:
        """See Agents."""
        self._open(address).channel.get_state(try_to_connect=True)

    async def forget(self, address: AgentAddress) -> None:
        """See Agents."""
        if link := self._links.pop(address, None):
            await link.channel.close(None)

    async def close(self) -> None:
        """Close every channel."""
        for address in list(self._links):
            await self.forget(address)
        await asyncio.gather(*self._closing)

    async def _write(self, call: Callable[[], Awaitable[Any]]) -> AgentView:
        if not self._may_write():
            raise NotLeadingError("an agent's session is changed by the leader only")
        number = self._faults.before_write()
        try:
            answer = await _call(call())
        finally:
            self._faults.after_write(number)
        return _view(answer)

    @contextlib.contextmanager
    def _use(self, address: AgentAddress) -> Iterator[Any]:
        """A stub for one call."""
        link = self._open(address)
        link.calls += 1
        try:
            yield session_pb2_grpc.SessionServiceStub(link.channel)  # type: ignore[no-untyped-call]
        finally:
            link.calls -= 1

    def _open(self, address: AgentAddress) -> _Link:
        """The connection that is open already, or one that a call opens."""
        link = self._links.get(address)
        if link is None:
            options = [*_CHANNEL_OPTIONS, ("grpc.ssl_target_name_override", address.server_name)]
            link = _Link(grpc.aio.secure_channel(address.target, self._channel_credentials(), options=options))
            self._links[address] = link
            self._close_oldest()
        self._links.move_to_end(address)
        return link

    def _close_oldest(self) -> None:
        """Close what was not used for longest, where too many are open: a channel costs 85 KiB."""
        for address, link in list(self._links.items())[:-1]:
            if len(self._links) <= _MOST_CHANNELS:
                return
            if not link.calls:
                del self._links[address]
                closing = asyncio.create_task(link.channel.close(None), name="close-channel")
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
    """The ErrorInfo's reason. What does not parse is no reason: the agent is not trusted to be well-behaved."""
    try:
        trailing: Any = error.trailing_metadata() or ()
        for key, value in trailing:
            if key == _DETAILS:
                raw = value if isinstance(value, bytes) else value.encode()
                for detail in status_pb2.Status.FromString(raw).details:
                    information = error_details_pb2.ErrorInfo()
                    if detail.Unpack(information):
                        return str(information.reason)[:64]
    except ValueError:
        return ""
    return ""


def _view(description: session_pb2.SessionDescription) -> AgentView:
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
        generation=workspace.generation,
        files=workspace.files,
        bytes=workspace.bytes,
        synced_at=_moment(workspace.synced_at) if workspace.HasField("synced_at") else None,
        dirty=workspace.dirty,
        workspace_error=workspace.last_error[:500],
        credentials_expire_at=_moment(description.credentials_expire_at)
        if description.HasField("credentials_expire_at")
        else None,
        needs_credentials=description.needs_credentials,
    )


def _moment(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(tzinfo=UTC)


def _duration(seconds: float) -> Duration:
    return Duration(seconds=int(seconds), nanos=int(seconds % 1 * 1e9))
