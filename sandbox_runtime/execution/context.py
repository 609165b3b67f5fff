"""A context: the executions that wait for one interpreter, and the one that runs in it."""

from __future__ import annotations

import asyncio
import signal
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from sandbox_link.frames import Frame, FrameType, Stream
from sandbox_link.protocol import OperationError
from sandbox_runtime.execution.between_cells import BetweenCells
from sandbox_runtime.execution.execution import INTERRUPT_GRACE, Execution
from sandbox_runtime.execution.interpreter_slot import InterpreterSlot
from sandbox_runtime.interpreters.exit_status import describe_end, read_end, read_status
from sandbox_runtime.typecheck.cell_history import Cell, CellHistory

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox_runtime.execution.internal_task import TaskSink
    from sandbox_runtime.execution.type_gate import TypeGate, Verdict
    from sandbox_runtime.interpreters.interpreter import Interpreter, OutputBuffer
    from sandbox_runtime.interpreters.pool import InterpreterPool
    from sandbox_runtime.limits.oom_guard import OomGuard

_MAX_WAITING: Final = 256
_KILLED_EXIT_CODE: Final = 128 + signal.SIGKILL


class Context:
    """A place where code runs and variables persist.

    Args:
        context_id: Its id.
        language: Its language; `javascript` and `typescript` contexts run both.
        pool: Provides its interpreters.
        output: The output to the agent.
        oom_guard: Watches the memory of its interpreters.
        cwd: Working directory, relative to the workspace root.
        env: Added to the session's environment.
        on_exit: Called with the context and the reason when its process ended by itself.
    """

    def __init__(
        self,
        context_id: str,
        language: str,
        pool: InterpreterPool,
        output: OutputBuffer,
        oom_guard: OomGuard,
        *,
        cwd: str = "",
        env: dict[str, str] | None = None,
        on_exit: Callable[[Context, str], None] = lambda *_: None,
    ) -> None:
        self.id = context_id
        self.language = language
        self.cwd = cwd
        self.env = env or {}
        self.execution_count = 0
        self._slot = InterpreterSlot(pool, language, cwd, self.env, self, output)
        self._oom_guard = oom_guard
        self._on_exit = on_exit
        self._current: Execution | None = None
        self._waiting: deque[tuple[Execution, TypeGate | None]] = deque()
        self._between = BetweenCells()
        self._history = CellHistory()
        self._checking: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_busy(self) -> bool:
        """True if a cell runs or waits."""
        return self._current is not None or bool(self._waiting)

    @property
    def has_process(self) -> bool:
        """True if it has an interpreter process."""
        return self._slot.interpreter is not None

    @property
    def is_untouched(self) -> bool:
        """True if no cell has reached its process, so that replacing the process changes nothing for the client."""
        return self.execution_count == 0 and not self.is_busy and not self._slot.is_ending

    def describe(self, context_id: str = "", language: str = "") -> dict[str, Any]:
        """Return its object on the link. The id and the language may be those of an alias."""
        return {
            "id": context_id or self.id,
            "language": language or self.language,
            "cwd": self.cwd or ".",
            "busy": self.is_busy,
            "execution_count": self.execution_count,
        }

    def warm_up(self) -> None:
        """Take a process from the pool if there is none, so that it starts before the first cell arrives."""
        self._slot.fill()

    def initialize(self) -> None:
        """Take a process if there is none, and give it its environment. Later configuration does not reach it."""
        self._slot.initialize()

    def submit(self, execution: Execution, gate: TypeGate | None = None) -> None:
        """Queue an execution.

        Args:
            execution: Runs after those that were submitted before it.
            gate: Checks its types first.

        Raises:
            OperationError: RESOURCE_EXHAUSTED: too many executions are waiting.
        """
        if len(self._waiting) >= _MAX_WAITING:
            message = f"{_MAX_WAITING} executions are already waiting for the context {self.id!r}: wait for one to end"
            raise OperationError("RESOURCE_EXHAUSTED", "INVALID_ARGUMENT", message, "context_id")
        self._waiting.append((execution, gate))
        self._start_next()

    async def run_task(self, sink: TaskSink, task: dict[str, Any], content: bytes, timeout: float) -> dict[str, Any]:  # noqa: ASYNC109 - the task's time limit, not the call's
        """Queue an internal task like a cell, and return its result as in a cell's CLOSE.

        Args:
            sink: Takes the output.
            task: Its `op` and arguments.
            content: Its input.
            timeout: Seconds until it is interrupted, and then killed if that does not help.
        """
        self.submit(Execution(sink, self.language, content, timeout, 0, task))
        return await sink.ended

    def interrupt(self) -> bool:
        """Interrupt the running cell. Returns False if none runs."""
        if self._current is None or self._slot.interpreter is None:
            return False
        self._current.interrupted = True
        self._interrupt_current(self._slot.interpreter)
        return True

    def cancel(self, execution: Execution) -> None:
        """Interrupt this execution, and kill its process if that does not help. One that waits never runs."""
        if execution is self._current and self._slot.interpreter is not None:
            execution.interrupted = True
            if self._checking is None:
                execution.set_timer(INTERRUPT_GRACE, lambda: self._on_grace_over(execution, "INTERRUPTED"))
            self._interrupt_current(self._slot.interpreter)
        for entry in self._waiting:
            if entry[0] is execution:
                self._waiting.remove(entry)
                execution.finish("INTERRUPTED")
                return

    def exchange_process(self) -> None:
        """Replace a process that no cell has reached."""
        if self.is_untouched and self.has_process:
            self._slot.discard()
            self._slot.fill()

    async def restart(self, status: str = "KILLED") -> None:
        """Replace the process. The running cell ends with this status; waiting ones run in the new process."""
        await self._end_process(status)
        self._start_next()
        self._slot.fill()

    async def close(self) -> None:
        """End the process tree and all executions."""
        waiting, self._waiting = list(self._waiting), deque()
        await self._end_process("KILLED")
        for execution, _ in waiting:
            execution.finish("KILLED", context_restarted=True)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # Events of its interpreter.

    def on_ready(self) -> None:
        """Start the clock of a cell that waited for the process."""
        if self._current is not None:
            self._current.start_clock()

    def on_frame(self, frame: Frame) -> None:
        """Pass on a frame of the running cell."""
        execution, interpreter = self._current, self._slot.interpreter
        if execution is None or frame.channel != execution.sink.number or interpreter is None:
            return
        if frame.type is FrameType.DATA and frame.body:
            data = memoryview(frame.body)
            try:
                stream = Stream(data[0])
            except ValueError:
                return
            execution.write(stream, data[1:])
            if execution.is_blocked:
                interpreter.pause()
        elif frame.type is FrameType.EVENT:
            execution.pass_event(frame)
        elif frame.type is FrameType.CLOSE:
            interpreter.drain_pipes()
            status = read_status(frame.payload)
            if execution.timed_out:
                self._keep(asyncio.get_running_loop().create_task(self._finish_late(execution, interpreter, status)))
            else:
                self._finish(execution, status)

    def on_output(self, stream: Stream, data: bytes) -> None:
        """Pass on output of children and C code to the running cell, or keep its end for the next one."""
        execution = self._current
        if execution is None or execution.task is not None:
            self._between.keep(self.execution_count, stream, data)
            return
        execution.write(stream, data)
        if execution.is_blocked and self._slot.interpreter is not None:
            self._slot.interpreter.pause()

    def on_exit(self, status: int | None) -> None:
        """Handle a process that ended by itself."""
        interpreter = self._slot.discard()
        number, exit_code = read_end(status)
        oom = number == signal.SIGKILL and interpreter is not None and self._oom_guard.was_oom_kill(interpreter.child)
        reason = "OOM_KILLED" if oom else "KILLED"
        if self._current is not None:
            if oom:
                self._current.send_event(self._oom_guard.error_event())
            self._finish(self._current, reason, exit_code, restarted=True)
        elif self.execution_count:
            self._between.lose(describe_end(number, exit_code, oom=oom))
        self.execution_count = 0
        self._on_exit(self, reason)
        self._start_next()
        if status is not None:
            self._slot.fill()

    # The queue.

    def _start_next(self) -> None:
        if self._current is not None or self._slot.is_ending or not self._waiting:
            return
        interpreter = self._slot.initialize()
        if interpreter is None:
            return
        execution, gate = self._waiting.popleft()
        self._current = execution
        self._history.follow(interpreter)
        if execution.task is None and (gate is None or gate.may_run):
            self.execution_count += 1
        execution.begin(self.id, self.execution_count, self._on_deadline, is_ready=interpreter.is_ready)
        self._oom_guard.wake()
        self._between.report(execution)
        execution.sink.on_writable = self._on_writable
        if gate is None:
            self._run(execution, interpreter)
        else:
            self._checking = asyncio.get_running_loop().create_task(self._check(execution, gate, interpreter))
            self._keep(self._checking)

    def _run(self, execution: Execution, interpreter: Interpreter) -> None:
        if self.language not in ("python", "bash"):
            code = execution.code.decode(errors="replace")
            self._history.add(Cell(self.execution_count, execution.language, code))
        count = {"execution_count": self.execution_count, "timeout": execution.timeout}
        arguments = {"context_id": self.id, "language": execution.language, **(execution.task or {}), **count}
        interpreter.execute(execution.sink.number, arguments, execution.code)

    async def _check(self, execution: Execution, gate: TypeGate, interpreter: Interpreter) -> None:
        verdict: Verdict = (), "INTERRUPTED"
        try:
            verdict = await gate.check(execution.code, self.id, self._history)
        except asyncio.CancelledError:
            # By an interrupt or the deadline, which the execution has recorded.
            pass
        finally:
            if execution is self._current:
                self._checking = None
        if execution is not self._current or interpreter is not self._slot.interpreter:
            return
        events, status = verdict
        for event in events:
            execution.send_event(event)
        if status:
            self._finish(execution, status)
        else:
            self._run(execution, interpreter)

    def _finish(self, execution: Execution, status: str, exit_code: int = 0, *, restarted: bool = False) -> None:
        self._current = self._checking = None
        execution.finish(status, exit_code, context_restarted=restarted)
        if not restarted and self._slot.interpreter is not None:
            self._slot.interpreter.resume()
            self._start_next()

    def _on_writable(self) -> None:
        if self._slot.interpreter is not None:
            self._slot.interpreter.resume()

    # Interrupts and deadlines.

    def _interrupt_current(self, interpreter: Interpreter) -> None:
        if self._checking is not None:
            self._checking.cancel()
            return
        interpreter.resume()
        interpreter.interrupt()

    def _on_deadline(self) -> None:
        execution, interpreter = self._current, self._slot.interpreter
        if execution is None or interpreter is None:
            return
        execution.timed_out = True
        if self._checking is None:
            execution.set_timer(INTERRUPT_GRACE, lambda: self._on_grace_over(execution, "TIMED_OUT"))
        self._interrupt_current(interpreter)

    async def _finish_late(self, execution: Execution, interpreter: Interpreter, status: str) -> None:
        """End a cell whose time was over once nothing is left of the processes that it started."""
        execution.stop_clock()
        try:
            await interpreter.kill_newer(execution.began)
        finally:
            if execution is self._current:
                self._finish(execution, status)

    def _on_grace_over(self, execution: Execution, status: str) -> None:
        self._keep(asyncio.get_running_loop().create_task(self._kill(execution, status)))

    async def _kill(self, execution: Execution, status: str) -> None:
        # It may have ended in the round of the loop in which its timer fired.
        if execution is self._current:
            await self.restart(status)

    async def _end_process(self, status: str) -> None:
        execution = self._current
        # The context still takes the last output. The process's end needs no report, because it is expected.
        await self._slot.end()
        if execution is not None and execution is self._current:
            self._finish(execution, status, _KILLED_EXIT_CODE, restarted=True)
        self.execution_count = 0

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
