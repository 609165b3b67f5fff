"""One background process: its output, which goes to the channel that follows it, and its end with its whole tree."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import TYPE_CHECKING, Any, Final

from sandbox_link.protocol import OperationError
from sandbox_runtime.linux.process_tree import kill_tree
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
        label: A string of the agent, returned by `process.list`. Opaque here.

    Attributes:
        done: How it ended, as the link's `ok`.
        output_bytes: Bytes of output so far, including those that no channel followed.
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
        self._ignores_backpressure = False

    @property
    def pid(self) -> int:
        """Its process id; 0 before it runs."""
        return (self._child.pid or 0) if self._child is not None else 0

    def take_output(self, stream: Stream, data: bytes) -> None:
        """Pass output to the channel that follows."""
        self.output_bytes += len(data)
        if self._channel is None:
            return
        self._channel.write(stream, data)
        if self._channel.is_blocked and not self._ignores_backpressure and self._io is not None:
            for reader in self._io.readers:
                reader.pause()

    async def follow(self, channel: LinkChannel) -> dict[str, Any]:
        """Send output to this channel until the end, and no more to the previous one. Returns how the process ended."""
        if self._channel is not None:
            self._channel.on_writable = None
        self._channel = channel
        channel.on_writable = self._resume
        channel.send_event({"type": "started", "pid": self.pid, "offset": self.output_bytes})
        self._resume()
        return await asyncio.shield(self.done)

    def prepare(self, io: ProcessIO) -> None:
        """Set its input and output. Nothing is read before a channel follows."""
        self._io = io

    def begin(self, child: Child) -> None:
        """Set the running process."""
        self._child = child

    async def watch(self, starter: Starter, timeout: float | None) -> None:  # noqa: ASYNC109 - the process's, which is then killed
        """Wait for its end, at most `timeout` seconds. Then kill the rest of its tree, and set `done`."""
        child, io = self._child, self._io
        if child is None or io is None:
            raise RuntimeError("call `begin` before `watch`")
        try:
            timed_out = not await wait_for_end(child, timeout)
            # The end must not wait for an agent that does not read.
            self._ignores_backpressure = True
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
            message = "the process has no open standard input: start it with its input kept open"
            raise OperationError("FAILED_PRECONDITION", "INPUT_CLOSED", message, "data")
        await self._io.input.write(data, end=end)

    def resize(self, rows: int, columns: int) -> None:
        """Change the terminal's size.

        Raises:
            OperationError: FAILED_PRECONDITION: NO_TERMINAL.
        """
        if not isinstance(self._io, Terminal):
            message = "the process has no terminal: start it with one"
            raise OperationError("FAILED_PRECONDITION", "NO_TERMINAL", message, "terminal")
        self._io.resize(rows, columns)

    async def kill(self) -> None:
        """Send SIGKILL to its whole tree."""
        if self._child is not None:
            # A killed process must not wait for an agent that does not read.
            self._ignores_backpressure = True
            self._resume()
            await kill_tree(self._child.tree, self._child.pid)

    async def terminate(self) -> None:
        """Ask it to end: SIGTERM, or SIGHUP if it has a terminal, because an interactive shell ignores SIGTERM."""
        with contextlib.suppress(OperationError):
            await self.signal(signal.SIGHUP if isinstance(self._io, Terminal) else signal.SIGTERM)

    async def signal(self, number: int) -> None:
        """Signal its group and the foreground job of its terminal. SIGKILL goes to the whole tree.

        Raises:
            OperationError: FAILED_PRECONDITION: PROCESS_ENDED.
        """
        if self._child is None:
            return
        job = self._io.foreground if isinstance(self._io, Terminal) else 0
        await signal_group(self._child, number, job)

    def _resume(self) -> None:
        for reader in self._io.readers if self._io is not None else ():
            reader.resume()


async def signal_group(child: Child, number: int, job: int = 0) -> None:
    """Signal a child's group and that of a job. SIGKILL goes to the whole tree.

    Args:
        child: The child.
        number: The signal.
        job: Process group of the terminal's foreground job, or 0.

    Raises:
        OperationError: FAILED_PRECONDITION: PROCESS_ENDED.
    """
    if number == signal.SIGKILL:
        child.killed = True
        await kill_tree(child.tree, child.pid)
        return
    if child.pid is None or child.ended.done():
        raise process_ended()
    # Programs that changed their user id cannot be signalled.
    with contextlib.suppress(PermissionError):
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            raise process_ended() from None
    if job not in (0, child.pid):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(job, number)


def process_ended() -> OperationError:
    """Return the error for an operation on a process that has ended."""
    return OperationError(
        "FAILED_PRECONDITION", "PROCESS_ENDED", "the process has ended: start it again if you need it", "process_id"
    )
