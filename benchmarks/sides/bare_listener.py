"""Accepts connections and closes them at once: what a flood costs a machine if its target does nothing with it."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

_BACKLOG = 4096


class BareListener:
    """A listener in a process of its own.

    Attributes:
        port: Its port on loopback.
    """

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.sides.bare_listener"],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        if self._process.stdout is None or not (port := self._process.stdout.readline().strip()):
            raise RuntimeError("the bare listener did not start")
        self.port = int(port)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()


def main() -> None:
    """Listen, say on which port, and close what comes."""
    with socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            listener.accept()[0].close()


if __name__ == "__main__":
    main()
