"""Arguments of an operation, checked. Pure: no I/O. Errors: OperationError INVALID_ARGUMENT with the field's name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from sandbox_runtime.files.confined.errors import invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

Arguments = dict[str, Any]
PERMISSION_BITS: Final = 0o777
LARGEST: Final = (1 << 63) - 1
_SHA256: Final = re.compile(r"[0-9a-f]{64}\Z")
_MAX_STRINGS: Final = 100_000


def take_int(arguments: Mapping[str, Any], field: str, high: int = LARGEST, low: int = 0) -> int:
    """An integer from `low` to `high`; 0 where there is none."""
    value = arguments.get(field, 0)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise invalid(f"`{field}` is an integer from {low} to {high}.", field)
    return value


def take_bool(arguments: Mapping[str, Any], field: str) -> bool:
    """A truth value; False where there is none."""
    value = arguments.get(field, False)
    if not isinstance(value, bool):
        raise invalid(f"`{field}` is true or false.", field)
    return value


def take_text(arguments: Mapping[str, Any], field: str) -> str:
    """A text; empty where there is none."""
    value = arguments.get(field, "")
    if not isinstance(value, str):
        raise invalid(f"`{field}` is a text.", field)
    return value


def take_sha256(arguments: Mapping[str, Any]) -> str:
    """`sha256`: empty, or 64 lower-case hex digits."""
    value = take_text(arguments, "sha256")
    if value and not _SHA256.match(value):
        raise invalid("`sha256` is 64 lower-case hexadecimal digits, or empty.", "sha256")
    return value


def take_texts(arguments: Mapping[str, Any], field: str) -> list[str]:
    """A list of texts; empty where there is none."""
    value = arguments.get(field) or []
    if not isinstance(value, list) or len(value) > _MAX_STRINGS or not all(isinstance(item, str) for item in value):
        raise invalid(f"`{field}` is a list of at most {_MAX_STRINGS} texts.", field)
    return value
