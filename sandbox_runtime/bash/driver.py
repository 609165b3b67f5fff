"""The main loop of a bash context: receives cells from the supervisor, and has one bash run them all.

bash runs in interactive mode without a terminal: then an interrupt ends the cell and not the shell. It sources each
cell from a file in memory, which gives the cell its own line numbers, and reports the exit status over a pipe. The
shell's output goes straight to the pipes that the supervisor reads. If the shell ends, so does this process, in the
same way.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
from typing import TYPE_CHECKING, Any, Final

from sandbox_link.frames import Frame, FrameDecoder, FrameType, encode, encode_json
from sandbox_runtime.linux import seccomp, syscalls

if TYPE_CHECKING:
    from typing import NoReturn

_STATUS_FD: Final = 200
_CELL_FD: Final = 202
_STDERR_FD: Final = 203
"""Descriptors of bash. High numbers, which scripts do not use."""
_SHELLS: Final = ("/bin/bash", "/usr/bin/bash")
_REPORT: Final = f"{{ builtin printf '%s\\n' \"$?\" >&{_STATUS_FD}; }} 2>/dev/null\n"
_BEGIN: Final = f"PS1= PS2=; unset HISTFILE; set +o history +m +H; exec 2>&{_STDERR_FD} {_STDERR_FD}>&-\n{_REPORT}"
_RUN: Final = f". /dev/fd/{_CELL_FD} </dev/null {_STATUS_FD}>&-\n{_REPORT}".encode()
_RECEIVE: Final = 1 << 16
_MAX_STATUS: Final = 255
_SIGNALLED: Final = 128
_NO_BASH: Final = 127
_INTERRUPT_WAIT: Final = 0.05
"""Seconds within which a signal to the group reaches this process after it has reached the shell."""


def run_driver(control_fd: int) -> NoReturn:
    """Serve the control socket until the supervisor closes it, then exit the process. Its shell ends with it."""
    try:
        Driver(socket.socket(fileno=control_fd)).serve()
    finally:
        os._exit(0)


class Driver:
    """The process of one context.

    Args:
        control: The socket to the supervisor.
    """

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._decoder = FrameDecoder()
        self._wake, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        for number in (signal.SIGCHLD, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        self._shell = _Shell()
        self._opened: tuple[int, dict[str, Any]] | None = None
        self._code = bytearray()
        self._running = 0
        self._is_interrupted = False

    def serve(self) -> None:
        """Handle frames, exit statuses and signals until the supervisor closes the socket."""
        while True:
            sources = [self._control.fileno(), self._wake, *([self._shell.status] if self._shell.status >= 0 else [])]
            readable = select.select(sources, [], [])[0]
            # The end of the shell comes after what it has reported.
            has_ended = self._wake in readable and self._take_signals()
            if self._shell.status in readable:
                self._take_statuses()
            if has_ended:
                self._shell.end_with_it()
            if self._control.fileno() in readable:
                data = self._control.recv(_RECEIVE)
                if not data:
                    return
                for frame in self._decoder.feed(data):
                    self._handle(frame)

    def _handle(self, frame: Frame) -> None:
        if frame.type is FrameType.OPEN:
            arguments = frame.json()
            if arguments["op"] == "init":
                self._initialize(arguments)
                return
            self._opened = frame.channel, arguments
            self._code.clear()
        elif frame.type is FrameType.DATA and self._opened is not None:
            self._code += memoryview(frame.body)[1:]
        if self._opened is not None and len(self._code) >= self._opened[1]["code_bytes"]:
            (self._running, arguments), self._opened = self._opened, None
            self._begin(arguments)

    def _initialize(self, arguments: dict[str, Any]) -> None:
        # Fails closed: if the filter cannot be installed, the process ends.
        seccomp.restrict(seccomp.Sockets(arguments["sockets"]))
        if arguments.get("file_bytes"):
            syscalls.limit_files(0, arguments["file_bytes"])
        self._shell.start(arguments["env"], arguments["cwd"])

    def _begin(self, arguments: dict[str, Any]) -> None:
        # A signal that came before the cell interrupts it, unless it was meant for the cell before this one.
        is_stale, self._is_interrupted = bool(arguments.get("after_interrupt")), self._is_interrupted
        if self._is_interrupted and not is_stale:
            self._finish(_SIGNALLED + signal.SIGINT)
            return
        self._is_interrupted = False
        self._shell.run(bytes(self._code))

    def _take_signals(self) -> bool:
        """Note an interrupt. Returns True if the shell may have ended."""
        numbers = os.read(self._wake, _RECEIVE)
        self._is_interrupted = self._is_interrupted or signal.SIGINT in numbers
        return signal.SIGCHLD in numbers

    def _take_statuses(self) -> None:
        for status in self._shell.read_statuses():
            if not self._shell.is_ready:
                self._shell.is_ready = True
                self._control.sendall(encode_json(FrameType.EVENT, 0, {"type": "ready", "shell": self._shell.pid}))
            elif self._running:
                self._await_interrupt(status)
                self._finish(status)

    def _await_interrupt(self, status: int) -> None:
        """Give the signal that has ended the shell's cell a moment to arrive here as well."""
        is_late = status == _SIGNALLED + signal.SIGINT and not self._is_interrupted
        if is_late and select.select([self._wake], [], [], _INTERRUPT_WAIT)[0] and self._take_signals():
            self._shell.end_with_it()

    def _finish(self, status: int) -> None:
        channel, self._running = self._running, 0
        was_interrupted, self._is_interrupted = self._is_interrupted, False
        result = "OK"
        if was_interrupted and status > _SIGNALLED:
            result = "INTERRUPTED"
        elif status:
            result = "ERROR"
            error = {"type": "error", "name": "ExitStatus", "value": f"exit status {status}", "traceback": []}
            self._control.sendall(encode_json(FrameType.EVENT, channel, error))
        close = json.dumps({"ok": {"status": result, "exit_code": 0}}).encode()
        self._control.sendall(encode(FrameType.CLOSE, channel, close))


