"""One execution: its code, its deadline, its output under the limit, and what the link is told of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from sandbox_link.frames import Stream
from sandbox_runtime.execution.output_limit import OutputLimit
from sandbox_runtime.execution.type_gate import ONLY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sandbox_runtime.execution.internal_task import TaskChannel
    from sandbox_runtime.execution.type_gate import TypeCheck
    from sandbox_runtime.link.channel import LinkChannel

_ANNOUNCE_AFTER: Final = 0.02
INTERRUPT_GRACE: Final = 2.0
"""Seconds between the interrupt at a deadline and the kill."""
_START_ALLOWANCE: Final = 30.0
"""Seconds in which an interpreter has to have started; they do not count as the cell's time."""


class Execution:
    """A cell on its way through a context.

    Args:
        channel: Where it came from and its output goes.
        language: `python`, `javascript` or `typescript`.
        code: What to run, UTF-8.
        timeout: Seconds from when the interpreter can run it.
        output_bytes: Limit of its output.
        check: A type check that goes first.
        task: Its `op` and what that needs, where it is no cell but something that the runtime itself wants done.
    """

    def __init__(
        self,
        channel: LinkChannel | TaskChannel,
        language: str,
        code: bytes,
        timeout: float,
        output_bytes: int,
        check: TypeCheck | None = None,
        task: Mapping[str, Any] | None = None,
    ) -> None:
        self.channel = channel
        self.language = language
        self.code = code
        self.timeout = timeout
        self.check = check
        self.task = task
        self.timed_out = False
        self.interrupted = False
        self._limit = OutputLimit(output_bytes)
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._started = 0.0
        self._on_deadline: Callable[[], None] | None = None
        self._done = False
        self._announcement: asyncio.TimerHandle | None = None
        self._context_id, self._number = "", 0

    @property
    def is_blocked(self) -> bool:
        """Whether the interpreter should wait because the agent does not read."""
        # Past its deadline an execution has to be able to end: what the agent does not read is kept, up to the limit.
        return self.channel.is_blocked and not self.timed_out and not self.interrupted

    @property
    def counts(self) -> bool:
        """Whether it is one of the context's cells, which are counted."""
        return self.task is None and (self.check is None or self.check.mode != ONLY)

    def begin(self, context_id: str, number: int, on_deadline: Callable[[], None], *, is_ready: bool) -> None:
        """The cell is handed to the interpreter now, as the context's cell `number`.

        Args:
            context_id: The context's.
            number: The cell's.
            on_deadline: Called when its time is over.
            is_ready: Whether the interpreter runs it at once; if not, `start_clock` follows when it does.
        """
        self._context_id, self._number, self._on_deadline = context_id, number, on_deadline
        self._started = self._loop.time()
        allowed = self.timeout if is_ready else self.timeout + _START_ALLOWANCE
        self._timer = self._loop.call_later(allowed, on_deadline)
        # A short cell's `started` travels with its end, which saves a wake-up of the agent.
        self._announcement = self._loop.call_later(_ANNOUNCE_AFTER, self.announce)

    def start_clock(self) -> None:
        """The interpreter has started: the cell's own time begins."""
        if self._on_deadline is not None and not self.timed_out and not self._done:
            self._started = self._loop.time()
            self.later(self.timeout, self._on_deadline)

    def later(self, delay: float, callback: Callable[[], None]) -> None:
        """Call back unless it has ended by then."""
        self._cancel_timer()
        self._timer = self._loop.call_later(delay, callback)

    def announce(self) -> None:
        """Tell the agent that it runs; once."""
        if self._announcement is not None:
            self._announcement.cancel()
            self._announcement = None
            event = {"type": "started", "context_id": self._context_id, "execution_count": self._number}
            self.channel.send_event(event)

    def tell(self, event: dict[str, Any]) -> None:
        """Send the agent an event of it."""
        self.announce()
        self.channel.send_event(event)

    def output(self, stream: Stream, data: bytes | memoryview) -> None:
        """Output; BODY is a result's content, which the limit does not count."""
        self.announce()
        view = memoryview(data)
        self.channel.write(stream, view if stream is Stream.BODY else self._limit.admit(stream, view))

    def finish(self, status: str, exit_code: int = 0, *, context_restarted: bool = False) -> None:
        """Tell the agent how it ended; once."""
        if self._done:
            return
        self._done = True
        self._cancel_timer()
        self.announce()
        for stream, data in self._limit.take_tail():
            self.channel.write(stream, data)
        result: dict[str, Any] = {
            "status": "TIMED_OUT" if self.timed_out else status,
            "exit_code": exit_code,
            "duration": self._loop.time() - self._started if self._started else 0.0,
            "context_restarted": context_restarted,
            "dropped_bytes": self._limit.dropped,
            "execution_count": self._number,
        }
        self.channel.finish(result)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
