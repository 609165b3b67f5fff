"""Finds out which cell started the thread or task that prints. It may still run when that cell has ended."""

from __future__ import annotations

import _thread
import sys
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_cell: ContextVar[int] = ContextVar("sandbox_cell")
"""The cell that started a task. A task, and a call of `asyncio.to_thread`, inherit the value."""
_OWN_THREADS: Final = 1
"""Threads of the runtime that `_thread._count` counts."""
_count_threads: Final = _thread._count  # noqa: SLF001 - the cheapest way
_ident: Final = _thread.get_ident
_frames: Final = sys._current_frames  # noqa: SLF001 - as above


class Origins:
    """The cells of the threads and tasks that have outlived them.

    Args:
        has_tasks: Returns True if tasks of earlier cells are left.
    """

    def __init__(self, has_tasks: Callable[[], bool]) -> None:
        self._has_tasks = has_tasks
        self._threads: dict[int, int] = {}
        self._number = 0
        self._running = 0
        self._main = 0

    def begin(self, number: int) -> bool:
        """Begin a cell. Return True if a thread of an earlier cell may print meanwhile."""
        self._main = _ident()
        self._look()
        self._number = self._running = number
        _cell.set(number)
        return bool(self._threads)

    def end(self) -> bool:
        """End the cell. Return True if its threads or tasks may still print."""
        self._running = 0
        self._look()
        return bool(self._threads) or self._has_tasks()

    def late_cell(self) -> int:
        """Return the number of the cell that the caller belongs to, or 0 if that is the running one."""
        if _ident() == self._main:
            # A task runs only while the cell awaits. As in a notebook, what it prints then is the cell's own.
            return 0 if self._running else _cell.get(0) or self._number
        cell = _cell.get(0) or self._threads.get(_ident(), 0)
        if not cell or (self._running and cell != self._running and _takes_work()):
            # A thread of a pool works for the cell that gave it the work.
            cell = self._running or self._number
        return 0 if cell == self._running else cell

    def _look(self) -> None:
        """Note the threads that the last cell has started."""
        alive = _frames().keys() - {self._main} if _count_threads() > _OWN_THREADS else ()
        self._threads = {ident: self._threads.get(ident, self._number) for ident in alive}


def _takes_work() -> bool:
    thread: Any = threading.current_thread()
    futures: Any = sys.modules.get("concurrent.futures.thread")
    if futures is not None and thread in futures._threads_queues:  # noqa: SLF001 - there is no other list of them
        return True
    dummy = sys.modules.get("multiprocessing.dummy")
    return dummy is not None and isinstance(thread, dummy.DummyProcess)
