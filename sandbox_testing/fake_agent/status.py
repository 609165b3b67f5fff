"""Lets a call of the fake agent fail as the real agent's calls do: with a status and an ErrorInfo."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

if TYPE_CHECKING:
    import grpc


async def refuse(context: Any, code: grpc.StatusCode, reason: str, message: str, field: str = "") -> None:
    """End a call with a status and an ErrorInfo."""
    info = error_details_pb2.ErrorInfo(domain="sandboxsessions.dev", reason=reason)
    if field:
        info.metadata["field"] = field
    detail = any_pb2.Any()
    detail.Pack(info)
    status = status_pb2.Status(code=code.value[0], message=message, details=[detail])
    await context.abort_with_status(rpc_status.to_status(status))
