"""Events as they travel: encoded once, when they happen, so that a log holds a response's bytes and readers join them.

Building protobuf messages of messages copies their content each time, and so does asking them for their size: a
megabyte of output would be copied eight times. Pure.
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
class Wire(Generic[M]):
    """One event.

    Attributes:
        data: Its bytes as an entry of a response's `events`; joined with others, they are a response.
        message: The event itself, of the last one only.
    """

    data: bytes
    message: M | None = None


class EventEncoder(Generic[M]):
    """Encodes the events of one kind of response.

    Args:
        response: The message class with the field `events`, whose entries have `output`.
    """

    def __init__(self, response: Any) -> None:
        events = response.DESCRIPTOR.fields_by_name["events"]
        self._events: int = events.number
        self._output: int = events.message_type.fields_by_name["output"].number

    def event(self, message: M) -> Wire[M]:
        """Any event but output."""
        body = message.SerializeToString()
        return Wire(_field(self._events, len(body)) + body)

    def last(self, message: M) -> Wire[M]:
        """The last event, which may have to be changed for a reader who missed some of the output."""
        return Wire(self.event(message).data, message)

    def output(self, stream: types_pb2.Output.Stream, data: bytes, offset: int) -> Wire[M]:
        """An Output event. Fields may come in any order, so `data` goes last, behind what is small."""
        small = types_pb2.Output(stream=stream, offset=offset).SerializeToString() + _field(_OUTPUT_DATA, len(data))
        output = _field(self._output, len(small) + len(data))
        entry = _field(self._events, len(output) + len(small) + len(data))
        return Wire(b"".join((entry, output, small, data)))


def join(events: Iterable[Wire[Any]]) -> bytes:
    """A response with these events, encoded."""
    return b"".join([event.data for event in events])


def _field(number: int, size: int) -> bytes:
    """Tag and length of a length-delimited field."""
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(size)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits a byte
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
