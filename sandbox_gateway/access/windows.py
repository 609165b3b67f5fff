"""Counts failed logins per client address, and slows those down that fail often. Pure, with a clock."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_MAX_ENTRIES: Final = 10_000


class Window:
    """Counts events of each name within the last seconds. It remembers the most recent names only.

    Args:
        limit: Events of one name until it is full.
        seconds: Time until an event no longer counts.
        clock: Returns the current time in seconds.
    """

    def __init__(self, limit: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._seconds = seconds
        self._clock = clock
        self._events: OrderedDict[str, deque[float]] = OrderedDict()

    def add(self, name: str) -> None:
        """Count an event."""
        events = self._events.setdefault(name, deque(maxlen=self._limit))
        events.append(self._clock())
        self._events.move_to_end(name)
        if len(self._events) > _MAX_ENTRIES:
            self._events.popitem(last=False)

    def take_back(self, name: str) -> None:
        """Forget the latest event."""
        events = self._events.get(name)
        if events:
            events.pop()

    def wait(self, name: str) -> float:
        """Return the seconds until one more event is allowed; 0 if it is now."""
        events = self._events.get(name)
        if events is None or len(events) < self._limit:
            return 0.0
        return max(0.0, events[0] + self._seconds - self._clock())
