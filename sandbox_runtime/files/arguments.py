"""Checks the arguments of an operation. Pure: no I/O.

A bad argument raises an OperationError, INVALID_ARGUMENT, that names the field.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from sandbox_link.protocol import invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

Arguments = dict[str, Any]
PERMISSION_BITS: Final = 0o777
MAX_INT: Final = (1 << 63) - 1
_SHA256: Final = re.compile(r"[0-9a-f]{64}\Z")
_MAX_STRINGS: Final = 100_000


def take_int(arguments: Mapping[str, Any], field: str, high: int = MAX_INT, low: int = 0) -> int:
    """Return an integer from `low` to `high`; 0 if the field is missing."""
    value = arguments.get(field, 0)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise invalid(field, f"`{field}` must be an integer from {low} to {high}.")
    return value


def take_bool(arguments: Mapping[str, Any], field: str) -> bool:
    """Return a boolean; False if the field is missing."""
    value = arguments.get(field, False)
    if not isinstance(value, bool):
        raise invalid(field, f"`{field}` must be true or false.")
    return value


def take_text(arguments: Mapping[str, Any], field: str) -> str:
    """Return a string; empty if the field is missing."""
    value = arguments.get(field, "")
    if not isinstance(value, str):
        raise invalid(field, f"`{field}` must be a string.")
    return value


def take_sha256(arguments: Mapping[str, Any]) -> str:
    """Return the field `sha256`: empty, or 64 lower-case hexadecimal digits."""
    value = take_text(arguments, "sha256")
    if value and not _SHA256.match(value):
        raise invalid("sha256", "`sha256` must be 64 lower-case hexadecimal digits, or empty.")
    return value


def take_texts(arguments: Mapping[str, Any], field: str) -> list[str]:
    """Return a list of strings; empty if the field is missing."""
    value = arguments.get(field) or []
    if not isinstance(value, list) or len(value) > _MAX_STRINGS or not all(isinstance(item, str) for item in value):
        raise invalid(field, f"`{field}` must be a list of at most {_MAX_STRINGS} strings.")
    return value
