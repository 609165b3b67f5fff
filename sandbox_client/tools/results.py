"""Builds a tool's results from executions, file contents and errors. Pure: no I/O."""

from __future__ import annotations

import base64
import codecs
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from sandbox_client.errors import InvalidArgument, SandboxError
from sandbox_client.models.readable import join_lines
from sandbox_client.models.results import CommandResult, Execution, Status
from sandbox_client.models.text.last_state import last_state
from sandbox_client.tools.shown import shown_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

MAX_TEXT: Final = 1_000_000
"""Maximum number of characters of one text. Longer output loses its middle, a longer file its end."""
MAX_READ: Final = 4 * MAX_TEXT
"""Bytes of a file that are read. They are enough for MAX_TEXT characters of UTF-8."""
MAX_SNIPPET: Final = 300
"""Maximum number of characters of failed code that an error repeats."""
NO_OUTPUT: Final = "(no output)"
ContentStyle = Literal["anthropic", "openai", "langchain", "mcp"]
"""Format of the content blocks that `ToolResult.to_content` returns."""


@dataclass(frozen=True, slots=True)
class Image:
    """A picture. Its format is `png`, `jpeg`, `gif` or `webp`, detected from its content."""

    format: str
    data: bytes

    @property
    def mime_type(self) -> str:
        """The MIME type, such as `image/png`."""
        return f"image/{self.format}"


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The result of one tool call.

    Attributes:
        value: Text, or a JSON-ready object or list. docs/requirements.md lists the form of each tool's result.
        images: Pictures that belong to the result.
        notice: Something that the caller must know about the session, such as a restart, or "".
        whole: Where the whole text is, if it is longer than what a model gets, or "".
    """

    value: str | dict[str, Any] | list[dict[str, Any]]
    images: tuple[Image, ...] = ()
    notice: str = ""
    whole: str = ""

    @property
    def is_error(self) -> bool:
        """True if the call failed."""
        return isinstance(self.value, dict) and self.value.get("status") == "error"

    @property
    def text(self) -> str:
        """The value and the notice as one text. An object stays JSON and gets the notice as a key."""
        if isinstance(self.value, dict):
            return _json({**self.value, **({"notice": self.notice} if self.notice else {})})
        text = self.value if isinstance(self.value, str) else _json(self.value)
        return f"[notice: {self.notice}]\n{text}" if self.notice else text

    def to_content(self, style: ContentStyle) -> list[dict[str, Any]]:
        """Return content blocks: the text, then the pictures.

        Args:
            style: Who gets them: `anthropic` (the content of a `tool_result`), `openai` (the output of a
                `function_call_output` of the Responses API), `langchain` (the content of a ToolMessage) or `mcp`.

        Raises:
            InvalidArgument: There is no such style.
        """
        pictures = ((image.mime_type, base64.b64encode(image.data).decode()) for image in self.images)
        return _build_content(style, self.text, pictures)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def failure(message: str, **details: object) -> ToolResult:
    """Return an error object."""
    return ToolResult({"error": message, "status": "error", **details})


def failure_of(error: Exception, **details: object) -> ToolResult:
    """Return the error object of an exception, with its `reason` and `field` if it has them."""
    if isinstance(error, SandboxError):
        extra = {"reason": error.reason, "field": error.field}
        return failure(str(error), **{key: text for key, text in extra.items() if text}, **details)
    return failure(f"{type(error).__name__}: {error}", **details)


def snippet(code: str) -> str:
    """Return the beginning of code, for an error object."""
    return code if len(code) <= MAX_SNIPPET else code[: MAX_SNIPPET - 3] + "..."


def output_text(end: Execution | CommandResult, *, shown_instead: str = "") -> str:
    """Return standard output and all results in their order, and standard error under a heading.

    The traceback of an exception follows. If there is none of all this, return `(no output)`.

    Args:
        end: A cell or command that has ended.
        shown_instead: A picture file that the model sees in place of a single displayed picture, or "".
    """
    parts = [shown_text(end, shown_instead)]
    if end.stderr.strip():
        parts.append(f"[stderr]\n{last_state(end.stderr)}")
    if end.dropped_bytes:
        parts.append(_dropped(end.dropped_bytes))
    if isinstance(end, Execution) and end.error and not end.ok:
        parts.append(f"[error]\n{end.error}")
    return join_lines(parts, keeps_end=True) or NO_OUTPUT


def _dropped(count: int) -> str:
    return f"[the output limit was hit: {count} bytes in the middle were dropped]"


def execution_failure(execution: Execution, code: str) -> ToolResult:
    """Return the error object of code that did not finish normally."""
    details: dict[str, object] = {"stdout": shown_text(execution), "stderr": last_state(execution.stderr)}
    message = _why(execution)
    if execution.error:
        # A limit also shows up as an exception (KeyboardInterrupt). The message must name the limit instead.
        if execution.status is Status.ERROR:
            message = f"{execution.error.name}: {execution.error.value}"
        details["traceback"] = str(execution.error)
    if execution.limit:
        details["limit"] = execution.limit
    if execution.dropped_bytes:
        details["output_limit"] = _dropped(execution.dropped_bytes)
    if execution.context_restarted:
        details["variables"] = "lost: the interpreter was restarted"
    details = {key: value for key, value in details.items() if value}
    return failure(message, code_snippet=snippet(code), **details)


def command_failure(result: CommandResult, command: str) -> ToolResult:
    """Return the error object of a command whose exit code is not 0."""
    message = f"the command exited with code {result.exit_code}" if result.status is Status.OK else _why(result)
    details: dict[str, object] = {"output_limit": _dropped(result.dropped_bytes)} if result.dropped_bytes else {}
    return failure(
        message,
        stdout=last_state(result.stdout),
        stderr=last_state(result.stderr),
        exit_code=result.exit_code,
        code_snippet=snippet(command),
        **details,
    )


def _why(end: Execution | CommandResult) -> str:
    return {
        Status.TIMED_OUT: f"the time limit was hit after {end.duration:.1f} s: split the work into several calls",
        Status.OOM_KILLED: "the memory limit was hit: work on less data at a time",
        Status.INTERRUPTED: "it was interrupted before its end",
        Status.LOST: "the sandbox restarted while it ran; it was not run again",
    }.get(end.status, f"it ended early ({end.status}, exit code {end.exit_code})")


def describe_content(content: bytes, *, is_cut: bool, limit: int = MAX_TEXT) -> dict[str, Any]:
    """Return the keys `encoding` and `content` of a file: UTF-8 text unchanged, other content as base64.

    The content decides, never the file's name. The key `truncated` is set if the content is incomplete.

    Args:
        content: A file, or its beginning.
        is_cut: Whether the file is longer. An incomplete last character then does not make it binary.
        limit: Maximum number of characters of a text.
    """
    text = _as_text(content, is_cut=is_cut)
    if text is None:
        value: dict[str, Any] = {"encoding": "base64", "content": base64.b64encode(content).decode()}
    else:
        is_cut = is_cut or len(text) > limit
        value = {"encoding": "text", "content": text[:limit]}
    return {**value, "truncated": True} if is_cut else value


def _as_text(content: bytes, *, is_cut: bool) -> str | None:
    if b"\0" in content:
        return None
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(content, final=not is_cut)
    except UnicodeDecodeError:
        return None


def outcome(done: list[Mapping[str, Any]], failed: list[dict[str, str]]) -> str:
    """Return `success`, `partial` or `error`, by which items were done and which failed."""
    if not failed:
        return "success"
    return "partial" if done else "error"


def _build_content(style: ContentStyle, text: str, pictures: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    """Return the blocks: the text, then the pictures.

    Args:
        style: Whose form. `anthropic`: the content of a `tool_result` of the Messages API. `openai`: the output of a
            `function_call_output` of the Responses API. `langchain`: the content of a ToolMessage. `mcp`: the content
            of a `CallToolResult`.
        text: The text.
        pictures: MIME type and base64 of each picture.

    Raises:
        InvalidArgument: There is no such style.
    """
    if style not in _STYLES:
        known = ", ".join(_STYLES)
        raise InvalidArgument(f"{style!r} is not a form of content; the forms are {known}", field="style")
    text_type, picture = _STYLES[style]
    return [{"type": text_type, "text": text}, *(picture(mime_type, data) for mime_type, data in pictures)]


def _anthropic(mime_type: str, data: str) -> dict[str, Any]:
    return {"type": "image", "source": {"type": "base64", "media_type": mime_type, "data": data}}


def _openai(mime_type: str, data: str) -> dict[str, Any]:
    return {"type": "input_image", "image_url": f"data:{mime_type};base64,{data}", "detail": "auto"}


def _langchain(mime_type: str, data: str) -> dict[str, Any]:
    return {"type": "image", "base64": data, "mime_type": mime_type}


def _mcp(mime_type: str, data: str) -> dict[str, Any]:
    return {"type": "image", "data": data, "mimeType": mime_type}


_STYLES: Final[dict[str, tuple[str, Callable[[str, str], dict[str, Any]]]]] = {
    "anthropic": ("text", _anthropic),
    "openai": ("input_text", _openai),
    "langchain": ("text", _langchain),
    "mcp": ("text", _mcp),
}
