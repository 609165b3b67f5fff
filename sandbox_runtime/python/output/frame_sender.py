"""Sends the frames of the running cell to the control socket, from any thread and never interleaved.

While no cell runs, no client can receive output. The last 1 MiB waits for the next cell, marked as late output.

User code may raise an exception in any line of its thread: from a signal handler, or from another thread
(PyThreadState_SetAsyncExc). A frame is never cut short by that: the bytes that were sent are counted in C.
"""

from __future__ import annotations

import fcntl
import struct
import threading
from collections import deque
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Final

from sandbox_link.frames import FrameType, Stream, data_pieces, encode, encode_json, split_data
from sandbox_runtime.late_marks import LateMarks, left_out

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable
    from types import CodeType

_BACKLOG: Final = 1 << 20
_LARGE: Final = 64 << 10
"""Output of at least this size is sent piece by piece, without a copy."""
_MAX_FRAME: Final = 256 << 10
"""Bytes of output in one frame. About the size of a socket's buffer, so that a whole frame arrives quickly."""
_SIOCOUTQ: Final = 0x5411
_NONE_UNREAD: Final = struct.pack("i", 0)
_SYNCHRONIZE_SECONDS: Final = 1.0
_POLL_SECONDS: Final = 0.00005


class FrameSender:
    """The sending side of the control socket.

    Attributes:
        is_in_child: True in a process that user code has forked. It has no connection to the supervisor.
    """

    def __init__(self) -> None:
        self.is_in_child = False
        self._control: socket.socket | None = None
        # User code may replace the method.
        self._send: Callable[[memoryview], int] | None = None
        # Re-entrant: a signal handler of user code may print while its thread is sending.
        self._lock = threading.RLock()
        self._sending = False
        self._held = False
        self._has_unread = True
        self._queue: list[bytes | memoryview] = []
        self._backlog: deque[tuple[int, Stream, bytes, dict[str, Any] | None]] = deque()
        self._backlog_size = 0
        self._dropped = 0
        self._channel: int | None = None
        self._is_cell = False
        self._number = 0
        self._marks = LateMarks()

    @property
    def is_running(self) -> bool:
        """True while a cell runs."""
        return self._channel is not None

    def connect(self, control: socket.socket) -> None:
        """Set the socket to send to."""
        self._control, self._send = control, control.send

    def begin(self, channel: int, number: int = 0) -> None:
        """Begin a cell, whose frames go to `channel`. Nothing is sent before the first output or `release`.

        Args:
            channel: The channel.
            number: The cell's number, or 0 for an internal task, whose output no client gets.
        """
        with self._lock:
            self._channel, self._is_cell = channel, number > 0
            if self._is_cell:
                self._queue_backlog(channel)
                self._number = number

    def end(self, close: bytes) -> None:
        """End the cell: send its CLOSE, as JSON, and all held frames, in one system call if they fit."""
        with self._lock:
            if self._channel is not None:
                self._queue_marks(self._channel, 0, Stream.STDOUT)
                self._queue.append(encode(FrameType.CLOSE, self._channel, close))
            self._channel = None
            self._is_cell = False
            self.release()

    def hold(self) -> None:
        """Keep frames back until `release` or `end`."""
        self._held = True

    def release(self) -> None:
        """Send the held frames."""
        self._held = False
        self._transmit(())

    def release_if_running(self) -> None:
        """Send queued events, unless the end of the cell is being assembled and will send them."""
        if self._queue and not self._held:
            self._transmit(())

    def queue_event(self, value: dict[str, Any]) -> None:
        """Queue an event until the next frame, `release` or `end`."""
        with self._lock:
            if self._channel is not None:
                self._queue.append(encode_json(FrameType.EVENT, self._channel, value))

    def output(self, stream: Stream, data: bytes | memoryview, late_cell: int = 0) -> None:
        """Send output of user code.

        Args:
            stream: Its stream.
            data: Its bytes.
            late_cell: Number of the cell that it belongs to, or 0 for the one that runs.
        """
        with self._lock:
            if self._channel is None or (not self._is_cell and stream is not Stream.BODY):
                self._keep(late_cell or self._number, stream, bytes(data))
                return
            if stream is not Stream.BODY:
                if late_cell or self._marks.is_open:
                    self._queue_marks(self._channel, late_cell, stream)
                self._marks.note(stream, data)
            if len(data) < _LARGE or self._held or self._sending:
                self._transmit(split_data(self._channel, stream, data))
            else:
                view = memoryview(data)
                for start in range(0, len(view), _MAX_FRAME):
                    self._transmit(data_pieces(self._channel, stream, view[start : start + _MAX_FRAME]))

    def result(self, event: dict[str, Any], parts: Iterable[bytes], late_cell: int = 0) -> None:
        """Send a result event, followed by its parts."""
        with self._lock:
            body = b"".join(parts)
            if self._channel is None or not self._is_cell:
                self._keep(late_cell or self._number, Stream.STDOUT, body, event)
                return
            if late_cell or self._marks.is_open:
                self._queue_marks(self._channel, late_cell, Stream.STDOUT)
            self._transmit(self._frames(self._channel, event, body))

    def control_event(self, value: dict[str, Any]) -> None:
        """Send an event on channel 0."""
        self._transmit((encode_json(FrameType.EVENT, 0, value),))

    def synchronize(self) -> None:
        """Send everything, and wait until the supervisor has read it, at most 1 s.

        Output that another process writes to a pipe afterwards comes later.
        """
        control = self._control
        # Most calls come when nothing was sent since the last one.
        if control is None or self._channel is None or not (self._has_unread or self._queue):
            return
        # Before the rest, because another thread may send meanwhile.
        self._has_unread = False
        self.release()
        deadline = monotonic() + _SYNCHRONIZE_SECONDS
        while fcntl.ioctl(control, _SIOCOUTQ, _NONE_UNREAD) != _NONE_UNREAD and monotonic() < deadline:
            sleep(_POLL_SECONDS)

    def disconnect(self) -> None:
        """Forget the socket, in a forked child. The lock may belong to a thread that the child does not have."""
        self.is_in_child = True
        self._control = self._send = self._channel = None
        self._lock = threading.RLock()

    def _keep(self, cell: int, stream: Stream, data: bytes, event: dict[str, Any] | None = None) -> None:
        if event is None and len(data) > _BACKLOG:
            self._dropped += len(data) - _BACKLOG
            data = data[-_BACKLOG:]
        self._backlog.append((cell, stream, data, event))
        self._backlog_size += len(data)
        while self._backlog_size > _BACKLOG:
            size = len(self._backlog.popleft()[2])
            self._backlog_size -= size
            self._dropped += size

    def _queue_backlog(self, channel: int) -> None:
        self._marks = LateMarks()
        if self._dropped:
            self._keep_first(left_out(self._dropped))
        for cell, stream, data, event in self._backlog:
            self._queue_marks(channel, cell, stream)
            if event is None:
                self._queue.extend(split_data(channel, stream, data))
                self._marks.note(stream, data)
            else:
                self._queue.extend(self._frames(channel, event, data))
        self._queue_marks(channel, 0, Stream.STDOUT)
        self._backlog.clear()
        self._backlog_size = self._dropped = 0

    def _keep_first(self, line: bytes) -> None:
        cell, stream = (self._backlog[0][0], self._backlog[0][1]) if self._backlog else (self._number, Stream.STDERR)
        self._backlog.appendleft((cell, stream, line, None))

    def _queue_marks(self, channel: int, cell: int, stream: Stream) -> None:
        for marked, line in self._marks.switch(cell, stream):
            self._queue.extend(split_data(channel, marked, line))

    @staticmethod
    def _frames(channel: int, event: dict[str, Any], body: bytes) -> tuple[bytes | memoryview, ...]:
        return (encode_json(FrameType.EVENT, channel, event), *split_data(channel, Stream.BODY, body))

    def _transmit(self, frames: Iterable[bytes | memoryview]) -> None:
        with self._lock:
            self._queue.extend(frames)
            if self._held or self._sending or self._send is None:
                return
            self._sending = True
            try:
                while self._queue:
                    self._send_queue(self._send)
            finally:
                self._sending = False

    def _send_queue(self, send: Callable[[memoryview], int]) -> None:
        pieces, self._queue = self._queue, []
        self._has_unread = True
        if sum(map(len, pieces)) < _LARGE:
            pieces = [b"".join(pieces)]
        # No Python code runs between a system call and the record of its result, so no exception can come between.
        sent: deque[int] = deque()
        try:
            end = 0
            for piece in pieces:
                end += len(piece)
                while (rest := end - sum(sent)) > 0:
                    sent.extend(map(send, (memoryview(piece)[-rest:],)))
        except BaseException:
            self._queue[:0] = _without(pieces, sum(sent))
            raise


def _without(pieces: list[bytes | memoryview], size: int) -> list[bytes | memoryview]:
    """Return what follows the first `size` bytes."""
    rest: list[bytes | memoryview] = []
    for piece in pieces:
        if size < len(piece):
            rest.append(memoryview(piece)[size:])
        size = max(0, size - len(piece))
    return rest


def protected_code() -> frozenset[CodeType]:
    """Return the functions that no signal handler of user code may enter: it could raise there, or print."""
    functions = (
        FrameSender.begin,
        FrameSender.end,
        FrameSender.release,
        FrameSender.queue_event,
        FrameSender.output,
        FrameSender.result,
        FrameSender.control_event,
        FrameSender.synchronize,
        FrameSender._transmit,  # noqa: SLF001 - its own module
        FrameSender._send_queue,  # noqa: SLF001 - same
    )
    return frozenset(function.__code__ for function in functions)
