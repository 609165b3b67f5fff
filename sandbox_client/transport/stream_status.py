"""Client streams whose error is the one that the agent gave.

Where an agent refuses an upload that is still being sent, grpc.aio may say INTERNAL "Internal error from Core" instead:
its own failed write replaces the status that came, or comes a moment before it (grpc/grpc issue 36066). Each status a
call gets is told to its callbacks, so the agent's is heard there. No I/O of its own.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import grpc

_REPLACED: Final = "Internal error from Core"
_PATIENCE: Final = 2.0
"""Seconds that the agent's status is waited for, where the write's failure came first."""


class FirstStatus:
    """Stands in for a client-streaming method of grpc.aio; its calls are awaited, and no more."""

    def __init__(self, method: Any) -> None:
        self._call = method
        # As gRPC's own methods have it: tracing reads it there.
        self._method = method._method  # noqa: SLF001 - see above

    async def __call__(self, request: Any, *, metadata: Any = None, timeout: float | None = None) -> Any:  # noqa: ASYNC109 - gRPC's name
        """One call.

        Raises:
            grpc.aio.AioRpcError: With the agent's status; with Core's own only where the agent's did not come.
        """
        call = self._call(request, metadata=metadata, timeout=timeout)
        statuses: asyncio.Queue[grpc.aio.AioRpcError] = asyncio.Queue()
        call.add_done_callback(lambda call: statuses.put_nowait(_status(call)))
        try:
            return await call
        except grpc.aio.AioRpcError as error:
            if not _is_replaced(error):
                raise
            raise await _agents_own(statuses, error) from error


async def _agents_own(
    statuses: asyncio.Queue[grpc.aio.AioRpcError], otherwise: grpc.aio.AioRpcError
) -> grpc.aio.AioRpcError:
    try:
        async with asyncio.timeout(_PATIENCE):
            while _is_replaced(status := await statuses.get()):
                pass
    except TimeoutError:
        return otherwise
    return status


def _is_replaced(error: grpc.aio.AioRpcError) -> bool:
    return error.code() is grpc.StatusCode.INTERNAL and error.details() == _REPLACED


def _status(call: Any) -> grpc.aio.AioRpcError:
    """What a call that has ended ended with."""
    code, details, metadata = (_now(part()) for part in (call.code, call.details, call.trailing_metadata))
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), metadata, details=details, debug_error_string=None)


def _now(coroutine: Any) -> Any:
    """What a coroutine returns that has nothing to wait for."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("a call that has ended has its status")  # pragma: no cover
