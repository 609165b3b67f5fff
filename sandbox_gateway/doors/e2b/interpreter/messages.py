"""Requests and answers of E2B's code interpreter. Pure: no I/O."""

from __future__ import annotations

import base64
import contextlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.errors import InvalidArgument
from sandbox_gateway.doors.e2b import values
from sandbox_gateway.doors.e2b.interpreter.charts import to_e2b_chart

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_client.models.context import Context
    from sandbox_client.models.result import Result
    from sandbox_client.models.results import CodeError
    from sandbox_gateway.doors.e2b.envd.paths import Place

KEEPALIVE: Final = {"type": "keepalive"}
END: Final = {"type": "end_of_execution"}
LANGUAGES: Final = ("python", "javascript", "typescript", "bash")
_ALIASES: Final = {"": "python", "js": "javascript", "ts": "typescript"}
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TEXTS: Final = {
    "text/plain": "text",
    "text/html": "html",
    "text/markdown": "markdown",
    "image/svg+xml": "svg",
    "text/latex": "latex",
    "application/javascript": "javascript",
}
_BINARIES: Final = {"image/png": "png", "image/jpeg": "jpeg", "application/pdf": "pdf"}
_OWN: Final = frozenset({"application/json", "application/vnd.sandbox.chart+json", "application/vnd.dataresource+json"})


@dataclass(frozen=True, slots=True)
class ExecuteRequest:
    """A cell to run.

    Attributes:
        code: The code.
        language: The language, if no context is given.
        context_id: The context, or "".
        env: Environment variables of this cell.
    """

    code: str
    language: str
    context_id: str
    env: dict[str, str]


def read_execute(body: bytes) -> ExecuteRequest:
    """Read the request to run a cell.

    Raises:
        InvalidArgument: A field is wrong, or both a context and a language are given.
    """
    message = values.read_object(body)
    context_id, language = values.text(message, "context_id"), values.text(message, "language")
    if context_id and language:
        raise InvalidArgument("Only one of context_id or language can be provided", field="language")
    if context_id == "default":
        context_id = "python"
    return ExecuteRequest(
        values.text(message, "code"),
        "" if context_id else read_language(language),
        context_id,
        _read_variables(message),
    )


def _read_variables(message: dict[str, Any]) -> dict[str, str]:
    env = values.text_map(message, "env_vars")
    for name, value in env.items():
        if not _VARIABLE.fullmatch(name) or "\0" in value:
            text = f"env_vars: {name!r} is not a name of a variable, or its value contains a NUL"
            raise InvalidArgument(text, reason="INVALID_ARGUMENT", field="env_vars")
    return env


def read_language(name: str) -> str:
    """Return our name of a language.

    Raises:
        InvalidArgument: There is no such language here.
    """
    given = name.strip().lower()
    language = _ALIASES.get(given, given)
    if language not in LANGUAGES:
        message = f"the language {name} is not supported: use {', '.join(LANGUAGES)}"
        raise InvalidArgument(message, reason="UNKNOWN_LANGUAGE", field="language")
    return language


def context_message(context: Context, place: Place) -> dict[str, Any]:
    """Return a context."""
    return {"id": context.id, "language": context.language, "cwd": place.to_absolute(context.cwd)}


def output_message(text: str, stream: str, nanoseconds: int) -> dict[str, Any]:
    """Return a piece of output.

    Args:
        text: The text.
        stream: `stdout` or `stderr`.
        nanoseconds: The time since 1970.
    """
    return {"type": stream, "text": text, "timestamp": nanoseconds}


def error_message(error: CodeError) -> dict[str, Any]:
    """Return an exception of the code."""
    traceback = "\n".join(error.traceback)
    return {"type": "error", "name": error.name, "value": error.value, "traceback": traceback}


def ending_message(name: str, value: str) -> dict[str, Any]:
    """Return the reason why a cell was ended from outside, as an error."""
    return {"type": "error", "name": name, "value": value, "traceback": ""}


def count_message(count: int) -> dict[str, Any]:
    """Return the number of the cell."""
    return {"type": "number_of_executions", "execution_count": count}


def result_message(result: Result, language: str = "python") -> dict[str, Any]:
    """Return a value or a display with all its forms.

    Args:
        result: The value.
        language: Our name of the cell's language.
    """
    message: dict[str, Any] = {"type": "result", "is_main_result": result.is_main}
    for mime, name in _TEXTS.items():
        if mime in result.data:
            message[name] = result.data[mime].decode(errors="replace")
    message |= {name: _base64(result.data[mime]) for mime, name in _BINARIES.items() if mime in result.data}
    if "text" in message:
        message["text"] = _unquote(message["text"], language)
    if isinstance(result.json, dict | list):
        message["json"] = result.json
    if result.table is not None:
        message["data"] = _columns(result.table)
    if result.chart is not None and (chart := to_e2b_chart(result.chart)) is not None:
        message["chart"] = chart
    extra = {
        mime: _extra(mime, content)
        for mime, content in result.data.items()
        if mime not in _TEXTS and mime not in _BINARIES and mime not in _OWN
    }
    if extra:
        message["extra"] = extra
    return message


def _unquote(text: str, language: str) -> str:
    """Return a text without the quotes around it, as E2B shows the value of a text."""
    if len(text) > 1 and text[0] == text[-1] == "'":
        return text[1:-1]
    if language != "python" and text.startswith('"'):
        with contextlib.suppress(ValueError):
            value = json.loads(text)
            return value if isinstance(value, str) else text
    return text


def _columns(table: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return a table as a list of values for each column, without its index."""
    schema = table.get("schema") or {}
    index = schema.get("primaryKey") or []
    names = [field["name"] for field in schema.get("fields") or [] if field["name"] not in index]
    rows = table.get("data") or []
    return {str(name): [row.get(str(name), row.get(name)) for row in rows] for name in names}


def _extra(mime: str, content: bytes) -> Any:
    if mime.endswith("json"):
        try:
            return json.loads(content)
        except ValueError:
            return content.decode(errors="replace")
    return content.decode(errors="replace") if mime.startswith("text/") else _base64(content)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
