"""Finds this process's own TCP connections among its descriptors, which something else owns, and ends them."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import ipaddress
import os
import resource
import socket
import struct
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER that closes with a reset, so that the kernel keeps nothing of the connection."""
_NO_PEER: Final = struct.pack("H14x", socket.AF_UNSPEC)
"""The address that ends a connection when it is connected to."""
_SO_COOKIE: Final = 57


class Peer(NamedTuple):
    """The other end of a connection."""

    address: str
    port: int


class Connection(NamedTuple):
    """One connection of this process.

    Attributes:
        descriptor: Its number in this process, which may be reused.
        port: The port of this process.
        peer: The other end.
        cookie: The kernel's number for this connection alone, or 0 where the kernel has none, as gVisor's.
    """

    descriptor: int
    port: int
    peer: Peer
    cookie: int = 0


@functools.lru_cache(4096)
def normalize(address: str) -> str:
    """Return one form of an address, and the IPv4 address of one that IPv6 contains."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    return str(getattr(ip, "ipv4_mapped", None) or ip)


@functools.lru_cache(4096)
def network_of(address: str) -> str:
    """Return the address, or for IPv6 the /64 network, which one machine may own."""
    ip = ipaddress.ip_address(address)
    return str(ip) if ip.version == 4 else str(ipaddress.ip_network((int(ip) >> 64 << 64, 64)))  # noqa: PLR2004


def descriptors() -> Iterable[int]:
    """Return the numbers of this process's descriptors, and perhaps others."""
    try:
        return [int(name) for name in os.listdir("/proc/self/fd")]  # noqa: PTH208 - many, and only their names
    except OSError:  # no descriptor is left for the folder
        return range(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def borrow(descriptor: int) -> socket.socket | None:
    """Return a socket object for a descriptor that something else owns. An address of IPv4 also fits into IPv6's."""
    try:
        return socket.socket(socket.AF_INET6, socket.SOCK_STREAM, 0, fileno=descriptor)
    except OSError:
        return None


def give_back(sock: socket.socket | None) -> None:
    """Forget the object of a borrowed descriptor, which stays open."""
    if sock is not None:
        sock.detach()


def is_listening(sock: socket.socket, port: int) -> bool:
    """Return whether a socket listens on a TCP port."""
    with contextlib.suppress(OSError):
        name = sock.getsockname()
        return (
            isinstance(name, tuple)
            and name[1] == port
            and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
        )
    return False


def list_connections(ports: Collection[int]) -> Iterator[Connection]:
    """Yield the TCP connections that were accepted on the ports."""
    for descriptor in descriptors():
        sock = borrow(descriptor)
        try:
            connection = describe(descriptor, sock) if sock is not None else None
        finally:
            give_back(sock)
        if connection is not None and connection.port in ports:
            yield connection


def describe(descriptor: int, sock: socket.socket) -> Connection | None:
    """Return a connection over IP, or None for any other descriptor."""
    try:
        local = sock.getsockname()
        if not isinstance(local, tuple):
            return None
        peer = sock.getpeername()
    except OSError:
        return None
    if not isinstance(peer, tuple) or not isinstance(peer[0], str):  # netlink has numbers there
        return None
    return Connection(descriptor, local[1], Peer(normalize(peer[0]), peer[1]), _cookie(sock))


def _cookie(sock: socket.socket) -> int:
    try:
        return int.from_bytes(sock.getsockopt(socket.SOL_SOCKET, _SO_COOKIE, 8), sys.byteorder)
    except OSError:
        return 0


@contextlib.contextmanager
def duplicate(descriptor: int) -> Iterator[socket.socket]:
    """Yield a socket for a duplicate of the descriptor, or for the descriptor itself if no number is left for one."""
    try:
        sock, is_copy = socket.socket(socket.AF_INET6, socket.SOCK_STREAM, 0, fileno=os.dup(descriptor)), True
    except OSError:
        sock, is_copy = socket.socket(socket.AF_INET6, socket.SOCK_STREAM, 0, fileno=descriptor), False
    try:
        yield sock
    finally:
        if is_copy:
            sock.close()
        else:
            sock.detach()


def disconnect(connection: Connection) -> None:
    """End a connection under its owner, which then sees its end. Leaves a reused descriptor alone."""
    # With a duplicate, the connection cannot become another one between the check and the end.
    with contextlib.suppress(OSError), duplicate(connection.descriptor) as sock:
        if describe(connection.descriptor, sock) == connection:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            # This also drops what has come and was not read yet. After a mere shutdown, the owner would still read it.
            if ctypes.CDLL(None).connect(sock.fileno(), _NO_PEER, len(_NO_PEER)) != 0:
                sock.shutdown(socket.SHUT_RDWR)
