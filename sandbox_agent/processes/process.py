"""Follows a background process and its output, even if the link to the runtime breaks.

A process outlives the link. After a break the agent attaches again and continues at the position that the runtime
reports. A runtime that restarted has lost its processes: they are reported as LOST and never started again.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import shlex
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sandbox_agent.executions.events import join_output, read_exited
from sandbox_agent.processes.output_ring import OutputRing, Reader
from sandbox_agent.runtime_values import read_count, read_integer
from sandbox_link.frames import FrameError, Stream
from sandbox_link.protocol import Event, OperationError
from sandbox_proto.v1 import process_pb2, types_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from sandbox_link.protocol import Call, Runtime

MAX_COMMAND: Final = 4096
MAX_NAMES: Final = 1024
"""Characters of the names of a process's variables, and of its folder, that are kept."""
START_TIMEOUT: Final = 120.0
"""Seconds that the runtime has to start a process, or to attach to it."""
_MAX_REATTACH: Final = 100
_MAX_PID: Final = (1 << 31) - 1

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Start:
    """The parts of the request that started a process, as far as the agent needs them.

    Attributes:
        request_id: The client's request id, or "" if it sent none.
        fingerprint: Digest of the request.
        command: Text of the command, to show to people.
        started_at: Unix time.
        has_terminal: The process has a terminal instead of pipes.
        tag: The caller's word for it.
        cwd: Its folder.
        env_names: Names of the variables that it got beyond the session's.
    """

    request_id: str
    fingerprint: bytes
    command: str
    started_at: float
    has_terminal: bool
    tag: str = ""
    cwd: str = "."
    env_names: tuple[str, ...] = ()


class BackgroundProcess:
    """A background process.

    Attributes:
        id: Random id.
        start: The request that started it.
        pid: Process id in the sandbox, once known.
        output: Its latest output.
        started: Done once the process runs. Raises the error if it never started.
        exited: How it ended, or None while it runs.
        ended_at: Unix time of its end.
        end_reason: Why the agent ended it, or "" if it did not.
    """

    def __init__(self, start: Start, process_id: str = "") -> None:
        self.id = process_id or secrets.token_hex(16)
        self.start = start
        self.pid = 0
        self.output = OutputRing()
        self.started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Read the error, in case no client waits for it any more.
        self.started.add_done_callback(lambda started: started.cancelled() or started.exception())
        self.exited: process_pb2.ProcessExited | None = None
        self.ended_at = 0.0
        self.end_reason = ""

    def describe(self) -> process_pb2.Process:
        """Return the message for clients."""
        process = process_pb2.Process(
            process_id=self.id,
            pid=self.pid,
            command=self.start.command,
            running=self.exited is None,
            exited=self.exited,
            output_bytes=self.output.end,
            output_start=self.output.start,
            has_terminal=self.start.has_terminal,
            tag=self.start.tag,
            cwd=self.start.cwd,
            env_names=self.start.env_names,
        )
        process.started_at.FromMilliseconds(int(self.start.started_at * 1000))
        return process

    async def follow(self, offset: int) -> AsyncGenerator[list[process_pb2.RunEvent], None]:
        """Yield the events for one client: `started`, output from the offset on, `exited`."""
        started = process_pb2.ProcessStarted(process_id=self.id, pid=self.pid)
        yield [process_pb2.RunEvent(started=started)]
        reader = Reader(offset)
        async for outputs in self.output.follow(reader):
            yield [process_pb2.RunEvent(output=output) for output in outputs]
        exited = process_pb2.ProcessExited()
        exited.CopyFrom(self.exited or process_pb2.ProcessExited(status=types_pb2.EXIT_STATUS_LOST))
        if reader.skipped:
            exited.truncation.dropped_bytes = reader.skipped
        yield [process_pb2.RunEvent(exited=exited)]

    async def run(self, runtime: Runtime, arguments: dict[str, Any] | None, stdin: bytes) -> None:
        """Start the process and follow it to its end. Without arguments, attach to it instead.

        Raises:
            OperationError: The process never started.
        """
        exited = await self._follow_over_links(runtime, arguments, stdin)
        if self.end_reason:
            exited.message = self.end_reason
        self.exited = exited
        self.ended_at = time.time()
        self.output.finish()
        if not self.started.done():
            self.started.set_result(None)

    async def _follow_over_links(
        self, runtime: Runtime, arguments: dict[str, Any] | None, stdin: bytes
    ) -> process_pb2.ProcessExited:
        for _ in range(_MAX_REATTACH):
            call: Call | None = None
            try:
                if arguments is None:
                    call = await runtime.open("process.attach", {"process_id": self.id})
                else:
                    call = await runtime.open("process.start", arguments)
                    await call.send(stdin)
                return read_exited(await self._follow_call(call))
            except OperationError as error:
                if error.reason != "RUNTIME_UNAVAILABLE" or call is None:
                    if arguments is not None and not self.started.done():
                        raise
                    break
                _log.warning("attaching to a background process again", extra={"process_id": self.id})
                arguments = None
            except Exception as error:
                if call is None:
                    raise
                call.break_off(str(error) if isinstance(error, FrameError) else "an event could not be handled")
                if not isinstance(error, FrameError):
                    _log.exception("the events of a background process could not be handled")
                break
        _log.warning("a background process was lost", extra={"process_id": self.id})
        return process_pb2.ProcessExited(status=types_pb2.EXIT_STATUS_LOST)

    async def _follow_call(self, call: Call) -> dict[str, Any]:
        """Follow one call to its end and return its result.

        Raises:
            FrameError: The runtime broke the protocol.
            OperationError: The operation failed.
        """
        has_started = False
        try:
            async with asyncio.timeout(START_TIMEOUT):
                items = await call.batch()
        except TimeoutError as error:
            raise FrameError(f"a background process did not start within {START_TIMEOUT:g} s") from error
        while items:
            for item in join_output(items):
                if isinstance(item, Event):
                    if has_started:
                        raise FrameError("a second event of a background process")
                    has_started = True
                    self._take_started(item.value)
                elif item.stream is Stream.BODY or not has_started:
                    raise FrameError("output of a background process before its start")
                else:
                    self.output.append(item.stream, item.data)
            if not call.ended:
                await self.output.wait_for_room()
            items = await call.batch()
        if not has_started:
            raise FrameError("a background process ended before it started")
        return call.result

    def _take_started(self, value: dict[str, Any]) -> None:
        if value.get("type") != "started":
            raise FrameError("unknown event of a background process")
        self.pid = read_integer(value, "pid", 0, _MAX_PID)
        offset = read_count(value, "offset")
        if offset < self.output.end:
            raise FrameError("the output position of a background process went back")
        self.output.skip_to(offset)
        if not self.started.done():
            self.started.set_result(None)


def list_names(env: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of variables, sorted, as far as they fit into MAX_NAMES characters."""
    names, room = [], MAX_NAMES
    for name in sorted(env):
        room -= len(name)
        if room < 0:
            break
        names.append(name)
    return tuple(names)


def describe_command(request: process_pb2.RunRequest) -> str:
    """Return the text of a command, to show to people."""
    text = request.shell if request.WhichOneof("command") == "shell" else shlex.join(request.argv.args)
    return text[:MAX_COMMAND]
