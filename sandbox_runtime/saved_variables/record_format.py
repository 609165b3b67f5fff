"""Records: a JSON object and bytes that belong to it, one behind the other. How kept variables travel and are stored.

A record: u32 length of the JSON, u32 length of the bytes, the JSON, the bytes. Pure. Nothing is unpickled here.

Errors: RecordError.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_LENGTHS: Final = struct.Struct("!II")
MAX_HEADER: Final = 1 << 20
"""Bytes of a record's JSON at most."""
CELLS: Final = "<cells>"
"""Name of the record with the sources of cells, which tracebacks show: no variable's."""


class RecordError(ValueError):
    """The bytes are not records."""


def encode_record(header: dict[str, Any], content: bytes | bytearray | memoryview = b"") -> list[bytes | memoryview]:
    """A record in pieces, its content not copied.

    Raises:
        RecordError: The header is too long.
    """
    encoded = json.dumps(header, separators=(",", ":")).encode()
    if len(encoded) > MAX_HEADER:
        raise RecordError("a record's header is too long")
    return [_LENGTHS.pack(len(encoded), len(content)) + encoded, memoryview(content)]


def read_records(
    data: bytes | bytearray | memoryview, *, is_whole: bool = True
) -> Iterator[tuple[dict[str, Any], memoryview]]:
    """Headers, and views of what belongs to them.

    Args:
        data: Records, one behind the other.
        is_whole: Whether a last record that is cut off is an error; else it is left out.

    Raises:
        RecordError: They are none.
    """
    view, position = memoryview(data), 0
    while position < len(view):
        start = position + _LENGTHS.size
        header, content = _LENGTHS.unpack(view[position:start]) if start <= len(view) else (0, 0)
        if header > MAX_HEADER:
            raise RecordError("a record's header is too long")
        position = start + header + content
        if position > len(view):
            if is_whole:
                raise RecordError("the last record is cut off")
            return
        yield _decode(view[start : start + header]), view[start + header : position]


def _decode(header: memoryview) -> dict[str, Any]:
    try:
        value = json.loads(bytes(header))
    except (ValueError, RecursionError) as error:
        raise RecordError("a record's header is no JSON") from error
    if not isinstance(value, dict):
        raise RecordError("a record's header is no object")
    return value
