"""One background process: its output on whichever channel follows it, and its end, which is that of its tree too."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import TYPE_CHECKING, Any, Final

from sandbox_link.protocol import OperationError
from sandbox_runtime.processes.process_tree import kill_tree
from sandbox_runtime.processes.start import wait_for_end
from sandbox_runtime.processes.stdio import Terminal

if TYPE_CHECKING:
    from sandbox_link.frames import Stream
    from sandbox_runtime.interpreters.zygote_client import Child
    from sandbox_runtime.link.channel import LinkChannel
    from sandbox_runtime.processes.start import Starter
    from sandbox_runtime.processes.stdio import ProcessIO

_END_AFTER_KILL: Final = 2.0


class BackgroundProcess:
    """A process that outlives the channel it was started on.

    Args:
        label: What the agent wants to be told of it again; opaque here.

    Attributes:
        done: How it ended, as the link's `ok`.
        output_bytes: Output so far, whether a channel took it or not.
    """

    def __init__(self, label: str) -> None:
        self.label = label
        self.output_bytes = 0
        loop = asyncio.get_running_loop()
        self.done: asyncio.Future[dict[str, Any]] = loop.create_future()
        self._started = loop.time()
        self._child: Child | None = None
        self._io: ProcessIO | None = None
        self._channel: LinkChannel | None = None
        self._unhindered = False

    @property
    def pid(self) -> int:
        """Its process id, 0 before it runs."""
        return (self._child.pid or 0) if self._child is not None else 0

    def take_output(self, stream: Stream, data: bytes) -> None:
        """Output arrived."""
        self.output_bytes += len(data)
        if self._channel is None:
            return
        self._channel.write(stream, data)
        if self._channel.is_blocked and not self._unhindered and self._io is not None:
            for reader in self._io.readers:
                reader.pause()

    async def follow(self, channel: LinkChannel) -> dict[str, Any]:
        """Send output to this channel from now on, until the end; the one before gets no more."""
        if self._channel is not None:
            self._channel.on_writable = None
        self._channel = channel
        channel.on_writable = self._resume
        channel.send_event({"type": "started", "pid": self.pid, "offset": self.output_bytes})
        self._resume()
        return await asyncio.shield(self.done)

    def prepare(self, io: ProcessIO) -> None:
        """Its ends are open. Nothing is read before somebody follows it."""
        self._io = io

    def begin(self, child: Child) -> None:
        """It runs now."""
        self._child = child

    async def watch(self, starter: Starter, timeout: float | None) -> None:  # noqa: ASYNC109 - kills at its end
        """Wait for its end, or `timeout` seconds; then end what it left behind, and tell `done`."""
        child, io = self._child, self._io
        if child is None or io is None:
            raise RuntimeError("watch comes after begin")
        try:
            timed_out = not await wait_for_end(child, timeout)
            # Killed children need not wait for an agent that does not read.
            self._unhindered = True
            self._resume()
            await kill_tree(child.tree, child.pid)
            if timed_out:
                await wait_for_end(child, _END_AFTER_KILL)
            for reader in io.readers:
                reader.drain()
            duration = asyncio.get_running_loop().time() - self._started
            result = {**starter.describe(child, timed_out=timed_out), "duration": duration, "dropped_bytes": 0}
            self.done.set_result(result)
        finally:
            io.close()
            if not self.done.done():
                self.done.cancel()

    async def send_input(self, data: bytes, *, end: bool) -> None:
        """Write to standard input.

        Raises:
            OperationError: FAILED_PRECONDITION: INPUT_CLOSED.
        """
        if self._io is None or self._io.input is None:
            message = "the process was started without an input that stays open"
            raise OperationError("FAILED_PRECONDITION", "INPUT_CLOSED", message, "data")
        await self._io.input.write(data, end=end)

    def resize(self, rows: int, columns: int) -> None:
        """Change the terminal's size.

        Raises:
            OperationError: FAILED_PRECONDITION: NO_TERMINAL.
        """
        if not isinstance(self._io, Terminal):
            message = "the process was started without a terminal"
            raise OperationError("FAILED_PRECONDITION", "NO_TERMINAL", message, "terminal")
        self._io.resize(rows, columns)

    async def kill(self) -> None:
        """SIGKILL everything it started."""
        if self._child is not None:
            self._unhindered = True
            self._resume()
            await kill_tree(self._child.tree, self._child.pid)

    async def terminate(self) -> None:
        """Tell it to end: SIGTERM, or SIGHUP where there is a terminal, whose shell ignores the other."""
        with contextlib.suppress(OperationError):
            await self.signal(signal.SIGHUP if isinstance(self._io, Terminal) else signal.SIGTERM)

    async def signal(self, number: int) -> None:
        """Signal its group, and the foreground job of its terminal; KILL goes to the whole tree."""
        if self._child is None:
            return
        job = self._io.foreground if isinstance(self._io, Terminal) else 0
        await signal_group(self._child, number, job)

    def _resume(self) -> None:
        for reader in self._io.readers if self._io is not None else ():
            reader.resume()


async def signal_group(child: Child, number: int, job: int = 0) -> None:
    """Signal a child's group and a job's; KILL goes to everything it started.

    Raises:
        OperationError: FAILED_PRECONDITION: PROCESS_ENDED.
    """
    if number == signal.SIGKILL:
        child.killed = True
        await kill_tree(child.tree, child.pid)
        return
    if child.pid is None or child.ended.done():
        raise ended()
    # Programs that changed their user id are beyond our reach.
    with contextlib.suppress(PermissionError):
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            raise ended() from None
    if job not in (0, child.pid):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(job, number)


def ended() -> OperationError:
    """There is nothing left to act on."""
    return OperationError("FAILED_PRECONDITION", "PROCESS_ENDED", "the process has ended", "process_id")
