"""The figures of a session: processor, memory and disk in use, and the ports that user code listens on. Blocking I/O.

The sources are /proc, cgroups and statvfs. All values are best effort: what a kernel does not report is 0 or missing.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sandbox_runtime.limits.memory_usage import Cgroup, find_members, private_pages
from sandbox_runtime.linux.process_tree import list_processes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from sandbox_runtime.interpreters.zygote_client import Child

_WINDOW: Final = 0.2
"""Seconds over which the use of processors is measured."""
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_USER_TIME: Final = 11
"""Position of utime in /proc/PID/stat, behind the name; stime follows."""
_LISTENING: Final = "0A"
_INODE: Final = 9
"""Position of a socket's inode in /proc/net/tcp."""
_MAX_PORTS: Final = 1000
_TABLES: Final = {"tcp": socket.AF_INET, "tcp6": socket.AF_INET6}


@dataclass(slots=True)
class Metrics:
    """Measures one session.

    Attributes:
        children: Running children by pid: the first process of each tree.
        workspace: The workspace's folder.
        memory_limit: Returns the limit in bytes; 0 for none.
        is_in_container: All processes in sight belong to the session.
    """

    children: Mapping[int, Child]
    workspace: Path
    memory_limit: Callable[[], int]
    is_in_container: bool

    def measure(self) -> dict[str, Any]:
        """Return the figures. Takes `_WINDOW` seconds."""
        before, began = _cpu_times(self._pids()), time.monotonic()
        time.sleep(_WINDOW)
        pids = self._pids()
        after, seconds = _cpu_times(pids), time.monotonic() - began
        used = sum(ticks - before.get(pid, 0) for pid, ticks in after.items() if ticks >= before.get(pid, 0))
        disk = os.statvfs(self.workspace)
        return {
            "cpus_used": used / _TICKS / seconds,
            "cpus": float(len(os.sched_getaffinity(0))),
            "memory_bytes": Cgroup().used() if self.is_in_container else sum(map(private_pages, pids)),
            "memory_limit": self.memory_limit(),
            "disk_bytes": (disk.f_blocks - disk.f_bfree) * disk.f_frsize,
            "disk_total": (disk.f_blocks - disk.f_bfree + disk.f_bavail) * disk.f_frsize,
            "processes": len(pids),
            "ports": find_ports(pids),
        }

    def _pids(self) -> set[int]:
        if self.is_in_container:
            return {pid for pid, *_ in list_processes()}
        members = find_members({pid: child.tree for pid, child in list(self.children.items())}, list_processes())
        return {pid for tree in members.values() for pid in tree}


def find_ports(pids: set[int]) -> list[dict[str, Any]]:
    """Return the TCP ports that these processes listen on, sorted, each address once."""
    sockets = {inode: place for name, family in _TABLES.items() for inode, place in _read_table(name, family)}
    found: dict[tuple[int, str], int] = {}
    for pid in sorted(pids) if sockets else ():
        for inode in _socket_inodes(pid):
            if inode in sockets:
                found.setdefault(sockets[inode], pid)
    return [{"port": port, "address": address, "pid": pid} for (port, address), pid in sorted(found.items())][
        :_MAX_PORTS
    ]


def _read_table(name: str, family: int) -> list[tuple[str, tuple[int, str]]]:
    try:
        with open(f"/proc/net/{name}", encoding="ascii") as file:  # noqa: PTH123 - as its neighbours
            rows = [line.split() for line in file][1:]
    except (OSError, ValueError):
        return []
    return [(row[_INODE], _read_place(row[1], family)) for row in rows if len(row) > _INODE and row[3] == _LISTENING]


def _read_place(text: str, family: int) -> tuple[int, str]:
    address, _, port = text.partition(":")
    # Each group of four bytes is in the machine's order.
    raw = b"".join(bytes.fromhex(address[start : start + 8])[::-1] for start in range(0, len(address), 8))
    return int(port, 16), socket.inet_ntop(family, raw)


def _socket_inodes(pid: int) -> set[str]:
    folder, found = f"/proc/{pid}/fd", set()
    try:
        names = os.listdir(folder)  # noqa: PTH208 - only names
    except OSError:
        return set()
    for name in names:
        try:
            target = os.readlink(f"{folder}/{name}")  # noqa: PTH115 - many
        except OSError:
            continue
        if target.startswith("socket:["):
            found.add(target[len("socket:[") : -1])
    return found


def _cpu_times(pids: set[int]) -> dict[int, int]:
    times = {}
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - many
                fields = file.read().rsplit(b") ", 1)[1].split()
            times[pid] = int(fields[_USER_TIME]) + int(fields[_USER_TIME + 1])
        except (OSError, ValueError, IndexError):
            continue
    return times
