"""Encodes and decodes messages that contain one chunk of a file, without protobuf's copies. Pure.

protobuf copies a `bytes` field twice when it encodes a message, and twice when it decodes one. For a gigabyte that is
a second. protobuf itself handles all messages that are not a single `data` field, so the wire format stays the same.
"""

from __future__ import annotations

from typing import Any, Final

from sandbox_proto.v1.file_pb2 import ReadResponse, WriteRequest

_READ_TAG: Final = ReadResponse.DESCRIPTOR.fields_by_name["data"].number << 3 | 2
_WRITE_TAG: Final = WriteRequest.DESCRIPTOR.fields_by_name["data"].number << 3 | 2
_MAX_LENGTH_BYTES: Final = 5
"""Bytes of an encoded length below 4 GiB."""


def encode_read_response(response: ReadResponse | bytes | bytearray | memoryview) -> bytes:
    """Encode a ReadResponse. Bytes stand for a message with only `data`."""
    if isinstance(response, ReadResponse):
        return response.SerializeToString()
    return b"".join((_head(_READ_TAG, len(response)), response))


def encode_write_request(request: WriteRequest | bytes | memoryview) -> bytes:
    """Encode a WriteRequest. Bytes stand for a message with only `data`."""
    if isinstance(request, WriteRequest):
        return request.SerializeToString()
    return b"".join((_head(_WRITE_TAG, len(request)), request))


def decode_read_response(message: bytes) -> ReadResponse | memoryview:
    """Decode a ReadResponse, or return a view of its `data` if there is nothing else in it.

    Raises:
        DecodeError: The message is malformed (protobuf's error).
    """
    return _decode(message, _READ_TAG, ReadResponse)


def decode_write_request(message: bytes) -> WriteRequest | memoryview:
    """Decode a WriteRequest, or return a view of its `data` if there is nothing else in it.

    Raises:
        DecodeError: The message is malformed (protobuf's error).
    """
    return _decode(message, _WRITE_TAG, WriteRequest)


def _head(tag: int, size: int) -> bytes:
    head = bytearray((tag,))
    while size > 0x7F:  # noqa: PLR2004 - seven bits a byte
        head.append(size & 0x7F | 0x80)
        size >>= 7
    head.append(size)
    return bytes(head)


def _decode(message: bytes, tag: int, kind: Any) -> Any:
    if not message or message[0] != tag:
        return kind.FromString(message)
    size = shift = 0
    for position, byte in enumerate(message[1 : 1 + _MAX_LENGTH_BYTES], 2):
        size |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:  # noqa: PLR2004 - the last byte of the length
            return memoryview(message)[position:] if position + size == len(message) else kind.FromString(message)
    return kind.FromString(message)
