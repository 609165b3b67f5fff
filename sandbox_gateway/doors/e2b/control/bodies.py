"""Bodies of E2B's control plane, and what they mean for our sessions. Pure: no I/O."""

from __future__ import annotations

import base64
import datetime as dt
import json
import math
import re
import urllib.parse
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.errors import InvalidArgument, NotSupported
from sandbox_client.models.sizes import read_size
from sandbox_gateway.backend import NewSession
from sandbox_gateway.doors.e2b import identity, values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_gateway.backend import GatewaySession

_RESERVED: Final = "e2b.dev/"
_AUTO_RESUME: Final = f"{_RESERVED}auto-resume"
_ON_TIMEOUT: Final = f"{_RESERVED}on-timeout"
_TIMEOUT: Final = f"{_RESERVED}timeout"
_WAKE_SECONDS: Final = 300.0
"""Seconds that a sandbox which traffic resumes has at least."""
_UNSUPPORTED: Final = ("mcp", "iam", "volumeMounts", "network")
_KEY: Final = re.compile(r"[A-Za-z0-9-]{1,255}")
_NEVER: Final = dt.datetime(9999, 12, 31, tzinfo=dt.UTC)
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MAX_PAGE: Final = 100
STATES: Final = ("running", "paused")


def read_create(message: dict[str, Any], *, caller: str, idempotency_key: str, default_seconds: int) -> NewSession:
    """Read the request to create a sandbox.

    Args:
        message: The body.
        caller: The caller's name.
        idempotency_key: The header of that name; the same key stands for the same sandbox.
        default_seconds: The lifetime if the body has none.

    Raises:
        InvalidArgument: A field is wrong.
        NotSupported: A field asks for what sessions do not have.
    """
    for name in _UNSUPPORTED:
        if message.get(name):
            raise NotSupported(f"{name} is not supported: leave it out", reason="NOT_SUPPORTED", field=name)
    if idempotency_key and not _KEY.fullmatch(idempotency_key):
        raise InvalidArgument(
            "Idempotency-Key must have 1 to 255 letters, digits and '-'", reason="INVALID_ARGUMENT", field="key"
        )
    template = values.text(message, "templateID")
    if not template:
        raise InvalidArgument("templateID is missing", reason="INVALID_ARGUMENT", field="templateID")
    metadata = values.text_map(message, "metadata")
    if reserved := next((key for key in metadata if key.startswith(_RESERVED)), None):
        message_text = f"metadata keys that begin with {_RESERVED} are reserved: rename {reserved}"
        raise InvalidArgument(message_text, reason="INVALID_ARGUMENT", field="metadata")
    pauses = values.flag(message, "autoPause")
    resumes = values.flag(values.child(message, "autoResume"), "enabled")
    seconds = read_seconds(message, default_seconds)
    allows_internet = values.flag(message, "allow_internet_access", default=True)
    return NewSession(
        name=identity.new_name(caller, idempotency_key),
        template=template,
        seconds=seconds,
        on_timeout="suspend" if pauses else "delete",
        env=values.text_map(message, "envVars"),
        metadata={
            **metadata,
            _ON_TIMEOUT: "pause" if pauses else "kill",
            **({_AUTO_RESUME: "true", _TIMEOUT: str(int(seconds))} if resumes else {}),
        },
        egress="" if allows_internet else "none",
    )


def read_seconds(message: dict[str, Any], default: int | None = None, name: str = "timeout") -> float:
    """Return a lifetime in seconds. Zero is the shortest one."""
    return float(max(1, values.integer(message, name, default)))


def wakes_by_traffic(metadata: Mapping[str, str]) -> bool:
    """Return whether a request to a paused sandbox resumes it."""
    return metadata.get(_AUTO_RESUME) == "true"


def wake_seconds(metadata: Mapping[str, str]) -> float:
    """Return the lifetime of a sandbox that traffic resumes: the one of its creation, if that is not very short."""
    try:
        seconds = float(metadata.get(_TIMEOUT, ""))
    except ValueError:
        return _WAKE_SECONDS
    return max(seconds, _WAKE_SECONDS) if math.isfinite(seconds) else _WAKE_SECONDS


