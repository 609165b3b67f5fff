"""The queues and clocks, as the reconcilers see them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sandbox_operator.watch.work_queue import Key


@dataclass(frozen=True, slots=True)
class Scheduling:
    """The means by which a reconciler asks to be called again, and the clocks that it uses."""

    enqueue: Callable[[Key], None]
    requeue: Callable[[Key, float], None]
    """Calls the reconciler again after some seconds."""
    acknowledge: Callable[[Key], None]
    """Called before a session is read: the read covers every change for which the key was added until then."""
    yield_to_sessions: Callable[[], Awaitable[None]]
    """Called between two batches of a pool. Returns once no session waits or is being reconciled, or after 0.2 s."""
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    monotonic: Callable[[], float] = time.monotonic
