"""What calls return: frozen values, made from protocol messages. Pure: no I/O."""

from __future__ import annotations

import base64
import enum
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.errors import InvalidArgument
from sandbox_proto.v1 import types_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.timestamp_pb2 import Timestamp

    from sandbox_proto.v1 import file_pb2, interpreter_pb2, workspace_pb2  # noqa: F401 - annotations

LANGUAGES: Final = ("python", "javascript", "typescript")
"""Names of the languages that a context can run."""
_IMAGE_SUFFIXES: Final = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/svg+xml": "svg",
    "image/gif": "gif",
    "image/webp": "webp",
    "application/pdf": "pdf",
}


class Status(enum.StrEnum):
    """How code or a command ended."""

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
        """The status of an ExitStatus number; UNKNOWN for one this client does not know."""
        members = tuple(cls)
        return members[number] if 0 <= number < len(members) else cls.UNKNOWN


_LIMIT_OF: Final = {Status.TIMED_OUT: "execution_time", Status.OOM_KILLED: "memory"}


@dataclass(frozen=True, slots=True)
class Result:
    """Something to show: the value of a cell's last expression, or what a display call showed.

    Attributes:
        data: MIME type to content: UTF-8 text, or an image's bytes.
        is_main: True for the value of the last expression.
        display_id: Which display an update changes, or "".
    """

    data: Mapping[str, bytes]
    is_main: bool = False
    display_id: str = ""
    is_update: bool = False

    @property
    def text(self) -> str | None:
        """The `text/plain` form."""
        content = self.data.get("text/plain")
        return None if content is None else content.decode(errors="replace")

    @property
    def html(self) -> str | None:
        """The `text/html` form."""
        content = self.data.get("text/html")
        return None if content is None else content.decode(errors="replace")

    @property
    def png(self) -> bytes | None:
        """The `image/png` form."""
        return self.data.get("image/png")

    @property
    def table(self) -> dict[str, Any] | None:
        """A DataFrame as data: `schema`, `data` (rows), `rows` (of the whole), `truncated`; see docs/results.md."""
        return self._json("application/vnd.dataresource+json")

    @property
    def chart(self) -> dict[str, Any] | None:
        """A matplotlib figure as data; see docs/results.md."""
        return self._json("application/vnd.sandbox.chart+json")

    def _json(self, mime: str) -> dict[str, Any] | None:
        try:
            value = json.loads(self.data.get(mime, b"null"))
        except ValueError:
            return None
        return value if isinstance(value, dict) else None

    def figure(self) -> tuple[str, bytes] | None:
        """File suffix and content of the picture, where this is one."""
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
    """An exception of the user's code.

    Attributes:
        name: Its class, such as `ZeroDivisionError`.
        value: Its message.
        traceback: Lines, without colour codes.
        limit: Which limit it is a sign of: `memory`, `disk`, `file_bytes`, `processes`, `open_files`, or "".
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
        code: TypeScript's number of it, such as 2322.
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
    """What one cell did.

    Attributes:
        diagnostics: Type errors, where a type check was asked for; the first 200.
        duration: Seconds.
        context_restarted: The context's process was replaced: its variables are gone.
        dropped_bytes: Output that a limit swallowed in the middle.
        execution_count: Counts the context's cells, from 1.
        request_id: The call's id, by which it can be found in the agent's log.
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
        """Which limit was hit, or "": `execution_time`, `memory`, `output_bytes`, or one that `error` is a sign of."""
        by_error = self.error.limit if self.error else ""
        return _LIMIT_OF.get(self.status, "") or by_error or ("output_bytes" if self.dropped_bytes else "")

    @property
    def ok(self) -> bool:
        """True where the code ran to its end."""
        return self.status is Status.OK

    @property
    def text(self) -> str | None:
        """The value of the last expression as text, or None."""
        return next((result.text for result in self.results if result.is_main), None)

    @property
    def figures(self) -> tuple[tuple[str, bytes], ...]:
        """File suffix and content of each picture that was shown."""
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
    """What one command did.

    Attributes:
        exit_code: 0 to 255; 128 + the signal's number where a signal ended it.
        signal: The signal's number, or 0.
        duration: Seconds.
        dropped_bytes: Output that a limit swallowed in the middle (of a background process: at the beginning).
        message: Why it ended where that was not its own doing, such as a session that was suspended.
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
        """Which limit was hit, or "": `execution_time`, `memory` or `output_bytes`."""
        return _LIMIT_OF.get(self.status, "") or ("output_bytes" if self.dropped_bytes else "")

    @property
    def ok(self) -> bool:
        """True where it ran to its end with exit code 0."""
        return self.status is Status.OK and self.exit_code == 0


@dataclass(frozen=True, slots=True)
class FileInfo:
    """What is known of one path of the workspace.

    Attributes:
        path: Relative to the workspace root, `/` separated.
        type: `file`, `directory`, `symlink` or `other`.
        size: Bytes.
        mode: Permission bits.
        modified: Aware, UTC; None where unknown.
    """

    path: str
    type: str
    size: int = 0
    mode: int = 0
    modified: datetime | None = None
    symlink_target: str = ""


@dataclass(frozen=True, slots=True)
class Context:
    """One interpreter with its own variables."""

    id: str
    language: str
    cwd: str = ""
    busy: bool = False
    execution_count: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a push or restore is. Sizes in bytes."""

    files_done: int = 0
    files_total: int = 0
    bytes_done: int = 0
    bytes_total: int = 0


