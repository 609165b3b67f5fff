"""Calls to a session's keeper over a unix socket: one line of JSON each way."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from sandbox_client import errors
from sandbox_client.errors import SandboxError, SandboxUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_client.local.named.record import Record

SOCKET: Final = "keeper.sock"
"""The socket's name in the folder of the run. That folder's path is short enough for a unix socket."""
Verb = Literal["suspend", "delete", "expire"]


async def call_keeper(record: Record, verb: Verb, *, seconds: float, **arguments: float) -> None:
    """Ask a session's keeper to do something, and wait until it has.

    Args:
        record: The session.
        verb: `suspend` saves and ends the session, `delete` ends it, `expire` moves the end of its lifetime.
        seconds: Time to wait for the answer.
        **arguments: Further fields of the request.

    Raises:
        SandboxError: The keeper's own error.
        SandboxUnavailable: The keeper does not answer.
    """
    path = Path(record.run.folder if record.run else "/nonexistent", SOCKET)
    answer: Any = None
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                writer.write(encode({"verb": verb, **arguments}))
                answer = json.loads(await reader.readline() or "null")
            finally:
                writer.close()
    except (OSError, ValueError, TimeoutError) as error:
        raise SandboxUnavailable(
            f"the process that keeps {record.address} does not answer: {error or type(error).__name__}",
            reason="KEEPER_UNAVAILABLE",
        ) from error
    if answer is None:
        raise SandboxUnavailable(f"the process that keeps {record.address} has ended", reason="KEEPER_UNAVAILABLE")
    if "error" in answer:
        raise error_of(answer)


def encode(value: Mapping[str, Any]) -> bytes:
    """Return a value as one line of JSON."""
    return json.dumps(value).encode() + b"\n"


def error_of(answer: Mapping[str, Any]) -> SandboxError:
    """Return the error that `SandboxError.to_dict` described."""
    class_ = getattr(errors, str(answer.get("type")), SandboxError)
    made: SandboxError = class_(answer["error"], reason=answer.get("reason", ""), field=answer.get("field", ""))
    return made
