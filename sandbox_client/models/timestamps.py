"""Reads the Timestamp fields of protocol messages. Pure: no I/O."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp


def read_time(message: Any, name: str) -> datetime | None:
    """Return a Timestamp field as an aware datetime in UTC, or None if the field is not set.

    Args:
        message: Any protocol message.
        name: The field's name.
    """
    if not message.HasField(name):
        return None
    stamp: Timestamp = getattr(message, name)
    return stamp.ToDatetime(tzinfo=UTC)
