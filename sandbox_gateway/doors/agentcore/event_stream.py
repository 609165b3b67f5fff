"""Encodes messages of `application/vnd.amazon.eventstream`, which the AWS SDKs decode. Pure: no I/O.

A message is its length, the length of its headers, a checksum of both, the headers, the payload, and a checksum of all.
"""

from __future__ import annotations

import binascii
import json
import struct
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

CONTENT_TYPE: Final = "application/vnd.amazon.eventstream"
MAX_PAYLOAD: Final = 16 << 20
"""Bytes of a payload that every SDK accepts. Current releases of botocore accept 24 MiB."""
_STRING: Final = 7
"""The type of a header whose value is a string."""
_PRELUDE_SIZE: Final = 12
_CHECKSUM_SIZE: Final = 4


def encode_event(event_type: str, payload: bytes) -> bytes:
    """Return a message with one member of the stream's union.

    Args:
        event_type: The member, such as `result`.
        payload: Its JSON.
    """
    return encode_message(
        {":event-type": event_type, ":content-type": "application/json", ":message-type": "event"}, payload
    )


def encode_exception(exception_type: str, value: Mapping[str, Any]) -> bytes:
    """Return a message that ends a stream with an error that the service models.

    Args:
        exception_type: The member of the stream's union, such as `validationException`.
        value: The members of the exception.
    """
    headers = {":exception-type": exception_type, ":content-type": "application/json", ":message-type": "exception"}
    return encode_message(headers, encode_json(value))


def encode_json(value: object) -> bytes:
    """Return JSON without spaces, in UTF-8. A lone surrogate, which UTF-8 cannot hold, becomes a question mark."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def encode_message(headers: Mapping[str, str], payload: bytes) -> bytes:
    """Return one message.

    Args:
        headers: Names of at most 255 bytes and values of at most 65,535 bytes.
        payload: Its content.
    """
    encoded = b"".join(_encode_header(name.encode(), value.encode()) for name, value in headers.items())
    size = _PRELUDE_SIZE + len(encoded) + len(payload) + _CHECKSUM_SIZE
    lengths = struct.pack("!II", size, len(encoded))
    message = b"".join((lengths, struct.pack("!I", binascii.crc32(lengths)), encoded, payload))
    return message + struct.pack("!I", binascii.crc32(message))


def _encode_header(name: bytes, value: bytes) -> bytes:
    return struct.pack("!B", len(name)) + name + struct.pack("!BH", _STRING, len(value)) + value
