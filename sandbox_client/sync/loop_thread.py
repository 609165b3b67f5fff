"""An event loop on a thread of its own, for coroutines that synchronous code waits for."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


class LoopThread:
    """An event loop on its own daemon thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sandbox-client", daemon=True)
        self._thread.start()

    @property
    def is_closed(self) -> bool:
        """True if the loop was stopped."""
        return self._loop.is_closed()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end and return its result. Ctrl-C cancels the coroutine and is raised here.

        Raises:
            RuntimeError: The loop was stopped, or the caller is a callback that runs on the loop itself and would wait
                forever.
        """
        if threading.current_thread() is self._thread or self._loop.is_closed():
            coroutine.close()
            why = "the sandbox is closed" if self._loop.is_closed() else "use AsyncSandbox inside callbacks"
            raise RuntimeError(f"this call is not possible here: {why}")
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> None:
        """Cancel all running coroutines and end the thread. Idempotent."""
        if self._loop.is_closed():
            return
        self.run(self._cancel_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    @staticmethod
    async def _cancel_all() -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
