"""Where an agent is, and what every channel to it is made with. Opens none.

The address is never trusted: the certificate must be signed by the session's CA and carry the session's server name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.cluster.wake_policy import PodLife
from sandbox_client.errors import SandboxUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MAX_MESSAGE: Final = 4 << 20
"""Bytes of one gRPC message at most, either way."""
_MAX_FRAME: Final = 1 << 20
"""Bytes of an HTTP/2 frame, 16 KiB by default: a file's chunk is one frame instead of many."""
_OPTIONS: Final = (
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.http2.max_frame_size", _MAX_FRAME),
    # A quiet cell may run for minutes: without pings a dead peer would never be noticed; with them it is within 30 s.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # What gRPC really waits for an answer to a ping: a minute, unless it is told.
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # Retries are ours: only calls that may run twice are repeated.
    ("grpc.enable_retries", 0),
    # Sessions are short and many: no connection of one is ever another's.
    ("grpc.use_local_subchannel_pool", 1),
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an agent is and how to trust it.

    Attributes:
        address: `host:port`.
        server_name: The DNS name that the server's certificate must carry.
        ca_certificate: PEM of the CA that signed it.
        token: The session's access token; never shown in a repr.
        describe_failure: What the way to `address` has to say when nothing answers there; "" for nothing.
        life: Whose pod it is; of a session of a cluster.
        returns_within: Seconds for which what runs there is waited for once nobody answers: a network comes back.
    """

    address: str
    server_name: str
    ca_certificate: bytes = field(repr=False)
    token: str = field(repr=False)
    describe_failure: Callable[[], str] = field(default=str, repr=False, compare=False)
    life: PodLife = field(default_factory=PodLife, repr=False, compare=False)
    returns_within: float = field(default=60.0, repr=False, compare=False)


def channel_options(server_name: str) -> Sequence[tuple[str, Any]]:
    """What every channel to an agent is made with."""
    return (*_OPTIONS, ("grpc.ssl_target_name_override", server_name), ("grpc.default_authority", server_name))


def unreachable(endpoint: Endpoint, seconds: float, why: str) -> SandboxUnavailable:
    """The error for an agent that did not answer in time."""
    return SandboxUnavailable(
        f"no agent answered at {endpoint.address} within {seconds:g} s ({endpoint.describe_failure() or why}). "
        "Check that the session is Ready and that this machine may reach it.",
        reason="UNREACHABLE",
    )


def bearer_metadata(endpoint: Endpoint) -> tuple[tuple[str, str], ...]:
    """What each call says of who makes it."""
    return (("authorization", f"Bearer {endpoint.token}"),)
