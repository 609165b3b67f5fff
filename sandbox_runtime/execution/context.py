"""A context: one interpreter after another under one id, and the executions that wait for it, in order."""

from __future__ import annotations

import asyncio
import signal
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from sandbox_link.frames import Frame, FrameError, FrameType, Stream
from sandbox_link.protocol import OperationError
from sandbox_runtime.execution.execution import INTERRUPT_GRACE, Execution
from sandbox_runtime.interpreters.exit_status import LastOutput, read_end, read_status
from sandbox_runtime.typecheck.cell_history import Cell, CellHistory

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox_runtime.interpreters.interpreter import Interpreter
    from sandbox_runtime.interpreters.pool import Nursery

_MAX_WAITING: Final = 256
_BACKLOG: Final = 64 << 10
_SIGNAL_EXIT: Final = 128


class Context:
    """A place where code runs and variables persist.

    Args:
        context_id: Its id.
        language: `python` or `javascript` (which runs TypeScript too).
        nursery: Makes its interpreters.
        cwd: Relative to the workspace root.
        env: Added to the session's environment.
        on_exit: Told why when its process ended by itself.
    """

    def __init__(
        self,
        context_id: str,
        language: str,
        nursery: Nursery,
        *,
        cwd: str = "",
        env: dict[str, str] | None = None,
        on_exit: Callable[[Context, str], None] = lambda *_: None,
    ) -> None:
        self.id = context_id
        self.language = language
        self.shown_language = language
        self.cwd = cwd
        self.env = env or {}
        self.execution_count = 0
        self._nursery = nursery
        self._on_exit = on_exit
        self._interpreter: Interpreter | None = None
        self._current: Execution | None = None
        self._waiting: deque[Execution] = deque()
        self._backlog: deque[tuple[Stream, bytes]] = deque(maxlen=64)
        self._replacing = False
        self._history = CellHistory()
        self._checking: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_busy(self) -> bool:
        """Whether a cell runs or waits."""
        return self._current is not None or bool(self._waiting)

    @property
    def has_process(self) -> bool:
        """Whether a process belongs to it."""
        return self._interpreter is not None

    @property
    def is_untouched(self) -> bool:
        """Whether no cell has reached its process, so that the process may be exchanged unseen."""
        return self.execution_count == 0 and not self.is_busy and not self._replacing

    def describe(self, context_id: str = "", language: str = "") -> dict[str, Any]:
        """Its object on the link; id and language may be those of an alias."""
        return {
            "id": context_id or self.id,
            "language": language or self.shown_language,
            "cwd": self.cwd or ".",
            "busy": self.is_busy,
            "execution_count": self.execution_count,
        }

    def warm(self) -> None:
        """Have a process ready."""
        if self._interpreter is None and not self._replacing:
            self._interpreter = self._nursery.take(self.language)
            self._interpreter.listener = self

    def settle(self) -> None:
        """Have a process ready, and in its environment: what is configured from now on does not reach it."""
        self.warm()
        if self._interpreter is not None and not self._interpreter.is_initialized:
            self._nursery.initialize(self._interpreter, self.cwd, self.env)

    def submit(self, execution: Execution) -> None:
        """Run a cell, after those that came before.

        Raises:
            OperationError: Too many are waiting.
        """
        if len(self._waiting) >= _MAX_WAITING:
            message = f"{_MAX_WAITING} executions wait for this context already"
            raise OperationError("RESOURCE_EXHAUSTED", "INVALID_ARGUMENT", message, "context_id")
        self._waiting.append(execution)
        self._start_next()

    def interrupt(self) -> bool:
        """Interrupt the cell that runs; whether one did."""
        if self._current is None or self._interpreter is None:
            return False
        self._current.interrupted = True
        if self._checking is not None:
            self._checking.cancel()
            return True
        self._interpreter.resume()
        self._interpreter.interrupt()
        return True

    def exchange(self) -> None:
        """Replace a process that no cell has reached."""
        if self.is_untouched and self._interpreter is not None:
            self._spawn_kill(self._release())
            self.warm()

    async def restart(self) -> None:
        """Replace the process; the running cell ends as KILLED, waiting ones run in the new one."""
        await self._replace("KILLED", _SIGNAL_EXIT + signal.SIGKILL)
        self.execution_count = 0
        self._start_next()
        self.warm()

    async def close(self) -> None:
        """End the process tree and all executions."""
        waiting, self._waiting = list(self._waiting), deque()
        await self._replace("KILLED", _SIGNAL_EXIT + signal.SIGKILL)
        for execution in waiting:
            execution.finish("KILLED", context_restarted=True)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # What its interpreter says.

    def on_ready(self) -> None:
        """The time of a cell that waited for the process begins."""
        if self._current is not None:
            self._current.start_clock()

    def on_frame(self, frame: Frame) -> None:
        """Relay a frame of the running cell."""
        execution = self._current
        if execution is None or frame.channel != execution.channel.number or self._interpreter is None:
            return
        if frame.type is FrameType.DATA and frame.body:
            data = memoryview(frame.body)
            try:
                stream = Stream(data[0])
            except ValueError:
                return
            execution.output(stream, data[1:])
            self._apply_pressure(execution)
        elif frame.type is FrameType.EVENT:
            self._relay_event(execution, frame)
        elif frame.type is FrameType.CLOSE:
            self._interpreter.drain_pipes()
            self._finish(execution, read_status(frame.payload))

    def on_output(self, stream: Stream, data: bytes) -> None:
        """What children and C code print goes to the running cell, or the next one."""
        if self._current is None:
            self._backlog.append((stream, data[-_BACKLOG // 16 :]))
        else:
            self._current.output(stream, data)
            self._apply_pressure(self._current)

    def on_read(self) -> None:
        """Frames follow, then `on_round`."""
        self._nursery.outlet.hold()

    def on_round(self) -> None:
        """Send what the last frames brought, without waiting for the loop's next round."""
        self._nursery.outlet.flush()

    def on_exit(self, status: int | None) -> None:
        """The process ended by itself."""
        gone = self._release()
        self._spawn_kill(gone)
        signalled, exit_code = read_end(status)
        oom = signalled == signal.SIGKILL and gone is not None and self._nursery.memory.explains(gone.child)
        reason = "OOM_KILLED" if oom else "KILLED"
        if self._current is not None and oom:
            self._current.tell(self._nursery.memory.describe())
        if self._current is not None:
            self._finish(self._current, reason, exit_code, restarted=True)
        self._on_exit(self, reason)
        self._start_next()
        if status is not None:
            self.warm()

    # Its executions.

    def _start_next(self) -> None:
        if self._current is not None or self._replacing or not self._waiting:
            return
        self.settle()
        if self._interpreter is None:
            return
        execution = self._current = self._waiting.popleft()
        self._history.follow(self._interpreter)
        self.execution_count += execution.counts
        execution.begin(self.id, self.execution_count, self._on_deadline, is_ready=self._interpreter.is_ready)
        self._nursery.memory.wake()
        for stream, data in self._backlog:
            execution.output(stream, data)
        self._backlog.clear()
        execution.channel.on_writable = self._on_writable
        if execution.check is None:
            self._hand_over(execution, self._interpreter)
        else:
            self._checking = asyncio.get_running_loop().create_task(self._check(execution, self._interpreter))
            self._keep(self._checking)

    def _hand_over(self, execution: Execution, interpreter: Interpreter) -> None:
        if self.language == "javascript":
            cell = Cell(self.execution_count, execution.language, execution.code.decode(errors="replace"))
            self._history.add(cell)
        arguments: dict[str, Any] = {"context_id": self.id, "language": execution.language}
        arguments["execution_count"] = self.execution_count
        arguments.update(execution.task or {}, timeout=execution.timeout)
        interpreter.execute(execution.channel.number, arguments, execution.code)

    async def _check(self, execution: Execution, interpreter: Interpreter) -> None:
        status = "INTERRUPTED"
        try:
            if execution.check is not None:
                status = await execution.check.pass_through(execution, self.id, self._history)
        except asyncio.CancelledError:
            # By an interrupt or the deadline, which the execution knows.
            pass
        finally:
            self._checking = None
        if execution is not self._current or interpreter is not self._interpreter:
            return
        if status:
            self._finish(execution, status)
        else:
            self._hand_over(execution, interpreter)

    def _relay_event(self, execution: Execution, frame: Frame) -> None:
        try:
            event = frame.json()
        except FrameError:
            return
        execution.announce()
        if event.get("type") != "started":
            execution.channel.send_event(event)

    def _finish(self, execution: Execution, status: str, exit_code: int = 0, *, restarted: bool = False) -> None:
        self._current = None
        execution.finish(status, exit_code, context_restarted=restarted)
        if restarted:
            self.execution_count = 0
        elif self._interpreter is not None:
            self._interpreter.resume()
            self._start_next()

    def _on_deadline(self) -> None:
        execution = self._current
        if execution is None or self._interpreter is None:
            return
        execution.timed_out = True
        if self._checking is not None:
            self._checking.cancel()
            return
        execution.later(INTERRUPT_GRACE, self._on_grace_over)
        self._interpreter.resume()
        self._interpreter.interrupt()

    def _on_grace_over(self) -> None:
        self._keep(asyncio.get_running_loop().create_task(self._replace_timed_out()))

    async def _replace_timed_out(self) -> None:
        await self._replace("TIMED_OUT", _SIGNAL_EXIT + signal.SIGKILL)
        self._start_next()
        self.warm()

    async def _replace(self, status: str, exit_code: int) -> None:
        execution, interpreter = self._current, self._interpreter
        self._replacing = True
        try:
            if interpreter is not None:
                # The context still listens, so that the last output arrives; but its end is no surprise.
                await self._end_of(interpreter)
            if execution is not None and execution is self._current:
                self._finish(execution, status, exit_code, restarted=True)
            self.execution_count = 0
        finally:
            self._replacing = False

    async def _end_of(self, interpreter: Interpreter) -> None:
        self._interpreter = None
        interpreter.listener = LastOutput(self.on_output)
        await interpreter.kill()

    def _release(self) -> Interpreter | None:
        interpreter, self._interpreter = self._interpreter, None
        if interpreter is not None:
            interpreter.listener = None
        return interpreter

    def _spawn_kill(self, interpreter: Interpreter | None) -> None:
        if interpreter is not None:
            self._keep(asyncio.get_running_loop().create_task(interpreter.kill()))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _apply_pressure(self, execution: Execution) -> None:
        if self._interpreter is not None and execution.is_blocked:
            self._interpreter.pause()

    def _on_writable(self) -> None:
        if self._interpreter is not None:
            self._interpreter.resume()
