"""Dying at a chosen write, so that tests can see what a crash at each point leaves behind.

A write is a mutating call to the API server or Bind, Renew and Drain of an agent. Renewals of the lease and Events do
not count: the former depend on time, the latter are best effort.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class FaultHook:
    """Counts writes; kills the process before or after the n-th. Off (0) unless a test asks for it."""

    def __init__(self, kill_at: int = 0, kill_after: int = 0, kill: Callable[[], None] = _die) -> None:
        self.writes = 0
        self._kill_at, self._kill_after, self._kill = kill_at, kill_after, kill

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> FaultHook:
        """SANDBOX_OPERATOR_FAULT_KILL_AT=n (right before) and SANDBOX_OPERATOR_FAULT_KILL_AFTER=n (right after)."""
        prefix = "SANDBOX_OPERATOR_FAULT_KILL_"
        return cls(int(environment.get(f"{prefix}AT") or 0), int(environment.get(f"{prefix}AFTER") or 0))

    @contextlib.contextmanager
    def write(self) -> Iterator[None]:
        """Around a write; one that is refused was answered, too."""
        number = self.before_write()
        try:
            yield
        finally:
            self.after_write(number)

    def before_write(self) -> int:
        """Count a write that is about to be sent; its number."""
        self.writes += 1
        if self.writes == self._kill_at:
            self._kill()
        return self.writes

    def after_write(self, number: int) -> None:
        """A write was answered, with an error perhaps. 0 is one that does not count."""
        if number and number == self._kill_after:
            self._kill()
