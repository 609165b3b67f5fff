"""Decides how long to try to reattach to a cell or process after its connection broke. Reads the clock, never waits.

A network or node may be unavailable for longer than a new call waits for a connection. The cell or process keeps
running meanwhile, so its caller gets the result once there is a connection again.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox_client.errors import SandboxUnavailable

_MAX_FAILURES: Final = 5
"""Failures in a row after which the call fails, if something answers."""
_FIRST_DELAY: Final = 0.2
"""Seconds before the first repeat. Each further failure adds the same amount."""
_FAILURE_WINDOW: Final = 60.0
"""Seconds after which the earlier failures no longer count. A load balancer may cut every silent connection."""
_FINAL_REASONS: Final = frozenset({"CLOSED", "RUNTIME_UNAVAILABLE", "SESSION_OVER"})
"""Reasons that mean that the cell or process no longer exists, or cannot be reached any more."""
_UNREACHABLE: Final = "UNREACHABLE"


class ReattachPolicy:
    """Decides after each failure of one call when to try again.

    Five failures in a row end the call. If nothing answers at all, the time since the connection broke decides instead,
    because each attempt then takes long by itself.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Start with no failure.

        Args:
            seconds: Time without any answer after which the call fails: `Endpoint.returns_within`.
            clock: A monotonic clock in seconds.
        """
        self._seconds = seconds
        self._clock = clock
        self._failures = 0
        self._since: float | None = None
        self._last = -math.inf

    def reset(self) -> None:
        """Forget the failures so far, because something new arrived."""
        self._failures, self._since = 0, None

    def delay(self, failure: SandboxUnavailable, *, may_run: bool) -> float:
        """Return the seconds to wait before the next attempt.

        Args:
            failure: The error of the last attempt.
            may_run: Whether the agent may have received the request. If not, nothing is lost by giving up.

        Raises:
            SandboxUnavailable: The failure itself, if another attempt is useless.
        """
        now = self._clock()
        if now - self._last > _FAILURE_WINDOW:
            self.reset()
        self._last = now
        if self._since is None:
            self._since = now
        if failure.reason in _FINAL_REASONS:
            raise failure
        if failure.reason == _UNREACHABLE:
            if not may_run or now - self._since >= self._seconds:
                raise failure
            return _FIRST_DELAY
        self._failures += 1
        if self._failures == _MAX_FAILURES:
            raise failure
        return _FIRST_DELAY * self._failures
