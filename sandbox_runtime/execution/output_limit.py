"""Limits output: passes on output up to half of the limit, then keeps the last bytes up to the other half. Pure."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sandbox_link.frames import Stream

_MERGE: Final = 64 << 10


class OutputLimit:
    """The output limit of one execution or command.

    Args:
        limit: Bytes.

    Attributes:
        dropped: Bytes dropped so far, between the head and the tail.
    """

    def __init__(self, limit: int) -> None:
        self._head = limit // 2
        self._room = limit - limit // 2
        self._tail: deque[tuple[Stream, bytearray]] = deque()
        self._size = 0
        self.dropped = 0

    def admit(self, stream: Stream, data: memoryview) -> memoryview:
        """Return the part of `data` to pass on now. The rest goes to the tail."""
        now = data[: self._head]
        self._head -= len(now)
        if len(now) < len(data):
            self._keep(stream, data[len(now) :])
        return now

    def take_tail(self) -> list[tuple[Stream, bytearray]]:
        """Return the tail, and empty it."""
        tail = list(self._tail)
        self._tail.clear()
        self._size = 0
        return tail

    def _keep(self, stream: Stream, data: memoryview) -> None:
        if self._tail and self._tail[-1][0] is stream and len(self._tail[-1][1]) < _MERGE:
            self._tail[-1][1].extend(data)
        else:
            self._tail.append((stream, bytearray(data)))
        self._size += len(data)
        while self._size > self._room:
            oldest = self._tail[0][1]
            excess = min(self._size - self._room, len(oldest))
            if excess == len(oldest):
                self._tail.popleft()
            else:
                del oldest[:excess]
            self._size -= excess
            self.dropped += excess
