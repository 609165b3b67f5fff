"""Keeps an agent's background processes by id and request id, and finds them again when the agent restarts."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import TYPE_CHECKING, Any, Final

from sandbox_agent.executions.requests import check_same_request
from sandbox_agent.processes.output_ring import CAPACITY
from sandbox_agent.processes.process import MAX_COMMAND, MAX_NAMES, BackgroundProcess, Start, list_names
from sandbox_agent.processes.requests import MAX_TAG
from sandbox_agent.runtime_values import read_boolean, read_integer, read_objects, read_strings, read_text
from sandbox_agent.storage.timeouts import time_limit
from sandbox_link.frames import FrameError
from sandbox_link.protocol import OperationError
from sandbox_proto.v1 import types_pb2

if TYPE_CHECKING:
    from sandbox_agent.session.bound_session import BoundSession
    from sandbox_agent.session.gate import SessionGate

MAX_RUNNING: Final = 64
KEEP_ENDED: Final = 64
RUNNING_BYTES: Final = 64 << 20
"""Bytes of output that all running processes may hold in memory."""
ENDED_BYTES: Final = 32 << 20
"""Bytes of output that all ended processes may hold in memory."""
_MAX_ADOPTED: Final = 512
_MAX_LABEL: Final = 64 << 10
_MAX_MILLISECONDS: Final = 253_402_300_799_000
"""The end of the year 9999, where protobuf's Timestamps end."""
_HANG_UP: Final = 1
_KILL: Final = 9
_TERMINATE: Final = 15
_TERMINATE_GRACE: Final = 5.0
_KILL_GRACE: Final = 5.0
_SUSPENDED: Final = "ended because the session was suspended or deleted"

_log = logging.getLogger(__name__)


