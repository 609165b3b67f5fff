"""The state and output of background processes. Pure: no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandbox_client.models.events import Exited, read_exited
from sandbox_client.models.readable import Readable, format_time
from sandbox_client.models.results import Status
from sandbox_client.models.timestamps import read_time

if TYPE_CHECKING:
    from datetime import datetime

    from sandbox_proto.v1 import process_pb2


@dataclass(frozen=True, slots=True, repr=False)
class ProcessInfo(Readable):
    """The state of a background process.

    Attributes:
        id: The agent's id for the process.
        pid: The process id inside the sandbox.
        command: The shell line, or the arguments quoted for a shell.
        started_at: Aware, in UTC.
        running: Whether the process is running.
        exited: How the process ended, or None while it is running.
        output_bytes: Bytes that it has written so far.
        output_start: Offset of the first byte that the agent still keeps.
        has_terminal: Whether it runs in a terminal.
        tag: The word that its caller gave it.
        cwd: The folder in which it started, as it was given.
        env_names: Names of the variables that it was given, sorted.
    """

    id: str
    pid: int = 0
    command: str = ""
    started_at: datetime | None = None
    running: bool = True
    exited: Exited | None = None
    output_bytes: int = 0
    output_start: int = 0
    has_terminal: bool = False
    tag: str = ""
    cwd: str = "."
    env_names: tuple[str, ...] = ()

    def row(self) -> dict[str, str]:
        """Return the texts of a listing."""
        state = "running"
        if self.exited is not None:
            state = f"exit code {self.exited.exit_code}" if self.exited.status is Status.OK else self.exited.status
        started = format_time(self.started_at)
        return {"id": self.id, "pid": str(self.pid), "state": state, "started": started, "command": self.command}


@dataclass(frozen=True, slots=True, repr=False)
class ProcessOutput(Readable):
    """A piece of a process's output.

    Attributes:
        data: Bytes as written; a character may be cut at either end.
        offset: Position of the first byte in all output of the process.
        is_stderr: Whether the bytes were written to standard error.
    """

    data: bytes
    offset: int
    is_stderr: bool = False

    @property
    def end(self) -> int:
        """The offset at which the next piece begins."""
        return self.offset + len(self.data)

    @property
    def text(self) -> str:
        """The bytes as UTF-8, with invalid bytes replaced."""
        return self.data.decode(errors="replace")


def read_process_info(message: process_pb2.Process) -> ProcessInfo:
    """Convert a protocol message."""
    return ProcessInfo(
        id=message.process_id,
        pid=message.pid,
        command=message.command,
        started_at=read_time(message, "started_at"),
        running=message.running,
        exited=read_exited(message.exited) if message.HasField("exited") else None,
        output_bytes=message.output_bytes,
        output_start=message.output_start,
        has_terminal=message.has_terminal,
        tag=message.tag,
        cwd=message.cwd or ".",
        env_names=tuple(message.env_names),
    )
