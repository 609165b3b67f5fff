"""Keeps the running and the recently ended executions with their events, so that clients can attach to them.

An execution continues when its client disconnects. A repeated request id attaches to it from its first event.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from sandbox_agent.executions.event_log import EventLog
from sandbox_agent.executions.requests import check_same_request
from sandbox_link.protocol import OperationError

if TYPE_CHECKING:
    from sandbox_agent.session.gate import SessionGate

MAX_RUNNING: Final = 256
KEEP_ENDED: Final = 64
KEEP_SECONDS: Final = 600.0
RUNNING_BYTES: Final = 64 << 20
"""Bytes of events that all running executions may hold in memory."""
MIN_LOG: Final = 1 << 20
"""Bytes that each of them may hold, however many there are."""
KEEP_BYTES: Final = 32 << 20
"""Bytes of events that all ended executions may hold in memory, except for the last one."""

E = TypeVar("E")


class Execution(Generic[E]):
    """An execution.

    Attributes:
        id: Random id.
        request_id: The client's request id, or one that no client can send.
        fingerprint: Digest of the request.
        log: Its events.
        ended_at: Monotonic time of its end, or None while it runs.
        task: Task that runs it.
        on_cancel: Stops it. None before it has reached the runtime.
        is_cancelled: True once a client has cancelled it.
    """

    def __init__(self, request_id: str, fingerprint: bytes) -> None:
        self.id = secrets.token_hex(16)
        self.request_id = request_id
        self.fingerprint = fingerprint
        self.log: EventLog[E] = EventLog()
        self.ended_at: float | None = None
        self.task: asyncio.Task[None] | None = None
        self.on_cancel: Callable[[], None] | None = None
        self.is_cancelled = False

    def cancel(self) -> None:
        """Stop it, now or as soon as it has reached the runtime."""
        if not self.is_cancelled and self.on_cancel is not None:
            self.on_cancel()
        self.is_cancelled = True

    def listen_for_cancel(self, stop: Callable[[], None]) -> None:
        """Set the function that stops it in the runtime. Call it if the cancel came first."""
        self.on_cancel = stop
        if self.is_cancelled:
            stop()


Runner = Callable[[Execution[E]], Awaitable[None]]
"""Runs an execution to its end and fills its log. Raises OperationError if it never started."""


class ExecutionRegistry(Generic[E]):
    """The agent's executions of one kind: cells or commands."""

    def __init__(self, gate: SessionGate, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._gate = gate
        self._monotonic = monotonic
        self._by_request: dict[str, Execution[E]] = {}
        self._ended: deque[Execution[E]] = deque()
        self._ended_bytes = 0
        # Cancels that overtook their request.
        self._refused: deque[str] = deque(maxlen=MAX_RUNNING)

    @property
    def running(self) -> int:
        """Number of running executions."""
        return len(self._by_request) - len(self._ended)

    def find(self, request_id: str, fingerprint: bytes) -> Execution[E] | None:
        """Return the execution of a repeated request, or None if the request id is new.

        Raises:
            OperationError: ALREADY_EXISTS, REQUEST_ID_REUSED: the first request had another body.
        """
        self._forget_old()
        execution = self._by_request.get(request_id)
        if execution is not None:
            check_same_request(execution.fingerprint, fingerprint)
        return execution

    def start(self, request_id: str, fingerprint: bytes, run: Runner[E]) -> Execution[E]:
        """Start an execution, or return the one that this request repeats.

        Raises:
            OperationError: As for `find`. RESOURCE_EXHAUSTED, TOO_MANY_CALLS: too many executions are running.
        """
        known = self.find(request_id, fingerprint) if request_id else None
        if known is not None:
            return known
        if request_id and request_id in self._refused:
            raise OperationError("CANCELLED", "CANCELLED", "the client cancelled this call before it arrived")
        if self.running >= MAX_RUNNING:
            message = f"{MAX_RUNNING} executions are running or queued: wait for some to end"
            raise OperationError("RESOURCE_EXHAUSTED", "TOO_MANY_CALLS", message)
        execution: Execution[E] = Execution(request_id or f"\0{secrets.token_hex(16)}", fingerprint)
        self._by_request[execution.request_id] = execution
        execution.task = asyncio.create_task(self._run(execution, run))
        self._share_memory()
        return execution

    def cancel(self, request_id: str) -> bool:
        """Stop the execution of a request. Returns False if it is unknown or has ended.

        An unknown request is refused if it arrives later: a cancel may overtake it.
        """
        execution = self._by_request.get(request_id)
        if execution is None:
            self._refused.append(request_id)
            return False
        if execution.ended_at is not None:
            return False
        execution.cancel()
        return True

    def find_running(self, request_id: str) -> Execution[E]:
        """Return the running execution of a request.

        Raises:
            OperationError: NOT_FOUND, UNKNOWN_PROCESS; FAILED_PRECONDITION, PROCESS_ENDED. Field `request_id`.
        """
        execution = self._by_request.get(request_id)
        if execution is None:
            message = f"nothing runs for the request {request_id[:64]!r}: start it first"
            raise OperationError("NOT_FOUND", "UNKNOWN_PROCESS", message, "request_id")
        if execution.ended_at is not None:
            raise OperationError("FAILED_PRECONDITION", "PROCESS_ENDED", "the command has ended", "request_id")
        return execution

    def waits_for_others(self, execution: Execution[E]) -> bool:
        """Return whether another execution has started and not ended. Cells of a context run one after the other."""
        others = (other for other in self._by_request.values() if other is not execution)
        return any(other.ended_at is None and other.log.size for other in others)

    async def close(self) -> None:
        """Stop following the running executions. The runtime continues them."""
        tasks = [execution.task for execution in self._by_request.values() if execution.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, execution: Execution[E], run: Runner[E]) -> None:
        with self._gate.activity():
            try:
                await run(execution)
            except asyncio.CancelledError:
                message = "the agent is stopping: the execution continues, but its output is lost. Connect again"
                execution.log.end(OperationError("UNAVAILABLE", "RUNTIME_UNAVAILABLE", message))
                self._keep(execution)
                raise
            except Exception as error:  # noqa: BLE001 - raised again in each reader, which maps it
                # Nothing ran, so a repeated request may try again.
                del self._by_request[execution.request_id]
                execution.log.end(error)
                execution.ended_at = self._monotonic()
            else:
                execution.log.end()
                self._keep(execution)
        self._forget_old()
        self._share_memory()

    def _share_memory(self) -> None:
        share = max(RUNNING_BYTES // max(1, self.running), MIN_LOG)
        for execution in self._by_request.values():
            if execution.ended_at is None:
                execution.log.set_capacity(share)

    def _keep(self, execution: Execution[E]) -> None:
        execution.ended_at = self._monotonic()
        self._ended.append(execution)
        self._ended_bytes += execution.log.size

    def _forget_old(self) -> None:
        oldest = self._monotonic() - KEEP_SECONDS
        while self._ended:
            first = self._ended[0]
            is_old = (first.ended_at or 0.0) < oldest
            # The newest one is kept regardless of its size: its client may be about to attach again.
            is_too_large = len(self._ended) > 1 and self._ended_bytes > KEEP_BYTES
            if not is_old and not is_too_large and len(self._ended) <= KEEP_ENDED:
                return
            self._ended.popleft()
            self._ended_bytes -= first.log.size
            del self._by_request[first.request_id]
