"""Bounds the connections of every port of an agent or operator: in number, per peer, and in time. No other module does.

gRPC has no limit per peer, and cannot tell a stranger's connection from a caller's. So a guard looks at the process's
own sockets when a connection arrives, and ends those that are too many or too old. A connection counts as a
stranger's until it has made an authenticated call. Strangers displace only strangers, those of the largest peer first.

`byte_budget` also bounds how much a stranger may send.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import select
import socket
import time
import urllib.parse
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sandbox_proto import tcp_sockets
from sandbox_proto.byte_budget import ByteBudget, save_first_packets
from sandbox_proto.tcp_sockets import Connection, Peer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

MAX_MESSAGE: Final = 4 << 20
MAX_FRAME: Final = 1 << 20
"""Bytes of an HTTP/2 frame. gRPC's default is 16 KiB; with this limit a chunk of a file is one frame."""
GRPC_OPTIONS: Final[Sequence[tuple[str, Any]]] = (
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_concurrent_streams", 512),
    ("grpc.max_metadata_size", 16 << 10),
    ("grpc.http2.max_frame_size", MAX_FRAME),
    ("grpc.so_reuseport", 0),
    # The guard closes strangers' connections earlier. This is for the moments between its looks.
    ("grpc.max_allowed_incoming_connections", 768),
    ("grpc.server_handshake_timeout_ms", 20_000),
    # A connection without calls. A client connects again with its next call.
    ("grpc.max_connection_idle_ms", 1_800_000),
    # A half-open connection is detected within 30 s. Executions continue without their client.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # gRPC waits this long for the answer to a ping, and its default is a minute.
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
)
PAUSE: Final = 0.05
"""Seconds between an arrival and a look at the sockets."""
_INTERVAL: Final = 5.0
"""Seconds between two looks at most. The kernel reports no arrival if gRPC has accepted it already."""
_REST: Final = 20
"""How many times longer than a look the pause after it is, in CPU time. So a flood cannot make the guard use a core."""
_MAX_REST: Final = 1.0
_UPDATE_REST: Final = 4
"""The same of the budgets. A TLS handshake takes longer than such a pause, and a stranger sends nothing before it."""
_MAX_DESCRIPTORS: Final = 16_384


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of each port.

    Attributes:
        strangers: Connections without an authenticated call.
        strangers_per_peer: The same from one address, or from one /64 network of IPv6.
        stranger_seconds: How long a connection may stay without an authenticated call.
        callers: Connections with one.
    """

    strangers: int = 256
    strangers_per_peer: int = 128
    stranger_seconds: float = 20.0
    callers: int = 512


def choose_excess(
    connections: Mapping[Connection, float], callers: Collection[Peer], limits: Limits, now: float
) -> set[Connection]:
    """Return the connections of one port to close. Pure.

    Args:
        connections: When each connection was first seen.
        callers: The peers that made an authenticated call.
        limits: The port's limits.
        now: The current time, of the same clock.
    """
    oldest_first = sorted(connections, key=lambda each: connections[each])
    strangers = [each for each in oldest_first if each.peer not in callers]
    excess = {each for each in strangers if now - connections[each] >= limits.stranger_seconds}
    excess.update([each for each in oldest_first if each.peer in callers][limits.callers :])
    remaining = [each for each in strangers if each not in excess]
    counts = Counter(tcp_sockets.network_of(each.peer.address) for each in remaining)
    allowed = _fair_share(counts.values(), limits)
    for each in remaining:
        network = tcp_sockets.network_of(each.peer.address)
        if counts[network] > allowed:
            counts[network] -= 1
            excess.add(each)
    return excess


def _fair_share(counts: Iterable[int], limits: Limits) -> int:
    """Return how many connections a peer may have, so that all together have no more than the limit."""
    share, counts = limits.strangers_per_peer, list(counts)
    while share > 1 and sum(min(count, share) for count in counts) > limits.strangers:
        share -= 1
    return share


def parse_peer(text: str) -> Peer | None:
    """Read a peer as gRPC writes it, such as `ipv4:10.0.0.1:5000`. Returns None for anything but IP."""
    kind, _, rest = text.partition(":")
    host, _, port = urllib.parse.unquote(rest).rpartition(":")
    if kind not in {"ipv4", "ipv6"} or not port.isdecimal():
        return None
    return Peer(tcp_sockets.normalize(host.strip("[]")), int(port))


def raise_descriptor_limit() -> None:
    """Let this process open as many files as it may, so that connections do not keep it from opening others."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most = _MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MAX_DESCRIPTORS)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


