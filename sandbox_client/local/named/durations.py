"""Durations of local sessions, given as seconds or as text such as `90s`, `15m` or `8h`. Pure."""

from __future__ import annotations

import re
from typing import Final

from sandbox_client.errors import InvalidArgument

MAX_SECONDS: Final = 28 * 86_400.0
"""The certificates of a run are valid for 30 days."""
_UNITS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION: Final = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:h|ms|m|s))+")
_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(h|ms|m|s)")


def seconds_of(value: float | str, field: str) -> float:
    """Return a duration in seconds.

    Args:
        value: Seconds, or text in the form of a SandboxSession's durations.
        field: The name of the option, for errors.

    Raises:
        InvalidArgument: It is not a duration, or not between 1 s and 28 days.
    """
    if isinstance(value, str):
        if not _DURATION.fullmatch(value):
            raise InvalidArgument(f"{value!r} is not a duration such as 90s, 15m or 8h", field=field)
        seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(value))
    else:
        seconds = float(value)
    if not 1 <= seconds <= MAX_SECONDS:
        raise InvalidArgument(f"{value} is not between 1s and 672h", field=field)
    return seconds
