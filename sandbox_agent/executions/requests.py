"""Checks clients' requests and turns them into arguments of the link's operations. Pure.

Errors: OperationError INVALID_ARGUMENT, naming the request's field. Some have a reason of their own.
"""

from __future__ import annotations

import hashlib
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Final

from sandbox_agent.durations import duration_seconds
from sandbox_agent.session.limits import LANGUAGE_NAMES, read_variables
from sandbox_link.protocol import OperationError, invalid
from sandbox_proto.v1 import interpreter_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sandbox_agent.session.limits import Limits
    from sandbox_proto.v1 import process_pb2, types_pb2

ATTACH_ONLY: Final = "sandbox-attach-only"
"""Metadata key of a repeated call that may only attach to the first one, and never start anything."""
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


def check_request_id(request_id: str) -> None:
    """Check that a request id is empty or has at most 128 characters."""
    if len(request_id) > MAX_ID or "\0" in request_id:
        raise invalid("request_id", f"request_id must have at most {MAX_ID} characters and no NUL character")


def check_may_start(metadata: Iterable[tuple[str, str | bytes]] | None) -> None:
    """Refuse a call that may only attach to an earlier one, because this agent does not know the earlier one.

    Raises:
        OperationError: NOT_FOUND, UNKNOWN_REQUEST.
    """
    if any(key == ATTACH_ONLY for key, _ in metadata or ()):
        message = "this agent does not know the request_id: it restarted, or never received the request"
        raise OperationError("NOT_FOUND", "UNKNOWN_REQUEST", message, "request_id")


def read_timeout(request: interpreter_pb2.ExecuteRequest | process_pb2.RunRequest, limits: Limits) -> float:
    """Return the timeout in seconds. The default is the session's limit."""
    if not request.HasField("timeout"):
        return limits.execution_timeout
    seconds = duration_seconds(request.timeout)
    if not 0 < seconds <= limits.execution_timeout:
        message = f"timeout must be longer than 0 and at most {limits.execution_timeout:g} s, the limit of this session"
        raise invalid("timeout", message, "INVALID_TIMEOUT")
    return seconds


def read_language(language: types_pb2.Language, limits: Limits) -> str:
    """Return the language's name on the link. An unspecified one stands for the session's first language."""
    name = LANGUAGE_NAMES.get(language, "") if language else limits.languages[0]
    if name not in limits.languages:
        message = f"language must be one of {', '.join(limits.languages)} in this session"
        if not name:
            message = f"language must be one of {', '.join(LANGUAGE_NAMES.values())}"
        raise invalid("language", message, "UNKNOWN_LANGUAGE")
    return name


def check_context_id(context_id: str) -> str:
    """Check the id of a context, which must not be empty."""
    if not context_id:
        raise invalid("context_id", "context_id must name a context; ListContexts returns them")
    _check_length(context_id)
    return context_id


def _check_length(context_id: str) -> None:
    if len(context_id) > MAX_ID:
        message = "unknown context; ListContexts returns the known ones"
        raise OperationError("NOT_FOUND", "UNKNOWN_CONTEXT", message, "context_id")


def check_path(path: str, field: str = "path", *, required: bool = True, limit: int = MAX_PATH) -> str:
    """Check the text of a path. Only the runtime can decide where it leads."""
    if required and not path:
        raise invalid(field, f"{field} must not be empty; use . for the root")
    if "\0" in path or len(path.encode()) > limit:
        raise invalid(field, f"{field} must have at most {limit} bytes and no NUL character")
    return path


def read_env(env: Mapping[str, str]) -> dict[str, str]:
    """Check environment variables and their total size."""
    variables = read_variables(env)
    if sum(len(name.encode()) + len(value.encode()) for name, value in variables.items()) > MAX_ENV_BYTES:
        raise invalid("env", f"env must have at most {MAX_ENV_BYTES} bytes")
    return variables


def fingerprint(request: interpreter_pb2.ExecuteRequest | process_pb2.RunRequest | process_pb2.StartRequest) -> bytes:
    """Return a digest that is equal for requests with the same body, ignoring request_id."""
    copy: Any = deepcopy(request)
    inner = copy.run if "run" in copy.DESCRIPTOR.fields_by_name else copy
    inner.ClearField("request_id")
    return hashlib.sha256(copy.SerializeToString(deterministic=True)).digest()


def check_same_request(first: bytes, repeat: bytes) -> None:
    """Compare the fingerprints of two requests with the same id.

    Raises:
        OperationError: ALREADY_EXISTS, REQUEST_ID_REUSED: their bodies differ.
    """
    if repeat != first:
        message = "this request_id was used for a different request: use a new one"
        raise OperationError("ALREADY_EXISTS", "REQUEST_ID_REUSED", message, "request_id")


def read_type_check(number: interpreter_pb2.TypeCheck, language: str) -> str:
    """Return the type check's name on the link, or "" for none. Without a `language`, the context determines it."""
    if number not in _TYPE_CHECKS:
        raise invalid("type_check", f"type_check {number} is unknown")
    if number and language not in ("", "typescript"):
        raise invalid("type_check", f"type_check is for typescript; this cell is {language}")
    return _TYPE_CHECKS[number]


def read_execute(request: interpreter_pb2.ExecuteRequest, limits: Limits) -> tuple[dict[str, Any], bytes]:
    """Return the arguments of the link's `execute`, and the code."""
    check_request_id(request.request_id)
    if not request.code.strip():
        raise invalid("code", "code must not be empty: send the source to run", "EMPTY_CODE")
    _check_length(request.context_id)
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
    """Return the arguments of the link's `run`."""
    return {**read_command(request), "timeout": read_timeout(request, limits)}


def read_command(request: process_pb2.RunRequest) -> dict[str, Any]:
    """Return the arguments that `run` and `process.start` share: all but the timeout."""
    check_request_id(request.request_id)
    command: dict[str, Any] = {}
    if request.WhichOneof("command") == "shell":
        if not request.shell.strip():
            raise invalid("command", "command must not be empty: set a shell line or an argv")
        command["shell"] = request.shell
    elif request.WhichOneof("command") == "argv" and request.argv.args and request.argv.args[0]:
        command["argv"] = list(request.argv.args)
    else:
        raise invalid("command", "command must not be empty: set a shell line or an argv")
    if any("\0" in word for word in (request.shell, *request.argv.args)):
        raise invalid("command", "command must not contain a NUL character")
    if len(request.stdin) > MAX_STDIN:
        raise invalid("stdin", f"stdin must have at most {MAX_STDIN} bytes: write a file instead")
    return {
        **command,
        "cwd": check_path(request.cwd, "cwd", required=False),
        "env": read_env(request.env),
        "stdin_bytes": len(request.stdin),
    }
