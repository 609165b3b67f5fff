"""What a tool hands to a model, and how executions, contents and errors become that. Pure: no I/O."""

from __future__ import annotations

import base64
import codecs
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.errors import SandboxError
from sandbox_client.models.results import CommandResult, Execution, Status

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_TEXT: Final = 1_000_000
"""Characters of one text that a model gets; of output the middle is left out, of a file the end."""
MAX_READ: Final = 4 * MAX_TEXT
"""Bytes of a file that are looked at: enough for so many characters."""
MAX_SNIPPET: Final = 300
"""Characters of failed code that an error repeats."""
NO_OUTPUT: Final = "(no output)"


@dataclass(frozen=True, slots=True)
class Image:
    """A picture. Format: `png`, `jpeg`, `gif` or `webp`, by its content."""

    format: str
    data: bytes

    @property
    def mime_type(self) -> str:
        """As in `image/png`."""
        return f"image/{self.format}"


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What one call gave.

    Attributes:
        value: Text, or a JSON-ready object or list; docs/requirements.md tells which tool gives which.
        images: Pictures beside it.
        notice: What the caller must know of the session, such as that it was started anew; else "".
    """

    value: str | dict[str, Any] | list[dict[str, Any]]
    images: tuple[Image, ...] = ()
    notice: str = ""

    @property
    def is_error(self) -> bool:
        """Whether the call failed."""
        return isinstance(self.value, dict) and self.value.get("status") == "error"

    @property
    def text(self) -> str:
        """All but the pictures, as one text. An object stays JSON: the notice is a key of it."""
        if isinstance(self.value, dict):
            return _json({**self.value, **({"notice": self.notice} if self.notice else {})})
        text = self.value if isinstance(self.value, str) else _json(self.value)
        return f"[notice: {self.notice}]\n{text}" if self.notice else text

    def to_content(self) -> list[dict[str, Any]]:
        """Blocks as agent frameworks take them: `{"type": "text", ...}`, `{"type": "image", ...}` in base64."""
        images = [
            {"type": "image", "mime_type": image.mime_type, "data": base64.b64encode(image.data).decode()}
            for image in self.images
        ]
        return [{"type": "text", "text": self.text}, *images]


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def image_format(content: bytes) -> str:
    """The format of a picture by its first bytes (12 are enough), or "" where it is none that a model can see."""
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if content.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if content.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "webp"
    return ""


def failure(message: str, **details: object) -> ToolResult:
    """An error object."""
    return ToolResult({"error": message, "status": "error", **details})


def failure_of(error: Exception, **details: object) -> ToolResult:
    """The error object of an exception; `reason` and `field` where it has them."""
    if isinstance(error, SandboxError):
        words = {"reason": error.reason, "field": error.field}
        return failure(str(error), **{key: word for key, word in words.items() if word}, **details)
    return failure(f"{type(error).__name__}: {error}", **details)


def snippet(code: str) -> str:
    """The beginning of code, for an error."""
    return code if len(code) <= MAX_SNIPPET else code[: MAX_SNIPPET - 3] + "..."


def shorten(text: str) -> str:
    """Output, its middle left out where it is too long for a model."""
    if len(text) <= MAX_TEXT:
        return text
    half = MAX_TEXT // 2
    left_out = len(text) - 2 * half
    return f"{text[:half]}\n[... {left_out} characters left out: write large output to a file ...]\n{text[-half:]}"


def output_text(execution: Execution | CommandResult) -> str:
    """Standard output, the value of the last expression, and standard error under a heading."""
    parts = [execution.stdout]
    if isinstance(execution, Execution) and execution.text is not None:
        parts.append(execution.text)
    if execution.stderr.strip():
        parts.append(f"[stderr]\n{execution.stderr}")
    if execution.dropped_bytes:
        parts.append(_dropped(execution.dropped_bytes))
    return shorten(_lines(parts)) or NO_OUTPUT


def _lines(parts: list[str]) -> str:
    """Each part on lines of its own, otherwise as they are."""
    text = ""
    for part in parts:
        if part:
            text += part if not text or text.endswith("\n") else f"\n{part}"
    return text


def _dropped(count: int) -> str:
    return f"[the output limit was hit: {count} bytes in the middle were dropped]"


def shown_images(execution: Execution) -> tuple[Image, ...]:
    """The pictures that code displayed."""
    return tuple(Image(kind, content) for _, content in execution.figures if (kind := image_format(content)))


def execution_failure(execution: Execution, code: str) -> ToolResult:
    """The error object of code that did not run to its end."""
    details: dict[str, object] = {"stdout": shorten(execution.stdout), "stderr": shorten(execution.stderr)}
    message = _why(execution)
    if execution.error:
        # A limit shows up as an exception too (KeyboardInterrupt): the limit is what must be told.
        if execution.status is Status.ERROR:
            message = f"{execution.error.name}: {execution.error.value}"
        details["traceback"] = shorten(str(execution.error))
    if execution.limit:
        details["limit"] = execution.limit
    if execution.dropped_bytes:
        details["output_limit"] = _dropped(execution.dropped_bytes)
    if execution.context_restarted:
        details["variables"] = "lost: the interpreter was started again"
    details = {key: value for key, value in details.items() if value}
    return failure(shorten(message), code_snippet=snippet(code), **details)


def command_failure(result: CommandResult, command: str) -> ToolResult:
    """The error object of a command that did not end with 0."""
    message = f"the command exited with code {result.exit_code}" if result.status is Status.OK else _why(result)
    details: dict[str, object] = {"output_limit": _dropped(result.dropped_bytes)} if result.dropped_bytes else {}
    return failure(
        message,
        stdout=shorten(result.stdout),
        stderr=shorten(result.stderr),
        exit_code=result.exit_code,
        code_snippet=snippet(command),
        **details,
    )


def _why(end: Execution | CommandResult) -> str:
    return {
        Status.TIMED_OUT: f"the time limit was hit after {end.duration:.1f} s",
        Status.OOM_KILLED: "the memory limit was hit",
        Status.INTERRUPTED: "it was interrupted",
        Status.LOST: "the sandbox restarted while it ran; it was not run again",
    }.get(end.status, f"it ended early ({end.status}, exit code {end.exit_code})")


def describe_content(content: bytes, *, is_cut: bool) -> dict[str, Any]:
    """`encoding` and `content`: text as it is, anything else as base64; by content, never by name.

    Args:
        content: A file, or its beginning.
        is_cut: Whether there is more of it; a character cut in two is then no reason to take it for binary.
    """
    text = _as_text(content, is_cut=is_cut)
    if text is None:
        value: dict[str, Any] = {"encoding": "base64", "content": base64.b64encode(content).decode()}
    else:
        is_cut = is_cut or len(text) > MAX_TEXT
        value = {"encoding": "text", "content": text[:MAX_TEXT]}
    return {**value, "truncated": True} if is_cut else value


def _as_text(content: bytes, *, is_cut: bool) -> str | None:
    if b"\0" in content:
        return None
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(content, final=not is_cut)
    except UnicodeDecodeError:
        return None


def outcome(done: list[Mapping[str, Any]], failed: list[dict[str, str]]) -> str:
    """`success`, `partial` or `error`, by what was done and what was not."""
    if not failed:
        return "success"
    return "partial" if done else "error"
