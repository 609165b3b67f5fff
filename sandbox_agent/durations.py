"""Reads protobuf durations from clients."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from google.protobuf.duration_pb2 import Duration

_NANOSECONDS: Final = 1_000_000_000


def duration_seconds(duration: Duration) -> float:
    """Return a Duration from a client in seconds, of either sign, or NaN if it is malformed.

    protobuf's own ToTimedelta does not suit: it accepts malformed nanoseconds, and overflows above 2.7 million years.
    """
    if abs(duration.nanos) >= _NANOSECONDS or duration.seconds * duration.nanos < 0:
        return math.nan
    return float(duration.seconds) + duration.nanos / _NANOSECONDS
