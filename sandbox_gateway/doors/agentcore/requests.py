"""Reads the bodies and parameters of requests, and says which field is wrong. Pure: no I/O.

SDKs check little of this themselves: required members and the bounds of numbers and lengths, but no patterns and no
values of enumerations.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.errors import InvalidArgument, NotSupported
from sandbox_client.models.context import LANGUAGES
from sandbox_client.tools.schemas import check_text, quote

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TOOLS: Final = (
    "executeCode",
    "executeCommand",
    "readFiles",
    "listFiles",
    "removeFiles",
    "writeFiles",
    "startCommandExecution",
    "getTask",
    "stopTask",
)
"""The tools of a code interpreter."""
STATUSES: Final = ("READY", "TERMINATED")
"""The states of a session."""
DEFAULT_SECONDS: Final = 900
MAX_SECONDS: Final = 28_800
MAX_NAME: Final = 100
MAX_RESULTS: Final = 100
_MIN_TOKEN, _MAX_TOKEN = 33, 256
_RUNTIMES: Final = {"python": ("python",), "nodejs": ("javascript", "typescript"), "deno": ()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A request to start a session.

    Attributes:
        name: The name that the client gave the session, or "".
        seconds: Seconds until it ends.
        client_token: The same in each attempt of one request, or "".
    """

    name: str
    seconds: int
    client_token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPage:
    """A request for a page of a list.

    Attributes:
        size: Maximum number of entries.
        after: The last entry of the page before, or "".
        status: Only entries in this state, or "" for all.
    """

    size: int
    after: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """A call of a tool.

    Attributes:
        tool: Its name.
        arguments: Its arguments. A null counts as missing.
    """

    tool: str
    arguments: Mapping[str, Any]


def read_object(body: bytes) -> dict[str, Any]:
    """Return the object of a request's body. An empty body is an empty object.

    Raises:
        InvalidArgument: It is not a JSON object.
    """
    if not body.strip():
        return {}
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"the body is not JSON ({error})", reason="CANNOT_PARSE") from error
    if not isinstance(value, dict):
        raise InvalidArgument(f"the body must be an object, not {type(value).__name__}", reason="CANNOT_PARSE")
    return {key: member for key, member in value.items() if member is not None}


def read_start(body: bytes) -> Start:
    """Return what StartCodeInterpreterSession asks for.

    Raises:
        InvalidArgument: A field is wrong.
        NotSupported: It asks for certificates or file systems of AWS.
    """
    value = read_object(body)
    refuse_template_fields(value)
    name = check_text(value.get("name", ""), "name")
    if len(name) > MAX_NAME:
        raise InvalidArgument(f"name has {len(name)} characters, at most {MAX_NAME} are allowed", field="name")
    seconds = read_number(value.get("sessionTimeoutSeconds", DEFAULT_SECONDS), "sessionTimeoutSeconds", MAX_SECONDS)
    return Start(name=name, seconds=seconds, client_token=read_token(value.get("clientToken", "")))


def refuse_template_fields(value: Mapping[str, Any]) -> None:
    """Refuse what only a template can have here.

    Raises:
        NotSupported: A request asks for certificates or file systems of AWS.
    """
    for field in ("certificates", "filesystemConfigurations"):
        if value.get(field):
            raise NotSupported(f"{field} needs AWS: set it in the SandboxTemplate, and leave it out here", field=field)


def read_token(token: object) -> str:
    """Return a client token.

    Raises:
        InvalidArgument: It is too short or too long.
    """
    text = check_text(token, "clientToken")
    if text and not _MIN_TOKEN <= len(text) <= _MAX_TOKEN:
        message = f"clientToken has {len(text)} characters: give {_MIN_TOKEN} to {_MAX_TOKEN}, or leave it out"
        raise InvalidArgument(message, field="clientToken")
    return text


def read_page(value: Mapping[str, Any], statuses: Sequence[str] = STATUSES, field: str = "status") -> ListPage:
    """Return which page of a list a request asks for.

    Args:
        value: The members of the body, or the parameters of the query.
        statuses: The values that entries can be filtered by.
        field: The member that filters.

    Raises:
        InvalidArgument: A field is wrong.
    """
    status = check_text(value.get(field, ""), field)
    if status and status not in statuses:
        raise InvalidArgument(f"{field} cannot be {quote(status)}: choose one of {', '.join(statuses)}", field=field)
    token = check_text(value.get("nextToken", ""), "nextToken")
    return ListPage(
        size=read_number(value.get("maxResults", MAX_RESULTS), "maxResults", MAX_RESULTS),
        after=_decode_token(token),
        status=status,
    )


def next_token(after: str) -> str:
    """Return the token of the page after an entry."""
    return base64.urlsafe_b64encode(after.encode()).decode()


