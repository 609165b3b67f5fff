"""The results of cells and commands. Pure: no I/O."""

from __future__ import annotations

import base64
import enum
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_IMAGE_SUFFIXES: Final = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/svg+xml": "svg",
    "image/gif": "gif",
    "image/webp": "webp",
    "application/pdf": "pdf",
}


class Status(enum.StrEnum):
    """The ways in which a cell or command can end."""

    UNKNOWN = "unknown"
    OK = "ok"
    ERROR = "error"
    INTERRUPTED = "interrupted"
    TIMED_OUT = "timed_out"
    OOM_KILLED = "oom_killed"
    KILLED = "killed"
    LOST = "lost"

    @classmethod
    def from_message(cls, number: int) -> Status:
        """Return the status for the protocol's ExitStatus number, UNKNOWN if this client does not know the number."""
        members = tuple(cls)
        return members[number] if 0 <= number < len(members) else cls.UNKNOWN


_LIMIT_OF: Final = {Status.TIMED_OUT: "execution_time", Status.OOM_KILLED: "memory"}


@dataclass(frozen=True, slots=True)
class Result:
    """Something to show: the value of a cell's last expression, or the argument of a display call.

    Attributes:
        data: Content by MIME type: UTF-8 text, or the bytes of an image.
        is_main: Whether this is the value of the last expression.
        display_id: Id of the display that this shows or updates, or "".
        is_update: Whether this replaces what the display showed before.
    """

    data: Mapping[str, bytes]
    is_main: bool = False
    display_id: str = ""
    is_update: bool = False

    @property
    def text(self) -> str | None:
        """The `text/plain` form, or None."""
        return self._text("text/plain")

    @property
    def html(self) -> str | None:
        """The `text/html` form, or None."""
        return self._text("text/html")

    @property
    def png(self) -> bytes | None:
        """The `image/png` form, or None."""
        return self.data.get("image/png")

    @property
    def table(self) -> dict[str, Any] | None:
        """A DataFrame as data, or None if this is not a DataFrame.

        It has `schema`, `data` (rows), `rows` (of the whole DataFrame) and `truncated`; see docs/results.md.
        """
        return self._json("application/vnd.dataresource+json")

    @property
    def chart(self) -> dict[str, Any] | None:
        """A matplotlib figure as data (see docs/results.md), or None if this is not a figure."""
        return self._json("application/vnd.sandbox.chart+json")

    def _text(self, mime: str) -> str | None:
        content = self.data.get(mime)
        return None if content is None else content.decode(errors="replace")

    def _json(self, mime: str) -> dict[str, Any] | None:
        try:
            value = json.loads(self.data.get(mime, b"null"))
        except ValueError:
            return None
        return value if isinstance(value, dict) else None

    def figure(self) -> tuple[str, bytes] | None:
        """Return file suffix and content of the picture, or None if this is not a picture."""
        for mime, suffix in _IMAGE_SUFFIXES.items():
            if mime in self.data:
                return suffix, self.data[mime]
        return None

    def _repr_mimebundle_(self, **_options: object) -> dict[str, Any]:
        return {mime: _for_notebook(mime, content) for mime, content in self.data.items()}


def _for_notebook(mime: str, content: bytes) -> Any:
    if (mime.startswith("image/") and mime != "image/svg+xml") or mime == "application/pdf":
        return base64.b64encode(content).decode()
    text = content.decode(errors="replace")
    if mime == "application/json" or mime.endswith("+json"):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


@dataclass(frozen=True, slots=True)
class CodeError:
    """An exception that the user's code raised.

    Attributes:
        name: The exception's class, such as `ZeroDivisionError`.
        value: The exception's message.
        traceback: Lines, without colour codes.
        limit: The limit that probably caused it: `memory`, `disk`, `file_bytes`, `processes`, `open_files`, or "".
    """

    name: str
    value: str
    traceback: tuple[str, ...] = ()
    limit: str = ""

    def __str__(self) -> str:
        return "\n".join(self.traceback) or f"{self.name}: {self.value}"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """A type error. Lines and columns count from 1, columns in UTF-16 code units; the end is exclusive.

    Attributes:
        code: TypeScript's number for the error, such as 2322.
    """

    line: int
    column: int
    end_line: int
    end_column: int
    code: int
    message: str

    def __str__(self) -> str:
        return f"{self.line}:{self.column} - error TS{self.code}: {self.message}"


