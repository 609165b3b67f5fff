"""Decides when a call may follow its session to another pod, when it is repeated, and when it fails. Pure: no I/O.

No call runs twice unless running it twice is harmless. A call follows its session only if it certainly has not started:
there was no connection to send it, or the agent refused it with a reason that it checks before any work.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sandbox_client.errors import FailedPrecondition, SandboxUnavailable

if TYPE_CHECKING:
    from collections.abc import Generator

    from sandbox_client.errors import SandboxError

CONNECT_TIMEOUT: Final = 15.0
"""Seconds that a call waits for a connection."""
MOVE_CHECK_DELAY: Final = 0.5
"""Seconds without a connection, after which a call checks whether its session is suspended or has moved."""
MAX_MOVES: Final = 2
"""Maximum number of times that one call follows its session to another pod."""
MAX_ATTEMPTS: Final = 4
"""Maximum number of times that a repeatable call is sent, including the first time."""
_FIRST_RETRY_DELAY: Final = 0.1
"""Seconds before the first repeat, which double with each further one."""
_REFUSAL_REASONS: Final = frozenset({"DRAINING", "LIFETIME_EXPIRED", "NOT_BOUND"})
"""The agent's reasons for starting no work."""


@dataclass(frozen=True, slots=True)
class ConnectionPolicy:
    """The rules of one connection.

    Attributes:
        connect_timeout: Seconds that a call waits for a connection.
        can_move: Whether the connection can find the pod to which its session moved.
    """

    connect_timeout: float = CONNECT_TIMEOUT
    can_move: bool = False

    def connect_steps(self) -> Generator[float | None, bool, bool]:
        """Yield the steps towards a connection. Send back whether each succeeded.

        Yields:
            Seconds to wait for a connection, or None: find out where the session moved, and go there.

        Returns:
            Whether there is a connection.
        """
        if self.can_move:
            if (yield MOVE_CHECK_DELAY):
                return True
            yield None
        if (yield self.connect_timeout):
            return True
        return (yield None) and (yield self.connect_timeout)

    def may_follow(self, failure: SandboxError, moves: int) -> bool:
        """Return whether a call that failed may be sent to another pod, if the session is in one.

        Args:
            failure: The error of the call.
            moves: Number of times that this call has followed its session already.
        """
        return moves < MAX_MOVES and isinstance(failure, FailedPrecondition) and failure.reason in _REFUSAL_REASONS

    def retry_delay(self, failure: SandboxError, attempt: int) -> float | None:
        """Return the seconds to wait before a repeatable call is sent again, or None if it has failed for good.

        Args:
            failure: The error of the last attempt.
            attempt: Number of times that the call was sent.
        """
        if attempt >= MAX_ATTEMPTS or not isinstance(failure, SandboxUnavailable):
            return None
        jitter = random.uniform(0.5, 1.5)  # noqa: S311 - not a secret
        return _FIRST_RETRY_DELAY * (1 << (attempt - 1)) * jitter
