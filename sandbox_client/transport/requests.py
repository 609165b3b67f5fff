"""Messages made from what callers give, checked as far as a message cannot hold it. Pure: no I/O."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import TYPE_CHECKING, Final

from sandbox_client.errors import InvalidArgument
from sandbox_proto.v1 import interpreter_pb2, process_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import PurePosixPath

_TYPE_CHECKS: Final = {
    "report": interpreter_pb2.TYPE_CHECK_REPORT,
    "require": interpreter_pb2.TYPE_CHECK_REQUIRE,
    "only": interpreter_pb2.TYPE_CHECK_ONLY,
}


def command_request(
    command: str | Sequence[str],
    *,
    cwd: str | PurePosixPath = "",
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
    stdin: bytes | str = b"",
    request_id: str | None = None,
) -> process_pb2.RunRequest:
    """The message for a command.

    Raises:
        InvalidArgument: It is empty, no Unicode text, or `timeout` is no time.
    """
    if not command:
        raise InvalidArgument("give a command line or a list of words", reason="INVALID_ARGUMENT", field="command")
    return process_pb2.RunRequest(
        shell=checked_text(command, "command") if isinstance(command, str) else None,
        argv=None if isinstance(command, str) else process_pb2.Argv(args=list(command)),
        cwd=str(cwd),
        env=env or {},
        timeout=duration(timeout),
        stdin=stdin.encode() if isinstance(stdin, str) else stdin,
        request_id=request_id or uuid.uuid4().hex,
    )


def type_check_number(mode: str | None) -> interpreter_pb2.TypeCheck:
    """The protocol's number of a type check.

    Raises:
        InvalidArgument: There is none of that name.
    """
    if mode is not None and mode not in _TYPE_CHECKS:
        message = f"{mode!r} is none of {', '.join(_TYPE_CHECKS)}"
        raise InvalidArgument(message, reason="INVALID_ARGUMENT", field="type_check")
    return interpreter_pb2.TYPE_CHECK_UNSPECIFIED if mode is None else _TYPE_CHECKS[mode]


def checked_text(text: str, field: str) -> str:
    """Text that can be sent.

    Raises:
        InvalidArgument: It holds half of a surrogate pair.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgument(
            f"it is no Unicode text: {error.reason}", reason="INVALID_ARGUMENT", field=field
        ) from error
    return text


def checked_path(path: str | PurePosixPath, field: str = "path") -> str:
    """A path that can be sent.

    Raises:
        InvalidArgument: It holds half of a surrogate pair, as the names of files that are not UTF-8 do.
    """
    return checked_text(str(path), field)


def duration(seconds: float | None) -> dt.timedelta | None:
    """Seconds for a message.

    Raises:
        InvalidArgument: It is no time.
    """
    if seconds is None:
        return None
    try:
        return dt.timedelta(seconds=seconds)
    except (ValueError, OverflowError) as error:
        raise InvalidArgument(f"{seconds} is no time in seconds", reason="INVALID_TIMEOUT", field="timeout") from error
