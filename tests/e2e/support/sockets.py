"""TCP connections that a kernel takes for open, of this machine or of a pod on it."""

import socket
import struct
from pathlib import Path

_ESTABLISHED = "01"


def count_open(address: str, port: int, *, process: int | None = None) -> int:
    """Established connections to `address:port`.

    Args:
        address: IPv4.
        port: Of that side.
        process: One whose network is looked at, from the other side: connections that it has taken at `port`.
    """
    table = Path(f"/proc/{process or 'self'}/net/tcp").read_text().splitlines()[1:]
    wanted = f"{struct.unpack('<I', socket.inet_aton(address))[0]:08X}:{port:04X}"
    return sum(fields[1 if process else 2] == wanted and fields[3] == _ESTABLISHED for fields in map(str.split, table))