@dataclass(frozen=True, slots=True)
class Execution:
    """The result of one cell.

    Attributes:
        stdout: All of standard output.
        stderr: All of standard error.
        results: The values and displays that the cell showed, in order.
        error: The exception that ended the cell, or None.
        status: How the cell ended.
        exit_code: Exit code of the interpreter if its process ended, otherwise 0.
        duration: Seconds.
        context_restarted: The context's process was replaced, and its variables are lost.
        dropped_bytes: Bytes cut from the middle of the output because it exceeded its limit.
        execution_count: Number of the cell in its context, from 1.
        context_id: The context that ran the cell.
        request_id: The call's id, which also appears in the agent's log.
        diagnostics: The first 200 type errors, if a type check was requested.
    """

    stdout: str = ""
    stderr: str = ""
    results: tuple[Result, ...] = ()
    error: CodeError | None = None
    status: Status = Status.UNKNOWN
    exit_code: int = 0
    duration: float = 0.0
    context_restarted: bool = False
    dropped_bytes: int = 0
    execution_count: int = 0
    context_id: str = ""
    request_id: str = ""
    diagnostics: tuple[Diagnostic, ...] = ()

    @property
    def limit(self) -> str:
        """The limit that the cell hit, or "": `execution_time`, `memory`, `output_bytes`, or the limit of `error`."""
        by_error = self.error.limit if self.error else ""
        return _LIMIT_OF.get(self.status, "") or by_error or ("output_bytes" if self.dropped_bytes else "")

    @property
    def ok(self) -> bool:
        """True if the code ran to its end without an exception."""
        return self.status is Status.OK

    @property
    def text(self) -> str | None:
        """The value of the last expression as text, or None."""
        return next((result.text for result in self.results if result.is_main), None)

    @property
    def figures(self) -> tuple[tuple[str, bytes], ...]:
        """File suffix and content of each picture that the cell showed."""
        return tuple(figure for result in self.results if (figure := result.figure()) is not None)

    def _repr_mimebundle_(self, **options: object) -> dict[str, Any]:
        shown = next((result for result in self.results if result.is_main), None)
        if shown is None and self.results and not self.error:
            shown = self.results[-1]
        if shown is not None:
            return shown._repr_mimebundle_(**options)
        return {"text/plain": str(self.error) if self.error else self.stdout}


@dataclass(frozen=True, slots=True)
class CommandResult:
    """The result of one command.

    Attributes:
        stdout: All of standard output.
        stderr: All of standard error.
        exit_code: 0 to 255; 128 + the signal's number if a signal ended the command.
        signal: The signal's number, or 0.
        status: How the command ended.
        duration: Seconds.
        dropped_bytes: Bytes cut from the output because it exceeded its limit: from the middle, or from the beginning
            for a background process.
        request_id: The call's id, which also appears in the agent's log.
        message: The reason why something else ended the command, such as the suspension of the session.
    """

    stdout: str = ""
    stderr: str = ""
    exit_code: int = 0
    signal: int = 0
    status: Status = Status.UNKNOWN
    duration: float = 0.0
    dropped_bytes: int = 0
    request_id: str = ""
    message: str = ""

    @property
    def limit(self) -> str:
        """The limit that the command hit, or "": `execution_time`, `memory` or `output_bytes`."""
        return _LIMIT_OF.get(self.status, "") or ("output_bytes" if self.dropped_bytes else "")

    @property
    def ok(self) -> bool:
        """True if the command ran to its end with exit code 0."""
        return self.status is Status.OK and self.exit_code == 0