def user_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return the metadata that the client gave."""
    return {key: value for key, value in metadata.items() if not key.startswith(_RESERVED)}


def created_message(session: GatewaySession, *, token: str, traffic_token: str, domain: str) -> dict[str, Any]:
    """Return a sandbox to which the client connects now."""
    return {
        "templateID": _template(session),
        "sandboxID": identity.sandbox_id(session.info),
        "clientID": "sandbox",
        "alias": _template(session),
        "envdVersion": identity.ENVD_VERSION,
        "envdAccessToken": token,
        "trafficAccessToken": traffic_token,
        "domain": domain or None,
    }


def listed_message(session: GatewaySession) -> dict[str, Any]:
    """Return a sandbox as lists show it."""
    info = session.info
    limits = ((info.resource.get("spec") or {}).get("resources") or {}).get("limits") or {}
    return {
        "templateID": _template(session),
        "sandboxID": identity.sandbox_id(info),
        "clientID": "sandbox",
        "alias": _template(session),
        "startedAt": _time(started_at(session)),
        "endAt": _time(info.expires_at or _NEVER),
        "cpuCount": _cores(limits.get("cpu")),
        "memoryMB": (read_size(limits.get("memory"), "memory") or 0) >> 20,
        "diskSizeMB": 0,
        "state": state_of(session),
        "envdVersion": identity.ENVD_VERSION,
        "metadata": user_metadata(session.metadata),
    }


def detail_message(session: GatewaySession, *, token: str, domain: str) -> dict[str, Any]:
    """Return a sandbox with all known facts."""
    return {
        **listed_message(session),
        "envdAccessToken": token,
        "domain": domain or None,
        "allowInternetAccess": session.info.egress != "none",
        "lifecycle": {
            "autoResume": wakes_by_traffic(session.metadata),
            "onTimeout": session.metadata.get(_ON_TIMEOUT, "kill"),
        },
    }


def state_of(session: GatewaySession) -> str:
    """Return `running` or `paused`."""
    return "paused" if session.info.is_suspended else "running"


def started_at(session: GatewaySession) -> dt.datetime:
    """Return the time at which a sandbox was started."""
    return session.info.created_at or session.info.started_at or _EPOCH


@dataclass(frozen=True, slots=True)
class ListQuery:
    """A request for a page of sandboxes.

    Attributes:
        metadata: Words that a sandbox must have.
        states: `running`, `paused`.
        template: A template's name, or "".
        started_after: The earliest start, or None.
        limit: Most sandboxes of a page.
        is_ascending: Whether the oldest comes first.
        after: Start and id of the last sandbox of the page before, or None.
    """

    metadata: dict[str, str] = field(default_factory=dict)
    states: tuple[str, ...] = STATES
    template: str = ""
    started_after: dt.datetime | None = None
    limit: int = _MAX_PAGE
    is_ascending: bool = False
    after: tuple[str, str] | None = None


def read_list(query: Mapping[str, str], *, default_states: tuple[str, ...] = STATES) -> ListQuery:
    """Read the query of a list.

    Raises:
        InvalidArgument: A field is wrong.
    """
    states = tuple(filter(None, query.get("state", "").split(","))) or default_states
    order = query.get("order", "desc")
    if not set(states) <= set(STATES):
        raise InvalidArgument("state must be running or paused", reason="INVALID_ARGUMENT", field="state")
    if order not in {"asc", "desc"}:
        raise InvalidArgument("order must be asc or desc", reason="INVALID_ARGUMENT", field="order")
    limit = values.integer({"limit": query.get("limit")}, "limit", _MAX_PAGE)
    if not 1 <= limit <= _MAX_PAGE:
        raise InvalidArgument(f"limit must be 1 to {_MAX_PAGE}", reason="INVALID_ARGUMENT", field="limit")
    return ListQuery(
        _read_metadata(query.get("metadata", "")),
        states,
        query.get("template", ""),
        _read_time(query.get("startedAfter", "")),
        limit,
        is_ascending=order == "asc",
        after=_read_token(query.get("nextToken", "")),
    )


def select_page(sessions: list[GatewaySession], query: ListQuery) -> tuple[list[GatewaySession], str]:
    """Return the sandboxes of a page, and the token of the next page or ""."""
    found = [each for each in sessions if _matches(each, query)]
    found.sort(key=_position, reverse=not query.is_ascending)
    if query.after is not None:
        after = query.after
        found = [each for each in found if (_position(each) > after) == query.is_ascending and _position(each) != after]
    page = found[: query.limit]
    return page, _make_token(page[-1]) if len(found) > len(page) else ""


def _matches(session: GatewaySession, query: ListQuery) -> bool:
    if state_of(session) not in query.states:
        return False
    if query.template and query.template != _template(session):
        return False
    return query.started_after is None or started_at(session) >= query.started_after


def _position(session: GatewaySession) -> tuple[str, str]:
    return started_at(session).isoformat(), identity.sandbox_id(session.info)


def _make_token(session: GatewaySession) -> str:
    return base64.urlsafe_b64encode(json.dumps(_position(session)).encode()).decode()


def _read_token(token: str) -> tuple[str, str] | None:
    if not token:
        return None
    try:
        start, identifier = json.loads(base64.urlsafe_b64decode(token))
    except (ValueError, TypeError, RecursionError):
        raise InvalidArgument("nextToken is not one of ours", reason="INVALID_ARGUMENT", field="nextToken") from None
    return str(start), str(identifier)


def _read_metadata(text: str) -> dict[str, str]:
    # The SDKs encode keys and values before they encode the pairs.
    pairs = urllib.parse.parse_qsl(text, keep_blank_values=True)
    return {urllib.parse.unquote(key): urllib.parse.unquote(value) for key, value in pairs}


def _read_time(text: str) -> dt.datetime | None:
    if not text:
        return None
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise InvalidArgument("startedAfter is not a time", reason="INVALID_ARGUMENT", field="startedAfter") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def _template(session: GatewaySession) -> str:
    return session.info.template or "base"


def _cores(quantity: Any) -> int:
    text = str(quantity or 0)
    try:
        return -(-int(text[:-1]) // 1000) if text.endswith("m") else -(-int(float(text) * 1000) // 1000)
    except (ValueError, OverflowError):
        return 0


def _time(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
