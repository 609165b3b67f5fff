"""The supervisor's side of the zygotes: starts them, requests children, and records when a child ended.

Errors: SpawnError if a child could not be started.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import secrets
import signal
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sandbox_runtime.interpreters.zygote_protocol import LENGTH, launch_zygote

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_RECEIVE: Final = 1 << 16


class SpawnError(Exception):
    """A child could not be started.

    Attributes:
        number: The errno.
        stage: The step that failed: `fork`, `setup`, `cwd`, `program`, or `zygote` if the zygote itself ended.
    """

    def __init__(self, number: int, stage: str) -> None:
        super().__init__(f"{stage}: {os.strerror(number)}")
        self.number = number
        self.stage = stage


@dataclass(eq=False, slots=True)
class Child:
    """A process that a zygote started or is about to start.

    Attributes:
        tree: The mark of all its descendants (`process_tree`).
        started: Its pid, or SpawnError.
        ended: Its wait status. Never set if it could not be started.
        killed: True if it was killed on request. Its SIGKILL is then not a sign of too little memory.
        over_memory: True if the OOM guard killed it.
    """

    tree: str = field(default_factory=lambda: secrets.token_hex(8))
    started: asyncio.Future[int] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    ended: asyncio.Future[int] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    killed: bool = False
    over_memory: bool = False

    @property
    def pid(self) -> int | None:
        """Its process id, or None before it is known."""
        return self.started.result() if self.started.done() and not self.started.exception() else None


class ZygoteClient:
    """One zygote process, which is started again when it ends.

    Args:
        preload: Modules that it imports before it serves requests.
        children: Running children by pid, shared with the other zygote and with `reap`.
        environment: The zygote's environment. Children get their own.
        launched: The pid and socket, if `launch_zygote` has started the process already.

    Attributes:
        pid: The zygote's process id; 0 before it is started.
        ready: True while it serves requests.
    """

    def __init__(
        self,
        preload: Sequence[str],
        children: dict[int, Child],
        environment: Mapping[str, str],
        launched: tuple[int, socket.socket] | None = None,
    ) -> None:
        self._preload = preload
        self._children = children
        self._environment = dict(environment)
        self._pending: dict[int, Child] = {}
        self._next = 0
        self._buffer = bytearray()
        self.pid = launched[0] if launched else 0
        self._socket: socket.socket | None = launched[1] if launched else None
        self._on_ready: Callable[[], None] = lambda: None
        self.ready = False

    def attach(self, on_ready: Callable[[], None] = lambda: None) -> None:
        """Start the process unless it runs already, and listen to it on the running loop.

        Args:
            on_ready: Called when it serves requests, also after a restart.
        """
        self._on_ready = on_ready
        if self._socket is None:
            self.pid, self._socket = launch_zygote(self._preload, self._environment)
            self._buffer.clear()
        asyncio.get_running_loop().add_reader(self._socket, self._receive)

    def close(self) -> None:
        """End the process."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def spawn(self, request: Mapping[str, Any], descriptors: Sequence[int]) -> Child:
        """Request a child.

        Args:
            request: The request, as `zygote` describes it, without `id` and `tree`.
            descriptors: The child's 0, 1, 2 and (control) 3. The caller closes its own copies.
        """
        child = Child()
        if self._socket is None:
            child.started.set_exception(SpawnError(errno.EPIPE, "zygote"))
            return child
        self._next += 1
        self._pending[self._next] = child
        data = json.dumps({**request, "id": self._next, "tree": child.tree}).encode()
        message = LENGTH.pack(len(data)) + data
        try:
            # Blocking on purpose: a zygote always reads soon, and half a request would be useless.
            sent = socket.send_fds(self._socket, [message], list(descriptors))
            self._socket.sendall(message[sent:])
        except OSError:
            self._fail_pending()
        return child

    def _receive(self) -> None:
        if self._socket is None:
            return
        try:
            data = self._socket.recv(_RECEIVE, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._restart()
            return
        self._buffer += data
        while len(self._buffer) >= LENGTH.size:
            end = LENGTH.size + LENGTH.unpack_from(self._buffer)[0]
            if len(self._buffer) < end:
                break
            message = json.loads(self._buffer[LENGTH.size : end])
            del self._buffer[:end]
            self._handle(message)

    def _handle(self, message: dict[str, Any]) -> None:
        if "exited" in message:
            _record_end(self._children, message["exited"], message["status"])
        elif "ready" in message:
            self.ready = True
            self._on_ready()
        elif "pid" in message:
            child = self._pending.pop(message["id"])
            self._children[message["pid"]] = child
            child.started.set_result(message["pid"])
        else:
            child = self._pending.pop(message["id"])
            child.started.set_exception(SpawnError(message["error"], message["stage"]))

    def _restart(self) -> None:
        self.close()
        self.ready = False
        self._fail_pending()
        self.attach(self._on_ready)

    def _fail_pending(self) -> None:
        pending, self._pending = self._pending, {}
        for child in pending.values():
            child.started.set_exception(SpawnError(errno.EPIPE, "zygote"))


def reap(children: dict[int, Child]) -> None:
    """Collect ended processes whose parent the supervisor has become."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            _record_end(children, pid, status)


def _record_end(children: dict[int, Child], pid: int, status: int) -> None:
    child = children.pop(pid, None)
    if child is not None and not child.ended.done():
        child.ended.set_result(status)
