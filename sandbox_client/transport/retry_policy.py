"""How long one waits for something that runs, once its connection broke. Reads the clock; waits for nothing itself.

A network or a node that is away for a while outlasts the time a new call waits for a connection. What runs in the
sandbox goes on meanwhile, so whoever waits for it is told its end once there is a connection again.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox_client.errors import SandboxUnavailable

_ATTEMPTS: Final = 5
_PAUSE: Final = 0.2
_APART: Final = 60.0
"""Seconds after which a failure has nothing to do with the one before: a balancer may cut each silent connection."""
_OVER: Final = frozenset({"RUNTIME_UNAVAILABLE", "SESSION_OVER"})
"""Reasons of somebody who knows: there is nothing to come back to."""
_UNREACHABLE: Final = "UNREACHABLE"


class Patience:
    """Says after each failure of one call when it is tried again. Five in a row end it, whatever answers.

    Where nobody answers, the time since the connection broke decides instead: each attempt waits long by itself.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin.

        Args:
            seconds: How long nobody may answer: `Endpoint.returns_within`.
            clock: Seconds, from any moment on.
        """
        self._seconds = seconds
        self._clock = clock
        self._failures = 0
        self._since: float | None = None
        self._last = -math.inf

    def renew(self) -> None:
        """Something new arrived: the next break is another one."""
        self._failures, self._since = 0, None

    def pause(self, failure: SandboxUnavailable, *, may_run: bool) -> float:
        """Seconds to wait before the next attempt.

        Args:
            failure: How this one ended.
            may_run: Whether the agent may have been asked for it, now or before; else nothing is lost by giving up.

        Raises:
            SandboxUnavailable: The failure itself: it is of no use to go on.
        """
        now = self._clock()
        if now - self._last > _APART:
            self.renew()
        self._last = now
        if self._since is None:
            self._since = now
        if failure.reason in _OVER:
            raise failure
        if failure.reason == _UNREACHABLE:
            if not may_run or now - self._since >= self._seconds:
                raise failure
            return _PAUSE
        self._failures += 1
        if self._failures == _ATTEMPTS:
            raise failure
        return _PAUSE * self._failures
