"""Starts, shows, lists and ends the sessions of a code interpreter."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.errors import InvalidArgument, NotFound
from sandbox_client.lifecycle.session_info import format_time
from sandbox_gateway.backend import NewSession
from sandbox_gateway.doors.agentcore.identifiers import session_id
from sandbox_gateway.doors.agentcore.requests import DEFAULT_SECONDS, next_token

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_gateway.backend import Backend, Caller, GatewaySession
    from sandbox_gateway.doors.agentcore.identifiers import Interpreter
    from sandbox_gateway.doors.agentcore.requests import ListPage, Start

INTERPRETER: Final = "agentcore.interpreter"
NAME: Final = "agentcore.name"
SECONDS: Final = "agentcore.seconds"
_ENDED: Final = frozenset({"Failed", "Terminating"})
_NO_TIME: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


async def start(backend: Backend, caller: Caller, interpreter: Interpreter, wanted: Start) -> dict[str, Any]:
    """Create a session and wait until it takes calls. A repeat with the same client token returns the same session.

    Raises:
        InvalidArgument: The client token was used for a session with other parameters.
        SandboxError: From the backend.
    """
    metadata = {INTERPRETER: interpreter.identifier, NAME: wanted.name, SECONDS: str(wanted.seconds)}
    new = NewSession(
        name=session_id(caller.name, interpreter.identifier, wanted.client_token),
        template=interpreter.template,
        seconds=wanted.seconds,
        metadata=metadata,
        egress=interpreter.egress,
    )
    session = await backend.create(caller, new)
    if any(session.metadata.get(key) != value for key, value in metadata.items()):
        raise InvalidArgument(
            f"clientToken was used for session {session.info.name} with another name or timeout: give a new one",
            reason="IDEMPOTENT_MISMATCH",
            field="clientToken",
        )
    return {
        "codeInterpreterIdentifier": interpreter.identifier,
        "sessionId": session.info.name,
        "createdAt": _time(session.info.created_at),
    }


async def find(backend: Backend, caller: Caller, interpreter: Interpreter, name: str) -> GatewaySession:
    """Return a session. One that was created through another door belongs to every code interpreter.

    Raises:
        NotFound: There is no such session, or it belongs to another code interpreter.
        SandboxError: From the backend.
    """
    session = await backend.get(caller, name)
    if session.metadata.get(INTERPRETER, interpreter.identifier) != interpreter.identifier:
        message = f"code interpreter {interpreter.identifier} has no session {name}"
        raise NotFound(message, reason="SESSION_NOT_FOUND", field="sessionId")
    return session


def describe(session: GatewaySession, interpreter: Interpreter) -> dict[str, Any]:
    """Return what GetCodeInterpreterSession shows of a session."""
    shown = {
        "codeInterpreterIdentifier": interpreter.identifier,
        "sessionId": session.info.name,
        "createdAt": _time(session.info.created_at),
        "sessionTimeoutSeconds": _seconds(session.metadata),
        "status": _status(session),
    }
    name = session.metadata.get(NAME)
    return {**shown, "name": name} if name else shown


async def list_page(backend: Backend, caller: Caller, interpreter: Interpreter, page: ListPage) -> dict[str, Any]:
    """Return a page of the sessions that were created through this code interpreter."""
    found = await backend.list(caller, {INTERPRETER: interpreter.identifier})
    found = sorted(found, key=lambda session: session.info.name)
    rest = [session for session in found if session.info.name > page.after and page.status in ("", _status(session))]
    items = [_summary(session, interpreter) for session in rest[: page.size]]
    if len(rest) > page.size:
        return {"items": items, "nextToken": next_token(items[-1]["sessionId"])}
    return {"items": items}


async def stop(backend: Backend, caller: Caller, interpreter: Interpreter, name: str) -> dict[str, Any]:
    """End a session.

    Raises:
        NotFound: There is no such session.
        SandboxError: From the backend.
    """
    await find(backend, caller, interpreter, name)
    await backend.delete(caller, name)
    return {
        "codeInterpreterIdentifier": interpreter.identifier,
        "sessionId": name,
        "lastUpdatedAt": _time(dt.datetime.now(dt.UTC)),
    }


def _summary(session: GatewaySession, interpreter: Interpreter) -> dict[str, Any]:
    shown = describe(session, interpreter)
    shown.pop("sessionTimeoutSeconds")
    return {**shown, "lastUpdatedAt": _time(session.info.last_active_at or session.info.created_at)}


def _status(session: GatewaySession) -> str:
    return "TERMINATED" if session.info.phase in _ENDED else "READY"


def _seconds(metadata: Mapping[str, str]) -> int:
    text = metadata.get(SECONDS, "")
    return int(text) if text.isascii() and text.isdigit() else DEFAULT_SECONDS


def _time(moment: dt.datetime | None) -> str:
    return format_time(moment or _NO_TIME)
