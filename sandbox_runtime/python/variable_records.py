"""The format of saved variables, on the link and in storage: records of a JSON object and bytes that belong to it.

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
"""Maximum bytes of a record's JSON."""
CELLS: Final = "<cells>"
"""Name of the record with the sources of cells, which tracebacks show. No variable can have this name."""


class RecordError(ValueError):
    """The bytes are not records."""


def encode_record(header: dict[str, Any], content: bytes | bytearray | memoryview = b"") -> list[bytes | memoryview]:
    """Return a record in pieces. The content is not copied.

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
    """Yield headers and views of their bytes.

    Args:
        data: Records, one after another.
        is_whole: True if an incomplete last record is an error. Otherwise it is left out.

    Raises:
        RecordError: The data is malformed.
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
        raise RecordError("a record's header is not JSON") from error
    if not isinstance(value, dict):
        raise RecordError("a record's header is not an object")
    return value
