"""Constants that a zygote and the supervisor share, and the start of a zygote. `zygote` describes the protocol."""

from __future__ import annotations

import os
import socket
import struct
import sys
from typing import TYPE_CHECKING, Final

from sandbox_runtime.linux.syscalls import TREE_PLACEHOLDER, TREE_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LENGTH: Final = struct.Struct("!I")
CONTROL_FD: Final = 3
"""Descriptor number of the control socket in a child (SANDBOX_CONTROL_FD)."""
MAX_DESCRIPTORS: Final = 4
_WITHOUT_OUTPUT: Final = tuple((os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_WRONLY, 0) for number in (1, 2))


def launch_zygote(preload: Sequence[str], environment: Mapping[str, str]) -> tuple[int, socket.socket]:
    """Start a zygote process. Returns its pid and the supervisor's end of its socket.

    Needs no event loop, so that the plain zygote can start while the supervisor still imports asyncio.
    """
    ours, theirs = socket.socketpair()
    theirs.set_inheritable(True)
    zygote_environment = {
        **environment,
        # Where this process found its own packages. Children get the session's environment instead.
        **{name: os.environ[name] for name in ("PYTHONPATH", "PYTHONUSERBASE") if name in os.environ},
        "SANDBOX_ZYGOTE_FD": str(theirs.fileno()),
        "SANDBOX_ZYGOTE_PRELOAD": ",".join(preload),
        TREE_VARIABLE: TREE_PLACEHOLDER,
    }
    arguments = [sys.executable, "-P", "-m", "sandbox_runtime.interpreters.zygote"]
    # User code can open a zygote's descriptors, and shall not find the container's log there.
    actions = _WITHOUT_OUTPUT if os.getpid() == 1 else ()
    pid = os.posix_spawn(sys.executable, arguments, zygote_environment, setsid=True, file_actions=actions)
    theirs.close()
    return pid, ours
