"""Attaches this terminal, or standard input and output, to a background process."""

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

DETACH_KEY: Final = b"\x1d"
"""Ctrl-]"""
_READ_SIZE: Final = 1 << 16
_DEFAULT_SIZE: Final = (24, 80)
_TAIL: Final = 5_000
"""Bytes of output that are kept after they were shown. They may say why a command failed."""


def terminal_size() -> tuple[int, int]:
    """Return the rows and columns of this terminal. COLUMNS and LINES are ignored: they do not follow a resize."""
    for descriptor in (1, 0, 2):
        with contextlib.suppress(OSError):
            size = os.get_terminal_size(descriptor)
            if size.lines and size.columns:
                return size.lines, size.columns
    return _DEFAULT_SIZE


def attach_terminal(
    process: Process, *, is_raw: bool, passes_input: bool, offset: int = 0, shows: bool = True
) -> CommandResult | None:
    """Copy input to a process, and its output here, until it ends or the user detaches.

    Args:
        process: A process whose input is open.
        is_raw: Whether the process and this program both have a terminal. Every key is then sent to the process,
            except Ctrl-], which detaches and leaves it running.
        passes_input: Whether standard input is sent to the process, including its end.
        offset: Number of bytes of output to skip.
        shows: Whether output is written here. If not, it is in the result. If so, `stderr` of the result has the last
            5,000 bytes of both streams.

    Returns:
        The process's result, or None if the user detached.
    """
    output = _Output(process, offset, shows=shows)
    with contextlib.ExitStack() as stack:
        stack.enter_context(output)
        if is_raw:
            stack.enter_context(_raw(sys.stdin.fileno()))
            stack.enter_context(_following_size(process))
        else:
            stack.enter_context(Interrupts()).pass_to(process.signal)
        is_detached = _pass_input(process, output, sys.stdin.fileno() if passes_input else -1, is_raw=is_raw)
    if is_detached:
        return None
    output.check()
    return dataclasses.replace(_result(process), stdout=_text(output.kept[False]), stderr=_text(output.kept[True]))


class _Output:
    """A thread that writes or keeps the output of a process. The descriptor `done` becomes readable at its end."""

    def __init__(self, process: Process, offset: int, *, shows: bool) -> None:
        self.kept = {False: bytearray(), True: bytearray()}
        self._shows = shows
        self._process = process
        self._offset = offset
        self._error: BaseException | None = None
        self.done, self._done_writer = os.pipe()
        self._thread = threading.Thread(target=self._write, name="sandbox-output", daemon=True)

    def check(self) -> None:
        """Raise the error that ended the output early, if any."""
        if self._error is not None:
            raise self._error

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        # A thread that still waits for output ends later, with the connection. The descriptor then stays open.
        if not self._thread.is_alive():
            os.close(self.done)

    def _write(self) -> None:
        try:
            for piece in self._process.output(self._offset):
                self.kept[piece.is_stderr or self._shows] += piece.data
                if not self._shows:
                    continue
                del self.kept[True][:-_TAIL]
                stream = sys.stderr if piece.is_stderr else sys.stdout
                # The stream is None if the caller has closed it.
                if stream is not None:
                    stream.buffer.write(piece.data)
                    stream.flush()
        except BaseException as error:  # noqa: BLE001 - raised again by `check`
            self._error = error
        finally:
            os.close(self._done_writer)


def _pass_input(process: Process, output: _Output, source: int, *, is_raw: bool) -> bool:
    """Send standard input to the process until its output ends. Return whether the user detached."""
    watched = [output.done] if source < 0 else [source, output.done]
    while True:
        readable = select.select(watched, [], [])[0]
        if output.done in readable:
            return False
        data = os.read(source, _READ_SIZE)
        keys, detach, _ = data.partition(DETACH_KEY) if is_raw else (data, b"", b"")
        # The process may have ended already. Keys typed after its end are dropped.
        with contextlib.suppress(FailedPrecondition, NotFound):
            if keys or not data:
                process.send_input(keys, end=not data)
        if detach or (is_raw and not data):
            return True
        if not data:
            watched.remove(source)


@contextlib.contextmanager
def _raw(descriptor: int) -> Iterator[None]:
    import termios  # noqa: PLC0415 - not on every system
    import tty  # noqa: PLC0415 - same

    before = termios.tcgetattr(descriptor)
    try:
        # TCSADRAIN keeps the keys that were typed ahead; TCSAFLUSH would drop them.
        tty.setraw(descriptor, termios.TCSADRAIN)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _following_size(process: Process) -> Iterator[None]:
    def resize(*_: Any) -> None:
        # A failed resize must not end the program.
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
        no_network=exited.no_network,
    )
