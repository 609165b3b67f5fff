"""Small words to write structural schemas with. Pure."""

from __future__ import annotations

from typing import Any, Final

from sandbox_operator.api.values import DURATION_PATTERN, NAME_PATTERN, QUANTITY_PATTERN

Schema = dict[str, Any]
MAX_NAME: Final = 63


def text(description: str = "", *, longest: int = 253, **more: Any) -> Schema:
    """A string of bounded length."""
    return _described({"type": "string", "maxLength": longest, **more}, description)


def name(description: str = "", **more: Any) -> Schema:
    """The name of an object that also is a label's value."""
    return text(description, longest=MAX_NAME, minLength=1, pattern=NAME_PATTERN, **more)


def choice(*values: str, description: str = "", **more: Any) -> Schema:
    """One of some words."""
    return _described({"type": "string", "enum": list(values), **more}, description)


def duration(description: str, **more: Any) -> Schema:
    """A duration such as `15m`, from a second to 30 days."""
    rule = {
        "rule": "duration(self) >= duration('1s') && duration(self) <= duration('720h')",
        "message": "has to be between 1s and 720h",
    }
    return text(description, longest=32, pattern=DURATION_PATTERN, **{"x-kubernetes-validations": [rule]}, **more)


def quantity(description: str = "", **more: Any) -> Schema:
    """An amount such as `500m` or `2Gi`."""
    schema: Schema = {
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "maxLength": 32,
        "pattern": QUANTITY_PATTERN,
        "x-kubernetes-int-or-string": True,
        **more,
    }
    return _described(schema, description)


def integer(description: str = "", **more: Any) -> Schema:
    """A whole number."""
    return _described({"type": "integer", "format": "int64", **more}, description)


def boolean(description: str = "", **more: Any) -> Schema:
    """True or false."""
    return _described({"type": "boolean", **more}, description)


def moment(description: str = "") -> Schema:
    """An RFC 3339 time."""
    return _described({"type": "string", "format": "date-time"}, description)


def array(items: Schema, description: str = "", *, longest: int = 64, **more: Any) -> Schema:
    """A list of bounded length."""
    return _described({"type": "array", "maxItems": longest, "items": items, **more}, description)


def mapping(values: Schema, description: str = "", *, most: int = 32) -> Schema:
    """Names to values."""
    return _described({"type": "object", "maxProperties": most, "additionalProperties": values}, description)


def fields(
    properties: dict[str, Schema], description: str = "", *, required: tuple[str, ...] = (), **more: Any
) -> Schema:
    """An object."""
    result: Schema = {"type": "object", "properties": properties, **more}
    if required:
        result["required"] = list(required)
    return _described(result, description)


def rules(*pairs: tuple[str, str]) -> dict[str, Any]:
    """CEL rules with their messages, to be passed on to a schema."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in pairs]}


def _described(schema: Schema, description: str) -> Schema:
    return {"description": description, **schema} if description else schema
