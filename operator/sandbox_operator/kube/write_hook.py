"""Kills the process at a chosen write, so that tests can check what a crash at each point leaves behind.

Writes are mutating calls to the API server, and Bind, Renew and Drain of an agent. Renewals of the lease and Events do
not count: the former depend on time, the latter are best effort.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


def _kill_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class WriteHook:
    """Counts writes, and kills the process before or after the n-th. Off (0) unless a test sets it."""

    def __init__(self, kill_at: int = 0, kill_after: int = 0, kill: Callable[[], None] = _kill_process) -> None:
        self.writes = 0
        self._kill_at, self._kill_after, self._kill = kill_at, kill_after, kill

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> WriteHook:
        """Read SANDBOX_OPERATOR_FAULT_KILL_AT (kill before that write) and SANDBOX_OPERATOR_FAULT_KILL_AFTER."""
        prefix = "SANDBOX_OPERATOR_FAULT_KILL_"
        return cls(int(environment.get(f"{prefix}AT") or 0), int(environment.get(f"{prefix}AFTER") or 0))

    @contextlib.contextmanager
    def write(self) -> Iterator[None]:
        """Surround a write. A refusal counts as answered."""
        number = self.before_write()
        try:
            yield
        finally:
            self.after_write(number)

    def before_write(self) -> int:
        """Count a write that is about to be sent. Returns its number."""
        self.writes += 1
        if self.writes == self._kill_at:
            self._kill()
        return self.writes

    def after_write(self, number: int) -> None:
        """Record that a write was answered, perhaps with an error. The number is 0 if the write does not count."""
        if number and number == self._kill_after:
            self._kill()
