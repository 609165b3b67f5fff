"""Bounds of a local session's durations. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sandbox_client.errors import InvalidArgument
from sandbox_client.lifecycle.durations import parse_duration

if TYPE_CHECKING:
    from sandbox_client.lifecycle.durations import Duration

MAX_SECONDS: Final = 28 * 86_400.0
"""The certificates of a run are valid for 30 days."""


def seconds_of(value: Duration, field: str) -> float:
    """Return a duration in seconds.

    Args:
        value: Seconds, a timedelta, or a text such as `15m`.
        field: The name of the option, for errors.

    Raises:
        InvalidArgument: It is not a duration, or not between 1 s and 28 days.
    """
    seconds = parse_duration(value, field).total_seconds()
    if not 1 <= seconds <= MAX_SECONDS:
        raise InvalidArgument(f"{value!r} is not between 1s and 28d", field=field)
    return seconds
