"""One interpreter process as the supervisor sees it: control socket, output pipes, interrupt, end.

Knows nothing of the link.
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
from sandbox_runtime.linux.syscalls import TREE_VARIABLE
from sandbox_runtime.processes.pipe import OutputPipe
from sandbox_runtime.processes.process_tree import kill_tree

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_link.frames import Frame
    from sandbox_runtime.interpreters.zygote_client import Child, Zygote

_EXIT_GRACE: Final = 1.0


class Listener(Protocol):
    """Whoever uses an interpreter."""

    def on_ready(self) -> None:
        """It has started and runs its first cell from now on."""

    def on_frame(self, frame: Frame) -> None:
        """A frame from the interpreter."""

    def on_output(self, stream: Stream, data: bytes) -> None:
        """Something appeared on file descriptor 1 or 2."""

    def on_read(self) -> None:
        """Frames of one read follow."""

    def on_round(self) -> None:
        """The frames of one read have all been given."""

    def on_exit(self, status: int | None) -> None:
        """The process is gone; its wait status, or None where it never started or nobody knows."""


class Interpreter:
    """A process that speaks frames on its descriptor 3.

    Args:
        zygote: Forks it.
        request: What the zygote is asked, see `zygote`.
        language: `python` or `javascript`: how it is interrupted.
    """

    def __init__(self, zygote: Zygote, request: Mapping[str, Any], language: str) -> None:
        self.language = language
        self.listener: Listener | None = None
        self._gone = False
        self._initialized = False
        self._ready = False
        self._interrupted = False
        ours, theirs = socket.socketpair()
        enlarge_buffer(theirs)
        self._control = FrameSocket(ours, self, self._on_socket_end)
        self._pipes = [OutputPipe(partial(self._on_output, stream)) for stream in (Stream.STDOUT, Stream.STDERR)]
        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self.child: Child = zygote.spawn(request, [null, *(pipe.write_fd for pipe in self._pipes), theirs.fileno()])
        # The descriptors are in flight to the zygote, which holds its own copies.
        os.close(null)
        theirs.close()
        for pipe in self._pipes:
            pipe.close_write()
        self.child.started.add_done_callback(self._on_started)
        self.child.ended.add_done_callback(lambda ended: self._end(ended.result()))

    @property
    def is_gone(self) -> bool:
        """Whether the process has ended."""
        return self._gone

    @property
    def is_initialized(self) -> bool:
        """Whether it has its environment; what is configured later does not reach it."""
        return self._initialized

    @property
    def is_ready(self) -> bool:
        """Whether it has started: a cell that it gets before that waits."""
        return self._ready

    def initialize(self, arguments: Mapping[str, Any], environment: Mapping[str, str]) -> None:
        """Give it environment and working directory; before the first cell."""
        self._initialized = True
        env = {**environment, TREE_VARIABLE: self.child.tree}
        message = {"op": "init", **arguments, "env": env}
        # Not encode_json: an environment may be longer than what the agent may send.
        self._control.send(encode_json(FrameType.OPEN, 0, message))

    def execute(self, channel: int, arguments: Mapping[str, Any], code: bytes) -> None:
        """Start a cell, or another `op` of the arguments."""
        opened = {"op": "execute", **arguments, "code_bytes": len(code), "after_interrupt": self._interrupted}
        self._interrupted = False
        frames = [encode_json(FrameType.OPEN, channel, opened)]
        frames.extend(split_data(channel, Stream.BODY, code))
        self._control.send(b"".join(frames))

    def interrupt(self) -> None:
        """Interrupt the cell that runs."""
        self._interrupted = True
        if self.language == "python":
            # At once where the process is there, else as soon as it is.
            if self.child.started.done():
                self._send_interrupt(self.child.started)
            else:
                self.child.started.add_done_callback(self._send_interrupt)
        else:
            self._control.send(encode_json(FrameType.EVENT, 0, {"type": "interrupt"}))

    def _send_interrupt(self, started: asyncio.Future[int]) -> None:
        if started.exception() is None and not self._gone:
            # The group, as a terminal does it, so that a command which the cell waits for ends too.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(started.result(), signal.SIGINT)

    def pause(self) -> None:
        """Stop reading its output."""
        self._control.pause()
        for pipe in self._pipes:
            pipe.pause()

    def resume(self) -> None:
        """Read its output again."""
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

    def _on_started(self, started: asyncio.Future[int]) -> None:
        if started.exception() is not None:
            self._end(None)

    def on_frame(self, frame: Frame) -> None:
        """A frame from the process."""
        if self.listener is None:
            return
        if frame.channel == 0:
            # Its answer to `init`. Nothing else on this channel matters, and no second one does.
            if not self._ready:
                self._ready = True
                self.listener.on_ready()
            return
        self.listener.on_frame(frame)

    def _on_output(self, stream: Stream, data: bytes) -> None:
        if self.listener is not None:
            self.listener.on_output(stream, data)

    def on_read(self) -> None:
        """Frames follow."""
        if self.listener is not None:
            self.listener.on_read()

    def on_round(self) -> None:
        """The frames of one read have all been given."""
        if self.listener is not None:
            self.listener.on_round()

    def _on_socket_end(self, _reason: str) -> None:
        # Its end is told by the zygote; without a control socket it is of no use, whatever keeps it alive.
        if not self._gone:
            asyncio.get_running_loop().call_later(_EXIT_GRACE, self._kill_if_alive)

    def _kill_if_alive(self) -> None:
        pid = self.child.pid
        if not self._gone and pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _end(self, status: int | None) -> None:
        if self._gone:
            return
        self._control.drain()
        self._gone = True
        self.drain_pipes()
        self._control.close()
        for pipe in self._pipes:
            pipe.discard()
        listener, self.listener = self.listener, None
        if listener is not None:
            listener.on_exit(status)
