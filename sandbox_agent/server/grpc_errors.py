"""OperationError and whatever else a call raises, as gRPC status: the one place where that is decided.

OperationError (link/calls.py)   its code, its message, ErrorInfo{domain, reason, metadata.field}
AbortError, CancelledError       passed on: gRPC's own
anything else                    INTERNAL with an id; the traceback goes to the log under that id
"""

from __future__ import annotations

import logging
import secrets
from typing import Any, Final, NoReturn

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from sandbox_link.protocol import OperationError
from sandbox_link.validation import shorten

DOMAIN: Final = "sandboxsessions.dev"
DETAILS_KEY: Final = "grpc-status-details-bin"

_log = logging.getLogger(__name__)


async def abort(context: grpc.aio.ServicerContext[Any, Any], error: OperationError) -> NoReturn:
    """End a call with an operation's error."""
    code = grpc.StatusCode[error.code]
    # Trailers that are too long are refused by the client's gRPC, with code, reason and all.
    told = OperationError(error.code, error.reason, shorten(error.message), error.field)
    await context.abort(code, told.message, trailing_metadata=((DETAILS_KEY, encode_details(told, code)),))
    raise AssertionError("abort raises")


def encode_details(error: OperationError, code: grpc.StatusCode) -> bytes:
    """The google.rpc.Status that travels with the gRPC status."""
    info = error_details_pb2.ErrorInfo(domain=DOMAIN, reason=error.reason)
    if error.field:
        info.metadata["field"] = error.field
    detail = any_pb2.Any()
    detail.Pack(info)
    status = status_pb2.Status(code=code.value[0], message=error.message, details=[detail])
    encoded: bytes = status.SerializeToString()
    return encoded


async def abort_with(context: grpc.aio.ServicerContext[Any, Any], error: Exception, method: str) -> NoReturn:
    """End a call with whatever it raised."""
    if isinstance(error, OperationError):
        await abort(context, error)
    if isinstance(error, grpc.aio.AbortError):
        raise error
    number = secrets.token_hex(8)
    _log.error("unexpected error", exc_info=error, extra={"error_id": number, "method": method})
    message = f"the agent met an unexpected error; its log has it under {number}"
    await abort(context, OperationError("INTERNAL", "INTERNAL", message))
