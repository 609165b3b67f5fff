"""Value types of the custom resources: durations, quantities, names. Pure; a wrong value is a ValueError."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, WithJsonSchema

from sandbox_operator.api.base import rule, text

MAX_NAME: Final = 63
"""Characters in a name that also becomes the value of a label."""
MIN_DURATION: Final = timedelta(seconds=1)
MAX_DURATION: Final = timedelta(days=30)
DURATION_PATTERN: Final = r"^([0-9]+(\.[0-9]+)?(h|m|s|ms))+$"
QUANTITY_PATTERN: Final = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"
NAME_PATTERN: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
ENV_NAME_PATTERN: Final = r"^[A-Za-z_][A-Za-z0-9_]*$"

_DURATION_BOUNDS: Final = "must be between 1s and 720h"
_FRACTION: Final = "([.][0-9]+)?"
_DIGITS: Final = (("h", 3), ("m", 5), ("s", 7), ("ms", 10))
_COMPUTABLE: Final = f"^({'|'.join(f'0*[0-9]{{1,{most}}}{_FRACTION}{unit}' for unit, most in _DIGITS)})+$"
"""Durations of which no part exceeds the bounds."""
_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|h|m|s)")
_UNITS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_SUFFIXES: Final = {
    "m": Decimal("0.001"),
    "": Decimal(1),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
}


def parse_duration(value: Any) -> Any:
    """Parse a duration such as `15m` or `1h30m`, between a second and 30 days."""
    if not isinstance(value, str):
        return value
    if not re.fullmatch(DURATION_PATTERN, value):
        raise ValueError("write a duration such as 90s, 15m or 8h")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(value))
    if not MIN_DURATION.total_seconds() <= seconds <= MAX_DURATION.total_seconds():
        raise ValueError(_DURATION_BOUNDS)
    return timedelta(seconds=seconds)


def format_duration(duration: timedelta) -> str:
    """Format a duration of whole seconds with the largest unit that divides it, such as `15m`."""
    seconds = int(duration.total_seconds())
    unit = next(unit for unit in ("h", "m", "s") if seconds % int(_UNITS[unit]) == 0)
    return f"{seconds // int(_UNITS[unit])}{unit}"


def parse_quantity(value: str) -> Decimal:
    """Return a quantity such as `500m` or `2Gi` as a number."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([a-zA-Z]*)", str(value))
    if not match or match[2] not in _SUFFIXES:
        raise ValueError(f"{value!r} is not a quantity such as 500m or 2Gi")
    return Decimal(match[1]) * _SUFFIXES[match[2]]


def _check_quantity(value: Any) -> str:
    parse_quantity(str(value))
    return str(value)


_RESOURCE_TEXTS: Final = {
    "cpu": "Processor cores, such as 500m or 2.",
    "memory": "Memory in bytes, such as 512Mi or 2Gi.",
    "ephemeral-storage": "Disk of the node in bytes, such as 4Gi. It includes what is written to emptyDir volumes.",
}
RESOURCE_KINDS: Final = tuple(_RESOURCE_TEXTS)
_QUANTITY: Final = {
    "anyOf": [{"type": "integer"}, {"type": "string"}],
    "maxLength": 32,
    "pattern": QUANTITY_PATTERN,
    "x-kubernetes-int-or-string": True,
}

Name = Annotated[str, text(MAX_NAME, minLength=1, pattern=NAME_PATTERN)]
EnvName = Annotated[str, text(256, pattern=ENV_NAME_PATTERN)]
Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    text(
        32,
        pattern=DURATION_PATTERN,
        # Without the first part, CEL refuses a duration that it cannot compute with a message of its own.
        **rule(
            f"self.matches('{_COMPUTABLE}') && duration(self) >= duration('1s') && duration(self) <= duration('720h')",
            _DURATION_BOUNDS,
        ),
    ),
]
Quantity = Annotated[str, BeforeValidator(_check_quantity), WithJsonSchema(_QUANTITY)]
Amounts = Annotated[
    dict[str, Quantity],
    WithJsonSchema(
        {
            "type": "object",
            "properties": {kind: {"description": text, **_QUANTITY} for kind, text in _RESOURCE_TEXTS.items()},
        }
    ),
]
"""Kinds of resources to quantities."""


def _parse_moment(value: Any) -> datetime:
    try:
        # RFC 3339 allows lower case. In UTC, no later computation can leave the range of dates.
        return datetime.fromisoformat(str(value).upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("write an RFC 3339 time such as 2030-01-31T18:00:00Z") from None


Moment = Annotated[datetime, BeforeValidator(_parse_moment), WithJsonSchema({"type": "string", "format": "date-time"})]
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
