"""This terminal (or standard input and output) as a background process's own, until it ends or the user leaves it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import select
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.cli.interrupts import Interrupts
from sandbox_client.errors import FailedPrecondition, NotFound, SandboxError
from sandbox_client.models.results import CommandResult, Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox_client.sync.sandbox import Process

LEAVE: Final = b"\x1d"
"""Ctrl-]"""
_READ: Final = 1 << 16
_FALLBACK: Final = (24, 80)


def terminal_size() -> tuple[int, int]:
    """Rows and columns of this terminal, as it is now (COLUMNS and LINES do not follow it)."""
    for descriptor in (1, 0, 2):
        with contextlib.suppress(OSError):
            size = os.get_terminal_size(descriptor)
            if size.lines and size.columns:
                return size.lines, size.columns
    return _FALLBACK


def relay(
    process: Process, *, is_raw: bool, passes_input: bool, offset: int = 0, shows: bool = True
) -> CommandResult | None:
    """Pass input and output on until the process ends.

    Args:
        process: A process whose input is open.
        passes_input: Whether standard input is passed on, its end included.
        is_raw: It has a terminal, and so have we: every key is passed on but Ctrl-], which leaves it running.
        offset: Output to begin with.
        shows: Whether output is written here; else it is in the result.

    Returns:
        How it ended; None where the user left.
    """
    output = _Output(process, offset, shows=shows)
    with contextlib.ExitStack() as stack:
        stack.enter_context(output)
        if is_raw:
            stack.enter_context(_raw(sys.stdin.fileno()))
            stack.enter_context(_following_size(process))
        else:
            stack.enter_context(Interrupts()).pass_to(process.signal)
        has_left = _pass_input(process, output, sys.stdin.fileno() if passes_input else -1, is_raw=is_raw)
    if has_left:
        return None
    output.check()
    return dataclasses.replace(_result(process), stdout=_text(output.kept[False]), stderr=_text(output.kept[True]))


class _Output:
    """A thread that writes (or keeps) what the process does; `done` is readable once there is no more."""

    def __init__(self, process: Process, offset: int, *, shows: bool) -> None:
        self.kept = {False: bytearray(), True: bytearray()}
        self._shows = shows
        self._process = process
        self._offset = offset
        self._error: BaseException | None = None
        self.done, self._tell = os.pipe()
        self._thread = threading.Thread(target=self._write, name="sandbox-output", daemon=True)

    def check(self) -> None:
        """Raise what ended it early."""
        if self._error is not None:
            raise self._error

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        # A thread that still waits for output ends with the connection.
        if not self._thread.is_alive():
            os.close(self.done)

    def _write(self) -> None:
        try:
            for piece in self._process.output(self._offset):
                if not self._shows:
                    self.kept[piece.is_stderr] += piece.data
                    continue
                stream = sys.stderr.buffer if piece.is_stderr else sys.stdout.buffer
                stream.write(piece.data)
                stream.flush()
        except BaseException as error:  # noqa: BLE001 - raised again by `check`
            self._error = error
        finally:
            os.close(self._tell)


def _pass_input(process: Process, output: _Output, source: int, *, is_raw: bool) -> bool:
    """Pass standard input on until the output ends; whether the user left."""
    watched = [output.done] if source < 0 else [source, output.done]
    while True:
        readable = select.select(watched, [], [])[0]
        if output.done in readable:
            return False
        data = os.read(source, _READ)
        keys, leave, _ = data.partition(LEAVE) if is_raw else (data, b"", b"")
        # Its end is on its way: what is typed now is for nobody.
        with contextlib.suppress(FailedPrecondition, NotFound):
            if keys or not data:
                process.send_input(keys, end=not data)
        if leave or (is_raw and not data):
            return True
        if not data:
            watched.remove(source)


@contextlib.contextmanager
def _raw(descriptor: int) -> Iterator[None]:
    import termios  # noqa: PLC0415 - not on every system
    import tty  # noqa: PLC0415 - same

    before = termios.tcgetattr(descriptor)
    try:
        # Drained, not flushed: what was typed ahead counts.
        tty.setraw(descriptor, termios.TCSADRAIN)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _following_size(process: Process) -> Iterator[None]:
    def resize(*_: Any) -> None:
        # A size that could not be told is no reason to end.
        with contextlib.suppress(SandboxError):
            process.resize(*terminal_size())

    previous = signal.signal(signal.SIGWINCH, resize)
    resize()
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, previous)


def _text(data: bytes | bytearray) -> str:
    return data.decode(errors="replace")


def _result(process: Process) -> CommandResult:
    try:
        exited = process.info().exited
    except NotFound:
        exited = None
    if exited is None:
        return CommandResult(status=Status.LOST)
    return CommandResult(
        exit_code=exited.exit_code,
        signal=exited.signal,
        status=exited.status,
        duration=exited.duration,
        message=exited.message,
    )
