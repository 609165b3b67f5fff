"""Sends the frames of the running cell to the control socket, from any thread and never interleaved.

While no cell runs, no client can receive output. The last 256 KiB wait for the next cell.

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

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable
    from types import CodeType

_BACKLOG: Final = 256 << 10
_LARGE: Final = 64 << 10
"""Output of at least this size is sent piece by piece, without a copy."""
_MAX_FRAME: Final = 256 << 10
"""Bytes of output in one frame. About the size of a socket's buffer, so that a whole frame arrives quickly."""
_SIOCOUTQ: Final = 0x5411
_NONE_UNREAD: Final = struct.pack("i", 0)
_SYNCHRONIZE_SECONDS: Final = 0.2
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
        self._queue: list[bytes | memoryview] = []
        self._backlog: list[tuple[Stream, bytes]] = []
        self._backlog_size = 0
        self._channel: int | None = None

    def connect(self, control: socket.socket) -> None:
        """Set the socket to send to."""
        self._control, self._send = control, control.send

    def begin(self, channel: int) -> None:
        """Begin a cell, whose frames go to `channel`. Nothing is sent before the first output or `release`."""
        with self._lock:
            self._channel = channel
            for stream, data in self._backlog:
                self._queue.extend(split_data(channel, stream, data))
            self._backlog.clear()
            self._backlog_size = 0

    def end(self, close: bytes) -> None:
        """End the cell: send its CLOSE, as JSON, and all held frames, in one system call if they fit."""
        with self._lock:
            if self._channel is not None:
                self._queue.append(encode(FrameType.CLOSE, self._channel, close))
            self._channel = None
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

    def output(self, stream: Stream, data: bytes | memoryview) -> None:
        """Send output of user code."""
        with self._lock:
            if self._channel is None:
                self._keep(stream, bytes(data))
            elif len(data) < _LARGE or self._held or self._sending:
                self._transmit(split_data(self._channel, stream, data))
            else:
                view = memoryview(data)
                for start in range(0, len(view), _MAX_FRAME):
                    self._transmit(data_pieces(self._channel, stream, view[start : start + _MAX_FRAME]))

    def result(self, event: dict[str, Any], parts: Iterable[bytes]) -> None:
        """Send a result event, followed by its parts."""
        with self._lock:
            if self._channel is not None:
                body = b"".join(parts)
                self._transmit(
                    (encode_json(FrameType.EVENT, self._channel, event), *split_data(self._channel, Stream.BODY, body))
                )

    def control_event(self, value: dict[str, Any]) -> None:
        """Send an event on channel 0."""
        self._transmit((encode_json(FrameType.EVENT, 0, value),))

    def synchronize(self) -> None:
        """Send everything, and wait until the supervisor has read it, at most 0.2 s.

        Output that another process writes to a pipe afterwards comes later.
        """
        control = self._control
        if control is None or self._channel is None:
            return
        self.release()
        deadline = monotonic() + _SYNCHRONIZE_SECONDS
        while fcntl.ioctl(control, _SIOCOUTQ, _NONE_UNREAD) != _NONE_UNREAD and monotonic() < deadline:
            sleep(_POLL_SECONDS)

    def disconnect(self) -> None:
        """Forget the socket, in a forked child. The lock may belong to a thread that the child does not have."""
        self.is_in_child = True
        self._control = self._send = self._channel = None
        self._lock = threading.RLock()

    def _keep(self, stream: Stream, data: bytes) -> None:
        self._backlog.append((stream, data[-_BACKLOG:]))
        self._backlog_size += len(self._backlog[-1][1])
        while self._backlog_size > _BACKLOG:
            self._backlog_size -= len(self._backlog.pop(0)[1])

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
