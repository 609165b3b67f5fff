"""Defines each tool's name, description and JSON schema, and checks a model's arguments. Pure: no I/O.

The check is written by hand, because the base install has neither jsonschema nor pydantic. Importing this package takes
270 ms of CPU time; jsonschema would add 90 ms and five packages, pydantic 160 ms. jsonschema checks a call in 41 us
instead of 2 us. Translating its errors into messages that say what to do takes as much code as the check itself.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Mapping

LANGUAGES: Final = ("python", "javascript", "typescript")
"""The languages of `execute_code`. Models run shell lines with `execute_command`."""
OPERATIONS: Final = ("read", "write", "list", "remove")
"""The operations of `file_operations`."""
ENCODINGS: Final = ("text", "base64")
"""The encodings of `workspace_write`."""
NAMESPACE: Final = "code-interpreter/"
"""The folder of the workspace that holds a session's pushed files."""


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as an agent framework registers it.

    Attributes:
        name: Its name, which is also the name of the method of SandboxTools.
        description: The description for the model.
        schema: JSON schema of its arguments.
        title: Its name for people.
        is_read_only: True if it changes nothing.
        is_destructive: True if it can replace or remove what exists.
        is_idempotent: True if a repeat with the same arguments changes nothing more.
        is_open_world: True if it can reach beyond the session and its workspace, such as into the network.
    """

    name: str
    description: str
    schema: Mapping[str, Any]
    title: str = ""
    is_read_only: bool = False
    is_destructive: bool = True
    is_idempotent: bool = False
    is_open_world: bool = False


def _object(required: tuple[str, ...] = (), /, **properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def _text(description: str, **more: object) -> dict[str, Any]:
    return {"type": "string", "description": description, **more}


def _paths(description: str) -> dict[str, Any]:
    return {"type": ["array", "null"], "items": {"type": "string"}, "default": None, "description": description}


_EXECUTE_CODE: Final = """\
Run code in a session and return its output. Use it for calculations, data analysis and charts, and to test \
code before you rely on it.

- Variables, imports and functions persist from call to call in each language, even after an error. Build on earlier \
calls instead of repeating them. JavaScript and TypeScript share their variables.
- Print what you want to see. The value of the last expression is shown too.
- Charts: save the chart, e.g. plt.savefig('chart.png', dpi=150, bbox_inches='tight'), and set output_filename to that \
name. You then see the picture, and the file is saved to the workspace as code-interpreter/chart.png.
- Without output_filename (or ci_push_to_workspace), files stay in the sandbox and are lost when the session ends.
- Missing packages can be installed with execute_command."""

_EXECUTE_COMMAND: Final = """\
Run a bash command line in the session, in the same folder as code and files: ls, git, pipes, &&, redirection. The \
next execute_code can import packages that you install here. Every command starts in the session's root folder: a cd \
does not last. A non-zero exit code is returned as an error with stdout, stderr and exit_code."""

_FILE_OPERATIONS: Final = """\
Read, write, list or remove files of the sandbox. Paths are relative to its root folder, which code and commands share.

- read: give paths. Returns text unchanged (the first 1,000,000 characters) and binary files as base64.
- write: give content, a list of {"path", "text"}. Creates missing folders and replaces existing files.
- list: give paths of folders ("." by default). Returns name, type and size of each entry.
- remove: give paths of files or folders. A folder is removed with everything in it.

These files are lost when the session ends, unless you save them with ci_push_to_workspace."""

_PUSH: Final = """\
Save files of the sandbox to the persistent workspace: the given files or folders, or everything if you give no paths \
(except caches and installed packages). You and later sessions can then read a file chart.png as \
code-interpreter/chart.png. Only the files in files_saved are saved. failed lists the others, with the reasons."""

_READ: Final = """\
Read one file of the persistent workspace, e.g. code-interpreter/chart.png, as it was last pushed. Returns text \
unchanged and binary files as base64. To read files of the running sandbox that were not pushed, use file_operations."""

