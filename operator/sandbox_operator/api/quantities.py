"""Quantities of the custom resources: amounts of CPU, memory and disk, and sizes of volumes. Pure.

Kubernetes takes a limit of 0 for no limit at all. So limits and sizes are at least the smallest amount above it.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from sandbox_operator.api.base import rule

_SUFFIXES: Final = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    **{name: Decimal(1000) ** power for power, name in enumerate(("k", "M", "G", "T", "P", "E"), 1)},
    **{name: Decimal(1024) ** power for power, name in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
}
_QUANTITY: Final = re.compile(r"([+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))(?:[eE]([+-]?[0-9]{1,3})|([a-zA-Z]*))")
_MAX_LENGTH: Final = 253
_MAX_CORES: Final = "10k"
_MAX_BYTES: Final = "1000Ti"
_TEXTS: Final = {
    "cpu": "Processor cores, such as 500m or 2.",
    "memory": "Memory in bytes, such as 512Mi or 2Gi.",
    "ephemeral-storage": "Disk of the node in bytes, such as 4Gi. It includes what is written to emptyDir volumes.",
}
RESOURCE_KINDS: Final = tuple(_TEXTS)


def parse_quantity(value: str) -> Decimal:
    """Return a quantity such as `500m`, `2Gi` or `1e3` as a number.

    Raises:
        ValueError: It is not a quantity.
    """
    match = _QUANTITY.fullmatch(str(value))
    if not match or (match[3] or "") not in _SUFFIXES:
        raise ValueError(f"{str(value)[:80]!r} is not a quantity such as 500m or 2Gi")
    return Decimal(match[1]) * (Decimal(10) ** int(match[2]) if match[2] else _SUFFIXES[match[3]])


def _bounds(kind: str, *, may_be_zero: bool) -> tuple[str, str]:
    if kind == "cpu":
        return ("0" if may_be_zero else "1m"), _MAX_CORES
    return ("0" if may_be_zero else "1"), _MAX_BYTES


def _describe(kind: str, *, may_be_zero: bool) -> str:
    least, most = _bounds(kind, may_be_zero=may_be_zero)
    return f"must be between {least} and {most}, such as {'500m or 2' if kind == 'cpu' else '512Mi or 2Gi'}"


def _check(kind: str, value: str, *, may_be_zero: bool) -> None:
    least, most = _bounds(kind, may_be_zero=may_be_zero)
    try:
        is_within = parse_quantity(least) <= parse_quantity(value) <= parse_quantity(most)
    except ValueError:
        is_within = False
    if not is_within:
        raise ValueError(_describe(kind, may_be_zero=may_be_zero))


def _schema(kind: str, *, may_be_zero: bool) -> dict[str, Any]:
    least, most = _bounds(kind, may_be_zero=may_be_zero)
    number = f"self >= {0 if may_be_zero else 1} && self <= {parse_quantity(most)}"
    within = f"!quantity(self).isLessThan(quantity('{least}')) && !quantity(self).isGreaterThan(quantity('{most}'))"
    return {
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "maxLength": _MAX_LENGTH,
        "x-kubernetes-int-or-string": True,
        **rule(
            f"type(self) == int ? {number} : isQuantity(self) && {within}", _describe(kind, may_be_zero=may_be_zero)
        ),
    }


def _amounts(*, may_be_zero: bool) -> tuple[Any, ...]:
    def check(amounts: dict[str, str]) -> dict[str, str]:
        for kind, value in amounts.items():
            try:
                _check(kind, value, may_be_zero=may_be_zero)
            except ValueError as error:
                raise ValueError(f"{kind} {error}") from None
        return amounts

    properties = {
        kind: {"description": text, **_schema(kind, may_be_zero=may_be_zero)} for kind, text in _TEXTS.items()
    }
    return AfterValidator(check), WithJsonSchema({"type": "object", "properties": properties})


def _check_size(value: str) -> str:
    _check("", value, may_be_zero=False)
    return value


_Text = Annotated[str, BeforeValidator(str)]
Size = Annotated[_Text, AfterValidator(_check_size), WithJsonSchema(_schema("", may_be_zero=False))]
"""The size of a volume in bytes."""
Amounts = Annotated[dict[str, _Text], *_amounts(may_be_zero=True)]
"""Kinds of resources to quantities, which may be 0."""
Limits = Annotated[dict[str, _Text], *_amounts(may_be_zero=False)]
"""Kinds of resources to the most that a container may use."""