class _Shell:
    """The bash process.

    Attributes:
        pid: Its process id; 0 before it is started.
        status: The descriptor with the exit statuses; -1 before.
        is_ready: It has reported its start.
    """

    def __init__(self) -> None:
        self.pid = 0
        self.status = -1
        self.is_ready = False
        self._commands = -1
        self._cell = -1
        self._received = b""

    def start(self, env: dict[str, str], cwd: str) -> None:
        """Start bash with its environment and working directory."""
        commands, self._commands = os.pipe2(os.O_CLOEXEC)
        self.status, status = os.pipe2(os.O_CLOEXEC)
        self._cell = os.memfd_create("cell", os.MFD_CLOEXEC)
        null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        self.pid = os.fork()
        if self.pid == 0:
            self._become_shell(env, cwd, (commands, status, null))
        for descriptor in (commands, status, null):
            os.close(descriptor)
        os.write(self._commands, _BEGIN.encode())

    def run(self, code: bytes) -> None:
        """Have it run a cell."""
        os.ftruncate(self._cell, 0)
        os.pwrite(self._cell, code, 0)
        # If the shell has just ended, SIGCHLD follows.
        with contextlib.suppress(BrokenPipeError):
            os.write(self._commands, _RUN)

    def read_statuses(self) -> list[int]:
        """Return the exit statuses that have arrived."""
        data = os.read(self.status, _RECEIVE)
        if not data:  # the shell closed it, or is about to end
            os.close(self.status)
            self.status = -1
            return []
        *lines, self._received = (self._received + data).split(b"\n")
        return [int(line) for line in lines if line.isdigit() and len(line) <= len(str(_MAX_STATUS))]

    def end_with_it(self) -> None:
        """End this process as bash has ended, if it has."""
        if not self.pid:
            return
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid == 0:
            return
        if os.WIFSIGNALED(status):
            signal.signal(os.WTERMSIG(status), signal.SIG_DFL) if os.WTERMSIG(status) != signal.SIGKILL else None
            os.kill(os.getpid(), os.WTERMSIG(status))
        os._exit(os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else _NO_BASH)

    def _become_shell(self, env: dict[str, str], cwd: str, descriptors: tuple[int, int, int]) -> NoReturn:
        commands, status, null = descriptors
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGINT, signal.SIGCHLD, signal.SIGPIPE):
                signal.signal(number, signal.SIG_DFL)
            with contextlib.suppress(OSError):
                os.chdir(cwd)
            # What bash says about the missing terminal at its start is of no use: its errors come later.
            for source, target in (
                (commands, 0),
                (status, _STATUS_FD),
                (self._cell, _CELL_FD),
                (2, _STDERR_FD),
                (null, 2),
            ):
                os.dup2(source, target)
            shell = next((path for path in _SHELLS if os.path.exists(path)), "bash")  # noqa: PTH110 - as its neighbours
            os.execvpe(shell, ["bash", "--norc", "--noprofile", "--noediting", "-i"], env)  # noqa: S606 - no shell line
        finally:
            os._exit(_NO_BASH)