_LIST: Final = """\
List the files of the persistent workspace whose path begins with path, e.g. code-interpreter/. Without path, list all \
files."""

_WRITE: Final = """\
Write one file to the persistent workspace, e.g. code-interpreter/data.csv. It is saved at once, and the next \
execute_code finds it in the sandbox as data.csv. Paths must begin with code-interpreter/. Give binary content as \
base64, with encoding "base64"."""

_ITEM: Final = {
    "type": "object",
    "properties": {"path": _text("Path of the file."), "text": _text("The whole content of the file.")},
    "required": ["path", "text"],
}

TOOL_SPECS: Final[tuple[ToolSpec, ...]] = (
    ToolSpec(
        "execute_code",
        _EXECUTE_CODE,
        _object(
            ("code",),
            code=_text("The code to run."),
            language=_text("The language of the code.", enum=list(LANGUAGES), default="python"),
            output_filename=_text(
                "A file that the code saves under exactly this name. It is saved to the workspace. Pictures are also "
                "shown.",
                default="",
            ),
        ),
        title="Run code",
        is_open_world=True,
    ),
    ToolSpec(
        "execute_command",
        _EXECUTE_COMMAND,
        _object(("command",), command=_text("The bash command line.")),
        title="Run a command",
        is_open_world=True,
    ),
    ToolSpec(
        "file_operations",
        _FILE_OPERATIONS,
        _object(
            ("operation",),
            operation=_text("The operation.", enum=list(OPERATIONS)),
            paths=_paths("For read, list and remove: the files or folders."),
            content={
                "type": ["array", "null"],
                "items": _ITEM,
                "default": None,
                "description": "For write: the files, with their contents.",
            },
        ),
        title="Read, write, list or remove files",
        is_idempotent=True,
    ),
    ToolSpec(
        "ci_push_to_workspace",
        _PUSH,
        _object(paths=_paths("Files or folders of the sandbox. Default: everything.")),
        title="Save files to the workspace",
        is_idempotent=True,
    ),
    ToolSpec(
        "workspace_read",
        _READ,
        _object(("path",), path=_text("Path of the file, e.g. code-interpreter/chart.png.")),
        title="Read a saved file",
        is_read_only=True,
        is_destructive=False,
        is_idempotent=True,
    ),
    ToolSpec(
        "workspace_list",
        _LIST,
        _object(path=_text("Beginning of the paths, e.g. code-interpreter/.", default="")),
        title="List saved files",
        is_read_only=True,
        is_destructive=False,
        is_idempotent=True,
    ),
    ToolSpec(
        "workspace_write",
        _WRITE,
        _object(
            ("path", "content"),
            path=_text("Path of the file, e.g. code-interpreter/data.csv."),
            content=_text("The whole content of the file."),
            encoding=_text("The encoding of content.", enum=list(ENCODINGS), default="text"),
        ),
        title="Save one file",
        is_idempotent=True,
    ),
)
"""The seven tools."""

_MAX_QUOTED: Final = 100
_BY_NAME: Final = {spec.name: spec for spec in TOOL_SPECS}
_TYPES: Final[Mapping[str, type]] = {"string": str, "array": list, "object": dict, "null": type(None)}


def quote(value: object) -> str:
    """Return a value as an error repeats it: as Python writes it, and not longer than a line."""
    text = repr(value)
    return text if len(text) <= _MAX_QUOTED else f"{text[:_MAX_QUOTED]}..."


