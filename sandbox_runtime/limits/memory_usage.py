"""Reads how much memory the session's processes use, and whether the kernel killed one for lack of memory.

The sources are /proc and cgroups. All values are best effort: a value that a kernel (or gVisor) does not report is 0.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sandbox_runtime.linux import syscalls

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_ROOT: Final = Path("/sys/fs/cgroup")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_UNLIMITED: Final = 1 << 60
"""cgroup v1 represents "no limit" by a number near 2**63."""


class OomCounter:
    """Detects when the cgroup's counter of kills rises.

    Args:
        files: The files to read. By default those of this process's cgroup.
    """

    def __init__(self, files: tuple[Path, ...] | None = None) -> None:
        self._files = _counter_files() if files is None else files
        self._seen = self._read()

    def has_risen(self) -> bool:
        """Return True if the kernel killed a process since the last call."""
        now = self._read()
        risen = now > self._seen
        self._seen = now
        return risen

    def _read(self) -> int:
        return sum(_field(_fields(path), "oom_kill") for path in self._files)


class Cgroup:
    """The memory cgroup of this process.

    Args:
        folder: The cgroup's folder. By default the one of this process, below /sys/fs/cgroup.

    Attributes:
        limit: Its limit in bytes; 0 if it has none, or cannot be read.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = _memory_folder() if folder is None else folder
        self._is_v2 = (self._folder / "memory.max").exists()
        limit = _number(self._folder / ("memory.max" if self._is_v2 else "memory.limit_in_bytes"))
        self.limit = limit if limit < _UNLIMITED else 0

    def used(self) -> int:
        """Return the bytes in use without the cache of files, which the kernel could simply drop."""
        current = _number(self._folder / ("memory.current" if self._is_v2 else "memory.usage_in_bytes"))
        prefix = "" if self._is_v2 else "total_"
        stat = _fields(self._folder / "memory.stat")
        return max(0, current - sum(_field(stat, f"{prefix}{name}") for name in ("inactive_file", "active_file")))


def private_pages(pid: int) -> int:
    """Return the bytes of a process that belong to no file, including pages still shared with its zygote."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:  # noqa: PTH123 - many times a second
            fields = file.read().split(b" ", 3)
        return (int(fields[1]) - int(fields[2])) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0


def proportional_bytes(pid: int) -> int:
    """Return the bytes of a process, each shared page divided by the processes that share it. Takes a millisecond."""
    kilobytes = _field(_fields(Path(f"/proc/{pid}/smaps_rollup")), "Pss:")
    return kilobytes << 10 if kilobytes else private_pages(pid)


def find_members(trees: Mapping[int, str], processes: Iterable[tuple[int, int, int, int]]) -> dict[int, list[int]]:
    """Return the processes of each tree, by the pid of its first process.

    Args:
        trees: The mark of each tree, by the pid of its first process.
        processes: Pid, parent, group and session of all processes.
    """
    marks = {syscalls.limit_mark(tree): pid for pid, tree in trees.items()}
    members: dict[int, list[int]] = {pid: [] for pid in trees}
    for pid, _, group, session in processes:
        leader = next((each for each in (session, group, pid) if each in members), None)
        if leader is None:
            leader = marks.get(_mark(pid))
        if leader is not None:
            members[leader].append(pid)
    return members


def _mark(pid: int) -> int:
    try:
        return syscalls.read_limit_mark(pid)
    except (OSError, ValueError):
        return 0


def _number(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0


def _fields(path: Path) -> dict[str, str]:
    try:
        return dict(line.split(None, 1) for line in path.read_text().splitlines() if " " in line)
    except (OSError, ValueError):
        return {}


def _field(fields: Mapping[str, str], name: str) -> int:
    try:
        return int(fields.get(name, "0").split()[0])
    except (ValueError, IndexError):
        return 0


def _groups() -> dict[str, str]:
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return {}
    return {controllers: path.lstrip("/") for _, controllers, path in (line.split(":", 2) for line in lines)}


def _memory_folder() -> Path:
    groups = _groups()
    candidates = (
        _ROOT / groups.get("", ""),
        _ROOT / "memory" / groups.get("memory", ""),
        # In a container, /proc/self/cgroup may have the paths of the host.
        _ROOT,
        _ROOT / "memory",
    )
    names = ("memory.max", "memory.limit_in_bytes")
    return next((folder for folder in candidates if any((folder / name).exists() for name in names)), _ROOT)


def _counter_files() -> tuple[Path, ...]:
    folder = _memory_folder()
    for version in ("memory.events", "memory.oom_control"):
        if (folder / version).exists():
            return (folder / version,)
    return ()
