"""A span for each call that was let in. A caller who was refused makes none, whatever trace it names."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import grpc

from sandbox_proto import tracing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from sandbox_agent.server.interceptors import Context


def spanned(
    guard: Callable[[], AbstractContextManager[None]], method: str
) -> Callable[[Context], AbstractContextManager[None]]:
    """What goes around a call: the guard, and a span where this process traces."""
    if not tracing.is_on():
        return lambda _context: guard()

    @contextlib.contextmanager
    def around(context: Context) -> Iterator[None]:
        with guard(), tracing.serving(method, context.invocation_metadata() or ()) as span:
            try:
                yield
            finally:
                span.set("rpc.grpc.status_code", _code(context))

    return around


def _code(context: Context) -> int:
    code: Any = context.code()
    number = code.value[0] if isinstance(code, grpc.StatusCode) else code
    return int(number or 0)
