"""Builds protocol messages from a caller's arguments, and rejects values that a message cannot carry. Pure: no I/O."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import TYPE_CHECKING, Final, Unpack

from sandbox_client.errors import InvalidArgument
from sandbox_client.options import RUN_DEFAULTS, RunOptions, complete
from sandbox_proto.v1 import interpreter_pb2, process_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import PurePosixPath

_TYPE_CHECKS: Final = {
    "report": interpreter_pb2.TYPE_CHECK_REPORT,
    "require": interpreter_pb2.TYPE_CHECK_REQUIRE,
    "only": interpreter_pb2.TYPE_CHECK_ONLY,
}


MAX_INPUT_MESSAGE: Final = 1 << 20
"""Bytes of input in one message."""
MAX_COMMAND: Final = 2 << 20
"""Bytes of a command. A message has at most 4 MiB, with input and environment."""


def command_request(command: str | Sequence[str], **options: Unpack[RunOptions]) -> process_pb2.RunRequest:
    """Build the message for a command. Its `stdin` may be larger than one message: see `split_input`.

    Raises:
        InvalidArgument: The command is empty, too long or not valid Unicode text, or `timeout` is not a time.
        TypeError: There is no option of that name.
    """
    if not command:
        raise InvalidArgument(
            "the command is empty: give a line for the shell, or a list of words",
            reason="INVALID_ARGUMENT",
            field="command",
        )
    if len(command) > MAX_COMMAND or sum(map(len, command)) > MAX_COMMAND:
        raise InvalidArgument(
            f"the command has more than {MAX_COMMAND} characters: write it to a file and run that",
            reason="INVALID_ARGUMENT",
            field="command",
        )
    chosen = complete(options, RUN_DEFAULTS)
    stdin = chosen["stdin"]
    return process_pb2.RunRequest(
        shell=checked_text(command, "command") if isinstance(command, str) else None,
        argv=None if isinstance(command, str) else process_pb2.Argv(args=list(command)),
        cwd=str(chosen["cwd"]),
        env=chosen["env"] or {},
        timeout=duration(chosen["timeout"]),
        stdin=stdin.encode() if isinstance(stdin, str) else stdin,
        request_id=chosen["request_id"] or uuid.uuid4().hex,
    )


def split_input(request: process_pb2.RunRequest) -> memoryview:
    """Leave the first message's share of standard input in a request of Run, and return the rest."""
    stdin = request.stdin
    if len(stdin) <= MAX_INPUT_MESSAGE:
        return memoryview(b"")
    request.stdin, request.keep_input = stdin[:MAX_INPUT_MESSAGE], True
    return memoryview(stdin)[MAX_INPUT_MESSAGE:]


def type_check_number(mode: str | None) -> interpreter_pb2.TypeCheck:
    """Return the protocol's number for a type check, or TYPE_CHECK_UNSPECIFIED for None.

    Raises:
        InvalidArgument: There is no type check of that name.
    """
    if mode is not None and mode not in _TYPE_CHECKS:
        message = f"there is no type check {mode!r}: use {', '.join(_TYPE_CHECKS)}, or leave it out"
        raise InvalidArgument(message, reason="INVALID_ARGUMENT", field="type_check")
    return interpreter_pb2.TYPE_CHECK_UNSPECIFIED if mode is None else _TYPE_CHECKS[mode]


def checked_text(text: str, field: str) -> str:
    """Return the text if it can be sent.

    Raises:
        InvalidArgument: It contains half of a surrogate pair.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgument(
            f"{field} has characters that cannot be sent ({error.reason}): remove them",
            reason="INVALID_ARGUMENT",
            field=field,
        ) from error
    return text


def checked_path(path: str | PurePosixPath, field: str = "path") -> str:
    """Return the path as text if it can be sent.

    Raises:
        InvalidArgument: It contains half of a surrogate pair, as the names of files that are not UTF-8 do.
    """
    return checked_text(str(path), field)


def duration(seconds: float | None, field: str = "timeout") -> dt.timedelta | None:
    """Return seconds as a message's Duration, or None for None.

    Raises:
        InvalidArgument: It is not a valid time.
    """
    if seconds is None:
        return None
    try:
        return dt.timedelta(seconds=float(seconds))
    except (ValueError, OverflowError) as error:
        raise InvalidArgument(
            f"{field} cannot be {seconds} s: give a number of seconds", reason="INVALID_TIMEOUT", field=field
        ) from error
