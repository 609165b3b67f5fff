"""The interpreter's sys.stdout and sys.stderr. Their text becomes DATA frames on the control socket.

stdout has a text buffer and a byte buffer: a system call per print would be 20 times slower, a call of the byte buffer
per print three times slower. A thread flushes stdout every 20 ms while a cell runs. stderr is not buffered, and flushes
stdout first to keep the two in order. In a child that user code forks, both write to file descriptors 1 and 2.

The output of other programs and of C code reaches the supervisor by pipes. To keep the order, everything is sent before
a process starts, and the start waits until the supervisor has read it. While a child lives, lines go to the same pipes.

User code may replace functions of the standard library, so this module keeps its own references to those that it calls
while a cell runs.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import sys
import threading
from functools import partial
from os import write as write_descriptor
from time import sleep
from typing import TYPE_CHECKING, Any, Final

from sandbox_link.frames import Stream
from sandbox_runtime.linux.syscalls import libc
from sandbox_runtime.python.output.late_writes import WatchedWrite
from sandbox_runtime.python.output.shared_descriptors import SharedDescriptors, has_children

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType

    from sandbox_runtime.python.output.frame_sender import FrameSender

_BUFFER: Final = 256 << 10
_FLUSH_SECONDS: Final = 0.02
_ROUNDS_UNTIL_SLEEP: Final = 50
_ROUNDS_UNTIL_CHILD: Final = 4
"""Rounds within which a process that is about to start is there."""
_FORK_SECONDS: Final = 1.0
"""Seconds that a fork waits for the flushing thread, which may have to wait for the client."""
try:
    _c_stdout = ctypes.c_void_p(ctypes.c_void_p.in_dll(libc, "stdout").value)
    _count_pending, _flush_c = getattr(libc, "__fpending"), libc.fflush
except (AttributeError, ValueError):  # another C library
    _c_stdout = ctypes.c_void_p()
_STARTS: Final = frozenset(
    {"subprocess.Popen", "os.system", "os.posix_spawn", "os.fork", "os.forkpty", "os.exec", "pty.spawn"}
)
"""Audit events that come before the start of another program."""
_USES: Final = frozenset({"open", "ctypes.dlsym", "ctypes.dlopen"})
"""Audit events that come before user code writes to a descriptor itself."""


class _RawStream(io.RawIOBase):
    """A byte stream that becomes frames, or in a forked child output on a descriptor."""

    is_shared = False
    """True while user code may write to the descriptor unseen. Output then goes there too, to keep the order."""

    def __init__(self, sender: FrameSender, stream: Stream, descriptors: SharedDescriptors) -> None:
        super().__init__()
        self._sender = sender
        self._stream = stream
        self._descriptors = descriptors

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return int(self._stream)

    def isatty(self) -> bool:
        return False

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        if self._sender.is_in_child:
            return write_descriptor(int(self._stream), view)
        self._before_write()
        if self.is_shared and self._sender.is_running:
            self._sender.synchronize()
            return self._descriptors.write(int(self._stream), view)
        self._sender.output(self._stream, view)
        return len(view)

    def _before_write(self) -> None:
        """Send whatever must come first."""


class _RawStderr(_RawStream):
    def __init__(self, sender: FrameSender, stdout: Any, descriptors: SharedDescriptors) -> None:
        super().__init__(sender, Stream.STDERR, descriptors)
        self._stdout = stdout

    def _before_write(self) -> None:
        # RuntimeError: this thread is already flushing stdout.
        with contextlib.suppress(RuntimeError, ValueError):
            self._stdout.flush()


class _Buffer(io.BufferedWriter):
    """A buffer that user code cannot close: a writer that it laid over this one closes it when it is collected."""

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self.flush()


class Streams:
    """The two streams of one interpreter."""

    def __init__(self, sender: FrameSender) -> None:
        self._sender = sender
        self._tick: Callable[[], None] = lambda: None
        self._wake = threading.Event()
        self._active = False
        self._asleep = True
        # The flushing thread holds it, so that no child is forked with the lock of a buffer taken.
        self._flushing = threading.Lock()
        self._holds_flushing = False
        self._late_cell: Callable[[], int] | None = None
        self._watched: list[WatchedWrite] = []
        self._descriptors = SharedDescriptors(self._before_start, self._share)
        self._has_c_code = self._is_cell_shared = self._has_children = False
        self._rounds_since_start = 0
        self._make()

    def _make(self) -> None:
        self._raw_stdout = _RawStream(self._sender, Stream.STDOUT, self._descriptors)
        self._stdout_buffer = _Buffer(self._raw_stdout, _BUFFER)
        self.stdout = _text(self._stdout_buffer)
        self._raw_stderr = _RawStderr(self._sender, self.stdout, self._descriptors)
        self.stderr = _text(self._raw_stderr, write_through=True)

    def install(self, tick: Callable[[], None]) -> None:
        """Replace the process's streams. The flushing thread calls `tick` every 20 ms while a cell runs."""
        self._tick = tick
        self._descriptors.install()
        self.restore()
        sys.addaudithook(self._audit)
        os.register_at_fork(
            before=self._before_fork,
            after_in_parent=self._after_fork_in_parent,
            after_in_child=self._after_fork_in_child,
        )
        threading.Thread(target=self._flush_regularly, name="sandbox-output", daemon=True).start()

    def restore(self) -> None:
        """Undo changes of an earlier cell to sys.stdout and sys.stderr."""
        if not (_is_usable(self.stdout) and _is_usable(self.stderr)):
            self._make()
        self._descriptors.restore()
        self._is_cell_shared = False
        self._apply_shared()
        sys.stdout = sys.__stdout__ = self.stdout  # type: ignore[misc]
        sys.stderr = sys.__stderr__ = self.stderr  # type: ignore[misc]

    def watch(self, late_cell: Callable[[], int] | None) -> None:
        """Ask for each piece of text which cell it belongs to. It costs more than a print, so only when it matters.

        Args:
            late_cell: Returns the number of the caller's cell, or 0 for the running one. None stops asking.
        """
        self._finish_late_lines()
        self._late_cell = late_cell
        self._watched = []
        for stream, kind in ((self.stdout, Stream.STDOUT), (self.stderr, Stream.STDERR)):
            vars(stream).pop("write", None)
            if late_cell is not None:
                watched = WatchedWrite(stream.write, late_cell, partial(self._write_late, kind))
                stream.write = watched  # type: ignore[method-assign]
                self._watched.append(watched)

    def late_cell(self) -> int:
        """Return the number of the caller's cell if that has ended, or 0."""
        return 0 if self._late_cell is None else self._late_cell()

    def collect_late(self) -> None:
        """Pass on what was printed since the last cell."""
        self._finish_late_lines()
        self.flush()

    def _write_late(self, kind: Stream, text: str, cell: int) -> None:
        """Send text of an earlier cell, after all own text so far."""
        self.flush()
        if self._sender.is_in_child:
            write_descriptor(int(kind), text.encode(errors="backslashreplace"))
        else:
            self._sender.output(kind, text.encode(errors="backslashreplace"), cell)

    def _finish_late_lines(self) -> None:
        for watched in self._watched:
            watched.finish()

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
        for stream in (self.stdout, self._stdout_buffer, self.stderr):
            with contextlib.suppress(ValueError, RuntimeError):
                stream.flush()

    def flush_c(self) -> None:
        """Write what C code has buffered to the pipe, after all text of Python."""
        if _c_stdout and _count_pending(_c_stdout):
            self.flush()
            self._sender.synchronize()
            _flush_c(_c_stdout)

    def flush_replaced(self) -> None:
        """Flush the streams that user code has put in the place of ours."""
        for stream in (sys.stdout, sys.stderr):
            if stream is not self.stdout and stream is not self.stderr:
                with contextlib.suppress(Exception):
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
            sleep(_FLUSH_SECONDS)
            if self._active:
                # Whatever user code has broken, the next round may work.
                with contextlib.suppress(BaseException):
                    self._flush_now()

    def _flush_now(self) -> None:
        with self._flushing:
            with contextlib.suppress(ValueError, RuntimeError):
                self.stdout.flush()
            self.flush_c()
            self._look_for_children()
        self._sender.release_if_running()
        self._tick()

    def _look_for_children(self) -> None:
        if not self._has_children:
            return
        self._rounds_since_start += 1
        if has_children():
            self._rounds_since_start = _ROUNDS_UNTIL_CHILD
        # The audit event comes before the child.
        elif self._rounds_since_start > _ROUNDS_UNTIL_CHILD:
            self._has_children = False
            self._apply_shared()

    def _audit(self, event: str, arguments: Any) -> None:
        if event in _STARTS:
            if not self._sender.is_in_child:
                self._has_children, self._rounds_since_start = True, 0
                self._before_start()
                self._apply_shared()
        elif event in _USES:
            self._descriptors.audit(event, arguments)

    def _share(self, *, for_context: bool = False) -> None:
        """Write to the descriptors themselves, because user code may do so unseen."""
        if not self._sender.is_in_child:
            self._has_c_code |= for_context
            self._is_cell_shared = True
            self._before_start()
            self._apply_shared()

    def _apply_shared(self) -> None:
        is_shared = self._has_c_code or self._is_cell_shared or self._has_children
        if is_shared == self._raw_stdout.is_shared:
            return
        self._raw_stdout.is_shared = self._raw_stderr.is_shared = is_shared
        with contextlib.suppress(ValueError, RuntimeError):
            self.stdout.reconfigure(line_buffering=is_shared)

    def _before_start(self) -> None:
        """Send all output so far, because another program may write next."""
        if self._sender.is_in_child:
            return
        with contextlib.suppress(Exception):
            self.flush_replaced()
            self.flush()
            self._sender.synchronize()
            self.flush_c()

    def _before_fork(self) -> None:
        self._holds_flushing = self._flushing.acquire(timeout=_FORK_SECONDS)

    def _after_fork_in_parent(self) -> None:
        if self._holds_flushing:
            self._holds_flushing = False
            self._flushing.release()

    def _after_fork_in_child(self) -> None:
        # Nothing may be lost if the child is killed, and the lines of several children must not mix.
        self._flushing = threading.Lock()
        self._sender.disconnect()
        with contextlib.suppress(Exception):
            self.stdout.reconfigure(line_buffering=True)


def _is_usable(stream: io.TextIOWrapper) -> bool:
    try:
        return not stream.closed
    except ValueError:
        # User code has detached it.
        return False


def _text(buffer: Any, *, write_through: bool = False) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        buffer, encoding="UTF-8", errors="backslashreplace", newline="\n", write_through=write_through
    )


def protected_code() -> frozenset[CodeType]:
    """Return the functions that no signal handler of user code may enter: the buffer would send its content again."""
    functions = (_RawStream.write, _RawStderr._before_write, Streams._audit)  # noqa: SLF001 - its own module
    return frozenset(function.__code__ for function in functions)
