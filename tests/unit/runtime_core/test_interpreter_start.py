"""An interpreter that cannot be prepared runs no cell."""

import socket
import subprocess
import sys

from sandbox_link.frames import FrameType, Stream, encode_json, split_data

PROGRAM = """
import sys
from sandbox_runtime.linux import seccomp
from sandbox_runtime.python.interpreter import run_interpreter

def restrict(sockets):
    raise OSError("no filter")

if sys.argv[2] == "broken":
    seccomp.restrict = restrict
else:
    seccomp.restrict = lambda sockets: None
run_interpreter(int(sys.argv[1]))
"""


def run_cell_after_init(filter_):
    """Bytes that an interpreter sends after `init` with a network filter, and a cell behind it."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command = [sys.executable, "-c", PROGRAM, str(theirs.fileno()), filter_]
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stderr=subprocess.DEVNULL)
        theirs.close()
        code = b"print('ran')"
        init = {"op": "init", "env": {}, "cwd": "/", "sockets": "unix"}
        cell = {"op": "execute", "execution_count": 1, "code_bytes": len(code)}
        frames = [encode_json(FrameType.OPEN, 0, init), encode_json(FrameType.OPEN, 1, cell)]
        ours.sendall(b"".join([*frames, *split_data(1, Stream.BODY, code)]))
        ours.settimeout(30)
        received = b""
        while b"CLOSE" not in received and b'"ok"' not in received and (data := ours.recv(1 << 16)):
            received += data
        ours.close()
        process.wait(30)
    return received


def test_a_cell_runs_behind_the_filter():
    assert b"ran" in run_cell_after_init("works")


def test_no_cell_runs_if_the_network_filter_cannot_be_installed():
    assert run_cell_after_init("broken") == b""