@dataclass(frozen=True, slots=True)
class FileFailure:
    """A file that was not saved or restored, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class PushReport:
    """What a push saved durably; `files_moved` and `bytes_moved` are what had to travel."""

    generation: int
    files_saved: int
    files_moved: int
    bytes_moved: int
    failed: tuple[FileFailure, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """What a restore brought into the sandbox."""

    generation: int
    files_restored: int
    bytes_restored: int
    failed: tuple[FileFailure, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class WorkspaceStatus:
    """What is saved; `dirty` says that files differ from it.

    Attributes:
        conflicts: Files that changed here and in storage: not saved until they are renamed, removed or restored.
        saves_on_change: Changes are saved unasked.
        lag: Seconds since the first change that is not saved yet, where they are.
    """

    generation: int
    files: int
    bytes: int
    synced_at: datetime | None
    dirty: bool
    last_error: str
    conflicts: tuple[str, ...] = ()
    saves_on_change: bool = False
    lag: float = 0.0


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file in storage, such as `code-interpreter/chart.png`. Size in bytes."""

    path: str
    size: int
    last_modified: datetime | None = None


_LANGUAGE_NUMBERS: Final = {
    "python": types_pb2.LANGUAGE_PYTHON,
    "javascript": types_pb2.LANGUAGE_JAVASCRIPT,
    "typescript": types_pb2.LANGUAGE_TYPESCRIPT,
}


def language_number(name: str, *, is_optional: bool = False) -> types_pb2.Language:
    """The protocol's number of a language.

    Raises:
        InvalidArgument: There is no such language.
    """
    if not name and is_optional:
        return types_pb2.LANGUAGE_UNSPECIFIED
    if name not in LANGUAGES:
        choice = ", ".join(LANGUAGES)
        raise InvalidArgument(f"{name!r} is none of {choice}", reason="UNKNOWN_LANGUAGE", field="language")
    return _LANGUAGE_NUMBERS[name]


def language_name(number: int) -> str:
    """The name of a Language number, "" where it is unspecified."""
    return LANGUAGES[number - 1] if 1 <= number <= len(LANGUAGES) else ""


def file_info(message: types_pb2.FileInfo) -> FileInfo:
    """A FileInfo of a message."""
    type_ = {1: "file", 2: "directory", 3: "symlink"}.get(message.type, "other")
    return FileInfo(message.path, type_, message.size, message.mode, utc(message, "modified"), message.symlink_target)


def context(message: interpreter_pb2.Context) -> Context:
    """A Context of a message."""
    return Context(message.id, language_name(message.language), message.cwd, message.busy, message.execution_count)


def utc(message: Any, name: str) -> datetime | None:
    """A message's Timestamp field as an aware datetime, None where it is not set."""
    if not message.HasField(name):
        return None
    stamp: Timestamp = getattr(message, name)
    return stamp.ToDatetime(tzinfo=UTC)
