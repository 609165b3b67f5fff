"""Keeps the events of one execution in a bounded log. Several readers follow it, each from the beginning.

Half of the capacity keeps the first events permanently; the other half keeps the latest ones. While there are readers,
unread events are not dropped: `wait_for_room` makes the producer wait. Without readers, events in the middle are
dropped.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

CAPACITY: Final = 64 << 20
BATCH_BYTES: Final = 1 << 20
ENTRY_COST: Final = 256
"""Bytes counted for each event in addition to its content."""

E = TypeVar("E")


class Reader(Generic[E]):
    """The position of one reader in the log.

    Attributes:
        next: Number of the event that it reads next.
        skipped: Weight of the events that were dropped before this reader reached them.
    """

    def __init__(self) -> None:
        self.next = 0
        self.skipped = 0


class EventLog(Generic[E]):
    """The events in order, each with its weight in bytes.

    Attributes:
        size: Bytes in the log, ENTRY_COST included.
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
        self._reader_moved = asyncio.Event()

    def append(self, event: E, weight: int) -> None:
        """Append an event with `weight` bytes of content."""
        cost = weight + ENTRY_COST
        self._entries[self._count] = (event, weight)
        self._count += 1
        self.size += cost
        if self._tail_start == self._head_end and self._head_bytes + cost <= self._capacity // 2:
            self._head_bytes += cost
            self._head_end = self._tail_start = self._count
        self._appended.set()

    def end(self, error: Exception | None = None) -> None:
        """Mark the end of the events. Readers raise the error, if there is one."""
        self._ended = True
        self._error = error
        self._appended.set()

    def set_capacity(self, capacity: int) -> None:
        """Change the capacity. `wait_for_room` drops what no longer fits."""
        self._capacity = capacity
        self._reader_moved.set()

    async def wait_for_room(self) -> None:
        """Wait until the log is within its capacity, dropping events that no reader waits for."""
        while self.size > self._capacity:
            if self._tail_start < self._count - 1 and not any(r.next <= self._tail_start for r in self._readers):
                self._drop_one()
            elif self._tail_start >= self._count - 1:
                return
            else:
                self._reader_moved.clear()
                await self._reader_moved.wait()

    async def follow(self, on_skipped: Callable[[E, int], E]) -> AsyncGenerator[list[E], None]:
        """Yield the events from the first one to the end, all available ones at once.

        Args:
            on_skipped: Replaces the events of a reader that missed some. It gets an event and the number of bytes
                of content that were skipped, and returns the event to yield.
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
            self._reader_moved.set()

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
        self._reader_moved.set()
        return events

    def _drop_one(self) -> None:
        _, weight = self._entries.pop(self._tail_start)
        self._tail_start += 1
        self._dropped += weight
        self.size -= weight + ENTRY_COST
