"""Checks clients' requests about background processes and turns them into arguments of the link. Pure.

Errors: OperationError INVALID_ARGUMENT, naming the request's field, or NOT_FOUND for an impossible process id.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any, Final

from sandbox_agent.durations import duration_seconds
from sandbox_agent.executions.requests import MAX_ID, check_request_id, read_command
from sandbox_link.protocol import OperationError, invalid

if TYPE_CHECKING:
    from sandbox_proto.v1 import process_pb2

MAX_SEND: Final = 1 << 20
MAX_TAG: Final = 256
"""Characters."""
_MAX_SIGNAL: Final = 64
_MAX_SIDE: Final = 65535


def read_start(request: process_pb2.StartRequest) -> dict[str, Any]:
    """Return the arguments of the link's `process.start`, without id and label."""
    arguments = {**read_command(request.run), "end": request.end_input}
    if len(request.tag) > MAX_TAG or "\0" in request.tag:
        raise invalid("tag", f"the tag has more than {MAX_TAG} characters, or a NUL character: choose a shorter one")
    if request.run.HasField("timeout"):
        seconds = duration_seconds(request.run.timeout)
        if not 0 < seconds < float("inf"):
            raise invalid("timeout", "a timeout must be longer than 0: leave it out for no limit", "INVALID_TIMEOUT")
        arguments["timeout"] = seconds
    if request.run.keep_input:
        raise invalid("keep_input", "a background process keeps its input unless `end_input` is set: leave it out")
    if request.run.end_with_client:
        raise invalid("end_with_client", "a background process outlives its client: use Run instead")
    if request.HasField("terminal"):
        if request.end_input:
            raise invalid("end_input", "end_input needs pipes: a terminal's input ends with ^D")
        arguments |= read_size(request.terminal)
    return arguments


def read_size(size: process_pb2.TerminalSize) -> dict[str, int]:
    """Return the arguments `rows` and `columns`."""
    if not (1 <= size.rows <= _MAX_SIDE and 1 <= size.columns <= _MAX_SIDE):
        raise invalid(
            "terminal", f"a terminal has 1 to {_MAX_SIDE} rows and 1 to {_MAX_SIDE} columns: choose a size in between"
        )
    return {"rows": size.rows, "columns": size.columns}


def read_offset(request: process_pb2.AttachRequest, end: int) -> int:
    """Return the position at which to begin."""
    if request.offset > end:
        raise invalid(
            "offset", f"offset is behind the end of the output: give at most {end}, the number of bytes written so far"
        )
    return request.offset


def read_input(request: process_pb2.SendInputRequest) -> dict[str, Any]:
    """Return the arguments of the link's `process.input`."""
    if len(request.data) > MAX_SEND:
        raise invalid("data", f"data has more than {MAX_SEND} bytes: send it in pieces")
    check_request_id(request.request_id)
    if request.request_id and request.process_id:
        raise invalid("request_id", "give either a process_id or a request_id")
    process_id = "" if request.request_id else _id(request.process_id)
    return {"process_id": process_id, "data_bytes": len(request.data), "end": request.end}


def read_signal(request: process_pb2.SignalRequest) -> dict[str, Any]:
    """Return the arguments of the link's `process.signal`."""
    number = request.signal
    if request.name:
        if number:
            raise invalid("signal", "give the signal as a number or as a name, not both")
        number = _signal_number(request.name)
    if not 1 <= number <= _MAX_SIGNAL:
        raise invalid("signal", f"signal must be a number from 1 to {_MAX_SIGNAL}, or a name such as TERM")
    if not request.request_id:
        return {"process_id": _id(request.process_id), "signal": number}
    check_request_id(request.request_id)
    if request.process_id:
        raise invalid("request_id", "give either a process_id or a request_id")
    if number != signal.SIGKILL:
        raise invalid("signal", "signal must be KILL for a request_id; send others to the process_id in `started`")
    return {"signal": number}


def _signal_number(name: str) -> int:
    known = name.upper().removeprefix("SIG")
    try:
        return signal.Signals[f"SIG{known}"].value
    except KeyError:
        message = f"there is no signal {name[:32]!r}: use a name that kill -l lists, such as TERM, INT or KILL"
        raise invalid("signal", message) from None


def _id(process_id: str) -> str:
    if not 0 < len(process_id) <= MAX_ID:
        raise OperationError(
            "NOT_FOUND",
            "UNKNOWN_PROCESS",
            f"there is no process {process_id[:MAX_ID]!r}: list the processes",
            "process_id",
        )
    return process_id
