"""Owns the interpreter process of one context: takes it from the pool, replaces it, and ends it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_runtime.interpreters.interpreter import Interpreter, Listener, OutputBuffer
    from sandbox_runtime.interpreters.pool import InterpreterPool


@dataclass(slots=True, eq=False)
class InterpreterSlot:
    """At most one interpreter at a time.

    Attributes:
        pool: Provides interpreters.
        language: Language of the context.
        cwd: Working directory, relative to the workspace root.
        env: Added to the session's environment.
        listener: Gets the interpreter's frames, output and end.
        output: The output to the agent.
        interpreter: The process. None before the first one, and between two.
        is_ending: True while `end` runs. No new process is taken then.
    """

    pool: InterpreterPool
    language: str
    cwd: str
    env: Mapping[str, str]
    listener: Listener
    output: OutputBuffer
    interpreter: Interpreter | None = None
    is_ending: bool = False

    def fill(self) -> None:
        """Take a process from the pool if there is none."""
        if self.interpreter is None and not self.is_ending:
            self.interpreter = self.pool.take(self.language)
            self.interpreter.attach(self.listener, self.output)

    def initialize(self) -> Interpreter | None:
        """Take a process if there is none, and give it its environment. Later configuration does not reach it.

        Returns:
            The process, or None while the previous one is being ended.
        """
        self.fill()
        if self.interpreter is not None and not self.interpreter.is_initialized:
            self.pool.initialize(self.interpreter, self.cwd, self.env)
        return self.interpreter

    def discard(self) -> Interpreter | None:
        """Detach the process and kill it in the background. Returns it, or None if there was none."""
        interpreter, self.interpreter = self.interpreter, None
        if interpreter is not None:
            interpreter.detach()
            self.pool.kill(interpreter)
        return interpreter

    async def end(self) -> None:
        """Kill the process and wait for its end. The listener gets the output still in the pipes, but no `on_exit`."""
        interpreter, self.interpreter = self.interpreter, None
        self.is_ending = True
        try:
            if interpreter is not None:
                interpreter.detach(self.listener.on_output)
                await interpreter.kill()
        finally:
            self.is_ending = False
