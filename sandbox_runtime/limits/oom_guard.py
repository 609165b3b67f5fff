"""Kills the largest process tree when the session exceeds its memory limit, before the kernel kills.

The limit is the session's (`configure`) or that of the container's cgroup, whichever is lower. In a pod both are the
same number. If the cgroup's limit applies, the cgroup's usage is checked, which counts everything in the container.
Otherwise the session's processes are measured.

The kernel would choose its own victim. If it kills the whole cgroup at once, all variables of the session are lost. So
the largest tree is killed a little earlier, and its cell or command ends as OOM_KILLED. If memory grows faster than the
checks, the kernel kills first, and its counter shows that afterwards.

It does the same for the limit of processes where the kernel does not enforce RLIMIT_NPROC, as gVisor's does not. There
the agent is in the same cgroup, which cannot be read, and a process costs memory that no file in /proc shows.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from sandbox_runtime.limits.memory_usage import Cgroup, OomCounter, find_members, private_pages, proportional_bytes
from sandbox_runtime.limits.process_count import count_threads
from sandbox_runtime.linux.process_tree import kill_tree, list_processes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sandbox_runtime.interpreters.zygote_client import Child
    from sandbox_runtime.limits.census import Census
    from sandbox_runtime.settings import Limits

_BUSY_INTERVAL: Final = 0.05
_IDLE_INTERVAL: Final = 1.0
_SCAN_EVERY: Final = 10
"""Checks between two searches for the children of the session's processes."""
_COUNT_EVERY: Final = 4
"""Checks between two counts of all processes, which take longer the more there are."""
_MEASURE_ABOVE: Final = 0.75
"""Fraction of the limit above which usage is measured exactly."""
_MAX_WAITS: Final = 20
"""Checks in a row that may wait for a process that is ending."""
_PROCESSES_MARGIN: Final = 64
"""Processes above the limit. Where the kernel enforces it, only those of the runtime itself can be above."""
_CALM: Final = 32
"""Change of the number of processes, between two counts, below which no bomb runs."""
_HIDDEN_BYTES: Final = 4 << 20
"""Bytes of a process that nothing shows without a cgroup. Under gVisor some 500 idle forks took 1.3 GiB."""
_MARGIN: Final = 1 / 16
_MIN_MARGIN: Final = 24 << 20


class OomGuard:
    """Checks the memory of the session, frequently while a cell or command runs.

    Args:
        limits: The session's limits.
        children: Running children by pid: the first process of each tree.
        census: Counts all processes in sight. None: they include those of other programs.
    """

    def __init__(self, limits: Limits, children: Mapping[int, Child], census: Census | None = None) -> None:
        self._limits = limits
        self._census = census
        self._children = children
        self._cgroup = Cgroup()
        self._counter = OomCounter()
        self._is_busy: Callable[[], bool] = lambda: False
        self._zygote: Callable[[], int] = lambda: 0
        self._timer: asyncio.TimerHandle | None = None
        self._is_slow = False
        self._round = 0
        self._processes = 0
        self._waits = 0
        self._baselines: dict[int, int] = {}
        self._members: dict[int, list[int]] = {}
        self._kills: set[asyncio.Task[None]] = set()

    def start(self, is_busy: Callable[[], bool], zygote: Callable[[], int]) -> None:
        """Start the checks on the running loop.

        Args:
            is_busy: Returns True while a cell or command runs.
            zygote: Returns the pid of the process that interpreters share most memory with, or 0.
        """
        self._is_busy = is_busy
        self._zygote = zygote
        self._check()

    def close(self) -> None:
        """Stop the checks."""
        if self._timer is not None:
            self._timer.cancel()

    def wake(self) -> None:
        """Check frequently, because a cell or command is about to run."""
        if self._is_slow and self._timer is not None:
            self._timer.cancel()
            self._schedule(_BUSY_INTERVAL)

    def was_oom_kill(self, child: Child) -> bool:
        """Return True if a child that SIGKILL ended was killed because of memory, by this guard or the kernel."""
        return child.over_memory or (not child.killed and self._counter.has_risen())

    @property
    def limit(self) -> int:
        """The lower of the two limits in bytes; 0 if there is none."""
        return min((each for each in (self._limits.memory_bytes, self._cgroup.limit) if each), default=0)

    def error_event(self) -> dict[str, Any]:
        """Return the error event of a cell that was killed because of the limit."""
        limit = f"the limit of {self.limit / (1 << 20):.0f} MiB" if self.limit else "the limit"
        value = (
            f"the session used more memory than {limit}: the cell's interpreter was ended, and its variables are lost"
        )
        return {"type": "error", "name": "MemoryLimitExceeded", "value": value, "traceback": [], "limit": "memory"}

    def _schedule(self, delay: float) -> None:
        self._is_slow = delay > _BUSY_INTERVAL
        self._timer = asyncio.get_running_loop().call_later(delay, self._check)

    def _check(self) -> None:
        limit = self.limit
        self._round += 1
        if self._children and self._round % _COUNT_EVERY == 0:
            self._check_processes(limit)
        if limit and self._children:
            if self._round % _SCAN_EVERY == 0 or self._is_slow:
                self._scan()
            if limit == self._cgroup.limit:
                self._check_cgroup(limit)
            else:
                self._check_session(limit)
        self._schedule(_BUSY_INTERVAL if self._is_busy() else _IDLE_INTERVAL)

    def _check_processes(self, limit: int) -> None:
        if self._census is None:
            return
        before, processes = self._processes, self._census.count()
        self._processes = processes
        # A thread bomb is one process, which is the first of its tree. Under gVisor, reading them all takes too long.
        threads = count_threads(self._children) - len(self._children)
        most = self._limits.processes + _PROCESSES_MARGIN
        over_memory = bool(limit) and not self._cgroup.limit and processes > limit // _HIDDEN_BYTES
        if (over_memory or processes > most) and self._census.end_newcomers(self._children):
            leader = self._census.leader
            if leader:
                self._end_largest({leader: 1}, over_memory=over_memory)
        elif over_memory or processes + threads > most:
            self._scan()
            sizes = {leader: len(members) + count_threads([leader]) for leader, members in self._members.items()}
            self._end_largest(sizes, over_memory=over_memory)
        elif processes <= self._limits.processes and abs(processes - before) < _CALM:
            self._census.settle()

    def _check_session(self, limit: int) -> None:
        if self._estimate() < limit * _MEASURE_ABOVE:
            return
        self._scan()
        used = self._measure()
        if sum(used.values()) > limit:
            self._end_largest(used)

    def _check_cgroup(self, limit: int) -> None:
        if self._cgroup.used() <= limit - max(_MIN_MARGIN, int(limit * _MARGIN)):
            self._waits = 0
            return
        self._scan()
        used = self._measure()
        if 0 in used.values() and self._waits < _MAX_WAITS:
            # A process is ending, killed by the kernel or by this guard. The cgroup still counts its memory, and the
            # largest of the others is not the cause.
            self._waits += 1
            return
        self._end_largest(used)

    def _estimate(self) -> int:
        """Return the growth since each process was first seen, without memory that a fork shares with its zygote."""
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

    def _end_largest(self, used: Mapping[int, int], *, over_memory: bool = True) -> None:
        candidates = {pid: self._children[pid] for pid in used if pid in self._children}
        if not candidates or self._kills:
            return
        pid = max(candidates, key=lambda each: used[each])
        candidates[pid].over_memory = over_memory
        task = asyncio.get_running_loop().create_task(kill_tree(candidates[pid].tree, pid))
        self._kills.add(task)
        task.add_done_callback(self._kills.discard)