class ConnectionGuard:
    """The guard of this process's ports. Its methods run on one event loop."""

    def __init__(self, limits: Limits | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits or Limits()
        self._clock = clock
        self._ports: set[int] = set()
        self._callers: set[Peer] = set()
        self._admitted: set[str] = set()
        self._seen: dict[Connection, float] = {}
        # By port: those where callers speak HTTP/2 over TLS.
        self._budgets: dict[int, ByteBudget] = {}
        self._next_update: asyncio.TimerHandle | None = None
        self._update_from = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listeners: list[socket.socket] = []
        self._arrivals = select.epoll()
        self._next_look: asyncio.TimerHandle | None = None
        self._resting_until = 0.0

    def watch(self, port: int) -> None:
        """Guard a port that this process listens on."""
        if not self._ports:
            self._loop = asyncio.get_running_loop()
            self._loop.add_reader(self._arrivals.fileno(), self._note_arrival)
            self._look_after(_INTERVAL)
        self._ports.add(port)
        for descriptor in tcp_sockets.descriptors():
            listener = tcp_sockets.borrow(descriptor)
            if listener is not None and tcp_sockets.is_listening(listener, port):
                # A duplicate, so that an arrival wakes this loop. Edge-triggered: gRPC accepts it, not this guard.
                copy = socket.socket(fileno=os.dup(descriptor))
                save_first_packets(copy)
                self._arrivals.register(copy.fileno(), select.EPOLLIN | select.EPOLLET)
                self._listeners.append(copy)
            tcp_sockets.give_back(listener)

    def limit_bytes(self, port: int) -> None:
        """Bound how much strangers may send to this port. Call it on any thread before each TLS handshake."""
        if port in self._ports and self._loop is not None:
            if time.monotonic() >= self._update_from:
                self._update_budget(port)
            else:
                with contextlib.suppress(RuntimeError):  # the loop is closed
                    self._loop.call_soon_threadsafe(self._update_budget_soon, port)

    def _update_budget(self, port: int) -> None:
        limits, began = self._limits, time.thread_time()
        budget = self._budgets.setdefault(port, ByteBudget(port, limits.strangers_per_peer, limits.strangers))
        budget.update(self._callers)
        self._update_from = time.monotonic() + _UPDATE_REST * (time.thread_time() - began)

    def _update_budget_soon(self, port: int) -> None:
        if self._next_update is None and self._loop is not None and self._ports:
            pause = max(0.0, self._update_from - time.monotonic())
            self._next_update = self._loop.call_later(pause, self._update_budget_now, port)

    def _update_budget_now(self, port: int) -> None:
        self._next_update = None
        self._update_budget(port)

    def limits_bytes_now(self) -> bool:
        """Return whether there is a connection that may send only so much until it is admitted."""
        return any(budget.has_strangers() for budget in list(self._budgets.values()))

    def admit(self, peer: str) -> None:
        """Count a peer, as gRPC writes it, as a caller: it has made an authenticated call."""
        if peer not in self._admitted:
            self._admitted.add(peer)
            found = parse_peer(peer)
            if found is not None:
                self._callers.add(found)
                for budget in list(self._budgets.values()):  # another thread may add one
                    budget.release(found)

    def close(self) -> None:
        """Stop guarding."""
        if self._ports:
            asyncio.get_running_loop().remove_reader(self._arrivals.fileno())
        if self._next_look is not None:
            self._next_look.cancel()
        if self._next_update is not None:
            self._next_update.cancel()
        self._arrivals.close()
        for listener in self._listeners:
            listener.close()
        self._ports.clear()

    def _note_arrival(self) -> None:
        self._arrivals.poll(0)
        self._look_after(PAUSE)

    def _look_after(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        when = max(loop.time() + seconds, self._resting_until)
        if self._next_look is None or self._next_look.when() > when:
            if self._next_look is not None:
                self._next_look.cancel()
            self._next_look = loop.call_at(when, self._look)

    def _look(self) -> None:
        """Close what is too much, and look again when the next stranger's time is over."""
        self._next_look = None
        now, limits, began = self._clock(), self._limits, time.thread_time()
        connections = list(tcp_sockets.list_connections(self._ports))
        has_new = any(each not in self._seen for each in connections)
        self._seen = {each: self._seen.get(each, now) for each in connections}
        peers = {each.peer for each in connections}
        self._callers &= peers
        self._admitted = {text for text in self._admitted if parse_peer(text) in self._callers}
        for port in self._ports:
            on_port = {each: seen for each, seen in self._seen.items() if each.port == port}
            for each in choose_excess(on_port, self._callers, limits, now):
                tcp_sockets.disconnect(each)
                del self._seen[each]
            if port in self._budgets and self._budgets[port].has_strangers():
                self._budgets[port].update(self._callers)
        strangers = [seen for each, seen in self._seen.items() if each.peer not in self._callers]
        delay = _INTERVAL
        if has_new:
            # Others may have arrived that gRPC has not accepted yet.
            delay = 2 * PAUSE
        elif strangers:
            delay = min(max(min(strangers) + limits.stranger_seconds - now, 1.0), _INTERVAL)
        self._resting_until = asyncio.get_running_loop().time() + min(_REST * (time.thread_time() - began), _MAX_REST)
        self._look_after(delay)
