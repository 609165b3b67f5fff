"""JSON of the control API, there and back. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sandbox_client import errors
from sandbox_client.errors import InvalidArgument, SandboxError
from sandbox_gateway.backend import NewSession
from sandbox_gateway.backends.limits import OPTIONS, check_bound

if TYPE_CHECKING:
    import datetime as dt

    from sandbox_client.transport.endpoint import Endpoint
    from sandbox_gateway.backend import GatewaySession

_FIELDS: Final[dict[str, type | tuple[type, ...]]] = {
    "name": str,
    "template": str,
    "seconds": (int, float),
    "on_timeout": str,
    "env": dict,
    "metadata": dict,
    "egress": str,
    "ephemeral": bool,
}
STATUS: Final[dict[type[SandboxError], int]] = {
    errors.InvalidArgument: 400,
    errors.Unauthenticated: 401,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.FailedPrecondition: 409,
    errors.ResourceExhausted: 429,
    errors.NotSupported: 501,
    errors.SandboxUnavailable: 503,
    errors.DeadlineExceeded: 504,
}
"""The status of each error; 500 for the rest."""


def read_new(body: Any) -> NewSession:
    """Return the session that a request describes. A field that is null counts as missing.

    Raises:
        InvalidArgument: A field is unknown or has the wrong type; `field` names it.
    """
    given = {name: value for name, value in read_object(body).items() if value is not None}
    if unknown := sorted(given.keys() - _FIELDS.keys() - OPTIONS):
        known = ", ".join([*_FIELDS, *sorted(OPTIONS)])
        # JSON may have halves of characters, which an answer may not.
        shown = unknown[0].encode(errors="replace").decode()
        raise InvalidArgument(f"{unknown[0]!r} is not a field of a new session: they are {known}", field=shown)
    for name, types in _FIELDS.items():
        if name in given and (not isinstance(given[name], types) or isinstance(given[name], bool) != (types is bool)):
            raise InvalidArgument(f"{name} is of the wrong type", field=name)
    # As for a session that was created without a gateway: its files are kept.
    given.setdefault("on_timeout", "suspend")
    options = {name: given.pop(name) for name in OPTIONS if name in given}
    return NewSession(is_ephemeral=given.pop("ephemeral", False), **given, options=options)


def read_object(body: Any) -> dict[str, Any]:
    """Return a body that must be an object.

    Raises:
        InvalidArgument: It is something else.
    """
    if not isinstance(body, dict):
        raise InvalidArgument("the body is not a JSON object", field="body")
    return body


def read_seconds(body: Any, *, is_needed: bool) -> float | None:
    """Return the field `seconds` of a body.

    Raises:
        InvalidArgument: It is missing, no number, or too large.
    """
    seconds = read_object(body).get("seconds")
    if seconds is None and not is_needed:
        return None
    if not isinstance(seconds, int | float) or isinstance(seconds, bool):
        raise InvalidArgument("seconds is not a number", field="seconds")
    return check_bound(seconds)


def write_session(session: GatewaySession) -> dict[str, Any]:
    """Return a session as JSON. It has no secret: values of environment variables are not in it."""
    info = session.info
    return {
        "name": info.name,
        "namespace": info.namespace,
        "uid": session.uid,
        "phase": info.phase,
        "reason": info.reason,
        "message": info.message,
        "template": info.template,
        "workspace": info.workspace,
        "egress": info.egress,
        "labels": dict(info.labels),
        "metadata": dict(session.metadata),
        "is_suspended": info.is_suspended,
        "created_at": write_time(info.created_at),
        "started_at": write_time(info.started_at),
        "last_active_at": write_time(info.last_active_at),
        "expires_at": write_time(info.expires_at),
    }


def write_endpoint(endpoint: Endpoint) -> dict[str, str]:
    """Return what a client needs to dial an agent. It has the session's token."""
    life = endpoint.life
    return {
        "address": endpoint.address,
        "server_name": endpoint.server_name,
        "ca_certificate": endpoint.ca_certificate.decode(),
        "token": endpoint.token,
        "run": f"{life.session_uid}/{life.pod}/{life.started_at}",
    }


def write_time(moment: dt.datetime | None) -> str | None:
    """Return a time as RFC 3339, or None."""
    return moment.isoformat() if moment else None


def write_error(error: SandboxError) -> tuple[int, dict[str, str]]:
    """Return the status and the body of an error."""
    return STATUS.get(type(error), 500), error.to_dict()
