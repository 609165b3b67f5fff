"""Sockets beside the link, one for each large file: raw bytes, so that they pass through no frame and no loop of calls.

The runtime listens beside its own socket; the agent dials when an operation's `stream` event tells it a key, sends the
key, and then one side sends until it shuts its end. docs/link.md.
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

SOCKET: Final = "stream.sock"
KEY_SIZE: Final = 32
"""Characters of a key: hexadecimal digits of 128 random bits."""
MAX_STREAMS: Final = 64
"""At once; what is beyond goes in frames."""
WORTHWHILE: Final = 1 << 20
"""Bytes above which a stream is faster than frames, its round trip included."""
DIAL_WITHIN: Final = 10.0
"""Seconds for the agent to dial, and for the runtime to be told the key."""
_KEY: Final = re.compile(f"[0-9a-f]{{{KEY_SIZE}}}")


def read_key(event: Mapping[str, Any]) -> str:
    """The key in a `stream` event.

    Raises:
        FrameError: There is none.
    """
    key = event.get("key")
    if event.get("type") != "stream" or not isinstance(key, str) or not _KEY.fullmatch(key):
        raise FrameError("no stream with a key")
    return key


async def dial(path: Path, key: str) -> socket.socket:
    """Connect to the runtime's stream socket and say which operation it is for.

    Raises:
        OSError: Nobody listens there, or not in time.
    """
    loop = asyncio.get_running_loop()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        async with asyncio.timeout(DIAL_WITHIN):
            await loop.sock_connect(sock, str(path))
            await loop.sock_sendall(sock, key.encode())
    except BaseException:
        sock.close()
        raise
    return sock
