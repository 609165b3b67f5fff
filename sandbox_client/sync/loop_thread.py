"""An event loop on a thread of its own, for coroutines that synchronous code waits for."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import weakref
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")
_log = logging.getLogger(__name__)
_ENDING: Final[set[asyncio.Task[None]]] = set()
"""A loop refers to its tasks only weakly."""


class LoopThread:
    """An event loop on its own daemon thread.

    Nothing here needs or touches the event loop of the calling thread, which may be running: that of a notebook, or of
    a web framework. The thread does not refer to this object, so that the loop ends when this object is garbage.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=_run, args=(self._loop,), name="sandbox-client", daemon=True)
        self._thread.start()
        self._finalizer = weakref.finalize(self, _end_soon, self._loop, None)
        self._finalizer.atexit = False

    @property
    def is_closed(self) -> bool:
        """True if the loop was stopped."""
        return not self._finalizer.alive

    def close_when_garbage(self, close: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a coroutine function when this object is garbage and was not stopped, and then end the thread.

        Args:
            close: Must not refer to this object.
        """
        self._finalizer.detach()
        self._finalizer = weakref.finalize(self, _end_soon, self._loop, close)
        # When the program ends, nothing is left to run it: the daemon thread is frozen.
        self._finalizer.atexit = False

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end and return its result. Ctrl-C cancels the coroutine and is raised here.

        Raises:
            RuntimeError: The loop was stopped, or the caller is a callback that runs on the loop itself and would wait
                forever.
        """
        try:
            self._check()
        except RuntimeError:
            coroutine.close()
            raise
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> None:
        """Cancel all running coroutines and end the thread. Idempotent.

        Raises:
            RuntimeError: The caller runs on the loop itself.
        """
        if self.is_closed:
            return
        self._check()
        if self._finalizer.detach():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def _check(self) -> None:
        if self.is_closed:
            raise RuntimeError("the sandbox is closed: open another one")
        if threading.current_thread() is self._thread:
            raise RuntimeError(
                "a callback that runs on the loop of the sandbox cannot wait for it: use AsyncSandbox inside callbacks"
            )


def _run(loop: asyncio.AbstractEventLoop) -> None:
    """Run a loop on this thread until it is stopped, and clean up."""
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        loop.run_until_complete(_cancel_all())
        loop.run_until_complete(loop.shutdown_asyncgens())
        # RuntimeError: the program is ending, and no thread can be started any more.
        with contextlib.suppress(RuntimeError):
            loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        asyncio.set_event_loop(None)
        loop.close()


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _end_soon(loop: asyncio.AbstractEventLoop, close: Callable[[], Coroutine[Any, Any, None]] | None) -> None:
    """Close and stop a loop, without waiting: garbage is collected on any thread, also on the loop's own."""

    async def end() -> None:
        try:
            if close is not None:
                await close()
        except Exception:  # noqa: BLE001 - no caller waits for it, and the program may be ending
            _log.debug("a sandbox that is garbage was not closed in order", exc_info=True)
        finally:
            loop.stop()

    # RuntimeError: the loop is closed.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(_start, loop, end)


def _start(loop: asyncio.AbstractEventLoop, end: Callable[[], Coroutine[Any, Any, None]]) -> None:
    task = loop.create_task(end())
    _ENDING.add(task)
    task.add_done_callback(_ENDING.discard)
