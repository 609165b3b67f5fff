"""One interpreter process as the supervisor sees it: control socket, output pipes, interrupt, end.

Knows nothing about the link.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from sandbox_link.frame_socket import FrameSocket, enlarge_buffer
from sandbox_link.frames import FrameType, Stream, encode_json, split_data
from sandbox_runtime.interpreters.output_reader import OutputPipe
from sandbox_runtime.linux.process_tree import kill_newer, kill_tree
from sandbox_runtime.linux.syscalls import TREE_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sandbox_link.frames import Frame
    from sandbox_runtime.interpreters.zygote_client import Child, ZygoteClient

_EXIT_GRACE: Final = 1.0
"""Seconds that a process has to start before it is killed, or to end once its control socket is closed."""


_DEBUGGER_NOTICE: Final = b"Waiting for the debugger to disconnect...\n"


class Listener(Protocol):
    """The user of an interpreter."""

    def on_ready(self) -> None:
        """Handle the start of the process, which now runs its first cell."""

    def on_frame(self, frame: Frame) -> None:
        """Handle a frame from the interpreter."""

    def on_output(self, stream: Stream, data: bytes) -> None:
        """Handle bytes from file descriptor 1 or 2."""

    def on_exit(self, status: int | None) -> None:
        """Handle the end of the process.

        Args:
            status: The wait status. None if the process never started, or its status is unknown.
        """


class OutputBuffer(Protocol):
    """The output to the agent. It holds back the frames of one read, so that one system call sends them all."""

    def hold(self) -> None:
        """Hold frames back until `flush`."""

    def flush(self) -> None:
        """Send the frames that were held back."""


def _ignore(_stream: Stream, _data: bytes) -> None:
    pass


class Interpreter:
    """A process that speaks frames on its descriptor 3.

    Args:
        zygote: Forks it.
        request: The request to the zygote; `zygote` describes it.
        language: `python`, `javascript` or `bash`. Decides how it is interrupted.

    Attributes:
        has_ended: True once the process has ended, or if it could not be started.
        is_initialized: True once it has its environment. Later configuration does not reach it.
        is_ready: True once it has started. A cell that it gets earlier waits.
    """

    def __init__(self, zygote: ZygoteClient, request: Mapping[str, Any], language: str) -> None:
        self.language = language
        self.has_ended = False
        self.is_initialized = False
        self.is_ready = False
        self._listener: Listener | None = None
        self._output: OutputBuffer | None = None
        self._take_output: Callable[[Stream, bytes], None] = _ignore
        self._interrupted = False
        self._shell: int | None = None
        ours, theirs = socket.socketpair()
        enlarge_buffer(theirs)
        self._control = FrameSocket(ours, self, self._on_socket_end)
        self._pipes = [OutputPipe(partial(self._on_output, stream)) for stream in (Stream.STDOUT, Stream.STDERR)]
        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self.child: Child = zygote.spawn(request, [null, *(pipe.write_fd for pipe in self._pipes), theirs.fileno()])
        # The zygote has received copies of the descriptors.
        os.close(null)
        theirs.close()
        for pipe in self._pipes:
            pipe.close_write()
        self.child.started.add_done_callback(self._on_started)
        self.child.ended.add_done_callback(lambda ended: self._end(ended.result()))

    def attach(self, listener: Listener, output: OutputBuffer) -> None:
        """Set the user of the interpreter.

        Args:
            listener: Gets frames, output and the end.
            output: Holds back the frames that the listener sends while it handles those of one read.
        """
        self._listener, self._output, self._take_output = listener, output, listener.on_output

    def detach(self, on_output: Callable[[Stream, bytes], None] = _ignore) -> None:
        """Discard the interpreter's frames and its end.

        Args:
            on_output: Still gets the output of the pipes. By default it is discarded.
        """
        self._listener, self._output, self._take_output = None, None, on_output

    def initialize(self, arguments: Mapping[str, Any], environment: Mapping[str, str]) -> None:
        """Give it its environment and working directory, before the first cell.

        Raises:
            FrameError: They do not fit into a frame. `SessionState.check_environment` prevents that.
        """
        env = {**environment, TREE_VARIABLE: self.child.tree}
        frame = encode_json(FrameType.OPEN, 0, {"op": "init", **arguments, "env": env})
        # Not before: if this raised, the next cell would run without the environment and the socket filter.
        self.is_initialized = True
        self._control.send(frame)

    def execute(self, channel: int, arguments: Mapping[str, Any], code: bytes) -> None:
        """Start a cell, or another `op` if the arguments have one."""
        opened = {"op": "execute", **arguments, "code_bytes": len(code), "after_interrupt": self._interrupted}
        self._interrupted = False
        frames = [encode_json(FrameType.OPEN, channel, opened)]
        frames.extend(split_data(channel, Stream.BODY, code))
        self._control.send(b"".join(frames))

    def interrupt(self) -> None:
        """Interrupt the running cell."""
        self._interrupted = True
        if self.language != "javascript":
            # At once if the process exists, else as soon as it does.
            if self.child.started.done():
                self._send_interrupt(self.child.started)
            else:
                self.child.started.add_done_callback(self._send_interrupt)
        else:
            self._control.send(encode_json(FrameType.EVENT, 0, {"type": "interrupt"}))

    def _send_interrupt(self, started: asyncio.Future[int]) -> None:
        if started.exception() is None and not self.has_ended:
            # Signal the group, as a terminal does, so that a command which the cell waits for ends too.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(started.result(), signal.SIGINT)

    def pause(self) -> None:
        """Stop reading its output."""
        self._control.pause()
        for pipe in self._pipes:
            pipe.pause()

    def resume(self) -> None:
        """Continue reading its output."""
        self._control.resume()
        for pipe in self._pipes:
            pipe.resume()

    def drain_pipes(self) -> None:
        """Read what children and C code have printed so far."""
        for pipe in self._pipes:
            pipe.drain()

    async def kill(self) -> None:
        """Kill the process and all its descendants."""
        with contextlib.suppress(Exception):
            async with asyncio.timeout(_EXIT_GRACE):
                await asyncio.shield(self.child.started)
        await kill_tree(self.child.tree, self.child.pid)

    async def kill_newer(self, since: float) -> None:
        """Kill what the process has started since a time of CLOCK_BOOTTIME, and leave the process itself alone."""
        await kill_newer(self.child.tree, self._shell or self.child.pid, since)

    def _on_started(self, started: asyncio.Future[int]) -> None:
        if started.exception() is not None:
            self._end(None)

    def on_frame(self, frame: Frame) -> None:
        """Pass a frame to the listener."""
        if self._listener is None:
            return
        if frame.channel == 0:
            # The answer to `init`. The later ones ask to be answered once everything before them was read.
            if self.is_ready:
                self._control.send(encode_json(FrameType.EVENT, 0, {"type": "synchronized"}))
            else:
                self.is_ready = True
                # The process that cells of bash run in. Others run in the interpreter itself.
                self._shell = frame.json().get("shell")
                self._listener.on_ready()
            return
        self._listener.on_frame(frame)

    def on_read(self) -> None:
        """Hold back the output of the frames that follow, and read first what was printed before them.

        Before it starts a program, the interpreter waits until its own output was read. So the bytes that are in the
        pipes now come before the frames that are read next.
        """
        if self._output is not None:
            self._output.hold()
        self.drain_pipes()

    def on_round(self) -> None:
        """Send the output without waiting for the loop's next round."""
        if self._output is not None:
            self._output.flush()

    def _on_output(self, stream: Stream, data: bytes) -> None:
        # Node writes it when code kills its own process, because the runtime evaluates cells as a debugger does.
        if data == _DEBUGGER_NOTICE and self.language == "javascript":
            return
        self._take_output(stream, data)

    def _on_socket_end(self, _reason: str) -> None:
        # The zygote reports the end of the process. Without a control socket it is useless, even if it stays alive.
        if not self.has_ended:
            asyncio.get_running_loop().call_later(_EXIT_GRACE, self._kill_if_alive)

    def _kill_if_alive(self) -> None:
        pid = self.child.pid
        if not self.has_ended and pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _end(self, status: int | None) -> None:
        if self.has_ended:
            return
        self._control.drain()
        self.has_ended = True
        self.drain_pipes()
        self._control.close()
        for pipe in self._pipes:
            pipe.discard()
        listener = self._listener
        self.detach()
        if listener is not None:
            listener.on_exit(status)
