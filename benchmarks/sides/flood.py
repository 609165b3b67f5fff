"""Floods ports with connections that never say anything, from several processes of its own."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

PROCESSES = 4
"""They share the connections. One alone could not open as many as one agent can take."""
NICENESS = 5
"""Together they weigh about as much as one process, as a pod does: its processes share one weight, and a limit."""


class Flood:
    """A flood, from its first connection until its processes are killed at the end of the context.

    Args:
        ports: Ports of this machine, attacked in turns.
        connections: How many connections to open in all. Each stays open until the other side ends it.
    """

    def __init__(self, ports: Sequence[int], connections: int) -> None:
        words = [str(connections // PROCESSES), *map(str, ports)]
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-m", "benchmarks.sides.flood", *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd=Path(__file__).parents[2],
            )
            for _ in range(PROCESSES)
        ]
        # Each has started, so that what is measured is its connections.
        for process in self._processes:
            self._read(process)

    def __enter__(self) -> Self:
        for process in self._processes:
            if process.stdin is None:
                raise RuntimeError("the flood has no input")
            process.stdin.write(b"\n")
            process.stdin.flush()
        return self

    def is_running(self) -> bool:
        """Return whether connections are still being opened: a process that is done ends its output."""
        return any(process.poll() is None for process in self._processes)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()

    @staticmethod
    def _read(process: subprocess.Popen[bytes]) -> None:
        if process.stdout is None or not process.stdout.readline():
            raise RuntimeError("a process of the flood did not start")


def main() -> None:
    """Say so once started, wait for a line, then open the connections."""
    count, ports = int(sys.argv[1]), [int(word) for word in sys.argv[2:]]
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, count + 64), hard))
    print("started", flush=True)
    sys.stdin.readline()
    os.nice(NICENESS)
    kept = []
    for number in range(count):
        try:
            kept.append(socket.create_connection(("127.0.0.1", ports[number % len(ports)]), timeout=2))
        except OSError:
            continue


if __name__ == "__main__":
    main()
