"""A bounded log of one execution's events that several readers follow, each from its beginning.

The first half of the capacity keeps the beginning for good, the other half rolls. While somebody reads, nothing unread
is dropped: `room` makes the producer wait. While nobody does, the middle is dropped.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

CAPACITY: Final = 64 << 20
BATCH_BYTES: Final = 1 << 20
ENTRY_COST: Final = 256
"""Bytes counted for each event beside its content."""

E = TypeVar("E")


class Reader(Generic[E]):
    """One reader's place in the log.

    Attributes:
        skipped: Weight of events that were dropped before this reader came to them.
    """

    def __init__(self) -> None:
        self.next = 0
        self.skipped = 0


class EventLog(Generic[E]):
    """Events in order, with their weight in bytes.

    Attributes:
        size: Bytes held.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.size = 0
        self._capacity = capacity
        self._entries: dict[int, tuple[E, int]] = {}
        self._count = 0
        self._head_end = 0
        self._head_bytes = 0
        self._tail_start = 0
        self._dropped = 0
        self._ended = False
        self._error: Exception | None = None
        self._readers: set[Reader[E]] = set()
        self._appended = asyncio.Event()
        self._moved = asyncio.Event()

    def append(self, event: E, weight: int) -> None:
        """Add an event of so many bytes of content."""
        cost = weight + ENTRY_COST
        self._entries[self._count] = (event, weight)
        self._count += 1
        self.size += cost
        if self._tail_start == self._head_end and self._head_bytes + cost <= self._capacity // 2:
            self._head_bytes += cost
            self._head_end = self._tail_start = self._count
        self._appended.set()

    def end(self, error: Exception | None = None) -> None:
        """No more events; with an error, readers raise it."""
        self._ended = True
        self._error = error
        self._appended.set()

    def share(self, capacity: int) -> None:
        """Change the capacity; what is held already goes as `room` comes to it."""
        self._capacity = capacity
        self._moved.set()

    async def room(self) -> None:
        """Wait until the log is within its capacity, dropping what nobody waits for."""
        while self.size > self._capacity:
            if self._tail_start < self._count - 1 and not any(r.next <= self._tail_start for r in self._readers):
                self._drop_one()
            elif self._tail_start >= self._count - 1:
                return
            else:
                self._moved.clear()
                await self._moved.wait()

    async def follow(self, on_skipped: Callable[[E, int], E]) -> AsyncGenerator[list[E], None]:
        """Events from the first on, as many at once as wait, until the end.

        Args:
            on_skipped: Called only once something was dropped before this reader came to it: given an event and how
                many bytes of content that was, returns the event to hand over.
        """
        reader: Reader[E] = Reader()
        self._readers.add(reader)
        try:
            while True:
                events = self._take(reader)
                if events:
                    yield [on_skipped(event, reader.skipped) for event in events] if reader.skipped else events
                elif self._error is not None:
                    raise self._error
                elif self._ended:
                    return
                else:
                    self._appended.clear()
                    await self._appended.wait()
        finally:
            self._readers.discard(reader)
            self._moved.set()

    def _take(self, reader: Reader[E]) -> list[E]:
        if self._head_end <= reader.next < self._tail_start:
            reader.skipped = self._dropped
            reader.next = self._tail_start
        events: list[E] = []
        taken = 0
        while reader.next < self._count and reader.next in self._entries:
            event, weight = self._entries[reader.next]
            if events and taken + weight > BATCH_BYTES:
                break
            events.append(event)
            taken += weight
            reader.next += 1
        self._moved.set()
        return events

    def _drop_one(self) -> None:
        _, weight = self._entries.pop(self._tail_start)
        self._tail_start += 1
        self._dropped += weight
        self.size -= weight + ENTRY_COST
