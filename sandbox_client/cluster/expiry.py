"""Computes when a session is to end, and whether another bound ends it earlier. Pure: no I/O."""

from __future__ import annotations

import datetime as dt
import math
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.errors import FailedPrecondition, InvalidArgument
from sandbox_client.lifecycle.durations import parse_duration
from sandbox_client.lifecycle.session_info import format_time, parse_time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_client.lifecycle.durations import Duration

_TOLERANCE: Final = dt.timedelta(seconds=2)
"""The API keeps whole seconds."""


def deadline_of(expiry: Duration | dt.datetime, now: dt.datetime, field: str = "expires") -> dt.datetime:
    """Return the time at which a session is to end, in whole seconds.

    Args:
        expiry: A duration from now, or the time itself.
        now: The current time of the API server.
        field: The argument's name, for errors.

    Raises:
        InvalidArgument: It is neither, or a time without a time zone, or a time in the past.
    """
    if not isinstance(expiry, dt.datetime):
        try:
            moment = now + parse_duration(expiry, field)
        except OverflowError:
            raise InvalidArgument(f"{expiry!r} is beyond the last date", field=field) from None
    elif expiry.tzinfo is None:
        raise InvalidArgument(f"{expiry.isoformat()} has no time zone: add one, such as datetime.UTC", field=field)
    elif expiry <= now:
        message = f"{format_time(expiry)} is in the past: the API server's clock says {format_time(now)}"
        raise InvalidArgument(message, field=field)
    else:
        moment = expiry
    return dt.datetime.fromtimestamp(math.ceil(moment.timestamp()), dt.UTC)


def check_bound(session: Mapping[str, Any], deadline: dt.datetime) -> None:
    """Check that no other bound ends the session before a deadline.

    Args:
        session: The custom resource.
        deadline: The time at which the session is to end.

    Raises:
        FailedPrecondition: The session's maximum lifetime, or its template's, ends it earlier.
    """
    bound = _bound_of(session)
    if bound is None or deadline <= bound + _TOLERANCE:
        return
    name = (session.get("metadata") or {}).get("name", "")
    raise FailedPrecondition(
        f"session {name} cannot continue until {format_time(deadline)}: the maximum lifetime of its pod ends at "
        f"{format_time(bound)}. Raise spec.lifecycle.maxLifetime (`lifetime=` of a create), as far as its template "
        "allows, or resume it in a new pod later",
        reason="LIFETIME_BOUND",
        field="expires",
    )


def effective_expiry(session: Mapping[str, Any]) -> dt.datetime | None:
    """Return when the session ends, as far as the operator has computed it."""
    return parse_time((session.get("status") or {}).get("expiresAt"))


def is_observed(session: Mapping[str, Any]) -> bool:
    """Return whether the session's status belongs to its current spec."""
    generation = (session.get("metadata") or {}).get("generation")
    seen = (session.get("status") or {}).get("observedGeneration")
    return generation is None or (seen is not None and seen >= generation)


def _bound_of(session: Mapping[str, Any]) -> dt.datetime | None:
    """Return when the pod's maximum lifetime ends. None if there is no pod, or the status does not show it.

    The status has the earlier one of the maximum lifetime and `expiresAt`. It shows the former only if the latter is
    not set, or is later.
    """
    if not is_observed(session) or not (session.get("status") or {}).get("startedAt"):
        return None
    effective = effective_expiry(session)
    asked = parse_time(((session.get("spec") or {}).get("lifecycle") or {}).get("expiresAt"))
    return effective if effective is not None and (asked is None or effective < asked - _TOLERANCE) else None
