"""Background processes of the fake agent. Nothing runs: they echo their input, or do what the test scripted."""

from __future__ import annotations

import asyncio
import shlex
from typing import Final

from sandbox_proto.v1 import process_pb2, types_pb2

_SIGNAL_EXIT_CODE: Final = 128
"""Exit code of a process that a signal ended, before the signal's number is added."""


class FakeProcess:
    """One background process.

    Attributes:
        request: The request that started it.
        output: All output so far.
        inputs: The data of each SendInput that it received.
        signals: Numbers or names of the signals that it received.
        size: Rows and columns of its terminal, or None.
        exited: How it ended, or None while it is running.
        changed: Notified when it writes output or ends.
    """

    def __init__(self, number: int, request: process_pb2.StartRequest) -> None:
        self.id = f"p{number}"
        self.pid = 100 + number
        self.request = request
        self.output = b""
        self.inputs: list[bytes] = []
        self.signals: list[int | str] = []
        self.size = (request.terminal.rows, request.terminal.columns) if request.HasField("terminal") else None
        self.exited: process_pb2.ProcessExited | None = None
        self.changed = asyncio.Condition()

    @property
    def command(self) -> str:
        """The command as text, as the real agent returns it."""
        run = self.request.run
        return run.shell if run.WhichOneof("command") == "shell" else shlex.join(run.argv.args)

    def describe(self) -> process_pb2.Process:
        """Return the process as a message."""
        return process_pb2.Process(
            tag=self.request.tag,
            cwd=self.request.run.cwd or ".",
            env_names=sorted(self.request.run.env),
            process_id=self.id,
            pid=self.pid,
            command=self.command,
            running=self.exited is None,
            exited=self.exited,
            output_bytes=len(self.output),
            has_terminal=self.size is not None,
        )

    async def write(self, data: bytes) -> None:
        """Add output."""
        async with self.changed:
            self.output += data
            self.changed.notify_all()

    async def end(self, exit_code: int = 0, signal_number: int = 0) -> None:
        """End the process."""
        status = types_pb2.EXIT_STATUS_KILLED if signal_number else types_pb2.EXIT_STATUS_OK
        code = _SIGNAL_EXIT_CODE + signal_number if signal_number else exit_code
        async with self.changed:
            self.exited = process_pb2.ProcessExited(status=status, exit_code=code, signal=signal_number)
            self.changed.notify_all()
