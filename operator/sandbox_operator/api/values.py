"""Value types of the custom resources: durations, times, names. Pure; a wrong value is a ValueError."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from pydantic import BeforeValidator

from sandbox_operator.api.base import rule, text

MAX_NAME: Final = 63
"""Characters in a name that also becomes the value of a label."""
MIN_DURATION: Final = timedelta(seconds=1)
MAX_DURATION: Final = timedelta(days=30)
NAME_PATTERN: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
ENV_NAME_PATTERN: Final = r"^[A-Za-z_][A-Za-z0-9_]*$"
OBJECT_NAME_PATTERN: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
SECRET_KEY_PATTERN: Final = r"^[-._a-zA-Z0-9]+$"  # noqa: S105 - no secret

_DURATION: Final = "must be between 1s and 720h, such as 90s, 15m or 1h30m"
_MAX_LENGTH: Final = 253
"""Characters up to which our own message is shown. The API server refuses longer texts with a message of its own."""
_FRACTION: Final = "([.][0-9]+)?"
_DIGITS: Final = (("h", 3), ("m", 5), ("s", 7), ("ms", 10))
_COMPUTABLE: Final = f"^({'|'.join(f'0*[0-9]{{1,{most}}}{_FRACTION}{unit}' for unit, most in _DIGITS)})+$"
"""Durations of which no part exceeds the bounds. CEL refuses one that it cannot compute with a message of its own."""
_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|h|m|s)")
_UNITS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def parse_duration(value: Any) -> Any:
    """Parse a duration such as `15m` or `1h30m`, between a second and 30 days."""
    if not isinstance(value, str):
        return value
    if not re.fullmatch(_COMPUTABLE, value):
        raise ValueError(_DURATION)
    duration = timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(value)))
    if not MIN_DURATION <= duration <= MAX_DURATION:
        raise ValueError(_DURATION)
    return duration


def format_duration(duration: timedelta) -> str:
    """Format a duration of whole seconds with the largest unit that divides it, such as `15m`."""
    seconds = int(duration.total_seconds())
    unit = next(unit for unit in ("h", "m", "s") if seconds % int(_UNITS[unit]) == 0)
    return f"{seconds // int(_UNITS[unit])}{unit}"


Name = Annotated[str, text(MAX_NAME, minLength=1, pattern=NAME_PATTERN)]
EnvName = Annotated[str, text(256, pattern=ENV_NAME_PATTERN)]
ObjectName = Annotated[str, text(253, minLength=1, pattern=OBJECT_NAME_PATTERN)]
SecretKey = Annotated[str, text(253, minLength=1, pattern=SECRET_KEY_PATTERN)]
Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    text(
        _MAX_LENGTH,
        **rule(
            f"self.matches('{_COMPUTABLE}') && duration(self) >= duration('1s') && duration(self) <= duration('720h')",
            _DURATION,
        ),
    ),
]


_MOMENT: Final = "must be an RFC 3339 time such as 2030-01-31T18:00:00Z"
_MOMENT_PATTERN: Final = (
    "^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,9})?"
    "([Zz]|[+-](0[0-9]|1[0-4]):[0-5][0-9])$"
)


def _parse_moment(value: Any) -> datetime:
    if not re.fullmatch(_MOMENT_PATTERN, str(value)):
        raise ValueError(_MOMENT)
    try:
        # RFC 3339 allows lower case. In UTC, no later computation can leave the range of dates.
        return datetime.fromisoformat(str(value).upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(_MOMENT) from None


Moment = Annotated[
    datetime,
    BeforeValidator(_parse_moment),
    # The format `date-time` of the API server admits more than such times, with anything after them.
    text(
        _MAX_LENGTH,
        **rule(
            f"self.matches('{_MOMENT_PATTERN}') && timestamp(self.upperAscii()) >= timestamp('0001-01-01T00:00:00Z')",
            _MOMENT,
        ),
    ),
]
"""A point in time, in UTC."""


def parse_time(value: Any) -> datetime | None:
    """Parse an RFC 3339 time of the API; returns None if the value is not one."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def format_time(moment: datetime | None) -> str | None:
    """Format a time as the API does: UTC, whole seconds."""
    if moment is None:
        return None
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
