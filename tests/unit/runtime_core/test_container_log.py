"""User code must not open the descriptors of a container's first process: they lead to the node's log."""

import ctypes
import os
import select
from pathlib import Path

from sandbox_runtime.interpreters import zygote_protocol
from sandbox_runtime.linux.syscalls import shut_off

PR_GET_DUMPABLE, PR_SET_DUMPABLE = 3, 4


def test_a_process_that_is_shut_off_is_nobodys_to_open_until_it_calls_exec():
    answers, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        libc = ctypes.CDLL(None)
        # Tests that change their user id have shut off this process already.
        libc.prctl(PR_SET_DUMPABLE, 1)
        before = libc.prctl(PR_GET_DUMPABLE)
        shut_off()
        os.write(theirs, bytes([before, libc.prctl(PR_GET_DUMPABLE)]))
        os._exit(0)
    os.close(theirs)
    with os.fdopen(answers, "rb") as file:
        assert file.read() == b"\1\0"
    os.waitpid(child, 0)


def start_zygote(monkeypatch, pid: int) -> list[str]:
    """Start a zygote as the process with an id would, and return where its output and errors go."""
    monkeypatch.setattr(zygote_protocol.os, "getpid", lambda: pid)
    zygote, control = zygote_protocol.launch_zygote((), dict(os.environ))
    try:
        assert select.select([control], [], [], 30)[0], "the zygote is not ready"
        return [os.readlink(f"/proc/{zygote}/fd/{number}") for number in (1, 2)]  # noqa: PTH115 - a link of the kernel
    finally:
        control.close()
        os.waitpid(zygote, 0)


def test_in_a_container_a_zygote_does_not_have_the_log(monkeypatch):
    assert start_zygote(monkeypatch, 1) == ["/dev/null", "/dev/null"]


def test_elsewhere_a_zygotes_errors_are_shown(monkeypatch):
    own = [str(Path(f"/proc/self/fd/{number}").readlink()) for number in (1, 2)]
    assert start_zygote(monkeypatch, 4711) == own
