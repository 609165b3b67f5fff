"""The order in which waiting keys get workers: each namespace in turn, and none gets all workers.

Tenants decide how many keys their namespace has, and user code how long a call to its agent takes. Neither may keep
another namespace's sessions waiting.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque

Key = tuple[str, str, str]
"""Plural of the kind, namespace, and name."""


class Turns:
    """Waiting keys, a line for each namespace.

    Args:
        most: The most workers that one namespace gets at a time.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lines: OrderedDict[str, deque[Key]] = OrderedDict()
        self._busy: Counter[str] = Counter()
        self._waiters: deque[asyncio.Future[None]] = deque()

    def put(self, key: Key) -> None:
        """Add a key to the end of its namespace's line."""
        self._lines.setdefault(key[1], deque()).append(key)
        self._wake()

    async def take(self) -> Key:
        """Wait for the next key whose namespace may have a further worker. Its worker calls `end` afterwards."""
        while (key := self._choose()) is None:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self._wake()
                raise
        if self._lines:
            self._wake()
        return key

    def end(self, key: Key) -> None:
        """Give back the worker of a key that was taken."""
        self._busy[key[1]] -= 1
        if not self._busy[key[1]]:
            del self._busy[key[1]]
        self._wake()

    def clear(self) -> None:
        """Drop all waiting keys."""
        self._lines.clear()

    def _choose(self) -> Key | None:
        namespace = next((each for each in self._lines if self._busy[each] < self._most), None)
        if namespace is None:
            return None
        line = self._lines.pop(namespace)
        key = line.popleft()
        if line:
            self._lines[namespace] = line
        self._busy[namespace] += 1
        return key

    def _wake(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