def read_invocation(body: bytes) -> Invocation:
    """Return which tool InvokeCodeInterpreter calls.

    Raises:
        InvalidArgument: There is no such tool, or its arguments are not an object.
    """
    value = read_object(body)
    if "name" not in value:
        raise InvalidArgument(f"name is missing: choose one of {', '.join(TOOLS)}", field="name")
    tool = check_text(value["name"], "name", choices=TOOLS)
    arguments = value.get("arguments", {})
    if not isinstance(arguments, dict):
        message = f"arguments must be an object, not {type(arguments).__name__}"
        raise InvalidArgument(message, field="arguments")
    return Invocation(tool=tool, arguments={key: each for key, each in arguments.items() if each is not None})


def text_argument(call: Invocation, name: str, *, default: str | None = None) -> str:
    """Return an argument that is a text.

    Args:
        call: The call.
        name: The argument's name.
        default: Its value if it is missing. None if it must be given, and not be blank.

    Raises:
        InvalidArgument: It is missing, or not a text.
    """
    field = f"arguments.{name}"
    if name in call.arguments:
        text = check_text(call.arguments[name], field)
        if text.strip() or default is not None:
            return text
    elif default is not None:
        return default
    raise InvalidArgument(f"{call.tool} needs {name}, and it must not be empty", field=field)


def paths_argument(call: Invocation) -> list[str]:
    """Return the argument `paths`.

    Raises:
        InvalidArgument: It is missing, empty, or not a list of texts.
    """
    field = "arguments.paths"
    paths = call.arguments.get("paths")
    if not isinstance(paths, list) or not paths:
        raise InvalidArgument(f'{call.tool} needs paths, a list such as ["data.csv"]', field=field)
    return [check_text(path, f"{field}[{number}]") for number, path in enumerate(paths)]


def language_argument(call: Invocation) -> str:
    """Return the language of `executeCode`. Without one, `runtime` decides, and otherwise it is Python.

    Raises:
        InvalidArgument: There is no such language or runtime, or the runtime does not run the language.
        NotSupported: The runtime is Deno.
    """
    runtime = text_argument(call, "runtime", default="")
    if runtime:
        check_text(runtime, "arguments.runtime", choices=tuple(_RUNTIMES))
    if runtime == "deno":
        message = "there is no Deno here: use the runtime nodejs, which runs TypeScript too"
        raise NotSupported(message, field="arguments.runtime")
    language = text_argument(call, "language", default="") or _RUNTIMES.get(runtime, LANGUAGES)[0]
    check_text(language, "arguments.language", choices=LANGUAGES)
    if runtime and language not in _RUNTIMES[runtime]:
        raise InvalidArgument(f"the runtime {runtime} does not run {language}", field="arguments.runtime")
    return language


def flag_argument(call: Invocation, name: str) -> bool:
    """Return an argument that is true or false; false if it is missing.

    Raises:
        InvalidArgument: It is something else.
    """
    value = call.arguments.get(name, False)
    if not isinstance(value, bool):
        message = f"{name} must be true or false, not {type(value).__name__}"
        raise InvalidArgument(message, field=f"arguments.{name}")
    return value


def content_argument(call: Invocation) -> list[tuple[str, bytes]]:
    """Return the path and content of each file of `writeFiles`.

    Raises:
        InvalidArgument: `content` is missing, or an entry is wrong; the error names it.
    """
    field = "arguments.content"
    content = call.arguments.get("content")
    if not isinstance(content, list) or not content:
        raise InvalidArgument('writeFiles needs content, a list of {"path", "text"} or {"path", "blob"}', field=field)
    return [_file(item, f"{field}[{number}]") for number, item in enumerate(content)]


def _file(item: Any, field: str) -> tuple[str, bytes]:
    given = {key: each for key, each in item.items() if each is not None} if isinstance(item, dict) else {}
    if "path" not in given or ("text" in given) == ("blob" in given):
        raise InvalidArgument(f"{field} must have a path, and either text or blob", field=field)
    path = check_text(given["path"], f"{field}.path")
    if not path.strip("/"):
        raise InvalidArgument(f"{field}.path is empty: give one such as data.csv", field=f"{field}.path")
    if "text" in given:
        return path, check_text(given["text"], f"{field}.text").encode()
    try:
        return path, base64.b64decode(check_text(given["blob"], f"{field}.blob"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidArgument(f"{field}.blob is not valid base64 ({error})", field=f"{field}.blob") from error


def read_number(value: object, field: str, most: int) -> int:
    """Return a whole number from 1 to `most`. A number in a query is a text.

    Raises:
        InvalidArgument: It is something else.
    """
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < len(str(most)) + 1:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise InvalidArgument(f"{field} must be a whole number from 1 to {most}, not {quote(value)}", field=field)
    return value


def _decode_token(token: str) -> str:
    try:
        return base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode()
    except ValueError as error:
        message = "nextToken is not one of this service: leave it out to begin with the first page"
        raise InvalidArgument(message, field="nextToken") from error
