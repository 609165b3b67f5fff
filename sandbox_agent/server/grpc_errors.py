"""Turns the errors of a call into a gRPC status. No other module decides this.

- OperationError: its code, its message and ErrorInfo{domain, reason, metadata.field}.
- AbortError and CancelledError are gRPC's own and passed on unchanged.
- Any other exception: INTERNAL with an id. The log has the traceback with that id.
"""

from __future__ import annotations

import logging
import secrets
from typing import Any, Final, NoReturn

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from sandbox_link.protocol import OperationError
from sandbox_link.validation import shorten

DOMAIN: Final = "sandboxsessions.dev"

_log = logging.getLogger(__name__)


async def abort(context: grpc.aio.ServicerContext[Any, Any], error: OperationError) -> NoReturn:
    """End a call with an operation's error."""
    info = error_details_pb2.ErrorInfo(domain=DOMAIN, reason=error.reason)
    if error.field:
        info.metadata["field"] = error.field
    detail = any_pb2.Any()
    detail.Pack(info)
    # A client's gRPC refuses trailers that are too long, and then it sees neither code nor reason.
    message = shorten(error.message)
    code: int = grpc.StatusCode[error.code].value[0]
    status = rpc_status.to_status(status_pb2.Status(code=code, message=message, details=[detail]))
    await context.abort(status.code, status.details, trailing_metadata=status.trailing_metadata)
    raise AssertionError("abort raises")


async def abort_with(context: grpc.aio.ServicerContext[Any, Any], error: Exception, method: str) -> NoReturn:
    """End a call with any exception that it raised."""
    if isinstance(error, OperationError):
        await abort(context, error)
    if isinstance(error, grpc.aio.AbortError):
        raise error
    error_id = secrets.token_hex(8)
    _log.error("unexpected error", exc_info=error, extra={"error_id": error_id, "method": method})
    message = f"unexpected error in the agent; its log has the details under the id {error_id}"
    await abort(context, OperationError("INTERNAL", "INTERNAL", message))
