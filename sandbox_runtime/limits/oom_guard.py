"""Ends whatever takes the session over its memory limit, before the kernel ends something else.

The limit is the session's (`configure`) or that of the container's cgroup, whichever is lower. In a pod they are the
same number: the cgroup's is kept, which counts all of the container, and the session's where no cgroup can be read.
The kernel would kill by its own choice, and where it kills a whole cgroup at once, every variable of the session with
it; so the largest process tree is ended a little earlier, and who ran in it is told OOM_KILLED. What grows faster than
this looks is the kernel's: its counter tells of it afterwards.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from sandbox_runtime.limits.memory_usage import (
    Cgroup,
    OomCounter,
    find_members,
    private_pages,
    proportional_bytes,
)
from sandbox_runtime.processes.process_tree import kill_tree, list_processes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sandbox_runtime.interpreters.zygote_client import Child
    from sandbox_runtime.settings import Limits

_BUSY_EVERY: Final = 0.05
_IDLE_EVERY: Final = 1.0
_SCAN_EVERY: Final = 10
"""Rounds between two looks at the children of the session's processes."""
_SUSPICIOUS: Final = 0.75
"""Part of the limit from which on it is measured exactly."""
_MOST_ENDINGS: Final = 20
"""Looks that wait for a process that ends."""
_MARGIN: Final = 1 / 16
_LEAST_MARGIN: Final = 24 << 20


class MemoryWatch:
    """Looks at the session's processes, often while something runs.

    Args:
        limits: The session's limits.
        children: Running children by pid: the first processes of all trees.
    """

    def __init__(self, limits: Limits, children: Mapping[int, Child]) -> None:
        self._limits = limits
        self._children = children
        self._cgroup = Cgroup()
        self._counter = OomCounter()
        self._is_busy: Callable[[], bool] = lambda: False
        self._zygote: Callable[[], int] = lambda: 0
        self._timer: asyncio.TimerHandle | None = None
        self._is_slow = False
        self._round = 0
        self._endings = 0
        self._baselines: dict[int, int] = {}
        self._members: dict[int, list[int]] = {}
        self._kills: set[asyncio.Task[None]] = set()

    def start(self, is_busy: Callable[[], bool], zygote: Callable[[], int]) -> None:
        """Begin to look, on the running loop.

        Args:
            is_busy: Whether a cell or command runs.
            zygote: Pid of the process that interpreters share most with; 0: none yet.
        """
        self._is_busy = is_busy
        self._zygote = zygote
        self._look()

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def wake(self) -> None:
        """Something begins to run."""
        if self._is_slow and self._timer is not None:
            self._timer.cancel()
            self._schedule(_BUSY_EVERY)

    def explains(self, child: Child) -> bool:
        """Whether a process that SIGKILL ended was ended for lack of memory."""
        return child.over_memory or (not child.killed and self._counter.has_risen())

    @property
    def limit(self) -> int:
        """Bytes, the lower one of the two limits; 0: none."""
        return min((each for each in (self._limits.memory_bytes, self._cgroup.limit) if each), default=0)

    def describe(self) -> dict[str, Any]:
        """The error event of a cell that was ended by the limit."""
        most = f"the limit of {self.limit / (1 << 20):.0f} MiB" if self.limit else "the limit"
        value = (
            f"the session used more memory than {most}: the cell's interpreter was ended, and its variables are lost"
        )
        return {"type": "error", "name": "MemoryLimitExceeded", "value": value, "traceback": [], "limit": "memory"}

    def _schedule(self, delay: float) -> None:
        self._is_slow = delay > _BUSY_EVERY
        self._timer = asyncio.get_running_loop().call_later(delay, self._look)

    def _look(self) -> None:
        limit = self.limit
        if limit and self._children:
            self._round += 1
            if self._round % _SCAN_EVERY == 0 or self._is_slow:
                self._scan()
            if limit == self._cgroup.limit:
                self._check_cgroup(limit)
            else:
                self._check_session(limit)
        self._schedule(_BUSY_EVERY if self._is_busy() else _IDLE_EVERY)

    def _check_session(self, limit: int) -> None:
        if self._estimate() < limit * _SUSPICIOUS:
            return
        self._scan()
        used = self._measure()
        if sum(used.values()) > limit:
            self._end_largest(used)

    def _check_cgroup(self, limit: int) -> None:
        if self._cgroup.used() <= limit - max(_LEAST_MARGIN, int(limit * _MARGIN)):
            self._endings = 0
            return
        self._scan()
        used = self._measure()
        if 0 in used.values() and self._endings < _MOST_ENDINGS:
            # One ends just now, by the kernel's hand or ours: the group still counts what it held, and the largest of
            # the others is not to blame.
            self._endings += 1
            return
        self._end_largest(used)

    def _estimate(self) -> int:
        """Growth since each process was first seen: what a fork still shares with its zygote is nobody's own."""
        total = 0
        seen = {pid for members in self._members.values() for pid in members} | set(self._children)
        for pid in seen:
            size = private_pages(pid)
            if pid not in self._baselines:
                self._baselines[pid] = min(size, private_pages(self._zygote()))
            total += max(0, size - self._baselines[pid])
        return total

    def _scan(self) -> None:
        trees = {pid: child.tree for pid, child in self._children.items()}
        self._members = find_members(trees, list_processes())
        known = {pid for members in self._members.values() for pid in members}
        self._baselines = {pid: size for pid, size in self._baselines.items() if pid in known}

    def _measure(self) -> dict[int, int]:
        return {leader: sum(map(proportional_bytes, members)) for leader, members in self._members.items()}

    def _end_largest(self, used: Mapping[int, int]) -> None:
        candidates = {pid: self._children[pid] for pid in used if pid in self._children}
        if not candidates or self._kills:
            return
        pid = max(candidates, key=lambda each: used[each])
        candidates[pid].over_memory = True
        task = asyncio.get_running_loop().create_task(kill_tree(candidates[pid].tree, pid))
        self._kills.add(task)
        task.add_done_callback(self._kills.discard)
