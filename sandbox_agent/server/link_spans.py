"""Spans of what the runtime is asked for, seen from the agent: the runtime itself knows nothing of traces.

What the runtime says decides when a span ends, and nothing else of it: user code can put no word into one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sandbox_link.protocol import Event
from sandbox_proto import tracing

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from sandbox_link.protocol import Call, Data, Runtime

_QUEUED: Final = frozenset({"execute", "run", "process.start"})
"""Operations that wait for their turn, and then say `started`."""
_ENDLESS: Final = frozenset({"workspace.watch", "file.watch"})


class TracedRuntime:
    """A Runtime (see link/calls.py) with a span for each operation.

    Args:
        inner: What does it.
    """

    def __init__(self, inner: Runtime) -> None:
        self._inner = inner

    @property
    def runtime_id(self) -> str:
        """See Runtime."""
        return self._inner.runtime_id

    @property
    def can_stream(self) -> bool:
        """See Runtime."""
        return self._inner.can_stream

    async def call(self, op: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """See Runtime."""
        with tracing.span(f"runtime {op}"):
            return await self._inner.call(op, arguments)

    async def open(self, op: str, arguments: dict[str, Any]) -> Call:
        """See Runtime."""
        if op in _ENDLESS:
            return await self._inner.open(op, arguments)
        spans = _CallSpans(op)
        try:
            return _TracedCall(await self._inner.open(op, arguments), spans)
        except BaseException as error:
            spans.end(error)
            raise


class _CallSpans:
    """The span of a call, and below it those of its time in the queue and of its run."""

    def __init__(self, op: str) -> None:
        self._whole = tracing.begin(f"runtime {op}")
        self._part = tracing.begin("queue", self._whole) if op in _QUEUED else tracing.NO_SPAN
        self._waits = op in _QUEUED

    def see(self, items: list[Data | Event]) -> None:
        """Something arrived; the first event of what waits in the queue is that it started."""
        if self._waits and any(isinstance(item, Event) and item.value.get("type") == "started" for item in items):
            self._waits = False
            tracing.end(self._part)
            self._part = tracing.begin("run", self._whole)

    def end(self, error: BaseException | None = None) -> None:
        """The call is over. Idempotent."""
        self._waits = False
        tracing.end(self._part, error)
        tracing.end(self._whole, error)


class _TracedCall:
    """A Call (see link/calls.py) that ends its spans with itself."""

    def __init__(self, inner: Call, spans: _CallSpans) -> None:
        self._inner = inner
        self._items = aiter(inner)
        self._spans = spans

    @property
    def result(self) -> dict[str, Any]:
        return self._inner.result

    @property
    def ended(self) -> bool:
        return self._inner.ended

    def __aiter__(self) -> AsyncIterator[Data | Event]:
        return self

    async def __anext__(self) -> Data | Event:
        try:
            item = await anext(self._items)
        except StopAsyncIteration:
            self._spans.end()
            raise
        except BaseException as error:
            self._spans.end(error)
            raise
        self._spans.see([item])
        return item

    async def batch(self) -> list[Data | Event]:
        try:
            items = await self._inner.batch()
        except BaseException as error:
            self._spans.end(error)
            raise
        self._spans.see(items)
        if not items or self._inner.ended:
            self._spans.end()
        return items

    def break_off(self, reason: str) -> None:
        self._spans.end()
        self._inner.break_off(reason)

    async def send(self, data: bytes | memoryview) -> None:
        await self._inner.send(data)

    def stream(self, event: Event) -> AbstractAsyncContextManager[socket.socket]:
        return self._inner.stream(event)

    async def end(self) -> None:
        await self._inner.end()

    async def cancel(self) -> None:
        self._spans.end()
        await self._inner.cancel()
