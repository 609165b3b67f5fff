"""Sizes in bytes, as callers write them (`2Gi`) and as people read them (`1.4 MiB`). Pure: no I/O."""

from __future__ import annotations

import re
from typing import Final

from sandbox_client.errors import InvalidArgument

_SIZE: Final = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})?)\s*([kKMGT]i?)?B?")
_FACTORS: Final = {unit: 10 ** (3 * power) for power, unit in enumerate(("", "K", "M", "G", "T"))} | {
    f"{unit}i": 1 << 10 * power for power, unit in enumerate(("", "K", "M", "G", "T")) if unit
}
_LARGEST: Final = (1 << 63) - 1
_STEP: Final = 1024


def read_size(value: int | str | None, field: str) -> int | None:
    """Return a size in bytes, or None for None.

    Args:
        value: Bytes, or a quantity as Kubernetes writes them: `500M` is 500 million bytes, `2Gi` is 2 * 2**30.
        field: Name of the argument, for the error.

    Raises:
        InvalidArgument: It is not a size of at least one byte.
    """
    if value is None:
        return None
    size = 0
    if isinstance(value, int) and not isinstance(value, bool):
        size = value
    elif isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        number, unit = match.groups()
        size = int(float(number) * _FACTORS[(unit or "").replace("k", "K")])
    if not 1 <= size <= _LARGEST:
        raise InvalidArgument(
            f"{field} cannot be {value!r}: give a number of bytes, or a quantity such as '500M' or '2Gi'",
            reason="INVALID_ARGUMENT",
            field=field,
        )
    return size


def format_size(size: int) -> str:
    """Return a size for people: `7 bytes`, `1.4 MiB`."""
    if size < _STEP:
        return "1 byte" if size == 1 else f"{size} bytes"
    number = float(size)
    for unit in ("KiB", "MiB", "GiB"):
        number /= _STEP
        if number < _STEP:
            return f"{number:.1f} {unit}"
    return f"{number / _STEP:.1f} TiB"
