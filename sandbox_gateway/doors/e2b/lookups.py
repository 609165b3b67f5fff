"""Bounds how often sessions are looked up for requests without a right. Pure, with a clock."""

from __future__ import annotations

import hashlib
import math
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from sandbox_client.errors import ResourceExhausted
from sandbox_gateway.access.windows import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MAX_FAILURES: Final = 60
"""Wrong tokens of one address within a minute. Each one costs a request to the API server."""
_SECONDS: Final = 60.0
_MAX_KNOWN: Final = 100_000


class Lookups:
    """Counts wrong tokens by address.

    Many clients may share an address, so tokens that were right before are not refused because of others' failures.

    Args:
        clock: Returns the current time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._failures = Window(MAX_FAILURES, _SECONDS, clock)
        self._known: OrderedDict[bytes, None] = OrderedDict()

    def check(self, peer: str, identifier: str, tokens: Iterable[str]) -> bool:
        """Return whether one of these tokens was right for this id before. It has to be checked nevertheless.

        Raises:
            ResourceExhausted: None was, and the address has sent too many wrong ones.
        """
        if any(_digest(identifier, token) in self._known for token in tokens):
            return True
        if (seconds := self._failures.wait(peer)) > 0:
            message = f"too many wrong tokens from this address: wait {math.ceil(seconds)} s"
            raise ResourceExhausted(message, reason="TOO_MANY_FAILURES")
        return False

    def note_right(self, identifier: str, tokens: Iterable[str]) -> None:
        """Remember tokens that are right for an id."""
        for token in tokens:
            digest = _digest(identifier, token)
            self._known[digest] = None
            self._known.move_to_end(digest)
        while len(self._known) > _MAX_KNOWN:
            self._known.popitem(last=False)

    def note_wrong(self, peer: str) -> None:
        """Count a request whose tokens are all wrong."""
        self._failures.add(peer)


def _digest(identifier: str, token: str) -> bytes:
    return hashlib.sha256(f"{identifier}\0{token}".encode()).digest()
