"""Counts all processes, and ends those of a fork bomb faster than it starts them, without reading a file for each.

Under gVisor a file of /proc takes 2 ms and its kernel limits no processes. A bomb starts hundreds while they are read.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections import Counter
from typing import TYPE_CHECKING, Final

from sandbox_runtime.linux.process_tree import read_process

if TYPE_CHECKING:
    from collections.abc import Collection

_SAMPLE: Final = 16
"""How many newcomers are read to find what started most of them."""
_ROUNDS: Final = 10
"""How often the newcomers are ended, since those that were not yet ended may have started others."""


class Census:
    """The processes in sight.

    Attributes:
        leader: The pid that `end_newcomers` killed as the leader of most of them, or 0.
    """

    def __init__(self) -> None:
        self.leader = 0
        self._now: set[int] = set()
        self._settled: set[int] = set()

    def count(self) -> int:
        """Return the number of processes."""
        self._now = {int(name) for name in os.listdir("/proc") if name.isdigit()}  # noqa: PTH208 - only names
        return len(self._now)

    def settle(self) -> None:
        """Know the processes of the last count from now on."""
        self._settled = self._now

    def end_newcomers(self, leaders: Collection[int]) -> bool:
        """Kill the processes that came since `settle`, the oldest first, and before them what started most of them.

        Args:
            leaders: Pids that each lead a group and session of their own. They are spared, except the one that is to
                blame.

        Returns:
            Whether there were any.
        """
        known = self._settled | {1, os.getpid(), *leaders}
        newcomers = sorted(self._now - known)
        if not self._settled or not newcomers:
            return False
        self.leader = _find_leader(newcomers[-_SAMPLE:], leaders)
        if self.leader:
            _kill(self.leader)
        for _ in range(_ROUNDS):
            for pid in newcomers:
                _kill(pid)
            # Those that were killed stay in sight until something waits for them.
            known.update(newcomers)
            self.count()
            newcomers = sorted(self._now - known)
            if not newcomers:
                break
        return True


def _find_leader(pids: Collection[int], leaders: Collection[int]) -> int:
    found: Counter[int] = Counter()
    for pid in pids:
        process = read_process(pid)
        if process is not None:
            _, parent, group, session = process
            found.update([each for each in (session, group, parent) if each in leaders][:1])
    return found.most_common(1)[0][0] if found else 0


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)
