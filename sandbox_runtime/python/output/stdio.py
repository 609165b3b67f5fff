"""sys.stdout, sys.stderr and sys.stdin of an interpreter: text streams that become DATA frames on the control socket.

stdout is buffered twice, as text and as bytes (a system call a print would be 20 times slower, a call of the byte
buffer a print three times), and flushed by a thread every 20 ms while cells run; stderr is not, and flushes stdout
first, so that the two stay in order. In a child that user code forks, both fall back to file
descriptors 1 and 2.
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
_FLUSH_EVERY: Final = 0.02
_ROUNDS_UNTIL_SLEEP: Final = 50


class _RawStream(io.RawIOBase):
    """Bytes of one stream, to frames."""

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
        """What has to be sent earlier."""


class _RawStderr(_RawStream):
    def __init__(self, sender: FrameSender, stdout: Any) -> None:
        super().__init__(sender, Stream.STDERR)
        self._stdout = stdout

    def _before_write(self) -> None:
        # Re-entrant: stdout is being flushed by this very thread.
        with contextlib.suppress(RuntimeError, ValueError):
            self._stdout.flush()


class _NoInput(io.StringIO):
    """sys.stdin: at its end at once."""

    def close(self) -> None:
        """Stay open: `exit()` closes sys.stdin, and the interpreter lives on."""

    def fileno(self) -> int:
        return 0


class StdinNotAvailable(EOFError):  # noqa: N818 - it says what is the matter, to whoever wrote the cell
    """Code asked for input, and nobody is there to type it."""

    # As tracebacks show it.
    __module__ = "builtins"


def _refuse_input(prompt: object = "") -> NoReturn:
    asked = f" (it asked: {str(prompt)[:200]!r})" if str(prompt) else ""
    raise StdinNotAvailable(
        f"input() is not available: nobody can type into a sandbox{asked}. Assign the value in the code, read it from "
        "a file, or from the session's environment; for a program that reads its input, run it as a command with stdin."
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
        """Take over the process's streams; `tick` is called every 20 ms while a cell runs, by the flushing thread."""
        self._tick = tick
        builtins.input = _refuse_input
        sys.stdin = _NoInput()
        self.restore()
        os.register_at_fork(before=self._before_fork, after_in_child=_after_fork)
        threading.Thread(target=self._flush_regularly, name="sandbox-output", daemon=True).start()

    def restore(self) -> None:
        """Undo what an earlier cell did to sys.stdout and sys.stderr."""
        if self.stdout.closed or self.stderr.closed or self._stdout_buffer.closed:
            self._make()
        sys.stdout = self.stdout
        sys.stderr = self.stderr

    def resume(self) -> None:
        """A cell begins: flush regularly from now on."""
        self._active = True
        if self._asleep:
            self._wake.set()

    def pause(self) -> None:
        """No cell runs: the thread goes to sleep after a while, since waking it costs more than a short cell."""
        self._active = False

    def flush(self) -> None:
        """Hand all text to the sender."""
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
                # A cell that began between the check and the line above has not seen `_asleep`.
                if not self._active:
                    self._wake.wait()
                self._asleep = False
            time.sleep(_FLUSH_EVERY)
            if self._active:
                with contextlib.suppress(ValueError, RuntimeError):
                    self.stdout.flush()
                self._sender.release_if_running()
                self._tick()

    def _before_fork(self) -> None:
        with contextlib.suppress(ValueError, RuntimeError):
            self.stdout.flush()


def _after_fork() -> None:
    sys.stdout = open(1, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115 - for good
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115 - for good


def _text(buffer: Any, *, write_through: bool = False) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        buffer, encoding="utf-8", errors="backslashreplace", newline="\n", write_through=write_through
    )


def protected_code() -> frozenset[CodeType]:
    """Functions that a KeyboardInterrupt must not be raised in: the buffer would send its content again."""
    return frozenset({_RawStream.write.__code__, _RawStderr._before_write.__code__})  # noqa: SLF001 - its own module
