"""Forks processes on request: `python -m sandbox_runtime.interpreters.zygote`, started by the supervisor.

It is a process of its own with one thread, because a fork of the supervisor would copy its event loop and its
descriptors. Two zygotes run side by side. The plain one is ready at once and also starts commands and Node. The
preloaded one first imports modules, for later Python contexts.

Protocol on the stream socket SANDBOX_ZYGOTE_FD: u32 length and JSON, in both directions. End of file ends the zygote.

    request   {"id", "kind": "python"|"bash"|"exec", "tree", "processes", "file_bytes", "argv", "env", "cwd", "sockets",
              "terminal"}
    answers   {"ready": true}, {"id", "pid"}, {"id", "error": errno, "stage"}, {"exited": pid, "status": wait status}

The first byte of a request carries the child's descriptors (stdin, stdout, stderr, control). With `terminal`,
descriptor 0 becomes the controlling terminal of the child's session.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import importlib
import json
import os
import platform
import select
import signal
import socket
import sys
import termios
import warnings
from typing import TYPE_CHECKING, Any

from sandbox_runtime.bash import driver
from sandbox_runtime.interpreters.zygote_protocol import CONTROL_FD, LENGTH, MAX_DESCRIPTORS
from sandbox_runtime.linux import seccomp, syscalls
from sandbox_runtime.python import interpreter

if TYPE_CHECKING:
    from typing import NoReturn


def main() -> None:
    """Preload modules, then serve requests until the supervisor closes the socket."""
    syscalls.die_with_parent()
    control = socket.socket(fileno=int(os.environ.pop("SANDBOX_ZYGOTE_FD")))
    names = os.environ.pop("SANDBOX_ZYGOTE_PRELOAD", "")
    wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    # Blocked, not ignored: a child that is still starting gets the signal when it is ready.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    syscalls.find_placeholder()
    for sockets in (seccomp.Sockets.INTERNET, seccomp.Sockets.UNIX):
        with contextlib.suppress(OSError):  # an unknown machine: only sessions that need a filter fail
            seccomp.build_filter(platform.machine(), sockets)  # once, and not in each child
    if os.getppid() == 1 and os.getuid() != 0:
        # In a container every child has at least this filter, so it inherits it. A child checks that it has one.
        with contextlib.suppress(OSError):
            seccomp.restrict(seccomp.Sockets.INTERNET)
    preload(names.split(",") if names else [])
    gc.collect()
    gc.freeze()
    _reply(control, {"ready": True})
    while True:
        readable = select.select([control.fileno(), wake_read], [], [])[0]
        if wake_read in readable:
            os.read(wake_read, 4096)
        if control.fileno() in readable and not _serve(control, (wake_read, wake_write)):
            return
        # After the request, so that a child's end is reported only after its pid.
        _report_exits(control)


def preload(names: list[str]) -> None:
    """Import modules that later contexts should not wait for. Missing and broken ones are skipped."""
    for name in [*names, *(["asyncio", "IPython.display"] if names else [])]:
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    if names:
        with contextlib.suppress(Exception):
            interpreter.prepare()


def _reply(control: socket.socket, value: dict[str, Any]) -> None:
    data = json.dumps(value).encode()
    control.sendall(LENGTH.pack(len(data)) + data)


def _report_exits(control: socket.socket) -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            _reply(control, {"exited": pid, "status": status})


def _serve(control: socket.socket, wakeup: tuple[int, int]) -> bool:
    data, descriptors, _, _ = socket.recv_fds(control, LENGTH.size, MAX_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
    if not data:
        return False
    data += _receive(control, LENGTH.size - len(data))
    request = json.loads(_receive(control, LENGTH.unpack(data)[0]))
    try:
        answer = _fork(request, descriptors, control, wakeup)
    except OSError as error:
        answer = {"error": error.errno, "stage": "fork"}
    for descriptor in descriptors:
        os.close(descriptor)
    _reply(control, {"id": request["id"], **answer})
    return True


def _receive(control: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = control.recv(size - len(data))
        if not piece:
            raise EOFError
        data += piece
    return bytes(data)


def _fork(
    request: dict[str, Any], descriptors: list[int], control: socket.socket, wakeup: tuple[int, int]
) -> dict[str, Any]:
    report_read, report_write = os.pipe2(os.O_CLOEXEC)
    with warnings.catch_warnings():
        # Since 3.12 Python warns about a fork beside threads. The only threads here are those of BLAS, which handles
        # forks itself.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        os.close(report_read)
        _become_child(request, descriptors, control, wakeup, report_write)
    os.close(report_write)
    with os.fdopen(report_read, "rb") as report:
        # End of file follows once the child has called exec, or runs as an interpreter.
        problem = report.read()
    if problem:
        number, _, stage = problem.decode().partition(" ")
        return {"error": int(number), "stage": stage}
    return {"pid": pid}


def _become_child(
    request: dict[str, Any], descriptors: list[int], control: socket.socket, wakeup: tuple[int, int], report: int
) -> NoReturn:
    stage = "setup"
    try:
        interpreter.reset_signals()
        os.setsid()
        syscalls.die_with_parent()
        control.close()
        for descriptor in wakeup:
            os.close(descriptor)
        # Forked children show the zygote's environment, so they are marked in memory. Those that exec get the variable.
        syscalls.set_environment_mark(request["tree"])
        syscalls.set_limit_mark(request["tree"])
        syscalls.die_first()
        if request.get("processes"):
            with contextlib.suppress(OSError, ValueError):
                syscalls.limit_processes(request["processes"])
        if request.get("file_bytes"):
            syscalls.limit_files(0, request["file_bytes"])
        # Numbers above those that are about to be overwritten.
        high = [os.dup2(descriptor, 64 + index) for index, descriptor in enumerate(descriptors)]
        for index, descriptor in enumerate(high):
            os.dup2(descriptor, index)
            os.close(descriptor)
        if request.get("terminal"):
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        if request["kind"] in ("python", "bash"):
            os.set_inheritable(CONTROL_FD, False)  # noqa: FBT003 - the standard library's signature
            _close_from(CONTROL_FD + 1)
            (interpreter.run_interpreter if request["kind"] == "python" else driver.run_driver)(CONTROL_FD)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        # CPython ignores SIGPIPE, and exec would keep that: `yes | head` would print an error. SIGXFSZ stays ignored on
        # purpose: a write over the limit then fails with EFBIG, which a program can report.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        seccomp.restrict(seccomp.Sockets(request["sockets"]))
        stage = "cwd"
        os.chdir(request["cwd"])
        stage = "program"
        environment = {**request["env"], syscalls.TREE_VARIABLE: request["tree"]}
        os.execvpe(request["argv"][0], request["argv"], environment)  # noqa: S606 - no shell is meant
    except OSError as error:
        os.write(report, f"{error.errno} {stage}".encode())
    finally:
        os._exit(127)


def _close_from(first: int) -> None:
    os.closerange(first, max(map(int, os.listdir("/proc/self/fd"))) + 1)  # noqa: PTH208 - pathlib dirties shared pages


if __name__ == "__main__":
    # If the supervisor has ended, there is no process to report to.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError, EOFError):
        main()
    sys.exit(0)
