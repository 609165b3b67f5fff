"""Messages of E2B's process service, and what they mean for our processes. Pure: no I/O."""

from __future__ import annotations

import base64
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.errors import InvalidArgument
from sandbox_client.models.results import Status
from sandbox_gateway.doors.e2b import values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sandbox_client.models.events import Exited
    from sandbox_client.models.process_info import ProcessInfo
    from sandbox_gateway.doors.e2b.envd.paths import Place

KEEPALIVE: Final[dict[str, Any]] = {"event": {"keepalive": {}}}
_SHELLS: Final = frozenset({"/bin/bash", "bash", "/usr/bin/bash"})
_SIGNAL_WORDS: Final[Mapping[int, str]] = {2: "interrupt", 9: "killed", 11: "segmentation fault", 15: "terminated"}
_SIGNALS: Final[Mapping[object, str]] = {"SIGNAL_SIGTERM": "TERM", 15: "TERM", "SIGNAL_SIGKILL": "KILL", 9: "KILL"}


@dataclass(frozen=True, slots=True)
class StartRequest:
    """A command to start.

    Attributes:
        command: A line for bash, or a list of arguments.
        cwd: The folder, relative to the workspace.
        env: Environment variables.
        keep_input: Whether standard input stays open.
        terminal: Rows and columns, or None.
        tag: The client's word for it, or "".
    """

    command: str | list[str]
    cwd: str
    env: dict[str, str]
    keep_input: bool
    terminal: tuple[int, int] | None
    tag: str = ""


def read_start(message: dict[str, Any], place: Place) -> StartRequest:
    """Read the request to start a command.

    Raises:
        InvalidArgument: A field is wrong.
    """
    process = values.child(message, "process")
    command, arguments = values.text(process, "cmd"), values.texts(process, "args")
    if not command:
        raise InvalidArgument("process.cmd is missing", reason="INVALID_ARGUMENT", field="process.cmd")
    terminal = read_size(message) if message.get("pty") is not None else None
    return StartRequest(
        _command(command, arguments),
        place.to_files(values.text(process, "cwd"), "cwd"),
        values.text_map(process, "envs"),
        keep_input=values.flag(message, "stdin", default=True),
        terminal=terminal,
        tag=values.text(message, "tag"),
    )


def _command(command: str, arguments: list[str]) -> str | list[str]:
    # A login shell would read /etc/profile, which replaces the PATH of the session.
    match arguments:
        case ["-l", "-c", line] if command in _SHELLS:
            return line
        case ["-i", "-l"] if command in _SHELLS:
            return [command, "-i"]
    return [command, *arguments]


def read_size(message: dict[str, Any]) -> tuple[int, int]:
    """Return the rows and columns of a terminal."""
    size = values.child(values.child(message, "pty"), "size")
    return values.integer(size, "rows", 24), values.integer(size, "cols", 80)


def select(message: dict[str, Any], processes: Sequence[ProcessInfo]) -> ProcessInfo | None:
    """Return the running process that a request is about, or None if there is none.

    Raises:
        InvalidArgument: The request names no process.
    """
    selector = values.child(message, "process")
    if "tag" in selector:
        tag = values.text(selector, "tag")
        return next((each for each in processes if each.running and tag and each.tag == tag), None)
    if "pid" not in selector:
        raise InvalidArgument("process.pid is missing", reason="INVALID_ARGUMENT", field="process")
    pid = values.integer(selector, "pid")
    return next((each for each in processes if each.running and each.pid == pid), None)


def describe_selector(message: dict[str, Any]) -> str:
    """Return the words for the process that a request is about."""
    selector = values.child(message, "process")
    return f"process with tag {selector['tag']}" if "tag" in selector else f"process with pid {selector.get('pid')}"


def read_input(message: dict[str, Any]) -> bytes:
    """Return the input in a request."""
    given = values.child(message, "input")
    field = next((field for field in ("stdin", "pty") if field in given), None)
    if field is None:
        raise InvalidArgument("input.stdin or input.pty is missing", reason="INVALID_ARGUMENT", field="input")
    return values.binary(given, field)


def read_signal(message: dict[str, Any]) -> str:
    """Return the name of the signal in a request."""
    name = _SIGNALS.get(message.get("signal") if isinstance(message.get("signal"), str | int) else None)
    if name is None:
        raise InvalidArgument(
            "signal must be SIGNAL_SIGTERM or SIGNAL_SIGKILL", reason="INVALID_ARGUMENT", field="signal"
        )
    return name


def process_message(info: ProcessInfo, place: Place) -> dict[str, Any]:
    """Return a running process as a list shows it."""
    arguments = ["-i", "-l"] if info.has_terminal else ["-l", "-c", info.command]
    # The values of variables may be secrets, so the agent does not list them.
    config = {
        "cmd": "/bin/bash",
        "args": arguments,
        "envs": dict.fromkeys(info.env_names, ""),
        "cwd": place.to_absolute(info.cwd),
    }
    return {"pid": info.pid, "config": config, **({"tag": info.tag} if info.tag else {})}


def start_event(pid: int) -> dict[str, Any]:
    """Return the first event of a process."""
    return {"event": {"start": {"pid": pid}}}


def data_event(data: bytes, stream: str) -> dict[str, Any]:
    """Return output as an event.

    Args:
        data: The bytes.
        stream: `stdout`, `stderr` or `pty`.
    """
    return {"event": {"data": {stream: base64.b64encode(data).decode()}}}


def end_event(exited: Exited) -> dict[str, Any]:
    """Return the last event of a process, in the words of Go's os/exec."""
    if exited.signal or exited.status in {Status.KILLED, Status.OOM_KILLED}:
        code, status = -1, f"signal: {_signal_name(exited.signal or signal.SIGKILL)}"
    else:
        code, status = exited.exit_code, f"exit status {exited.exit_code}"
    end: dict[str, Any] = {"exitCode": code, "exited": code >= 0, "status": status}
    if code:
        end["error"] = f"{status}: {exited.message}" if exited.message else status
    return {"event": {"end": end}}


def _signal_name(number: int) -> str:
    return _SIGNAL_WORDS.get(number, f"signal {number}")
