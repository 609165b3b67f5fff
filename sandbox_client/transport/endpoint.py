"""The address of an agent, and the options of every channel to it. Opens no channel.

The address is never trusted: the certificate must be signed by the session's CA and carry the session's server name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.errors import SandboxUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MAX_MESSAGE: Final = 4 << 20
"""Bytes of one gRPC message, in either direction."""
_MAX_FRAME: Final = 1 << 20
"""Bytes of an HTTP/2 frame. With gRPC's 16 KiB, each chunk of a file would be many frames."""
_OPTIONS: Final = (
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.http2.max_frame_size", _MAX_FRAME),
    # A quiet cell may run for minutes. Pings detect a dead peer within 30 s.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # The time that gRPC really waits for the answer to a ping: a minute by default.
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # We retry ourselves, and only calls that may run twice.
    ("grpc.enable_retries", 0),
    # Sessions never share a connection.
    ("grpc.use_local_subchannel_pool", 1),
)


@dataclass(frozen=True, slots=True)
class PodLife:
    """One pod of one session.

    Attributes:
        session_uid: The session's uid, because a later session may have the same name.
        pod: The pod's name. The next pod of a resumed session may have the same name.
        started_at: Time at which the pod was created or claimed, as in the session's status.
    """

    session_uid: str = ""
    pod: str = ""
    started_at: str = ""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address of an agent, and the means to trust it.

    Attributes:
        address: `host:port`.
        server_name: The DNS name that the server's certificate must carry.
        ca_certificate: PEM of the CA that signed the certificate.
        token: The session's access token; not shown in the repr.
        describe_failure: Returns why the route to `address` does not work, or "" if it knows of no problem.
        life: The pod, if the session is in a cluster.
        returns_within: Seconds to wait for a running cell or command while the agent does not answer, because the
            network may recover.
    """

    address: str
    server_name: str
    ca_certificate: bytes = field(repr=False)
    token: str = field(repr=False)
    describe_failure: Callable[[], str] = field(default=str, repr=False, compare=False)
    life: PodLife = field(default_factory=PodLife, repr=False, compare=False)
    returns_within: float = field(default=60.0, repr=False, compare=False)


def channel_options(server_name: str) -> Sequence[tuple[str, Any]]:
    """Return the options of every channel to an agent."""
    return (*_OPTIONS, ("grpc.ssl_target_name_override", server_name), ("grpc.default_authority", server_name))


def unreachable(endpoint: Endpoint, seconds: float, why: str) -> SandboxUnavailable:
    """Return the error for an agent that did not answer in time."""
    return SandboxUnavailable(
        f"no agent answered at {endpoint.address} within {seconds:g} s ({endpoint.describe_failure() or why}). "
        "Check that the session is Ready and that this machine can reach it.",
        reason="UNREACHABLE",
    )


def bearer_metadata(endpoint: Endpoint) -> tuple[tuple[str, str], ...]:
    """Return the metadata that authenticates a call."""
    return (("authorization", f"Bearer {endpoint.token}"),)
