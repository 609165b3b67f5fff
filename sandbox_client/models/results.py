"""The results of cells and commands. Pure: no I/O."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final

from sandbox_client.models.missing_network import NO_NETWORK, names_no_network
from sandbox_client.models.readable import Readable, join_lines
from sandbox_client.models.result import Result
from sandbox_client.models.sizes import format_size
from sandbox_client.models.text.last_state import last_state

__all__ = ["CodeError", "CommandResult", "Diagnostic", "Execution", "Result", "Status"]

if TYPE_CHECKING:
    from collections.abc import Iterator


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


@dataclass(frozen=True, slots=True, repr=False)
class CodeError(Readable):
    """An exception that the user's code raised.

    Attributes:
        name: The exception's class, such as `ZeroDivisionError`.
        value: The exception's message.
        traceback: Lines, without colour codes.
        limit: The limit that probably caused it: `memory`, `disk`, `file_bytes`, `processes`, `open_files`, `network`
            if the session has none, or "".
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


class _Shown(Readable):
    """A result that shows itself as a terminal or a notebook would."""

    __slots__ = ()
    _left_out: ClassVar = frozenset({"order", "request_id", "context_id"})

    def __str__(self) -> str:
        return join_lines(_as_text(kind, content) for kind, content in self._parts())

    def _ipython_display_(self) -> None:
        from sandbox_client.models.notebook import show  # noqa: PLC0415 - only in a notebook

        show(self._parts())

    def _parts(self) -> Iterator[tuple[str, Any]]:
        """Yield what the code showed, in order, and then what else there is to know. `notebook.show` has the kinds."""
        yield from ()


@dataclass(frozen=True, slots=True, repr=False)
class Execution(_Shown):
    """The result of one cell. `print` shows what a terminal would, and a notebook what its own cell would.

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
        diagnostics_omitted: How many more type errors there are.
        order: The order of the output: `("stdout", characters)`, `("stderr", characters)` and `("result", 1)`, each
            for the next part of `stdout`, `stderr` or `results`.
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
    diagnostics_omitted: int = 0
    order: tuple[tuple[str, int], ...] = field(default=(), compare=False)

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

    def _parts(self) -> Iterator[tuple[str, Any]]:
        for kind, content in in_order(self.order, stdout=self.stdout, stderr=self.stderr, result=self.results):
            yield kind, content.data if kind == "result" else content
        if self.error is not None:
            yield "error", (self.error.name, self.error.value, self.error.traceback or (str(self.error),))
        for diagnostic in self.diagnostics:
            yield "stderr", f"{diagnostic}\n"
        if self.diagnostics_omitted:
            yield "stderr", f"[{self.diagnostics_omitted} more type errors]\n"
        yield from _remarks(self)
        if self.context_restarted:
            yield "stderr", "[the interpreter was restarted: its variables are lost]\n"


@dataclass(frozen=True, slots=True, repr=False)
class CommandResult(_Shown):
    """The result of one command. `print` shows what a terminal would, and the exit code if it is not 0.

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
        no_network: True if the command failed and its session has no network. If its output shows that this was the
            reason, `limit` is `network`.
        order: The order of the output, as in `Execution`.
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
    no_network: bool = False
    order: tuple[tuple[str, int], ...] = field(default=(), compare=False)

    @property
    def limit(self) -> str:
        """The limit that the command hit, or "": `execution_time`, `memory`, `output_bytes` or `network`."""
        if self.no_network and names_no_network(self.stdout + self.stderr):
            return "network"
        return _LIMIT_OF.get(self.status, "") or ("output_bytes" if self.dropped_bytes else "")

    @property
    def ok(self) -> bool:
        """True if the command ran to its end with exit code 0."""
        return self.status is Status.OK and self.exit_code == 0

    def _parts(self) -> Iterator[tuple[str, Any]]:
        yield from in_order(self.order, stdout=self.stdout, stderr=self.stderr, result=())
        yield from _remarks(self)
        if self.limit == "network":
            yield "stderr", f"[{NO_NETWORK}]\n"
        if self.status is Status.OK and self.exit_code:
            yield "stderr", f"[exit code {self.exit_code}]\n"


def in_order(
    order: tuple[tuple[str, int], ...], *, stdout: str, stderr: str, result: tuple[Result, ...]
) -> Iterator[tuple[str, Any]]:
    """Yield the parts of the output in their order, each with its kind: `stdout`, `stderr` or `result`.

    Args:
        order: The order, as in `Execution`. What it does not cover follows at the end.
        stdout: All of standard output.
        stderr: All of standard error.
        result: All results.
    """
    rest: dict[str, Any] = {"stdout": stdout, "stderr": stderr, "result": result}
    for kind, count in (*order, *((kind, len(content)) for kind, content in rest.items())):
        part, rest[kind] = rest[kind][:count], rest[kind][count:]
        if kind == "result":
            yield from (("result", shown) for shown in part)
        elif part:
            yield kind, part


def _as_text(kind: str, content: Any) -> str:
    if kind == "error":
        return "\n".join(content[2]) + "\n"
    return f"{Result(content)}\n" if kind == "result" else last_state(str(content))


def _remarks(end: Execution | CommandResult) -> Iterator[tuple[str, str]]:
    """Yield how code ended, unless it ended by itself or its error says so."""
    if end.dropped_bytes:
        yield "stderr", f"[the output limit was hit: {format_size(end.dropped_bytes)} in the middle were dropped]\n"
    if end.status is Status.TIMED_OUT:
        yield "stderr", f"[the time limit was hit after {end.duration:.3g} s: raise `timeout`]\n"
    elif end.status is Status.LOST:
        yield "stderr", "[the sandbox restarted while this ran: it was not run again]\n"
    elif end.status not in (Status.OK, Status.ERROR, Status.UNKNOWN) and getattr(end, "error", None) is None:
        yield "stderr", f"[it ended early: {end.status}, exit code {end.exit_code}]\n"
