"""TCP connections that a kernel takes for open, of this machine or of a pod on it."""

import socket
import struct
from dataclasses import dataclass
from pathlib import Path

_ESTABLISHED = "01"
_MAPPED = "0000000000000000FFFF0000"
"""How a socket for both versions of IP has an address of version 4."""


@dataclass(frozen=True)
class Sockets:
    """Connections to one address and port.

    Attributes:
        open: How many are established.
        unacknowledged: Bytes that were sent and that the other side's kernel has not acknowledged.
    """

    open: int
    unacknowledged: int


def read_sockets(address: str, port: int, *, process: int | None = None) -> Sockets:
    """Established connections to `address:port`.

    Args:
        address: IPv4.
        port: Of that side.
        process: One whose network is looked at, from the other side: connections that it has taken at `port`.
    """
    lines = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/{process or 'self'}/net/{table}").read_text().splitlines()[1:]
    ]
    wanted = f"{struct.unpack('<I', socket.inet_aton(address))[0]:08X}:{port:04X}"
    column = 1 if process else 2
    found = [line for line in lines if line[column].removeprefix(_MAPPED) == wanted and line[3] == _ESTABLISHED]
    return Sockets(len(found), sum(int(line[4].split(":")[0], 16) for line in found))
