"""Preserves the agent's error when it refuses an upload that is still being sent. No I/O.

grpc.aio may raise INTERNAL "Internal error from Core" instead: its own failed write replaces the agent's status, or
arrives a moment before it (grpc/grpc issue 36066). gRPC calls a call's callbacks for each status that it gets, so the
agent's status can be read there.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import grpc

_WRITE_FAILED: Final = "Internal error from Core"
"""Details of the status that a failed write leaves."""
_AGENT_STATUS_TIMEOUT: Final = 2.0
"""Seconds to wait for the agent's status if the failed write came first."""


class PreserveServerStatus:
    """Stand-in for a client-streaming method of grpc.aio whose calls are awaited as a whole."""

    def __init__(self, method: Any) -> None:
        self._call = method
        # Tracing reads the path here, as in gRPC's own methods.
        self._method = method._method  # noqa: SLF001 - SwitchableChannel's

    async def __call__(self, request: Any, *, metadata: Any = None, timeout: float | None = None) -> Any:  # noqa: ASYNC109 - gRPC's name
        """Make a call.

        Raises:
            grpc.aio.AioRpcError: With the agent's status, or with that of the failed write if the agent's never came.
        """
        call = self._call(request, metadata=metadata, timeout=timeout)
        statuses: asyncio.Queue[grpc.aio.AioRpcError] = asyncio.Queue()
        call.add_done_callback(lambda call: statuses.put_nowait(_status(call)))
        try:
            return await call
        except grpc.aio.AioRpcError as error:
            if not _is_write_failure(error):
                raise
            raise await _agent_status(statuses, error) from error


async def _agent_status(
    statuses: asyncio.Queue[grpc.aio.AioRpcError], default: grpc.aio.AioRpcError
) -> grpc.aio.AioRpcError:
    try:
        async with asyncio.timeout(_AGENT_STATUS_TIMEOUT):
            while _is_write_failure(status := await statuses.get()):
                pass
    except TimeoutError:
        return default
    return status


def _is_write_failure(error: grpc.aio.AioRpcError) -> bool:
    return error.code() is grpc.StatusCode.INTERNAL and error.details() == _WRITE_FAILED


def _status(call: Any) -> grpc.aio.AioRpcError:
    """Return the status of a call that has ended."""
    code, details, metadata = (_result(part()) for part in (call.code, call.details, call.trailing_metadata))
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), metadata, details=details, debug_error_string=None)


def _result(coroutine: Any) -> Any:
    """Return the result of a coroutine that does not have to wait."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("a call that has ended has its status")  # pragma: no cover
