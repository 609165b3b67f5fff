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
from sandbox_proto.v1 import file_pb2, interpreter_pb2

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
_FILE_ROOTS: Final[dict[int, str]] = {
    file_pb2.FILE_ROOT_UNSPECIFIED: "",
    file_pb2.FILE_ROOT_WORKSPACE: "workspace",
    file_pb2.FILE_ROOT_TEMPORARY: "tmp",
    file_pb2.FILE_ROOT_HOME: "home",
}
MAX_ID: Final = 128
MAX_PATH: Final = 4096
MAX_STDIN: Final = 1 << 20
MAX_SHELL_ARGUMENT: Final = 64 << 10
"""Characters of a shell line among the arguments of an operation. A longer one is sent after them."""
MAX_ENV_BYTES: Final = 512 << 10


def check_request_id(request_id: str) -> None:
    """Check that a request id is empty or has at most 128 characters."""
    if len(request_id) > MAX_ID or "\0" in request_id:
        raise invalid(
            "request_id", f"request_id has more than {MAX_ID} characters, or a NUL character: choose a shorter one"
        )


def check_may_start(metadata: Iterable[tuple[str, str | bytes]] | None) -> None:
    """Refuse a call that may only attach to an earlier one, because this agent does not know the earlier one.

    Raises:
        OperationError: NOT_FOUND, UNKNOWN_REQUEST.
    """
    if any(key == ATTACH_ONLY for key, _ in metadata or ()):
        message = (
            "this agent does not know the request: it restarted, or never received it. "
            "Check whether it ran before you send it again"
        )
        raise OperationError("NOT_FOUND", "UNKNOWN_REQUEST", message, "request_id")


def read_timeout(request: interpreter_pb2.ExecuteRequest | process_pb2.RunRequest, limits: Limits) -> float:
    """Return the timeout in seconds. The default is the session's limit."""
    if not request.HasField("timeout"):
        return limits.execution_timeout
    seconds = duration_seconds(request.timeout)
    if not 0 < seconds <= limits.execution_timeout:
        limit = f"{limits.execution_timeout:g} s, the limit of this session"
        message = f"a timeout of {seconds:g} s is not possible: give more than 0 and at most {limit}"
        raise invalid("timeout", message, "INVALID_TIMEOUT")
    return seconds


def read_language(language: types_pb2.Language, limits: Limits) -> str:
    """Return the language's name on the link. An unspecified one stands for the session's first language."""
    name = LANGUAGE_NAMES.get(language, "") if language else limits.languages[0]
    if name not in limits.languages:
        message = f"this session does not run {name}: use {', '.join(limits.languages)}"
        if not name:
            message = f"there is no such language: use {', '.join(LANGUAGE_NAMES.values())}"
        raise invalid("language", message, "UNKNOWN_LANGUAGE")
    return name


def check_context_id(context_id: str) -> str:
    """Check the id of a context, which must not be empty."""
    if not context_id:
        raise invalid("context_id", "no context is named: list the contexts for their ids")
    _check_length(context_id)
    return context_id


def _check_length(context_id: str) -> None:
    if len(context_id) > MAX_ID:
        message = f"there is no context {context_id[:MAX_ID]!r}...: list the contexts for their ids"
        raise OperationError("NOT_FOUND", "UNKNOWN_CONTEXT", message, "context_id")


def check_path(path: str, field: str = "path", *, required: bool = True, limit: int = MAX_PATH) -> str:
    """Check the text of a path. Only the runtime can decide where it leads."""
    if required and not path:
        raise invalid(field, f"{field} is empty: give a path, or . for the root of the workspace")
    if "\0" in path or len(path.encode()) > limit:
        raise invalid(field, f"{field} has more than {limit} bytes, or a NUL character: give a shorter one")
    return path


def read_root(number: int, field: str = "root") -> dict[str, str]:
    """Return the argument that names the root of a path on the link; none if the path decides."""
    if number not in _FILE_ROOTS:
        raise invalid(field, f"there is no {field} {number}: use workspace, temporary or home")
    return {field: _FILE_ROOTS[number]} if number else {}


def read_env(env: Mapping[str, str]) -> dict[str, str]:
    """Check environment variables and their total size."""
    variables = read_variables(env)
    if sum(len(name.encode()) + len(value.encode()) for name, value in variables.items()) > MAX_ENV_BYTES:
        raise invalid("env", f"env has more than {MAX_ENV_BYTES} bytes: use a file instead")
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
        raise invalid("type_check", f"there is no type_check {number}: use report, require or only")
    if number and language not in ("", "typescript"):
        raise invalid("type_check", f"type_check is for typescript, and this cell is {language}: leave it out")
    return _TYPE_CHECKS[number]


def read_execute(request: interpreter_pb2.ExecuteRequest, limits: Limits) -> tuple[dict[str, Any], bytes]:
    """Return the arguments of the link's `execute`, and the code."""
    check_request_id(request.request_id)
    if not request.code.strip():
        raise invalid("code", "the code is empty: send the source to run", "EMPTY_CODE")
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
    arguments = {**read_command(request), "timeout": read_timeout(request, limits)}
    if request.keep_input:
        if not request.request_id:
            raise invalid("request_id", "keep_input needs a request_id, so that SendInput can name the command")
        arguments["input"] = True
    return arguments


def read_body(request: process_pb2.RunRequest) -> bytes:
    """Return what follows the arguments on the link: a long shell line, then standard input."""
    return (request.shell.encode() if len(request.shell) > MAX_SHELL_ARGUMENT else b"") + request.stdin


def read_command(request: process_pb2.RunRequest) -> dict[str, Any]:
    """Return the arguments that `run` and `process.start` share: all but the timeout."""
    check_request_id(request.request_id)
    command: dict[str, Any] = {}
    if request.WhichOneof("command") == "shell":
        if not request.shell.strip():
            raise invalid("command", "the command is empty: give a line for the shell, or a program with its arguments")
        if len(request.shell) > MAX_SHELL_ARGUMENT:
            command["shell_bytes"] = len(request.shell.encode())
        else:
            command["shell"] = request.shell
    elif request.WhichOneof("command") == "argv" and request.argv.args and request.argv.args[0]:
        command["argv"] = list(request.argv.args)
    else:
        raise invalid("command", "the command is empty: give a line for the shell, or a program with its arguments")
    if any("\0" in word for word in (request.shell, *request.argv.args)):
        raise invalid("command", "the command has a NUL character: remove it")
    if len(request.stdin) > MAX_STDIN:
        raise invalid("stdin", f"stdin has more than {MAX_STDIN} bytes: write a file instead")
    return {
        **command,
        "cwd": check_path(request.cwd, "cwd", required=False),
        "env": read_env(request.env),
        "stdin_bytes": len(request.stdin),
    }
