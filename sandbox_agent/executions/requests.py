"""Checks of what clients ask for, shared by the services. Pure.

Errors: OperationError INVALID_ARGUMENT (or UNKNOWN_LANGUAGE and so on), naming the request's field.
"""

from __future__ import annotations

import hashlib
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Final

from sandbox_agent.session.limits import LANGUAGE_NAMES, duration_seconds
from sandbox_link.protocol import OperationError
from sandbox_proto.v1 import interpreter_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sandbox_agent.session.limits import Limits
    from sandbox_proto.v1 import process_pb2, types_pb2

ATTACH_ONLY: Final = "sandbox-attach-only"
"""Metadata of a client that repeats a call to attach to it, and never to run it again."""
_TYPE_CHECKS: Final = {
    interpreter_pb2.TYPE_CHECK_UNSPECIFIED: "",
    interpreter_pb2.TYPE_CHECK_REPORT: "report",
    interpreter_pb2.TYPE_CHECK_REQUIRE: "require",
    interpreter_pb2.TYPE_CHECK_ONLY: "only",
}
MAX_ID: Final = 128
MAX_PATH: Final = 4096
MAX_STDIN: Final = 1 << 20
MAX_ENV_BYTES: Final = 512 << 10


def invalid(field: str, message: str, reason: str = "INVALID_ARGUMENT") -> OperationError:
    """An INVALID_ARGUMENT that names the field."""
    return OperationError("INVALID_ARGUMENT", reason, message, field)


def check_request_id(request_id: str) -> None:
    """Empty, or 1 to 128 characters."""
    if len(request_id) > MAX_ID or "\0" in request_id:
        raise invalid("request_id", f"request_id must have at most {MAX_ID} characters and no NUL")


def check_may_start(metadata: Iterable[tuple[str, str | bytes]] | None) -> None:
    """Refuse to start what a client only wants to attach to: it was started, and this agent knows nothing of it.

    Raises:
        OperationError: NOT_FOUND, UNKNOWN_REQUEST.
    """
    if any(key == ATTACH_ONLY for key, _ in metadata or ()):
        message = "this agent does not know that request_id: it restarted, or never got the request"
        raise OperationError("NOT_FOUND", "UNKNOWN_REQUEST", message, "request_id")


def read_timeout(request: interpreter_pb2.ExecuteRequest | process_pb2.RunRequest, limits: Limits) -> float:
    """Seconds; the session's limit where the request says nothing."""
    if not request.HasField("timeout"):
        return limits.execution_timeout
    seconds = duration_seconds(request.timeout)
    if not 0 < seconds <= limits.execution_timeout:
        message = f"timeout must be longer than 0 and at most {limits.execution_timeout:g} s, the limit of this session"
        raise invalid("timeout", message, "INVALID_TIMEOUT")
    return seconds


def read_language(language: types_pb2.Language, limits: Limits) -> str:
    """The language's name on the link."""
    name = LANGUAGE_NAMES.get(language, "")
    if name not in limits.languages:
        message = f"language must be one of {', '.join(limits.languages)} in this session"
        if not name:
            message = f"language must be one of {', '.join(LANGUAGE_NAMES.values())}"
        raise invalid("language", message, "UNKNOWN_LANGUAGE")
    return name


def check_context_id(context_id: str) -> str:
    """A context's id, not empty."""
    if not context_id:
        raise invalid("context_id", "context_id must name a context; ListContexts has them")
    if len(context_id) > MAX_ID:
        raise OperationError("NOT_FOUND", "UNKNOWN_CONTEXT", "there is no such context", "context_id")
    return context_id


def check_path(path: str, field: str = "path", *, required: bool = True, most: int = MAX_PATH) -> str:
    """A path as text; where it leads is the runtime's to judge."""
    if required and not path:
        raise invalid(field, f"{field} must not be empty; use . for the root")
    if "\0" in path or len(path.encode()) > most:
        raise invalid(field, f"{field} must have at most {most} bytes and no NUL")
    return path


def read_env(env: Mapping[str, str]) -> dict[str, str]:
    """Environment variables."""
    for name, value in env.items():
        if not name or "=" in name or "\0" in name or "\0" in value:
            raise invalid("env", f"{name!r} is no name of an environment variable, or its value has a NUL")
    if sum(len(name.encode()) + len(value.encode()) for name, value in env.items()) > MAX_ENV_BYTES:
        raise invalid("env", f"env must have at most {MAX_ENV_BYTES} bytes")
    return dict(env)


def fingerprint(request: interpreter_pb2.ExecuteRequest | process_pb2.RunRequest | process_pb2.StartRequest) -> bytes:
    """Same for requests with the same body, request_id apart."""
    copy: Any = deepcopy(request)
    inner = copy.run if "run" in copy.DESCRIPTOR.fields_by_name else copy
    inner.ClearField("request_id")
    return hashlib.sha256(copy.SerializeToString(deterministic=True)).digest()


def read_type_check(number: interpreter_pb2.TypeCheck, language: str) -> str:
    """The type check's name on the link, "" for none; `language` is "" where the context has it."""
    if number not in _TYPE_CHECKS:
        raise invalid("type_check", f"type_check {number} is not known")
    if number and language not in ("", "typescript"):
        raise invalid("type_check", f"type_check is for typescript; this cell is {language}")
    return _TYPE_CHECKS[number]


def read_execute(request: interpreter_pb2.ExecuteRequest, limits: Limits) -> tuple[dict[str, Any], bytes]:
    """Arguments of the link's `execute`, and the code."""
    check_request_id(request.request_id)
    if not request.code.strip():
        raise invalid("code", "code must not be empty: send the source to run", "EMPTY_CODE")
    if len(request.context_id) > MAX_ID:
        raise OperationError("NOT_FOUND", "UNKNOWN_CONTEXT", "there is no such context", "context_id")
    language = ""
    if request.language or not request.context_id:
        language = read_language(request.language, limits)
    code = request.code.encode()
    arguments: dict[str, Any] = {
        "context_id": request.context_id,
        "language": language,
        "timeout": read_timeout(request, limits),
        "code_bytes": len(code),
    }
    if type_check := read_type_check(request.type_check, language):
        arguments["type_check"] = type_check
    return arguments, code


def read_run(request: process_pb2.RunRequest, limits: Limits) -> dict[str, Any]:
    """Arguments of the link's `run`."""
    return {**read_command(request), "timeout": read_timeout(request, limits)}


def read_command(request: process_pb2.RunRequest) -> dict[str, Any]:
    """What `run` and `process.start` have in common: all but the time."""
    check_request_id(request.request_id)
    command: dict[str, Any] = {}
    if request.WhichOneof("command") == "shell":
        if not request.shell.strip():
            raise invalid("command", "command must not be empty: give a shell line or an argv")
        command["shell"] = request.shell
    elif request.WhichOneof("command") == "argv" and request.argv.args and request.argv.args[0]:
        command["argv"] = list(request.argv.args)
    else:
        raise invalid("command", "command must not be empty: give a shell line or an argv")
    if any("\0" in word for word in (request.shell, *request.argv.args)):
        raise invalid("command", "command must have no NUL")
    if len(request.stdin) > MAX_STDIN:
        raise invalid("stdin", f"stdin must have at most {MAX_STDIN} bytes: write a file instead")
    return {
        **command,
        "cwd": check_path(request.cwd, "cwd", required=False),
        "env": read_env(request.env),
        "stdin_bytes": len(request.stdin),
    }
