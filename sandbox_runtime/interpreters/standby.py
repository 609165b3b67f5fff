"""An interpreter that waits for whoever needs one next; a while after it was taken, another takes its place."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox_runtime.interpreters.interpreter import Interpreter


class Standby:
    """At most one interpreter.

    Args:
        start: Makes one; None where that is not possible yet.
        refill_after: Seconds between a taking and the next start, so that the start does not slow what is about to run.
    """

    def __init__(self, start: Callable[[], Interpreter | None], refill_after: float) -> None:
        self._start = start
        self._refill_after = refill_after
        self._interpreter: Interpreter | None = None
        self._refill: asyncio.TimerHandle | None = None
        self._ending: set[asyncio.Task[None]] = set()

    def prepare(self) -> None:
        """Have one wait from now on."""
        self._refill = None
        if self._interpreter is None or self._interpreter.is_gone:
            self._interpreter = self._start()

    def take(self) -> Interpreter | None:
        """The one that waits, if it does."""
        interpreter, self._interpreter = self._interpreter, None
        if self._refill is None:
            self._refill = asyncio.get_running_loop().call_later(self._refill_after, self.prepare)
        return None if interpreter is None or interpreter.is_gone else interpreter

    def renew(self) -> None:
        """Replace the one that waits, because it was started for what no longer holds."""
        interpreter, self._interpreter = self._interpreter, None
        if interpreter is not None:
            task = asyncio.get_running_loop().create_task(interpreter.kill())
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
            self.prepare()

    async def close(self) -> None:
        """End it."""
        if self._refill is not None:
            self._refill.cancel()
        if self._interpreter is not None:
            await self._interpreter.kill()
        await asyncio.gather(*self._ending, return_exceptions=True)
