"""Unix sockets that the agent dials."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def listen(path: Path, accept: Callable[[socket.socket], None]) -> Callable[[], None]:
    """Listen at a path on the running loop, for the agent's container too.

    Args:
        path: Whatever is there is replaced; its folder is there.
        accept: Takes each connection, which does not block.

    Returns:
        Stops listening.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    # Only the two containers' common group may connect, from the first moment on.
    mask = os.umask(0o117)
    try:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        listener.bind(str(path))
        listener.listen()
    except BaseException:
        listener.close()
        raise
    finally:
        os.umask(mask)
    _admit_agent(path)
    loop = asyncio.get_running_loop()

    def accept_one() -> None:
        # It may have gone again.
        with contextlib.suppress(OSError):
            connection = listener.accept()[0]
            connection.setblocking(False)  # noqa: FBT003 - its signature
            accept(connection)

    loop.add_reader(listener, accept_one)

    def stop() -> None:
        loop.remove_reader(listener)
        listener.close()
        with contextlib.suppress(OSError):
            path.unlink()

    return stop


def _admit_agent(path: Path) -> None:
    """Let the agent's container connect under gVisor, which does not hand a folder's group to a new socket.

    There, the group alone would not do: gVisor opens the socket on the node with rights of its own. The folder is
    mounted into the pod's two containers only, and everything in this one has the same user id.
    """
    folder = path.parent.stat()
    if folder.st_mode & stat.S_ISGID and path.stat().st_gid != folder.st_gid:
        os.chown(path, -1, folder.st_gid)
        path.chmod(0o666)
