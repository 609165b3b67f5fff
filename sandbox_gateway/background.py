"""Work that continues when the request that started it is cancelled."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

_tasks: Final[set[asyncio.Task[Any]]] = set()
ValueT = TypeVar("ValueT")


def run_in_background(work: Coroutine[Any, Any, ValueT]) -> asyncio.Task[ValueT]:
    """Start a task and keep it alive, which the event loop itself does not do."""
    task = asyncio.create_task(work)
    _tasks.add(task)
    task.add_done_callback(_forget)
    return task


def _forget(task: asyncio.Task[Any]) -> None:
    _tasks.discard(task)
    # The caller who wanted the result has it already, or has gone.
    if not task.cancelled():
        task.exception()
