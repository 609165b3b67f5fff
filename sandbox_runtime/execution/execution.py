"""One execution: its code, its deadline, its output under the limit, and the events that report it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

from sandbox_link.frames import FrameError, Stream
from sandbox_runtime.execution.missing_network import name_missing_network
from sandbox_runtime.execution.output_limit import OutputLimit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sandbox_link.frames import Frame
    from sandbox_runtime.execution.protocol import ExecutionSink

_STARTED_AFTER: Final = 0.02
INTERRUPT_GRACE: Final = 1.5
"""Seconds between the interrupt at a deadline and the kill. Two seconds after the deadline nothing may be left."""
_START_ALLOWANCE: Final = 30.0
"""Seconds that an interpreter may take to start. They do not count as the cell's time."""


class Execution:
    """A cell on its way through a context.

    Args:
        sink: Receives its output, events and result.
        language: `python`, `javascript` or `typescript`.
        code: The code to run, UTF-8.
        timeout: Seconds, from the moment when the interpreter can run it.
        output_bytes: Limit of its output.
        task: Of an internal task, its `op` and arguments. None for a cell.
        has_network: False if the session denies its code the network.

    Attributes:
        timed_out: True once its deadline has passed.
        interrupted: True once it was interrupted on request.
        began: Time of CLOCK_BOOTTIME just before the interpreter got it.
        follows_loss: True if the process has ended since the previous cell, which had variables.
    """

    def __init__(
        self,
        sink: ExecutionSink,
        language: str,
        code: bytes,
        timeout: float,
        output_bytes: int,
        task: Mapping[str, Any] | None = None,
        *,
        has_network: bool = True,
    ) -> None:
        self.sink = sink
        self.language = language
        self.code = code
        self.timeout = timeout
        self.task = task
        self._has_network = has_network
        self.timed_out = False
        self.interrupted = False
        self.follows_loss = False
        self._limit = OutputLimit(output_bytes)
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._started = 0.0
        self.began = 0.0
        self._on_deadline: Callable[[], None] | None = None
        self._done = False
        self._started_timer: asyncio.TimerHandle | None = None
        self._context_id, self._number = "", 0

    @property
    def is_blocked(self) -> bool:
        """True if the interpreter should wait because the agent does not read."""
        # After an interrupt or the deadline the execution must be able to end. Output that the agent does not read is
        # then kept, up to the limit.
        return self.sink.is_blocked and not self.timed_out and not self.interrupted

    def begin(self, context_id: str, number: int, on_deadline: Callable[[], None], *, is_ready: bool) -> None:
        """Start the clock, because the interpreter is about to get the cell.

        Args:
            context_id: Id of the context.
            number: The cell's number in the context.
            on_deadline: Called when its time is over.
            is_ready: False if the interpreter is still starting; then `start_clock` must follow.
        """
        self._context_id, self._number, self._on_deadline = context_id, number, on_deadline
        self._started = self._loop.time()
        self.began = time.clock_gettime(time.CLOCK_BOOTTIME)
        allowed = self.timeout if is_ready else self.timeout + _START_ALLOWANCE
        self._timer = self._loop.call_later(allowed, on_deadline)
        # The `started` event of a short cell is sent together with its end, so that the agent wakes up only once.
        self._started_timer = self._loop.call_later(_STARTED_AFTER, self.send_started)

    def start_clock(self) -> None:
        """Restart the clock, because the interpreter is now ready."""
        if self._on_deadline is not None and not self.timed_out and not self._done:
            self._started = self._loop.time()
            self.set_timer(self.timeout, self._on_deadline)

    def stop_clock(self) -> None:
        """Stop the timer, because the interpreter has answered."""
        self._cancel_timer()

    def set_timer(self, delay: float, callback: Callable[[], None]) -> None:
        """Replace the timer. It is cancelled when the execution ends."""
        self._cancel_timer()
        self._timer = self._loop.call_later(delay, callback)

    def send_started(self) -> None:
        """Send the `started` event, unless it was sent before."""
        if self._started_timer is not None:
            self._started_timer.cancel()
            self._started_timer = None
            event = {"type": "started", "context_id": self._context_id, "execution_count": self._number}
            self.sink.send_event(event)

    def send_event(self, event: dict[str, Any]) -> None:
        """Send an event, after `started`."""
        self.send_started()
        if not self._has_network and event.get("type") == "error":
            event = name_missing_network(event)
        self.sink.send_event(event)

    def pass_event(self, frame: Frame) -> None:
        """Send the event of an interpreter's frame, if it is one."""
        try:
            event = frame.json()
        except FrameError:
            return
        if event.get("type") == "started":
            self.send_started()
        else:
            self.send_event(event)

    def write(self, stream: Stream, data: bytes | memoryview) -> None:
        """Send output. The limit does not count BODY, which is the content of results."""
        self.send_started()
        view = memoryview(data)
        self.sink.write(stream, view if stream is Stream.BODY else self._limit.admit(stream, view))

    def finish(self, status: str, exit_code: int = 0, *, context_restarted: bool = False) -> None:
        """Send the rest of the output and the result. Only the first call counts."""
        if self._done:
            return
        self._done = True
        self._cancel_timer()
        self.send_started()
        for stream, data in self._limit.take_tail():
            self.sink.write(stream, data)
        result: dict[str, Any] = {
            "status": "TIMED_OUT" if self.timed_out else status,
            "exit_code": exit_code,
            "duration": self._loop.time() - self._started if self._started else 0.0,
            "context_restarted": context_restarted or self.follows_loss,
            "dropped_bytes": self._limit.dropped,
            "execution_count": self._number,
        }
        self.sink.finish(result)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
