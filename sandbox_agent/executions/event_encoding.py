"""Encodes events once, when they happen. The log keeps the bytes, and readers join them into responses. Pure.

Nesting protobuf messages copies their content each time, and so does computing their size: a megabyte of output would
be copied eight times.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from sandbox_proto.v1 import types_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.message import Message

M = TypeVar("M", bound="Message")

_LENGTH_DELIMITED: Final = 2
_OUTPUT_DATA: Final[int] = types_pb2.Output.DESCRIPTOR.fields_by_name["data"].number


@dataclass(frozen=True, slots=True)
class EncodedEvent(Generic[M]):
    """An encoded event.

    Attributes:
        data: Its bytes as an entry of a response's `events`. Joined with others, they are a response.
        message: The event itself. Set only for the last event of an execution.
    """

    data: bytes
    message: M | None = None


class EventEncoder(Generic[M]):
    """An encoder for the events of one kind of response.

    Args:
        response: The message class with the field `events`, whose entries have the field `output`.
    """

    def __init__(self, response: Any) -> None:
        events = response.DESCRIPTOR.fields_by_name["events"]
        self._events: int = events.number
        self._output: int = events.message_type.fields_by_name["output"].number

    def encode(self, message: M) -> EncodedEvent[M]:
        """Encode any event except output and the last one."""
        body = message.SerializeToString()
        return EncodedEvent(_field(self._events, len(body)) + body)

    def encode_last(self, message: M) -> EncodedEvent[M]:
        """Encode the last event and keep its message, which changes for a reader that missed output."""
        return EncodedEvent(self.encode(message).data, message)

    def encode_output(self, stream: types_pb2.Output.Stream, data: bytes, offset: int) -> EncodedEvent[M]:
        """Encode an Output event. Fields may have any order, so the large `data` comes last."""
        small = types_pb2.Output(stream=stream, offset=offset).SerializeToString() + _field(_OUTPUT_DATA, len(data))
        output = _field(self._output, len(small) + len(data))
        entry = _field(self._events, len(output) + len(small) + len(data))
        return EncodedEvent(b"".join((entry, output, small, data)))


def join_events(events: Iterable[EncodedEvent[Any]]) -> bytes:
    """Return the encoded response with these events."""
    return b"".join([event.data for event in events])


def _field(number: int, size: int) -> bytes:
    """Encode the tag and length of a length-delimited field."""
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(size)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits a byte
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
