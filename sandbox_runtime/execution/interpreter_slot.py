"""Owns the interpreter process of one context: takes it from the pool, replaces it, and ends it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sandbox_runtime.interpreters.exit_status import LastOutput

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sandbox_link.frames import Stream
    from sandbox_runtime.interpreters.interpreter import Interpreter, Listener, OutputBuffer
    from sandbox_runtime.interpreters.pool import InterpreterPool


class InterpreterSlot:
    """At most one interpreter at a time.

    Args:
        pool: Provides interpreters.
        language: Language of the context.
        cwd: Working directory, relative to the workspace root.
        env: Added to the session's environment.
        listener: Gets the interpreter's frames, output and end.
        output: The output to the agent.

    Attributes:
        interpreter: The process. None before the first one, and between two.
        is_ending: True while `end` runs. No new process is taken then.
    """

    def __init__(
        self,
        pool: InterpreterPool,
        language: str,
        cwd: str,
        env: Mapping[str, str],
        listener: Listener,
        output: OutputBuffer,
    ) -> None:
        self._pool = pool
        self._language = language
        self._cwd = cwd
        self._env = env
        self._listener = listener
        self._output = output
        self.interpreter: Interpreter | None = None
        self.is_ending = False
        self._kills: set[asyncio.Task[None]] = set()

    def fill(self) -> None:
        """Take a process from the pool if there is none."""
        if self.interpreter is None and not self.is_ending:
            self.interpreter = self._pool.take(self._language)
            self.interpreter.attach(self._listener, self._output)

    def initialize(self) -> Interpreter | None:
        """Take a process if there is none, and give it its environment. Later configuration does not reach it.

        Returns:
            The process, or None while the previous one is being ended.
        """
        self.fill()
        if self.interpreter is not None and not self.interpreter.is_initialized:
            self._pool.initialize(self.interpreter, self._cwd, self._env)
        return self.interpreter

    def discard(self) -> Interpreter | None:
        """Detach the process and kill it in the background. Returns it, or None if there was none."""
        interpreter, self.interpreter = self.interpreter, None
        if interpreter is not None:
            interpreter.detach()
            task = asyncio.get_running_loop().create_task(interpreter.kill())
            self._kills.add(task)
            task.add_done_callback(self._kills.discard)
        return interpreter

    async def end(self, on_output: Callable[[Stream, bytes], None]) -> None:
        """Kill the process and wait for its end, which the listener does not hear of.

        Args:
            on_output: Gets the output that is still in the pipes.
        """
        interpreter, self.interpreter = self.interpreter, None
        self.is_ending = True
        try:
            if interpreter is not None:
                interpreter.attach(LastOutput(on_output))
                await interpreter.kill()
        finally:
            self.is_ending = False

    async def wait_closed(self) -> None:
        """Wait for the kills in the background."""
        await asyncio.gather(*self._kills, return_exceptions=True)
