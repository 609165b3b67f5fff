"""A process that forks others on request: `python -m sandbox_runtime.interpreters.zygote`, started by the supervisor.

Its own exec'd process with one thread, because forking the supervisor would copy its event loop and its descriptors.
Two run side by side: a
light one, ready at once, which also starts commands and Node; and one that imports the preload modules first, for
later Python contexts.

Protocol on the stream socket SANDBOX_ZYGOTE_FD: u32 length and JSON, both ways. Requests carry the child's
descriptors (stdin, stdout,
stderr, control) with their first byte: `{"id", "kind": "python"|"exec", "tree", "processes", "argv", "env", "cwd",
"deny_network", "terminal"}` (terminal: descriptor 0 is the one that controls the child's session). Answers:
`{"ready": true}`, `{"id", "pid"}`, `{"id", "error": errno, "stage"}`, `{"exited": pid, "status": wait status}`. End
of file ends it.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import termios
import warnings
from typing import TYPE_CHECKING, Any

from sandbox_runtime.interpreters.zygote_protocol import CONTROL_FD, LENGTH, MAX_DESCRIPTORS
from sandbox_runtime.limits import no_network as seccomp
from sandbox_runtime.linux import syscalls as kernel
from sandbox_runtime.python import interpreter

if TYPE_CHECKING:
    from typing import NoReturn


def main() -> None:
    """Preload, then serve requests until the supervisor closes the socket."""
    kernel.die_with_parent()
    control = socket.socket(fileno=int(os.environ.pop("SANDBOX_ZYGOTE_FD")))
    names = os.environ.pop("SANDBOX_ZYGOTE_PRELOAD", "")
    wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    # Blocked, not ignored: a child that is still starting gets it when it is ready.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    kernel.find_mark()
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
        # Also after a request, so that a child's end is told only after its pid.
        _report_exits(control)


def preload(names: list[str]) -> None:
    """Import what later contexts should not wait for; what is missing or broken is skipped."""
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
    request: dict[str, Any],
    descriptors: list[int],
    control: socket.socket,
    wakeup: tuple[int, int],
) -> dict[str, Any]:
    report_read, report_write = os.pipe2(os.O_CLOEXEC)
    with warnings.catch_warnings():
        # Python warns of threads beside a fork, from 3.12 on. Those here are BLAS's, which sees to forks itself.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        os.close(report_read)
        _become_child(request, descriptors, control, wakeup, report_write)
    os.close(report_write)
    with os.fdopen(report_read, "rb") as report:
        # End of file once the child has exec'd, or is an interpreter.
        problem = report.read()
    if problem:
        number, _, stage = problem.decode().partition(" ")
        return {"error": int(number), "stage": stage}
    return {"pid": pid}


def _become_child(
    request: dict[str, Any],
    descriptors: list[int],
    control: socket.socket,
    wakeup: tuple[int, int],
    report: int,
) -> NoReturn:
    stage = "setup"
    try:
        interpreter.reset_signals()
        os.setsid()
        kernel.die_with_parent()
        control.close()
        for descriptor in wakeup:
            os.close(descriptor)
        # Forked children show the zygote's environment; those that exec get the mark in the usual way.
        kernel.mark_tree(request["tree"])
        kernel.mark_limit(request["tree"])
        kernel.die_first()
        _limit(request.get("processes", 0))
        if request.get("file_bytes"):
            kernel.limit_files(0, request["file_bytes"])
        # Above everything that is about to be overwritten.
        high = [os.dup2(descriptor, 64 + index) for index, descriptor in enumerate(descriptors)]
        for index, descriptor in enumerate(high):
            os.dup2(descriptor, index)
            os.close(descriptor)
        if request.get("terminal"):
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        if request["kind"] == "python":
            os.set_inheritable(CONTROL_FD, False)  # noqa: FBT003 - the standard library's signature
            _close_from(CONTROL_FD + 1)
            interpreter.run_interpreter(CONTROL_FD)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        # CPython ignores it, and what is ignored stays so through exec: `yes | head` would complain. SIGXFSZ stays
        # ignored on purpose: a write over the limit fails with EFBIG, which a program can name.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        if request.get("deny_network"):
            seccomp.deny_network()
        stage = "cwd"
        os.chdir(request["cwd"])
        stage = "program"
        environment = {**request["env"], kernel.TREE_VARIABLE: request["tree"]}
        os.execvpe(request["argv"][0], request["argv"], environment)  # noqa: S606 - no shell is meant
    except OSError as error:
        os.write(report, f"{error.errno} {stage}".encode())
    finally:
        os._exit(127)


def _limit(processes: int) -> None:
    if processes:
        with contextlib.suppress(OSError, ValueError):
            kernel.limit_processes(processes)


def _close_from(first: int) -> None:
    os.closerange(first, max(map(int, os.listdir("/proc/self/fd"))) + 1)  # noqa: PTH208 - a Path copies shared pages


if __name__ == "__main__":
    # Without a supervisor that still reads there is nobody to report to.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError, EOFError):
        main()
    sys.exit(0)
