"""Whether the kernel has ended something for lack of memory: oom_kill counter of the cgroup (v1, v2). Best effort."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_ROOT: Final = Path("/sys/fs/cgroup")


class OomCounter:
    """Remembers the counter, so that a rise can be told."""

    def __init__(self, files: tuple[Path, ...] | None = None) -> None:
        self._files = _counter_files() if files is None else files
        self._seen = self._read()

    def has_risen(self) -> bool:
        """Whether the kernel killed something since this was last asked."""
        now = self._read()
        risen = now > self._seen
        self._seen = now
        return risen

    def _read(self) -> int:
        return sum(_parse(path) for path in self._files)


def _parse(path: Path) -> int:
    try:
        fields = dict(line.split(" ", 1) for line in path.read_text().splitlines() if " " in line)
        return int(fields.get("oom_kill", 0))
    except (OSError, ValueError):
        return 0


def _counter_files() -> tuple[Path, ...]:
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        lines = []
    groups = {controllers: path.lstrip("/") for _, controllers, path in (line.split(":", 2) for line in lines)}
    candidates = [
        _ROOT / groups.get("", "") / "memory.events",
        _ROOT / "memory" / groups.get("memory", "") / "memory.oom_control",
        # In a container the paths of /proc/self/cgroup may be those of the host.
        _ROOT / "memory.events",
        _ROOT / "memory" / "memory.oom_control",
    ]
    for version in (candidates[::2], candidates[1::2]):
        for path in version:
            if path.exists():
                return (path,)
    return ()
