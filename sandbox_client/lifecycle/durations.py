"""Durations as callers write them: seconds, a timedelta, or a text such as `15m`. Pure."""

from __future__ import annotations

import datetime as dt
import math
import re
from typing import Final

from sandbox_client.errors import InvalidArgument

Duration = float | dt.timedelta | str
"""Seconds, a timedelta, or a text such as `90s`, `15m`, `1h30m` or `2d`. A text without a unit is seconds."""

_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST: Final = 36_500 * 86400.0
"""A hundred years in seconds. A larger number would not fit into a date."""


def parse_duration(value: Duration, field: str) -> dt.timedelta:
    """Return a duration that the caller gave.

    Args:
        value: Seconds, a timedelta, or a text such as `15m`.
        field: The argument's name, for errors.

    Raises:
        InvalidArgument: It is not a duration, or not a positive one.
    """
    seconds = _seconds_of(value)
    if seconds is None:
        message = f"{value!r} is not a duration: write seconds, or a text such as 90s, 15m, 8h or 2d"
        raise InvalidArgument(message, field=field)
    if not 0 < seconds <= _LONGEST:
        raise InvalidArgument(f"{value!r} must be longer than 0 and at most 100 years", field=field)
    return dt.timedelta(seconds=seconds)


def format_duration(duration: dt.timedelta) -> str:
    """Format a duration for a custom resource, with the largest unit that divides it, such as `15m`.

    Milliseconds are the smallest unit.
    """
    milliseconds = max(1, round(duration.total_seconds() * 1000))
    unit = next(unit for unit in ("h", "m", "s", "ms") if milliseconds % round(_UNITS[unit] * 1000) == 0)
    return f"{milliseconds // round(_UNITS[unit] * 1000)}{unit}"


def describe_age(age: dt.timedelta) -> str:
    """Return an age for people, in its largest unit: `45s`, `12m`, `7h` or `3d`."""
    seconds = max(0, int(age.total_seconds()))
    unit = next((unit for unit in ("d", "h", "m") if seconds >= _UNITS[unit]), "s")
    return f"{seconds // int(_UNITS[unit])}{unit}"


def _seconds_of(value: object) -> float | None:
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            seconds = float(value)
        except OverflowError:
            return _LONGEST * 2
        return None if math.isnan(seconds) else seconds
    if isinstance(value, str) and re.fullmatch(r"[0-9]+(?:\.[0-9]+)?", value, re.ASCII):
        return float(value)
    if isinstance(value, str) and re.fullmatch(rf"(?:{_PART.pattern})+", value, re.ASCII):
        return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(value))
    return None
