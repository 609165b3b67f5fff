"""Sockets beside the link, one for each large file, whose raw bytes bypass the frames and their credit.

The runtime listens beside its own socket and sends a key in an operation's `stream` event. The agent connects and
sends the key back. Then one side sends until it shuts its end down (docs/link.md).
"""

from __future__ import annotations

import asyncio
import re
import socket
from typing import TYPE_CHECKING, Any, Final

from sandbox_link.frames import FrameError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SOCKET_NAME: Final = "stream.sock"
KEY_SIZE: Final = 32
"""Characters of a key: hexadecimal digits of 128 random bits."""
MAX_STREAMS: Final = 64
"""Streams open at once. Further transfers use frames."""
WORTHWHILE: Final = 1 << 20
"""Bytes above which a stream is faster than frames, although it needs another round trip."""
DIAL_TIMEOUT: Final = 10.0
"""Seconds that the agent has to connect, and to send the key."""
_KEY: Final = re.compile(f"[0-9a-f]{{{KEY_SIZE}}}")


def read_key(event: Mapping[str, Any]) -> str:
    """Return the key in a `stream` event.

    Raises:
        FrameError: There is no valid key.
    """
    key = event.get("key")
    if event.get("type") != "stream" or not isinstance(key, str) or not _KEY.fullmatch(key):
        raise FrameError("not a `stream` event with a key")
    return key


async def dial(path: Path, key: str) -> socket.socket:
    """Connect to the runtime's stream socket and send the key of an operation.

    Raises:
        OSError: The socket does not accept connections.
        TimeoutError: It did not within DIAL_TIMEOUT.
    """
    loop = asyncio.get_running_loop()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        async with asyncio.timeout(DIAL_TIMEOUT):
            await loop.sock_connect(sock, str(path))
            await loop.sock_sendall(sock, key.encode())
    except BaseException:
        sock.close()
        raise
    return sock
