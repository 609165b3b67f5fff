"""Reads fields of JSON objects that clients sent, with errors that name the field. Pure: no I/O."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from sandbox_client.errors import InvalidArgument


def read_object(data: bytes | str) -> dict[str, Any]:
    """Return the JSON object in a body; an empty body is an empty object."""
    try:
        value = json.loads(data) if data.strip() else {}
    except (ValueError, RecursionError):
        raise InvalidArgument("the body is not JSON", reason="INVALID_ARGUMENT", field="body") from None
    if not isinstance(value, dict):
        raise InvalidArgument("the body is not a JSON object", reason="INVALID_ARGUMENT", field="body")
    return value


def text(message: dict[str, Any], field: str, default: str = "") -> str:
    """Return a text field. A field that is missing or null has the default."""
    value = message.get(field)
    if value is None:
        return default
    if not isinstance(value, str):
        raise _wrong(field, "a text")
    return value


def flag(message: dict[str, Any], field: str, *, default: bool = False) -> bool:
    """Return a boolean field."""
    value = message.get(field)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise _wrong(field, "true or false")
    return value


def integer(message: dict[str, Any], field: str, default: int | None = None) -> int:
    """Return an integer field that is not negative. Protobuf's JSON may write it as a text."""
    value = message.get(field)
    if value is None and default is not None:
        return default
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:  # noqa: PLR2004 - 64 bits
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 63:
        raise _wrong(field, "a whole number that is not negative")
    return value


def child(message: dict[str, Any], field: str) -> dict[str, Any]:
    """Return a field that is an object; an empty one if it is missing."""
    value = message.get(field)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _wrong(field, "an object")
    return value


def texts(message: dict[str, Any], field: str) -> list[str]:
    """Return a field that is a list of texts; an empty one if it is missing."""
    value = message.get(field)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise _wrong(field, "a list of texts")
    return value


def text_map(message: dict[str, Any], field: str) -> dict[str, str]:
    """Return a field that is an object with texts; an empty one if it is missing."""
    value = child(message, field)
    if not all(isinstance(each, str) for each in value.values()):
        raise _wrong(field, "an object whose values are texts")
    return value


def binary(message: dict[str, Any], field: str) -> bytes:
    """Return a field of bytes, which JSON has in base64."""
    value = text(message, field).replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(value + "=" * (-len(value) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise _wrong(field, "bytes in base64") from None


def _wrong(field: str, wanted: str) -> InvalidArgument:
    return InvalidArgument(f"{field} must be {wanted}", reason="INVALID_ARGUMENT", field=field)
