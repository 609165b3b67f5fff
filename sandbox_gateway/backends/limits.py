"""Checks what a caller asks for against the caller's limits. Pure."""

from __future__ import annotations

import datetime as dt
import hashlib
import math
import secrets
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sandbox_client.errors import FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted
from sandbox_client.lifecycle.durations import parse_duration
from sandbox_gateway.access.windows import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sandbox_gateway.backend import Caller, GatewaySession, NewSession

OPTIONS: Final = frozenset(
    {"idle_timeout", "lifetime", "on_idle", "resources", "workspace", "keep_variables", "labels"}
)
"""Keys of `NewSession.options`. `spec` is not among them: it could undo what the others check."""
MAX_METADATA: Final = 64 << 10
"""Bytes of a session's metadata. An annotation holds 256 KiB, together with all others."""
MAX_SECONDS: Final = 10 * 365 * 24 * 3600
_WOKEN_SECONDS: Final = 3600.0
"""Time of a session that is resumed after its end, if nothing says how long it is to last."""


class Rates:
    """Bounds the sessions that each caller creates in a minute. Each replica of the gateway has its own.

    Args:
        clock: Returns the current time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._windows: dict[int, Window] = {}

    def count(self, caller: Caller) -> None:
        """Count one session.

        Raises:
            ResourceExhausted: The caller has created too many within a minute.
        """
        limit = caller.per_minute
        if limit is None:
            return
        message = f"this key may create {limit} sessions in a minute"
        if limit < 1:
            raise ResourceExhausted(message, reason="TOO_MANY_REQUESTS")
        window = self._windows.setdefault(limit, Window(limit, 60, self._clock))
        who = f"{caller.namespace}/{caller.name}"
        if (seconds := window.wait(who)) > 0:
            raise ResourceExhausted(f"{message}: wait {math.ceil(seconds)} s", reason="TOO_MANY_REQUESTS")
        window.add(who)


def complete_new(caller: Caller, new: NewSession, aliases: Mapping[str, str]) -> NewSession:
    """Return a new session with its name, the template that its alias stands for, and its time within the limits.

    Raises:
        InvalidArgument: A value is wrong, or the time is longer than the caller may have; `field` names it.
        NotFound: The caller may not use the template.
    """
    texts = {"name": [new.name], "template": [new.template]}
    for field, words in (("metadata", new.metadata), ("env", new.env)):
        if not all(isinstance(key, str) and isinstance(value, str) for key, value in words.items()):
            raise InvalidArgument(f"each key and value of {field} must be a text", field=field)
        texts[field] = [*words, *words.values()]
    for field, values in texts.items():
        _check_unicode(values, field)
    template = aliases.get(new.template, new.template)
    if caller.templates is not None and (template or "default") not in caller.templates:
        raise NotFound(
            f"there is no template {new.template or 'default'}", reason="TEMPLATE_NOT_FOUND", field="template"
        )
    if new.on_timeout not in ("delete", "suspend"):
        raise InvalidArgument(f"{new.on_timeout!r} is neither 'delete' nor 'suspend'", field="on_timeout")
    if new.egress not in ("", "none", "allowlist", "public"):
        raise InvalidArgument(f"{new.egress!r} is none of none, allowlist, public", field="egress")
    if unknown := ", ".join(sorted(new.options.keys() - OPTIONS)):
        raise InvalidArgument(f"{unknown} is not an option of a new session", field=unknown)
    lifetime = new.options.get("lifetime")
    if lifetime is not None:
        # Otherwise it would be the way around the limit.
        check_seconds(caller, parse_duration(lifetime, "lifetime").total_seconds())
    if sum(len(key.encode()) + len(value.encode()) for key, value in new.metadata.items()) > MAX_METADATA:
        raise InvalidArgument(f"the metadata has more than {MAX_METADATA >> 10} KiB", field="metadata")
    seconds = caller.max_seconds if new.seconds is None else check_seconds(caller, new.seconds)
    # Small letters and digits alone are allowed in every protocol.
    return replace(new, name=new.name or f"s{secrets.token_hex(10)}", template=template, seconds=seconds)


def check_bound(seconds: float) -> float:
    """Return a number of seconds that a session may have for any caller.

    Raises:
        InvalidArgument: It is not a number, not positive, or too large.
    """
    if not isinstance(seconds, int | float) or not 0 < seconds <= MAX_SECONDS:
        message = f"seconds must be a number that is more than 0, and at most {MAX_SECONDS} (10 years)"
        raise InvalidArgument(message, field="seconds")
    return float(seconds)


def check_seconds(caller: Caller, seconds: float) -> float:
    """Return a number of seconds that a session may have from its start.

    Raises:
        InvalidArgument: It is not positive, or more than the caller may have.
    """
    check_bound(seconds)
    if caller.max_seconds is not None and seconds > caller.max_seconds:
        message = f"{seconds:g} s is longer than this key allows: at most {caller.max_seconds:g} s"
        raise InvalidArgument(message, reason="LIFETIME_BOUND", field="seconds")
    return float(seconds)


def check_deadline(caller: Caller, session: GatewaySession, seconds: float, now: dt.datetime) -> None:
    """Check that a session's new end is not too long after the start of its current run.

    Raises:
        InvalidArgument: The number of seconds is wrong.
        FailedPrecondition: The session would last longer than the caller may have.
    """
    check_seconds(caller, seconds)
    since = session.info.started_at or now
    if caller.max_seconds is not None and (now - since).total_seconds() + seconds > caller.max_seconds:
        message = f"the session may last {caller.max_seconds:g} s from its start with this key, which would be exceeded"
        raise FailedPrecondition(message, reason="LIFETIME_BOUND", field="seconds")


def check_resume(caller: Caller, session: GatewaySession, seconds: float, now: dt.datetime) -> None:
    """Check the new end of a session that is to be resumed. One that runs already goes on, so its start counts.

    Raises:
        InvalidArgument: The number of seconds is wrong.
        FailedPrecondition: The session would last longer than the caller may have.
    """
    if is_suspended(session):
        check_seconds(caller, seconds)
    else:
        check_deadline(caller, session, seconds, now)


def wake_seconds(caller: Caller, session: GatewaySession, now: dt.datetime) -> float | None:
    """Return how long a session that is resumed lasts, or None if its end stays as it is.

    A session whose end has passed would be suspended again at once. So it gets the time that it had in the beginning.
    """
    end = session.info.expires_at
    if not is_suspended(session) or end is None or end > now:
        return None
    seconds = session.seconds or caller.max_seconds or _WOKEN_SECONDS
    return seconds if caller.max_seconds is None else min(seconds, caller.max_seconds)


def check_wake(caller: Caller, woken: GatewaySession, sessions: Sequence[GatewaySession]) -> None:
    """Check the count again, with what others have started while a session was resumed.

    The latest are refused. Of several that started in the same second, all are.

    Raises:
        ResourceExhausted: More run than the caller may have.
    """
    before = [each for each in running_of(caller, sessions) if each.uid != woken.uid and _start(each) <= _start(woken)]
    if woken.owner == caller.name and caller.max_sessions is not None and len(before) >= caller.max_sessions:
        raise too_many(caller, len(before))


def check_count(caller: Caller, sessions: Sequence[GatewaySession], uid: str = "") -> None:
    """Check that one more session of a caller may run.

    Args:
        caller: The caller.
        sessions: All sessions that the caller can see.
        uid: The session that is to be resumed; "" for a new one.

    Raises:
        ResourceExhausted: As many run as the caller may have.
    """
    running = [each for each in running_of(caller, sessions) if each.uid != uid or not uid]
    if caller.max_sessions is not None and len(running) >= caller.max_sessions:
        raise too_many(caller, len(running))


def running_of(caller: Caller, sessions: Sequence[GatewaySession]) -> list[GatewaySession]:
    """Return the sessions of a caller that run or start, oldest first."""
    mine = [each for each in sessions if each.owner == caller.name and not _is_over(each)]
    return sorted(mine, key=lambda each: (each.info.created_at or dt.datetime.max.replace(tzinfo=dt.UTC), each.uid))


def too_many(caller: Caller, count: int) -> ResourceExhausted:
    """Return the error for one session too many."""
    message = f"{count} sessions of this key run, and it allows {caller.max_sessions}: delete or suspend one"
    return ResourceExhausted(message, reason="TOO_MANY_SESSIONS")


def check_visible(caller: Caller, session: GatewaySession) -> GatewaySession:
    """Return a session of the caller's namespace that the caller may see.

    Raises:
        NotFound: It is another's, and this caller sees only its own.
    """
    if not _is_visible(caller, session):
        raise NotFound(f"there is no session {session.info.name}", reason="NOT_FOUND")
    return session


def own_workspace(caller: Caller, new: NewSession) -> str | None:
    """Return the name of a new session's workspace, or None for the session's own name.

    Workspaces outlast their sessions. So one that is named after a deleted session would have the files of its owner.
    """
    given: str | None = new.options.get("workspace")
    if not caller.sees_own_only:
        return given
    text = f"{caller.name}\0{given or new.name}"
    return f"own-{hashlib.sha256(text.encode()).hexdigest()[:40]}"


def select(
    caller: Caller, sessions: Sequence[GatewaySession], metadata: Mapping[str, str] | None
) -> list[GatewaySession]:
    """Return the sessions that the caller may see and that have all of these words, oldest first."""
    oldest = dt.datetime.min.replace(tzinfo=dt.UTC)
    visible = [each for each in sessions if _is_visible(caller, each)]
    found = [each for each in visible if (metadata or {}).items() <= dict(each.metadata).items()]
    return sorted(found, key=lambda each: (each.info.created_at or oldest, each.info.name))


def is_suspended(session: GatewaySession) -> bool:
    """Return whether a session is suspended, or is to be."""
    return session.info.is_suspended or session.info.phase in ("Suspended", "Suspending")


def refuse_suspended(name: str) -> FailedPrecondition:
    """Return the error for a call to a suspended session that is not to be resumed."""
    return FailedPrecondition(f"session {name} is suspended: resume it first", reason="SUSPENDED")


def _check_unicode(values: Iterable[str], field: str) -> None:
    try:
        for value in values:
            value.encode()
    except UnicodeEncodeError as error:
        message = f"{field} has {error.object[error.start : error.end]!r}, which is half a character: send whole ones"
        raise InvalidArgument(message, field=field) from None


def _is_visible(caller: Caller, session: GatewaySession) -> bool:
    return not caller.sees_own_only or session.owner == caller.name


def _is_over(session: GatewaySession) -> bool:
    # One that is being resumed has the phase from before, and counts already.
    return session.info.is_suspended or session.info.phase in ("Failed", "Terminating")


def _start(session: GatewaySession) -> dt.datetime:
    return session.info.started_at or session.info.created_at or dt.datetime.max.replace(tzinfo=dt.UTC)
