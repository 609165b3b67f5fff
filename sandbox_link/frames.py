"""Encodes the link's frames, and decodes them incrementally with bounds. Pure: no I/O, no state but a decoder's buffer.

A frame on the wire, big endian:

    u32 length   of the rest of the frame: 5 + len(payload)
    u8  type     FrameType
    u32 channel  0 is the connection itself; the side that opens a channel chooses its number
    payload      JSON (UTF-8) for OPEN, EVENT, CLOSE; raw bytes for DATA; u32 for WINDOW; empty for CANCEL

Errors: FrameError for every violation of this format. The connection must then be closed.
"""

from __future__ import annotations

import enum
import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DATA: Final = 1 << 20
"""Maximum bytes of payload in a DATA frame, its stream tag included."""
MAX_JSON: Final = 1 << 20
"""Maximum bytes of payload in an OPEN, EVENT or CLOSE frame. Larger content (code, results) travels as DATA."""
INITIAL_WINDOW: Final = 4 << 20
"""Bytes of DATA payload a side may send on a channel before the other side's first WINDOW frame."""

_HEADER: Final = struct.Struct("!IBI")
_DATA_HEADER: Final = struct.Struct("!IBIB")
_SMALL: Final = 4 << 10
"""Data of up to this many bytes is joined with its header. Larger data stays a separate piece."""
_WINDOW: Final = struct.Struct("!I")
_LENGTH_OF_TYPE_AND_CHANNEL: Final = 5
HEADER_SIZE: Final = _HEADER.size


class FrameError(ValueError):
    """Violation of the frame format or of a bound."""


class FrameType(enum.IntEnum):
    """Type of a frame; docs/link.md describes the life of a channel."""

    OPEN = 1
    DATA = 2
    EVENT = 3
    CLOSE = 4
    CANCEL = 5
    WINDOW = 6


# Calling the enum costs several times as much, and every frame needs this lookup.
_TYPES: Final = {int(type_): type_ for type_ in FrameType}
# json.dumps would create an encoder each time.
_encode_json: Final = json.JSONEncoder(separators=(",", ":")).encode
# User code of an interpreter may replace json.loads.
_decode_json: Final = json.loads


class Stream(enum.IntEnum):
    """First byte of a DATA payload: the stream that the rest belongs to."""

    BODY = 0
    STDOUT = 1
    STDERR = 2


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded frame.

    Attributes:
        body: The payload. For a DATA frame it is a view, which keeps all bytes received with it in memory: copy what
            you keep.
    """

    type: FrameType
    channel: int
    body: bytes | memoryview

    @property
    def payload(self) -> bytes:
        """A copy of the payload."""
        return bytes(self.body)

    def json(self) -> dict[str, Any]:
        """Return the payload as a JSON object.

        Raises:
            FrameError: The payload is not a JSON object.
        """
        try:
            value = _decode_json(bytes(self.body))
        except (ValueError, RecursionError) as error:
            raise FrameError("payload is not JSON") from error
        if not isinstance(value, dict):
            raise FrameError("payload is not a JSON object")
        return value

    def window(self) -> int:
        """Return the bytes that a WINDOW frame grants."""
        if len(self.body) != _WINDOW.size:
            raise FrameError("a WINDOW frame has 4 bytes")
        granted: int = _WINDOW.unpack(self.body)[0]
        return granted


def encode(type_: FrameType, channel: int, payload: bytes | bytearray | memoryview = b"") -> bytes:
    """Encode one frame."""
    return _HEADER.pack(_LENGTH_OF_TYPE_AND_CHANNEL + len(payload), type_, channel) + payload


def encode_json(type_: FrameType, channel: int, value: dict[str, Any]) -> bytes:
    """Encode an OPEN, EVENT or CLOSE frame.

    Raises:
        FrameError: The JSON is longer than MAX_JSON.
    """
    payload = _encode_json(value).encode()
    if len(payload) > MAX_JSON:
        raise FrameError(f"JSON of {len(payload)} bytes is over the limit of {MAX_JSON}")
    return encode(type_, channel, payload)


def encode_data(channel: int, stream: Stream, data: bytes | memoryview) -> bytes:
    """Encode one DATA frame. `data` has at most MAX_DATA - 1 bytes; use `split_data` for more."""
    return _data_header(channel, stream, len(data)) + data


def data_pieces(channel: int, stream: Stream, data: memoryview) -> tuple[bytes | memoryview, ...]:
    """Encode one DATA frame without copying large data: send the pieces in order, and do not change the data."""
    if len(data) <= _SMALL:
        return (encode_data(channel, stream, data),)
    return (_data_header(channel, stream, len(data)), data)


def _data_header(channel: int, stream: Stream, size: int) -> bytes:
    return _DATA_HEADER.pack(_LENGTH_OF_TYPE_AND_CHANNEL + 1 + size, FrameType.DATA, channel, stream)


def split_data(channel: int, stream: Stream, data: bytes | memoryview) -> Iterator[bytes]:
    """Yield DATA frames of at most MAX_DATA for any amount of data. Yields nothing for no data."""
    view = memoryview(data)
    for start in range(0, len(view), MAX_DATA - 1):
        yield encode_data(channel, stream, view[start : start + MAX_DATA - 1])


def encode_window(channel: int, granted: int) -> bytes:
    """Encode a WINDOW frame: the other side may send `granted` more bytes of DATA payload on this channel."""
    return encode(FrameType.WINDOW, channel, _WINDOW.pack(granted))


class FrameDecoder:
    """An incremental decoder. It never buffers more than one incomplete frame."""

    def __init__(self) -> None:
        self._partial = bytearray()
        self._needed = HEADER_SIZE

    def feed(self, data: bytes | bytearray) -> Iterator[Frame]:
        """Add received bytes, which must not change afterwards, and yield each complete frame.

        Raises:
            FrameError: A length, type or size is out of bounds.
        """
        if self._partial:
            self._partial += data
            if len(self._partial) < self._needed:
                return
            # A new buffer, because frames are views into the old one.
            data, self._partial = self._partial, bytearray()
        view, position = memoryview(data), 0
        while True:
            self._needed = HEADER_SIZE
            if len(view) - position < HEADER_SIZE:
                break
            length, number, channel = _HEADER.unpack_from(view, position)
            type_ = _check(length, number)
            end = position + 4 + length
            if end > len(view):
                self._needed = 4 + length
                break
            body = view[position + HEADER_SIZE : end]
            position = end
            yield Frame(type_, channel, body if type_ is FrameType.DATA else bytes(body))
        self._partial += view[position:]


def _check(length: int, number: int) -> FrameType:
    type_ = _TYPES.get(number)
    if type_ is None:
        raise FrameError(f"unknown frame type {number}")
    size = length - _LENGTH_OF_TYPE_AND_CHANNEL
    limit = MAX_DATA if type_ is FrameType.DATA else MAX_JSON
    if not 0 <= size <= limit:
        raise FrameError(f"a {type_.name} frame of {size} bytes is outside 0 to {limit}")
    return type_