def check_call(name: str, arguments: Mapping[str, Any] | None) -> dict[str, Any]:
    """Check a model's call, and return its arguments.

    Args:
        name: The tool's name.
        arguments: The arguments that the model gave.

    Raises:
        InvalidArgument: There is no such tool, or an argument is missing, unknown or of a wrong type.
    """
    if not isinstance(name, str) or name not in _BY_NAME:
        raise InvalidArgument(f"there is no tool {quote(name)}. The tools are {', '.join(_BY_NAME)}", field="name")
    schema = _BY_NAME[name].schema
    given = {} if arguments is None else arguments
    if not isinstance(given, dict):
        names = ", ".join(schema["properties"])
        message = f"the arguments of {name} must be an object with {names}, not {type(arguments).__name__}"
        raise InvalidArgument(message, field="arguments")
    _check(schema, given, name, "")
    return given


def check_text(text: object, field: str, *, choices: tuple[str, ...] = ()) -> str:
    """Return a text argument unchanged.

    Args:
        text: The argument.
        field: Its name, for errors.
        choices: The allowed values. Empty if all texts are allowed.

    Raises:
        InvalidArgument: It is not a text, not valid Unicode, or not one of `choices`.
    """
    if not isinstance(text, str):
        raise InvalidArgument(f"{field} must be a string, not {type(text).__name__}", field=field)
    if choices and text not in choices:
        raise InvalidArgument(f"{field} cannot be {quote(text)}: choose one of {', '.join(choices)}", field=field)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        message = f"{field} is not valid Unicode ({error.reason}): leave out lone surrogates"
        raise InvalidArgument(message, field=field) from error
    return text


def decode_content(content: str, encoding: str) -> bytes:
    """Return the bytes of a file that a model wrote as text or base64.

    Raises:
        InvalidArgument: It is not valid base64.
    """
    if encoding == "text":
        return content.encode()
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError) as error:
        message = f"content is not valid base64 ({error}): encode it, or leave out encoding if it is text"
        raise InvalidArgument(message, field="content") from error


def check_paths(paths: object, field: str = "paths") -> list[str]:
    """Return a list of paths. A single string counts as a list with one path.

    Raises:
        InvalidArgument: It is not a list of strings.
    """
    if isinstance(paths, str):
        paths = [paths]
    if not isinstance(paths, list | tuple):
        raise InvalidArgument(f"{field} must be a list of paths, not {type(paths).__name__}", field=field)
    return [check_text(path, field) for path in paths]


def check_items(content: object) -> list[tuple[str, str]]:
    """Return the path and text of each file to write.

    Raises:
        InvalidArgument: It is not a list of `{"path", "text"}`. The error names the wrong item.
    """
    if not isinstance(content, list | tuple):
        raise InvalidArgument('content must be a list of {"path", "text"}', field="content")
    for index, item in enumerate(content):
        if not isinstance(item, dict):
            message = f'content[{index}] must be an object {{"path", "text"}}, not {type(item).__name__}'
            raise InvalidArgument(message, field=f"content[{index}]")
        _check(_ITEM, item, "write", f"content[{index}].")
    return [
        (
            check_text(item["path"], f"content[{index}].path"),
            check_text(item["text"], f"content[{index}].text"),
        )
        for index, item in enumerate(content)
    ]


def _check(schema: Mapping[str, Any], arguments: Mapping[str, Any], owner: str, prefix: str) -> None:
    properties = schema["properties"]
    names = ", ".join(properties)
    for name in schema["required"]:
        if name not in arguments:
            raise InvalidArgument(f"{owner} needs {prefix}{name}; its arguments are {names}", field=prefix + name)
    for name, value in arguments.items():
        if name not in properties:
            message = f"{owner} has no argument {quote(name)}; its arguments are {names}"
            raise InvalidArgument(message, field=prefix + str(name)[:_MAX_QUOTED])
        types = properties[name]["type"]
        wanted = [types] if isinstance(types, str) else types
        # Models sometimes give a single path instead of a list. `check_paths` accepts it.
        is_single = isinstance(value, str) and name == "paths"
        if not is_single and not isinstance(value, tuple(_TYPES[each] for each in wanted)):
            message = f"{prefix}{name} must be of type {' or '.join(wanted)}, not {type(value).__name__}"
            raise InvalidArgument(message, field=prefix + name)
