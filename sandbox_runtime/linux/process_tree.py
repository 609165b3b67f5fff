"""Finds and kills everything that one process started, even if it tried to escape.

A process belongs to a tree by its process group, its session, its ancestors or its marks. The marks survive setsid and
double forks: the limit on a file's size (`syscalls.set_limit_mark`), and the environment variable SANDBOX_TREE in
/proc/PID/environ. An orphan without either mark has removed them, and is killed with the next tree.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import TYPE_CHECKING, Final

from sandbox_runtime.linux import syscalls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_ANY_MARK: Final = f"{syscalls.TREE_VARIABLE}=".encode()
_ROUND: Final = 0.01
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_START_FIELD: Final = 19
"""Position of `starttime` in /proc/PID/stat, behind the name."""
_DEADLINE: Final = 3.0
_RESCAN_AFTER: Final = 0.25
"""Seconds until the whole tree is searched again if its processes are slow to end."""


def find_tree(tree: str, root: int | None) -> set[int]:
    """Return the process ids of a tree, without zombies.

    Args:
        tree: The tree's mark.
        root: Pid of the process that leads its group and session, or None if unknown.
    """
    processes = list(list_processes())
    children: dict[int, list[int]] = {}
    for pid, parent, _, _ in processes:
        children.setdefault(parent, []).append(pid)
    # Orphans become children of this process, so everything that it started is below it. Others need no check.
    ours = _below({os.getpid()}, children)
    limit, mark = syscalls.limit_mark(tree), f"{syscalls.TREE_VARIABLE}={tree}\0".encode()
    found = {
        pid
        for pid, parent, group, session in processes
        if pid in ours
        and ((root is not None and root in (pid, group, session)) or _is_marked(pid, parent, limit, mark))
    }
    return found | _below(found, children)


def _below(roots: set[int], children: Mapping[int, list[int]]) -> set[int]:
    found: set[int] = set()
    waiting = list(roots)
    while waiting:
        new = [pid for pid in children.get(waiting.pop(), ()) if pid not in found]
        found.update(new)
        waiting.extend(new)
    return found


def find_newer(tree: str, root: int | None, since: float) -> set[int]:
    """Return the process ids of what the root of a tree started since a time of CLOCK_BOOTTIME, without zombies.

    What an older process of the tree started belongs to that one, and is left out.
    """
    parents = {pid: parent for pid, parent, _, _ in list_processes()}
    children: dict[int, list[int]] = {}
    for pid, parent in parents.items():
        children.setdefault(parent, []).append(pid)
    found = find_tree(tree, root) - _with_ancestors(root, parents)
    # The kernel counts in ticks. What began in the same tick may have begun later.
    older = {pid for pid in found if _read_start(pid) < int(since * _TICKS)}
    return found - older - _below(older, children)


def _with_ancestors(pid: int | None, parents: dict[int, int]) -> set[int]:
    found: set[int] = set()
    while pid and pid not in found:
        found.add(pid)
        pid = parents.get(pid)
    return found


async def kill_tree(tree: str, root: int | None) -> None:
    """Send SIGKILL to a tree, repeatedly until no process is left (at most 3 s)."""
    await _kill_all(lambda: find_tree(tree, root), root)


async def kill_newer(tree: str, root: int | None, since: float) -> None:
    """Do the same to what `find_newer` finds. The root lives on."""
    await _kill_all(lambda: find_newer(tree, root, since), None)


async def _kill_all(find: Callable[[], set[int]], root: int | None) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _DEADLINE
    while loop.time() < deadline:
        pids = find()
        if not pids:
            return
        # Parents first: a shell whose child is killed would exit by itself, with an exit code instead of a signal.
        for pid in sorted(pids, key=lambda pid: (pid != root, pid)):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        await _wait_until_ended(pids, loop.time() + _RESCAN_AFTER)


async def _wait_until_ended(pids: set[int], deadline: float) -> None:
    # Checks these processes only: the cost of finding a whole tree grows with the processes of the machine.
    while pids and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(_ROUND)
        pids = {pid for pid in pids if _read_stat(str(pid)) is not None}


def list_processes() -> Iterator[tuple[int, int, int, int]]:
    """Yield the pid, parent, group and session of every process, without zombies."""
    for name in os.listdir("/proc"):  # noqa: PTH208 - hundreds of names, no Path needed
        if not name.isdigit():
            continue
        found = _read_stat(name)
        if found is not None:
            yield found


def _read_stat(name: str) -> tuple[int, int, int, int] | None:
    try:
        with open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123 - hundreds of times in a row
            state, parent, group, session = file.read().rsplit(b") ", 1)[1].split(b" ", 4)[:4]
    except (OSError, ValueError, IndexError):
        return None
    return None if state in b"ZX" else (int(name), int(parent), int(group), int(session))


def _read_start(pid: int) -> int:
    """Return when a process began, in ticks since the machine did, or 0 if it has ended."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - hundreds of times in a row
            return int(file.read().rsplit(b") ", 1)[1].split()[_START_FIELD])
    except (OSError, ValueError, IndexError):
        return 0


def _is_marked(pid: int, parent: int, limit: int, mark: bytes) -> bool:
    try:
        found = syscalls.read_limit_mark(pid)
        if found:
            return found == limit
        with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123 - hundreds of times in a row
            environment = file.read()
    except OSError:
        return False
    is_hidden = parent == os.getpid() and _ANY_MARK not in environment
    return mark in environment or is_hidden
