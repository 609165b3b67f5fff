"""Name, description and JSON schema of each tool, and the check of a model's arguments against them. Pure: no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.errors import InvalidArgument
from sandbox_client.models.context import LANGUAGES

if TYPE_CHECKING:
    from collections.abc import Mapping

OPERATIONS: Final = ("read", "write", "list", "remove")
"""Of `file_operations`."""
ENCODINGS: Final = ("text", "base64")
"""Of `workspace_write`."""
NAMESPACE: Final = "code-interpreter/"
"""Where a session's pushed files are in its workspace."""


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as an agent framework registers it.

    Attributes:
        name: Its name, also the method's of SandboxTools.
        description: What a model reads.
        schema: JSON schema of its arguments.
        is_read_only: Whether it changes nothing.
    """

    name: str
    description: str
    schema: Mapping[str, Any]
    is_read_only: bool = False


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
Run code in an isolated sandbox and get what it prints. Use it for calculations, data analysis, charts, and to try out \
code before relying on it.

- Variables, imports and functions persist from call to call in each language, also after an error: build on earlier \
calls instead of repeating them. JavaScript and TypeScript share their variables.
- Print what you want to see; the value of a last expression is shown too.
- Charts: save them, e.g. plt.savefig('chart.png', dpi=150, bbox_inches='tight'), and set output_filename to that \
name. You then see the picture, and the file is saved to the workspace as code-interpreter/chart.png.
- Without output_filename (or ci_push_to_workspace) files stay in the sandbox and are lost when the session ends.
- Install missing packages with execute_command: pip install NAME."""

_EXECUTE_COMMAND: Final = """\
Run a bash command line in the sandbox, in the same folder as code and files: ls, pip install, curl, git, pipes, &&, \
redirection. Packages installed here can be imported by the next execute_code. Every command starts in the sandbox's \
root folder: cd does not last. A non-zero exit code comes back as an error with stdout, stderr and exit_code."""

_FILE_OPERATIONS: Final = """\
Read, write, list or remove files of the sandbox. Paths are relative to its root folder, which code and commands share.

- read: paths; text as it is (the first 1,000,000 characters), binary files as base64.
- write: content, a list of {"path", "text"}; missing folders are made, existing files are replaced.
- list: paths of folders; name, type and size of what is in them ("." by default).
- remove: paths of files or folders.

These files are lost when the session ends unless they are pushed: see ci_push_to_workspace."""

_PUSH: Final = """\
Save files of the sandbox to the persistent workspace: the named files or folders, or everything without paths \
(caches and installed packages excepted). A file chart.png is then readable as code-interpreter/chart.png, also by \
later sessions. Only what files_saved lists is saved; failed says what is not, and why."""

_READ: Final = """\
Read one file of the persistent workspace, e.g. code-interpreter/chart.png, as it was last pushed: text as it is, \
binary as base64. For files of the running sandbox that were not pushed use file_operations."""

_LIST: Final = """\
List the files of the persistent workspace whose path begins with path, e.g. code-interpreter/; all without it."""

_WRITE: Final = """\
Write one file to the persistent workspace, e.g. code-interpreter/data.csv. It is saved at once, and there in the \
sandbox as data.csv for the next execute_code. Paths must begin with code-interpreter/. Binary content: base64 with \
encoding "base64"."""

_ITEM: Final = {
    "type": "object",
    "properties": {"path": _text("The file."), "text": _text("Its whole content.")},
    "required": ["path", "text"],
}

