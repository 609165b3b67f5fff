"""What is known of background processes: frozen values, made from protocol messages. Pure: no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandbox_client.models.events import Exited, read_exited
from sandbox_client.models.results import utc

if TYPE_CHECKING:
    from datetime import datetime

    from sandbox_proto.v1 import process_pb2


@dataclass(frozen=True, slots=True)
class ProcessInfo:
    """What is known of a background process.

    Attributes:
        id: The agent's id of it.
        pid: The process id inside the sandbox.
        command: The shell line, or the words as a shell wants them.
        started_at: Aware, UTC.
        running: Whether it runs; once it does not, `exited` says how it ended.
        output_bytes: Bytes written so far.
        output_start: Position of the first byte that is still kept.
        has_terminal: Whether it runs in a terminal.
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


@dataclass(frozen=True, slots=True)
class ProcessOutput:
    """A piece of output.

    Attributes:
        data: Bytes as written; a character may be cut at either end.
        offset: Position of its first byte among all output of the process.
        is_stderr: Whether it was written to standard error.
    """

    data: bytes
    offset: int
    is_stderr: bool = False

    @property
    def end(self) -> int:
        """The offset to go on from."""
        return self.offset + len(self.data)

    @property
    def text(self) -> str:
        """As UTF-8, what is none replaced."""
        return self.data.decode(errors="replace")


def process_info(message: process_pb2.Process) -> ProcessInfo:
    """A ProcessInfo of a message."""
    return ProcessInfo(
        id=message.process_id,
        pid=message.pid,
        command=message.command,
        started_at=utc(message, "started_at"),
        running=message.running,
        exited=read_exited(message.exited) if message.HasField("exited") else None,
        output_bytes=message.output_bytes,
        output_start=message.output_start,
        has_terminal=message.has_terminal,
    )
