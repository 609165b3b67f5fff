"""Reads HEAD of a stored workspace, as far as people and programs that clean up need it. Pure: no I/O.

docs/storage.md describes the whole format. Only the agents write it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sandbox_client.lifecycle.session_info import parse_time

if TYPE_CHECKING:
    import datetime as dt

HEAD: Final = ".workspace/HEAD"


@dataclass(frozen=True, slots=True)
class HeadSummary:
    """A summary of the last pushes, from HEAD.

    Attributes:
        saved: When the last push was complete; None if unknown.
        last_session: The session that made it; "" if unknown.
        pushing: The session that holds the lock; "" if none does.
    """

    saved: dt.datetime | None = None
    last_session: str = ""
    pushing: str = ""


def read_head(data: bytes | None) -> HeadSummary:
    """Return what HEAD says. A HEAD that is missing or damaged says nothing.

    Args:
        data: Its content, or None if there is none.
    """
    try:
        value = json.loads(data or b"null")
        lock = value.get("pushing") or {}
        return HeadSummary(
            parse_time(value.get("committed_at")), _session_of(value.get("writer")), _session_of(lock.get("writer"))
        )
    except (ValueError, AttributeError, RecursionError):
        return HeadSummary()


def _session_of(writer: object) -> str:
    """Return the session's name from its name and uid."""
    return writer.partition(" ")[0] if isinstance(writer, str) else ""
