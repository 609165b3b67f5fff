"""The Connect protocol with JSON: envelopes of streams, headers and the end of a stream. Pure: no I/O."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.errors import InvalidArgument, ResourceExhausted
from sandbox_gateway.doors.e2b.values import read_object

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

UNARY_TYPE: Final = "application/json"
STREAM_TYPE: Final = "application/connect+json"
MAX_MESSAGE: Final = 64 << 20
"""Bytes of one message of a client."""
_HEADER: Final = struct.Struct(">BI")
_COMPRESSED: Final = 1
_END: Final = 2
_KEEPALIVE: Final = 90.0
_LONGEST: Final = 10 * 365 * 86400.0


class EnvelopeReader:
    """Splits the bytes of a stream into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        """Yield the messages that are complete now.

        Raises:
            InvalidArgument: A message is compressed or not a JSON object.
            ResourceExhausted: A message is too large.
        """
        self._buffer += data
        while len(self._buffer) >= _HEADER.size:
            flags, size = _HEADER.unpack_from(self._buffer)
            if size > MAX_MESSAGE:
                raise ResourceExhausted(f"a message may have {MAX_MESSAGE} bytes", reason="MESSAGE_TOO_LARGE")
            if len(self._buffer) < _HEADER.size + size:
                return
            message = bytes(self._buffer[_HEADER.size : _HEADER.size + size])
            del self._buffer[: _HEADER.size + size]
            if flags & _COMPRESSED:
                raise InvalidArgument("messages may not be compressed", reason="INVALID_ARGUMENT", field="body")
            if flags & _END:
                return
            yield read_object(message)

    def finish(self) -> None:
        """Check that the stream did not end inside a message."""
        if self._buffer:
            raise InvalidArgument("the body ends inside a message", reason="INVALID_ARGUMENT", field="body")


def envelope(message: Mapping[str, Any]) -> bytes:
    """Return a message of a stream as bytes."""
    return _pack(0, message)


def end_of_stream(error: Mapping[str, Any] | None = None) -> bytes:
    """Return the last message of a stream, with its error if it failed."""
    return _pack(_END, {} if error is None else {"error": error})


def read_timeout(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a call may take, or None for no limit."""
    value = headers.get("connect-timeout-ms", "")
    if not value:
        return None
    if not value.isascii() or not value.isdigit():
        raise InvalidArgument(
            "Connect-Timeout-Ms must be a number of milliseconds", reason="INVALID_ARGUMENT", field="timeout"
        )
    return min(int(value[:20]) / 1000, _LONGEST) or None


def read_keepalive(headers: Mapping[str, str]) -> float:
    """Return the seconds between two signs of life that the client asks for."""
    value = headers.get("keepalive-ping-interval", "")
    return float(min(max(1, int(value[:9])), 3600)) if value.isascii() and value.isdigit() else _KEEPALIVE


def _pack(flags: int, message: Mapping[str, Any]) -> bytes:
    data = json.dumps(message, separators=(",", ":")).encode()
    return _HEADER.pack(flags, len(data)) + data
