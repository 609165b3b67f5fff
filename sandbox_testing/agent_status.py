"""How the agent of `testing` fails: a gRPC status with an ErrorInfo, as the real one's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

if TYPE_CHECKING:
    import grpc


async def refuse(context: Any, code: grpc.StatusCode, reason: str, message: str, field: str = "") -> None:
    """End a call with a status and ErrorInfo, as the agent does."""
    info = error_details_pb2.ErrorInfo(domain="sandboxsessions.dev", reason=reason)
    if field:
        info.metadata["field"] = field
    detail = any_pb2.Any()
    detail.Pack(info)
    status = status_pb2.Status(code=code_pb2.Code.Value(code.name), message=message, details=[detail])
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    await context.abort(code, message)
