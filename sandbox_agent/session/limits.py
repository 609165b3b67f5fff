"""Reads a Bind request: checks it and fills in the defaults. Pure: no I/O, no clock.

Errors: OperationError INVALID_ARGUMENT, naming the request's field.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sandbox_agent.durations import duration_seconds
from sandbox_link.protocol import invalid
from sandbox_proto.v1 import types_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.duration_pb2 import Duration

    from sandbox_proto.v1 import session_pb2

TOKEN_HASH_BYTES: Final = 32
LANGUAGE_NAMES: Final = {
    types_pb2.LANGUAGE_PYTHON: "python",
    types_pb2.LANGUAGE_JAVASCRIPT: "javascript",
    types_pb2.LANGUAGE_TYPESCRIPT: "typescript",
    types_pb2.LANGUAGE_BASH: "bash",
}
ALL_LANGUAGES: Final = tuple(LANGUAGE_NAMES.values())


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a session. The defaults are those of the proto's Limits message."""

    execution_timeout: float = 300.0
    """Seconds."""
    output_bytes: int = 128 << 20
    processes: int = 512
    file_bytes: int = 5 << 30
    languages: tuple[str, ...] = ALL_LANGUAGES
    deny_network: bool = False
    memory_bytes: int = 0
    """0: the container's limit alone counts."""

    def as_arguments(self) -> dict[str, Any]:
        """Return the `limits` object of the link's `configure` operation."""
        return {
            "execution_timeout": self.execution_timeout,
            "output_bytes": self.output_bytes,
            "processes": self.processes,
            "file_bytes": self.file_bytes,
            "languages": list(self.languages),
            "deny_network": self.deny_network,
            "memory_bytes": self.memory_bytes,
        }


@dataclass(frozen=True, slots=True)
class Binding:
    """A checked Bind request."""

    session_uid: str
    session_name: str
    token_sha256: bytes
    env: dict[str, str]
    limits: Limits
    max_lifetime: float | None
    """Seconds, or None for no limit."""
    workspace: session_pb2.WorkspaceBinding | None
    """None: this session has no storage."""
    keep_variables: bool = False
    """A drain saves the variables, and the next restore loads them."""


def read_binding(request: session_pb2.BindRequest) -> Binding:
    """Check a Bind request.

    Raises:
        OperationError: INVALID_ARGUMENT.
    """
    if not request.session_uid:
        raise invalid("session_uid", "session_uid must be the uid of the SandboxSession")
    if len(request.token_sha256) != TOKEN_HASH_BYTES:
        raise invalid("token_sha256", f"token_sha256 must have {TOKEN_HASH_BYTES} bytes")
    lifetime = None
    if request.lifecycle.HasField("max_lifetime"):
        lifetime = _read_seconds(request.lifecycle.max_lifetime, "lifecycle.max_lifetime")
    return Binding(
        session_uid=request.session_uid,
        session_name=request.session_name,
        token_sha256=request.token_sha256,
        env=read_variables(request.env),
        limits=read_limits(request.limits),
        max_lifetime=lifetime,
        workspace=request.workspace if request.workspace.WhichOneof("store") else None,
        keep_variables=request.lifecycle.keep_variables,
    )


def read_variables(env: Mapping[str, str]) -> dict[str, str]:
    """Check the names and values of environment variables.

    Raises:
        OperationError: INVALID_ARGUMENT.
    """
    for name, value in env.items():
        if not name or "=" in name or "\0" in name or "\0" in value:
            message = f"env cannot have {name!r}: use a name without `=`, and no NUL characters"
            raise invalid("env", message)
    return dict(env)


def read_limits(limits: session_pb2.Limits) -> Limits:
    """Return the limits with the defaults filled in.

    Raises:
        OperationError: INVALID_ARGUMENT.
    """
    default = Limits()
    timeout = default.execution_timeout
    if limits.HasField("execution_timeout") and limits.execution_timeout.ToNanoseconds():
        timeout = _read_seconds(limits.execution_timeout, "limits.execution_timeout")
    try:
        languages = tuple(LANGUAGE_NAMES[language] for language in limits.languages)
    except KeyError:
        raise invalid("limits.languages", f"a language is not known: use {', '.join(ALL_LANGUAGES)}") from None
    return Limits(
        execution_timeout=timeout,
        output_bytes=limits.output_bytes or default.output_bytes,
        processes=limits.processes or default.processes,
        file_bytes=limits.file_bytes or default.file_bytes,
        languages=languages or default.languages,
        deny_network=limits.deny_network,
        memory_bytes=limits.memory_bytes,
    )


def _read_seconds(duration: Duration, field: str) -> float:
    seconds = duration_seconds(duration)
    if not seconds > 0:
        raise invalid(field, f"{field} must be longer than zero: leave it out for the default")
    return seconds
