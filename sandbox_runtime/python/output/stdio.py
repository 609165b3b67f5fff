"""The interpreter's sys.stdout, sys.stderr and sys.stdin. Their text becomes DATA frames on the control socket.

stdout has a text buffer and a byte buffer: a system call per print would be 20 times slower, a call of the byte buffer
per print three times slower. A thread flushes stdout every 20 ms while a cell runs. stderr is not buffered, and flushes
stdout first to keep the two in order. In a child that user code forks, both fall back to file descriptors 1 and 2.
"""

from __future__ import annotations

import builtins
import contextlib
import io
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final, NoReturn

from sandbox_link.frames import Stream

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType

    from sandbox_runtime.python.output.frame_sender import FrameSender

_BUFFER: Final = 256 << 10
_FLUSH_SECONDS: Final = 0.02
_ROUNDS_UNTIL_SLEEP: Final = 50


class _RawStream(io.RawIOBase):
    """A byte stream that becomes frames."""

    def __init__(self, sender: FrameSender, stream: Stream) -> None:
        super().__init__()
        self._sender = sender
        self._stream = stream

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return int(self._stream)

    def isatty(self) -> bool:
        return False

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self._before_write()
        self._sender.output(self._stream, view)
        return len(view)

    def _before_write(self) -> None:
        """Send whatever must come first."""


class _RawStderr(_RawStream):
    def __init__(self, sender: FrameSender, stdout: Any) -> None:
        super().__init__(sender, Stream.STDERR)
        self._stdout = stdout

    def _before_write(self) -> None:
        # RuntimeError: this thread is already flushing stdout.
        with contextlib.suppress(RuntimeError, ValueError):
            self._stdout.flush()


class _NoInput(io.StringIO):
    """An empty sys.stdin."""

    def close(self) -> None:
        """Stay open: `exit()` closes sys.stdin, but the interpreter continues."""

    def fileno(self) -> int:
        return 0


class StdinNotAvailable(EOFError):  # noqa: N818 - users read this name
    """Code asked for input, and a sandbox has no keyboard."""

    # Tracebacks show it without a module.
    __module__ = "builtins"


def _refuse_input(prompt: object = "") -> NoReturn:
    asked = f" (the prompt was {str(prompt)[:200]!r})" if str(prompt) else ""
    raise StdinNotAvailable(
        f"input() is not available: a sandbox has no keyboard{asked}. Assign the value in the code, or read it from a "
        "file or an environment variable. Run a program that reads its input as a command with stdin."
    )


class Streams:
    """The three streams of one interpreter."""

    def __init__(self, sender: FrameSender) -> None:
        self._sender = sender
        self._tick: Callable[[], None] = lambda: None
        self._wake = threading.Event()
        self._active = False
        self._asleep = True
        self._make()

    def _make(self) -> None:
        self._stdout_buffer = io.BufferedWriter(_RawStream(self._sender, Stream.STDOUT), _BUFFER)
        self.stdout = _text(self._stdout_buffer)
        self.stderr = _text(_RawStderr(self._sender, self.stdout), write_through=True)

    def install(self, tick: Callable[[], None]) -> None:
        """Replace the process's streams. The flushing thread calls `tick` every 20 ms while a cell runs."""
        self._tick = tick
        builtins.input = _refuse_input
        sys.stdin = _NoInput()
        self.restore()
        os.register_at_fork(before=self._before_fork, after_in_child=_after_fork)
        threading.Thread(target=self._flush_regularly, name="sandbox-output", daemon=True).start()

    def restore(self) -> None:
        """Undo changes of an earlier cell to sys.stdout and sys.stderr."""
        if self.stdout.closed or self.stderr.closed or self._stdout_buffer.closed:
            self._make()
        sys.stdout = self.stdout
        sys.stderr = self.stderr

    def resume(self) -> None:
        """Start flushing regularly, because a cell begins."""
        self._active = True
        if self._asleep:
            self._wake.set()

    def pause(self) -> None:
        """Stop flushing, because no cell runs.

        The thread sleeps only after a while: waking it costs more than a short cell.
        """
        self._active = False

    def flush(self) -> None:
        """Pass all buffered text to the sender."""
        for stream in (self.stdout, self.stderr):
            with contextlib.suppress(ValueError, RuntimeError):
                stream.flush()

    def _flush_regularly(self) -> None:
        idle = 0
        while True:
            idle = 0 if self._active else idle + 1
            if idle > _ROUNDS_UNTIL_SLEEP:
                self._wake.clear()
                self._asleep = True
                # A cell that began between the check and the line above did not see `_asleep`.
                if not self._active:
                    self._wake.wait()
                self._asleep = False
            time.sleep(_FLUSH_SECONDS)
            if self._active:
                with contextlib.suppress(ValueError, RuntimeError):
                    self.stdout.flush()
                self._sender.release_if_running()
                self._tick()

    def _before_fork(self) -> None:
        with contextlib.suppress(ValueError, RuntimeError):
            self.stdout.flush()


def _after_fork() -> None:
    sys.stdout = open(1, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115 - stays open
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115 - stays open


def _text(buffer: Any, *, write_through: bool = False) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        buffer, encoding="utf-8", errors="backslashreplace", newline="\n", write_through=write_through
    )


def protected_code() -> frozenset[CodeType]:
    """Return the functions that no KeyboardInterrupt may enter: the buffer would send its content again."""
    return frozenset({_RawStream.write.__code__, _RawStderr._before_write.__code__})  # noqa: SLF001 - its own module
