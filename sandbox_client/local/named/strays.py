"""Ends what is left of a session whose keeper and process guard were both killed."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sandbox_client.local.named.state_files import remove_tree

if TYPE_CHECKING:
    from sandbox_client.local.named.record import Run

_TIMEOUT: Final = 5.0


def end_strays(home: Path) -> None:
    """Kill this user's processes whose HOME is that of a session: all that a session starts have it.

    Args:
        home: The session's HOME, which no other process has.
    """
    deadline = time.monotonic() + _TIMEOUT
    while _kill_each(b"HOME=" + os.fsencode(home)) and time.monotonic() < deadline:
        time.sleep(0.02)


def remove_run_folder(run: Run | None) -> None:
    """Remove the folder of a run that has ended, unless the process guard has done so."""
    if run is None:
        return
    folder = Path(run.folder)
    with contextlib.suppress(OSError):
        # The folder is in a place where every user may write, so it may be another one now.
        facts = folder.lstat()
        if facts.st_uid == os.geteuid() and (folder / "tls").is_dir() and not folder.is_symlink():
            remove_tree(folder)


def _kill_each(entry: bytes) -> bool:
    """Kill the processes with this entry in their environment. Return whether there was one."""
    found = False
    for path in Path("/proc").glob("[0-9]*/environ"):
        pid = int(path.parent.name)
        if pid == os.getpid():
            continue
        with contextlib.suppress(OSError):
            # Opened first, so that the signal cannot reach a later process with the same id.
            descriptor = os.pidfd_open(pid)
            try:
                if entry in path.read_bytes().split(b"\0"):
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                    found = True
            finally:
                os.close(descriptor)
    return found