TOOL_SPECS: Final[tuple[ToolSpec, ...]] = (
    ToolSpec(
        "execute_code",
        _EXECUTE_CODE,
        _object(
            ("code",),
            code=_text("The code to run."),
            language=_text("The code's language.", enum=list(LANGUAGES), default="python"),
            output_filename=_text(
                "A file that the code saves under exactly this name; it is saved to the workspace, pictures are shown.",
                default="",
            ),
        ),
    ),
    ToolSpec("execute_command", _EXECUTE_COMMAND, _object(("command",), command=_text("The command line, for bash."))),
    ToolSpec(
        "file_operations",
        _FILE_OPERATIONS,
        _object(
            ("operation",),
            operation=_text("What to do.", enum=list(OPERATIONS)),
            paths=_paths("For read, list and remove: files or folders."),
            content={
                "type": ["array", "null"],
                "items": _ITEM,
                "default": None,
                "description": "For write: the files.",
            },
        ),
    ),
    ToolSpec(
        "ci_push_to_workspace", _PUSH, _object(paths=_paths("Files or folders of the sandbox; everything by default."))
    ),
    ToolSpec(
        "workspace_read",
        _READ,
        _object(("path",), path=_text("As in code-interpreter/chart.png.")),
        is_read_only=True,
    ),
    ToolSpec(
        "workspace_list",
        _LIST,
        _object(path=_text("A beginning of paths, as in code-interpreter/.", default="")),
        is_read_only=True,
    ),
    ToolSpec(
        "workspace_write",
        _WRITE,
        _object(
            ("path", "content"),
            path=_text("As in code-interpreter/data.csv."),
            content=_text("The whole content."),
            encoding=_text("How content is given.", enum=list(ENCODINGS), default="text"),
        ),
    ),
)
"""The seven tools."""

_BY_NAME: Final = {spec.name: spec for spec in TOOL_SPECS}
_TYPES: Final[Mapping[str, type]] = {"string": str, "array": list, "object": dict, "null": type(None)}


def check_call(name: str, arguments: Mapping[str, Any]) -> None:
    """Check a model's call.

    Args:
        name: The tool.
        arguments: As the model gave them.

    Raises:
        InvalidArgument: There is no such tool, or an argument is missing, unknown, or of another type; it is named.
    """
    if name not in _BY_NAME:
        raise InvalidArgument(f"there is no tool {name!r}; there are {', '.join(_BY_NAME)}", field="name")
    _check(_BY_NAME[name].schema, arguments, name, "")


def check_text(text: object, field: str, *, choices: tuple[str, ...] = ()) -> str:
    """A text that can be sent, and is one of `choices` where there are some.

    Raises:
        InvalidArgument: It is not; `field` and the choices are named.
    """
    if not isinstance(text, str):
        raise InvalidArgument(f"{field} must be a text, not {type(text).__name__}", field=field)
    if choices and text not in choices:
        raise InvalidArgument(f"{text!r} is none of {', '.join(choices)}", field=field)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgument(f"it is no Unicode text: {error.reason}", field=field) from error
    return text


def check_paths(paths: object, field: str = "paths") -> list[str]:
    """A list of paths; a single text is taken for a list of one.

    Raises:
        InvalidArgument: It is something else.
    """
    if isinstance(paths, str):
        paths = [paths]
    if not isinstance(paths, list | tuple):
        raise InvalidArgument(f"{field} must be a list of paths, not {type(paths).__name__}", field=field)
    return [check_text(path, field) for path in paths]


def check_items(content: object) -> list[tuple[str, str]]:
    """Path and text of each file to write.

    Raises:
        InvalidArgument: It is no list of `{"path", "text"}`; what is wrong is named.
    """
    if not isinstance(content, list | tuple):
        raise InvalidArgument('content must be a list of {"path", "text"}', field="content")
    for index, item in enumerate(content):
        if not isinstance(item, dict):
            raise InvalidArgument('it must be an object {"path", "text"}', field=f"content[{index}]")
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
            raise InvalidArgument(f"{owner} needs {name}; its arguments are {names}", field=prefix + name)
    for name, value in arguments.items():
        if name not in properties:
            raise InvalidArgument(f"{owner} has no argument {name!r}; its arguments are {names}", field=prefix + name)
        types = properties[name]["type"]
        wanted = [types] if isinstance(types, str) else types
        # A single path instead of a list is what models give now and then; check_paths takes it.
        is_single = isinstance(value, str) and name == "paths"
        if not is_single and not isinstance(value, tuple(_TYPES[each] for each in wanted)):
            message = f"{name} must be of type {' or '.join(wanted)}, not {type(value).__name__}"
            raise InvalidArgument(message, field=prefix + name)
