"""Bounds how many bytes a stranger may send before its first authenticated call, by a filter in the kernel.

gRPC keeps up to 16 MiB of headers until the client acknowledges a lower limit, which a hostile one never does. A header
of one byte takes about 100 bytes of memory. Half a megabyte of them costs 50 MB, and comes between two looks at the
sockets. So each connection gets its filter before its TLS handshake, and the kernel cuts off what is beyond the
budget. The peer sends that again, and it comes through once the connection has made an authenticated call.

Where the kernel cannot do this, as gVisor's, strangers have no budget. The same is true of a connection made by a SYN
cookie.
"""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
import threading
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sandbox_proto import tcp_sockets

if TYPE_CHECKING:
    from collections.abc import Collection

    from sandbox_proto.tcp_sockets import Connection, Peer

LARGE: Final = 96 << 10
"""Bytes for the first connections of a peer. A client sends less before the server answers: its handshake, 16 KiB of
headers, and 64 KiB of a message."""
SMALL: Final = 8 << 10
"""Bytes for the other ones: enough for a handshake and a call with a short message."""
NONE: Final = 1
LARGE_CONNECTIONS: Final = 4
"""How many connections of a peer have a large budget at a time."""
_TCP_SAVE_SYN: Final = 27
_TCP_SAVED_SYN: Final = 28
_SO_ATTACH_FILTER: Final = 26
_SO_DETACH_FILTER: Final = 27
_SEQUENCE: Final = 4
"""Position of the sequence number in a TCP header, and in the copy of the SYN behind the IP header."""
_OFFSET: Final = 12
"""Position of the TCP header's own length."""


@dataclass(slots=True)
class _Stranger:
    connection: Connection
    first: int
    """Sequence number of its first byte."""
    budget: int = 0


class ByteBudget:
    """The budgets of one port's strangers. Its methods may run on any thread.

    Args:
        port: The port.
        per_peer: How many connections of one peer may send anything.
        in_all: The same of all peers together.
    """

    def __init__(self, port: int, per_peer: int, in_all: int) -> None:
        self._port = port
        self._per_peer = per_peer
        self._in_all = in_all
        self._strangers: dict[Peer, _Stranger] = {}
        self._unknown: set[Connection] = set()
        self._lock = threading.Lock()

    def update(self, callers: Collection[Peer]) -> None:
        """Give each connection of a stranger its budget.

        Args:
            callers: The peers that made an authenticated call.
        """
        # The kernel tells a connection's first packet only once, so nothing may be forgotten that is still there.
        with self._lock:
            connections = tcp_sockets.list_connections({self._port})
            present = {each.peer: each for each in connections}
            # A stranger that has become a caller stays one until `release`, which takes its filter away.
            self._strangers = {
                peer: each for peer, each in self._strangers.items() if present.get(peer) == each.connection
            }
            self._unknown &= set(present.values())
            for peer, connection in present.items():
                if peer not in self._strangers and connection not in self._unknown and peer not in callers:
                    first = _first_byte(connection)
                    if first is None:
                        self._unknown.add(connection)
                    else:
                        self._strangers[peer] = _Stranger(connection, first)
            self._distribute()

    def has_strangers(self) -> bool:
        """Return whether any connection has a budget."""
        return bool(self._strangers)

    def release(self, peer: Peer) -> None:
        """Let a peer send as much as it likes: it made an authenticated call."""
        with self._lock:
            stranger = self._strangers.pop(peer, None)
            if stranger is not None:
                _set(stranger.connection, _SO_DETACH_FILTER, struct.pack("i", 0))
                self._distribute()

    def _distribute(self) -> None:
        """Set the budgets, the oldest connection's first."""
        counts: Counter[str] = Counter()
        for number, (peer, stranger) in enumerate(self._strangers.items()):
            network = tcp_sockets.network_of(peer.address)
            counts[network] += 1
            budget = LARGE if counts[network] <= LARGE_CONNECTIONS else SMALL
            if counts[network] > self._per_peer or number >= self._in_all:
                budget = NONE
            if stranger.budget != budget:
                stranger.budget = budget
                _attach(stranger.connection, stranger.first, budget)


def save_first_packets(listener: socket.socket) -> None:
    """Let the kernel keep the first packet of each connection, from which a filter knows where its bytes begin."""
    with contextlib.suppress(OSError):
        listener.setsockopt(socket.IPPROTO_TCP, _TCP_SAVE_SYN, 1)


def _first_byte(connection: Connection) -> int | None:
    """Return the sequence number of a connection's first byte, or None if the kernel kept no first packet."""
    try:
        with tcp_sockets.duplicate(connection.descriptor) as sock:
            packet = sock.getsockopt(socket.IPPROTO_TCP, _TCP_SAVED_SYN, 256)
    except OSError:
        return None
    if not packet:
        return None
    length = (packet[0] & 0xF) * 4 if packet[0] >> 4 == 4 else 40  # noqa: PLR2004 - versions of IP
    number = packet[length + _SEQUENCE : length + _SEQUENCE + 4]
    return (int.from_bytes(number, "big") + 1) & 0xFFFFFFFF if len(number) == 4 else None  # noqa: PLR2004


def _attach(connection: Connection, first: int, budget: int) -> None:
    program = b"".join(struct.pack("HBBI", *each) for each in _program(first, budget))
    buffer = ctypes.create_string_buffer(program, len(program))
    _set(connection, _SO_ATTACH_FILTER, struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer)))


def _program(first: int, budget: int) -> list[tuple[int, int, int, int]]:
    """Return a filter in classic BPF. It gets a packet from the TCP header on, and returns how many bytes to keep."""
    load_word, load_byte, load_number = 0x20, 0x30, 0x00
    subtract, subtract_x, add_x, shift_left, shift_right = 0x14, 0x1C, 0x0C, 0x64, 0x74
    to_x, jump_if_at_least, keep, keep_number = 0x07, 0x35, 0x16, 0x06
    return [
        (load_word, 0, 0, _SEQUENCE),
        (subtract, 0, 0, first),
        # Numbers wrap around: this one is before the first byte.
        (jump_if_at_least, 10, 0, 1 << 31),
        (jump_if_at_least, 10, 0, budget),
        (to_x, 0, 0, 0),
        (load_number, 0, 0, budget),
        (subtract_x, 0, 0, 0),
        (to_x, 0, 0, 0),
        (load_byte, 0, 0, _OFFSET),
        (shift_right, 0, 0, 4),
        (shift_left, 0, 0, 2),
        (add_x, 0, 0, 0),
        (keep, 0, 0, 0),
        (keep_number, 0, 0, 0xFFFFFFFF),
        # The kernel always keeps the header, so that acknowledgements come through.
        (keep_number, 0, 0, 1),
    ]


def _set(connection: Connection, option: int, value: bytes) -> None:
    # With a duplicate, the connection cannot become another one between the check and the change.
    with contextlib.suppress(OSError), tcp_sockets.duplicate(connection.descriptor) as sock:
        if tcp_sockets.describe(connection.descriptor, sock) == connection:
            sock.setsockopt(socket.SOL_SOCKET, option, value)
