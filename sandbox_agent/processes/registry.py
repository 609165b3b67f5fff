"""All background processes of an agent: by id and request id, their limits, and what a restarted agent finds."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import TYPE_CHECKING, Any, Final

from sandbox_agent import runtime_values as checked
from sandbox_agent.processes.output_ring import CAPACITY
from sandbox_agent.processes.process import MAX_COMMAND, BackgroundProcess, Start
from sandbox_link.frames import FrameError
from sandbox_link.protocol import OperationError
from sandbox_proto.v1 import types_pb2

if TYPE_CHECKING:
    from sandbox_agent.session.gate import BoundSession, SessionGate

MAX_RUNNING: Final = 64
KEEP_ENDED: Final = 64
RUNNING_BYTES: Final = 64 << 20
"""Bytes of output that running processes may hold in memory together."""
ENDED_BYTES: Final = 32 << 20
"""The same for those that ended."""
_MAX_ADOPTED: Final = 512
_MAX_LABEL: Final = 32 << 10
_LAST_MS: Final = 253_402_300_799_000
"""The year 9999, where Timestamps end."""
_HANG_UP: Final = 1
_KILL: Final = 9
_TERMINATE: Final = 15
_TERMINATE_GRACE: Final = 5.0
_END_AFTER_KILL: Final = 5.0
_SUSPENDED: Final = "ended because the session was suspended or deleted"

_log = logging.getLogger(__name__)


class BackgroundRegistry:
    """Background processes.

    Args:
        gate: Knows the session, and counts what runs as its activity.
    """

    def __init__(self, gate: SessionGate) -> None:
        self._gate = gate
        self._processes: dict[str, BackgroundProcess] = {}
        self._by_request: dict[str, BackgroundProcess] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.ended_by_drain = 0
        self._settled = asyncio.Event()
        self._settled.set()

    @property
    def running(self) -> int:
        """How many run."""
        return len(self._tasks)

    def find(self, request_id: str, fingerprint: bytes) -> BackgroundProcess | None:
        """The process of a repeated request.

        Raises:
            OperationError: ALREADY_EXISTS, REQUEST_ID_REUSED: the first request had another body.
        """
        process = self._by_request.get(request_id) if request_id else None
        if process is not None and process.start.fingerprint != fingerprint:
            message = "this request_id was used for another request: use a new one"
            raise OperationError("ALREADY_EXISTS", "REQUEST_ID_REUSED", message, "request_id")
        return process

    def get(self, process_id: str) -> BackgroundProcess:
        """The process of an id.

        Raises:
            OperationError: NOT_FOUND, UNKNOWN_PROCESS.
        """
        process = self._processes.get(process_id)
        if process is None:
            message = "there is no such process: it never was, or it ended long ago; List has those that are known"
            raise OperationError("NOT_FOUND", "UNKNOWN_PROCESS", message, "process_id")
        return process

    def get_running(self, process_id: str, *, or_lost: bool = False) -> BackgroundProcess:
        """The process of an id, if it runs (or nobody knows).

        Raises:
            OperationError: NOT_FOUND, UNKNOWN_PROCESS; FAILED_PRECONDITION, PROCESS_ENDED.
        """
        process = self.get(process_id)
        is_lost = process.exited is not None and process.exited.status == types_pb2.EXIT_STATUS_LOST
        if process.exited is not None and not (or_lost and is_lost):
            raise OperationError("FAILED_PRECONDITION", "PROCESS_ENDED", "the process has ended", "process_id")
        return process

    def has(self, process_id: str) -> bool:
        """Whether that is the id of a background process."""
        return process_id in self._processes

    def list(self) -> list[BackgroundProcess]:
        """All that are remembered, oldest first."""
        return sorted(self._processes.values(), key=lambda process: process.start.started_at)

    def start(self, session: BoundSession, start: Start, arguments: dict[str, Any], stdin: bytes) -> BackgroundProcess:
        """Start a process, or find the one that this request repeats; await its `started`.

        Args:
            session: Where.
            start: What clients are told of it.
            arguments: Of the link's `process.start`, without id and label.
            stdin: What standard input begins with.

        Raises:
            OperationError: As for `find`; RESOURCE_EXHAUSTED, TOO_MANY_PROCESSES.
        """
        known = self.find(start.request_id, start.fingerprint)
        if known is not None:
            return known
        most = min(MAX_RUNNING, session.limits.processes)
        if self.running >= most:
            message = f"{most} background processes run, the limit of this session: end some first"
            raise OperationError("RESOURCE_EXHAUSTED", "TOO_MANY_PROCESSES", message)
        process = BackgroundProcess(start)
        self._take(session, process, {**arguments, "process_id": process.id, "label": write_label(start)}, stdin)
        return process

    async def adopt(self, session: BoundSession) -> None:
        """Take over what runs already: an agent that restarted finds its processes again."""
        self._settled.clear()
        try:
            await self._adopt(session)
        finally:
            self._settled.set()

    async def settled(self) -> None:
        """Wait while `adopt` looks for what runs: ids may be about to be known."""
        await self._settled.wait()

    async def _adopt(self, session: BoundSession) -> None:
        try:
            answer = await session.runtime.call("process.list", {})
            found = [read_found(value) for value in checked.objects(answer, "processes", _MAX_ADOPTED)]
        except (OperationError, FrameError) as error:
            _log.warning("background processes could not be listed: %s", error)
            return
        for process_id, start in found:
            if process_id not in self._processes:
                self._take(session, BackgroundProcess(start, process_id), None, b"")

    async def end_all(self, grace: float) -> None:
        """End every process: TERM, and KILL after at most `grace` seconds."""
        running = [process for process in self._processes.values() if process.id in self._tasks]
        if not running:
            return
        _log.info("ending background processes", extra={"processes": len(running)})
        for process in running:
            process.ending = _SUSPENDED
            process.output.release()
        tasks = [self._tasks[process.id] for process in running]
        self.ended_by_drain += len(running)
        # A shell with a terminal ignores TERM.
        first = ((process, _HANG_UP if process.start.has_terminal else _TERMINATE) for process in running)
        await asyncio.gather(*(self._signal(process, number) for process, number in first))
        await asyncio.wait(tasks, timeout=min(grace, _TERMINATE_GRACE))
        left = [process for process in running if process.id in self._tasks]
        await asyncio.gather(*(self._signal(process, _KILL) for process in left))
        await asyncio.wait(tasks, timeout=_END_AFTER_KILL)

    async def close(self) -> None:
        """Stop following them; the runtime goes on with them."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _take(
        self, session: BoundSession, process: BackgroundProcess, arguments: dict[str, Any] | None, stdin: bytes
    ) -> None:
        self._processes[process.id] = process
        if process.start.request_id:
            self._by_request[process.start.request_id] = process
        self._tasks[process.id] = asyncio.create_task(self._run(session, process, arguments, stdin))
        self._share_memory(session)

    async def _run(
        self, session: BoundSession, process: BackgroundProcess, arguments: dict[str, Any] | None, stdin: bytes
    ) -> None:
        with self._gate.activity():
            try:
                await process.run(session.runtime, arguments, stdin)
            except Exception as error:  # noqa: BLE001 - raised again for whoever waits for the start, which maps it
                # Nothing ran, so a repeat may try again.
                self._forget(process)
                process.output.finish()
                process.started.set_exception(error)
            finally:
                del self._tasks[process.id]
        self._share_memory(session)
        self._forget_old()

    async def _signal(self, process: BackgroundProcess, number: int) -> None:
        runtime = self._gate.runtime
        try:
            await runtime.call("process.signal", {"process_id": process.id, "signal": number})
        except OperationError as error:
            # It ended by itself meanwhile, or the runtime is gone and it with that.
            _log.debug("a background process could not be signalled: %s", error)

    def _share_memory(self, session: BoundSession) -> None:
        share = min(CAPACITY, RUNNING_BYTES // max(1, self.running), max(session.limits.output_bytes, 1 << 16))
        for process_id in self._tasks:
            self._processes[process_id].output.share(share)

    def _forget(self, process: BackgroundProcess) -> None:
        self._processes.pop(process.id, None)
        self._by_request.pop(process.start.request_id, None)

    def _forget_old(self) -> None:
        ended = [process for process in self._processes.values() if process.id not in self._tasks]
        ended.sort(key=lambda process: process.ended_at, reverse=True)
        kept = 0
        for position, process in enumerate(ended):
            kept += process.output.size
            if position >= KEEP_ENDED:
                self._forget(process)
            elif kept > ENDED_BYTES:
                process.output.forget()


def write_label(start: Start) -> str:
    """What a later agent must know of a process, for the runtime to keep."""
    return json.dumps(
        {
            "request_id": start.request_id,
            "fingerprint": start.fingerprint.hex(),
            "command": start.command,
            "started_ms": int(start.started_at * 1000),
            "has_terminal": start.has_terminal,
        }
    )


def read_found(value: dict[str, Any]) -> tuple[str, Start]:
    """One entry of `process.list`: whatever the runtime kept well or badly, checked like all that it says."""
    process_id = checked.text(value, "process_id", 128)
    if not process_id:
        raise FrameError("a process without an id")
    try:
        label = json.loads(checked.text(value, "label", _MAX_LABEL) or "{}")
        fingerprint = bytes.fromhex(label.get("fingerprint", ""))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise FrameError("a process's label is not what it was") from error
    started_at = checked.integer(label, "started_ms", 0, _LAST_MS) / 1000 or time.time()
    start = Start(
        request_id=checked.text(label, "request_id", 128),
        fingerprint=fingerprint,
        command=checked.text(label, "command", MAX_COMMAND),
        started_at=started_at,
        has_terminal=checked.boolean(label, "has_terminal"),
    )
    return process_id, start
