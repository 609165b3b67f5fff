"""How reconcilers are called again, and by which clocks they go."""

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
    """The queues' side of a reconciler."""

    enqueue: Callable[[Key], None]
    requeue: Callable[[Key, float], None]
    """After some seconds."""
    cover: Callable[[Key], None]
    """A look at a session begins, which sees all that it was called for until now."""
    pause: Callable[[], Awaitable[None]]
    """Lets sessions go first, between two batches of a pool."""
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    monotonic: Callable[[], float] = time.monotonic