class BackgroundRegistry:
    """The background processes of an agent.

    Args:
        gate: Counts running processes as activity of its session.

    Attributes:
        ended_by_drain: Number of processes that drains ended.
    """

    def __init__(self, gate: SessionGate) -> None:
        self._gate = gate
        self._processes: dict[str, BackgroundProcess] = {}
        self._by_request: dict[str, BackgroundProcess] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.ended_by_drain = 0
        self._adopted = asyncio.Event()
        self._adopted.set()

    @property
    def running(self) -> int:
        """Number of running processes."""
        return len(self._tasks)

    def find(self, request_id: str, fingerprint: bytes) -> BackgroundProcess | None:
        """Return the process of a repeated request, or None if the request id is new or empty.

        Raises:
            OperationError: ALREADY_EXISTS, REQUEST_ID_REUSED: the first request had another body.
        """
        process = self._by_request.get(request_id) if request_id else None
        if process is not None:
            check_same_request(process.start.fingerprint, fingerprint)
        return process

    def get(self, process_id: str) -> BackgroundProcess:
        """Return the process with an id.

        Raises:
            OperationError: NOT_FOUND, UNKNOWN_PROCESS.
        """
        process = self._processes.get(process_id)
        if process is None:
            message = (
                f"there is no process {process_id[:64]!r}: the id is wrong, or it ended long ago. List the processes"
            )
            raise OperationError("NOT_FOUND", "UNKNOWN_PROCESS", message, "process_id")
        return process

    def get_running(self, process_id: str, *, or_lost: bool = False) -> BackgroundProcess:
        """Return the process with an id, if it is running.

        Args:
            process_id: Id of the process.
            or_lost: Also return a process that was lost, as it may still run.

        Raises:
            OperationError: NOT_FOUND, UNKNOWN_PROCESS; FAILED_PRECONDITION, PROCESS_ENDED.
        """
        process = self.get(process_id)
        is_lost = process.exited is not None and process.exited.status == types_pb2.EXIT_STATUS_LOST
        if process.exited is not None and not (or_lost and is_lost):
            raise OperationError(
                "FAILED_PRECONDITION",
                "PROCESS_ENDED",
                f"the process {process_id} has ended: start it again if you need it",
                "process_id",
            )
        return process

    def has(self, process_id: str) -> bool:
        """Return whether this is the id of a background process."""
        return process_id in self._processes

    def list(self) -> list[BackgroundProcess]:
        """Return all known processes, oldest first."""
        return sorted(self._processes.values(), key=lambda process: process.start.started_at)

    def start(self, session: BoundSession, start: Start, arguments: dict[str, Any], stdin: bytes) -> BackgroundProcess:
        """Start a process, or return the one that this request repeats. The caller has to await its `started`.

        Args:
            session: Session in which the process runs.
            start: The request.
            arguments: Arguments of the link's `process.start`, without id and label.
            stdin: First bytes of standard input.

        Raises:
            OperationError: As for `find`. RESOURCE_EXHAUSTED, TOO_MANY_PROCESSES: too many are running.
        """
        known = self.find(start.request_id, start.fingerprint)
        if known is not None:
            return known
        limit = min(MAX_RUNNING, session.limits.processes)
        if self.running >= limit:
            message = f"{limit} background processes are running, the limit of this session: end some first"
            raise OperationError("RESOURCE_EXHAUSTED", "TOO_MANY_PROCESSES", message)
        process = BackgroundProcess(start)
        self._follow(session, process, {**arguments, "process_id": process.id, "label": write_label(start)}, stdin)
        return process

    async def adopt(self, session: BoundSession) -> None:
        """Take over the processes that the runtime already runs, after a restart of the agent."""
        self._adopted.clear()
        try:
            await self._adopt(session)
        finally:
            self._adopted.set()

    async def wait_adopted(self) -> None:
        """Wait until `adopt` has ended: it finds more processes."""
        await self._adopted.wait()

    async def _adopt(self, session: BoundSession) -> None:
        try:
            async with time_limit():
                answer = await session.runtime.call("process.list", {})
            found = [read_found(value) for value in read_objects(answer, "processes", _MAX_ADOPTED)]
        except (OperationError, FrameError) as error:
            _log.warning("background processes could not be listed: %s", error)
            return
        for process_id, start in found:
            if process_id not in self._processes:
                self._follow(session, BackgroundProcess(start, process_id), None, b"")

    async def end_all(self, grace: float) -> None:
        """End every process: with TERM, and with KILL after at most `grace` seconds."""
        running = [process for process in self._processes.values() if process.id in self._tasks]
        if not running:
            return
        _log.info("ending background processes", extra={"processes": len(running)})
        for process in running:
            process.end_reason = _SUSPENDED
            process.output.lift_limit()
        tasks = [self._tasks[process.id] for process in running]
        self.ended_by_drain += len(running)
        # A shell with a terminal ignores TERM.
        first = ((process, _HANG_UP if process.start.has_terminal else _TERMINATE) for process in running)
        await asyncio.gather(*(self._signal(process, number) for process, number in first))
        await asyncio.wait(tasks, timeout=min(grace, _TERMINATE_GRACE))
        left = [process for process in running if process.id in self._tasks]
        await asyncio.gather(*(self._signal(process, _KILL) for process in left))
        await asyncio.wait(tasks, timeout=_KILL_GRACE)

    async def close(self) -> None:
        """Stop following the processes. The runtime continues them."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _follow(
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
            except Exception as error:  # noqa: BLE001 - raised again in the calls that wait for the start
                # Nothing ran, so a repeated request may try again.
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
            async with time_limit(_KILL_GRACE):
                await runtime.call("process.signal", {"process_id": process.id, "signal": number})
        except OperationError as error:
            # The process has ended by itself, or together with the runtime.
            _log.debug("signal to a background process failed: %s", error)

    def _share_memory(self, session: BoundSession) -> None:
        share = min(CAPACITY, RUNNING_BYTES // max(1, self.running), max(session.limits.output_bytes, 1 << 16))
        for process_id in self._tasks:
            self._processes[process_id].output.set_capacity(share)

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
                process.output.drop_read()


def write_label(start: Start) -> str:
    """Return the text that the runtime keeps for a later agent: the start of a process as JSON."""
    return json.dumps(
        {
            "request_id": start.request_id,
            "fingerprint": start.fingerprint.hex(),
            "command": start.command,
            "started_ms": int(start.started_at * 1000),
            "has_terminal": start.has_terminal,
            "tag": start.tag,
            "cwd": start.cwd,
            "env_names": start.env_names,
        },
        ensure_ascii=False,
    )


def read_found(value: dict[str, Any]) -> tuple[str, Start]:
    """Return a process's id and start from an entry of `process.list`. The runtime may have changed the label."""
    process_id = read_text(value, "process_id", 128)
    if not process_id:
        raise FrameError("a process without an id")
    try:
        label = json.loads(read_text(value, "label", _MAX_LABEL) or "{}")
        fingerprint = bytes.fromhex(label.get("fingerprint", ""))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise FrameError("malformed label of a process") from error
    started_at = read_integer(label, "started_ms", 0, _MAX_MILLISECONDS) / 1000 or time.time()
    start = Start(
        request_id=read_text(label, "request_id", 128),
        fingerprint=fingerprint,
        command=read_text(label, "command", MAX_COMMAND),
        started_at=started_at,
        has_terminal=read_boolean(label, "has_terminal"),
        tag=read_text(label, "tag", MAX_TAG),
        cwd=read_text(label, "cwd", MAX_NAMES) or ".",
        env_names=list_names(dict.fromkeys(read_strings(label, "env_names", MAX_NAMES), "")),
    )
    return process_id, start
