"""Opens a span for each operation of the runtime. The runtime itself does not know of traces.

User code cannot put text into a span: the runtime's events decide only when one ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from sandbox_link.protocol import Event
from sandbox_proto import tracing

if TYPE_CHECKING:
    from sandbox_link.protocol import Call, Data, Runtime

_QUEUED: Final = frozenset({"execute", "run", "process.start"})
"""Operations that may wait in a queue, and send a `started` event when they begin."""
_ENDLESS: Final = frozenset({"workspace.watch", "file.watch"})


class TracedRuntime:
    """A Runtime that opens a span for each operation.

    Args:
        inner: The runtime that does the work.
    """

    def __init__(self, inner: Runtime) -> None:
        self._inner = inner

    @property
    def runtime_id(self) -> str:  # noqa: D102 - inherited
        return self._inner.runtime_id

    @property
    def can_stream(self) -> bool:  # noqa: D102 - inherited
        return self._inner.can_stream

    async def call(self, op: str, arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: D102 - inherited
        with tracing.span(f"runtime {op}"):
            return await self._inner.call(op, arguments)

    async def open(self, op: str, arguments: dict[str, Any]) -> Call:  # noqa: D102 - inherited
        if op in _ENDLESS:
            return await self._inner.open(op, arguments)
        whole = tracing.operation(f"runtime {op}")
        part = tracing.operation("queue", whole) if op in _QUEUED else tracing.NO_SPAN
        try:
            inner = await self._inner.open(op, arguments)
        except BaseException as error:
            part.end(error)
            whole.end(error)
            raise
        return cast("Call", _TracedCall(inner, whole, part))


class _TracedCall:
    """A Call that ends its spans when it ends.

    Args:
        inner: The call itself.
        whole: The span of the operation.
        part: The span of its time in the queue, which the span of its run replaces. NO_SPAN if it cannot be queued.
    """

    def __init__(self, inner: Call, whole: tracing.Span, part: tracing.Span) -> None:
        self._inner = inner
        self._items = aiter(inner)
        self._whole, self._part = whole, part
        self._is_queued = part is not tracing.NO_SPAN

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __aiter__(self) -> _TracedCall:
        return self

    async def __anext__(self) -> Data | Event:
        try:
            item = await anext(self._items)
        except BaseException as error:
            self._end(None if isinstance(error, StopAsyncIteration) else error)
            raise
        self._observe([item])
        return item

    async def batch(self) -> list[Data | Event]:
        try:
            items = await self._inner.batch()
        except BaseException as error:
            self._end(error)
            raise
        self._observe(items)
        if not items or self._inner.ended:
            self._end()
        return items

    def break_off(self, reason: str) -> None:
        self._end()
        self._inner.break_off(reason)

    async def cancel(self) -> None:
        self._end()
        await self._inner.cancel()

    def _observe(self, items: list[Data | Event]) -> None:
        """Replace the span of the queue by that of the run when the `started` event arrives."""
        if self._is_queued and any(isinstance(item, Event) and item.value.get("type") == "started" for item in items):
            self._is_queued = False
            self._part.end()
            self._part = tracing.operation("run", self._whole)

    def _end(self, error: BaseException | None = None) -> None:
        self._is_queued = False
        self._part.end(error)
        self._whole.end(error)
