"""Attacks of user code on its own agent and on the kernel, from inside a pod."""

from __future__ import annotations

import errno
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.e2e.support.sessions import Sessions

PROBE = """
import ctypes, json, platform, socket
libc = ctypes.CDLL(None, use_errno=True)
column = 0 if platform.machine() == "x86_64" else 1
CALLS = {"bpf": (321, 280), "userfaultfd": (323, 282), "io_uring_setup": (425, 425), "keyctl": (250, 219),
         "perf_event_open": (298, 241)}
SOCKETS = {"AF_ALG": (38, 5, 0), "AF_VSOCK": (40, 1, 0), "AF_PACKET": (17, 3, 0), "AF_KEY": (15, 3, 0),
           "SCTP": (2, 1, 132), "NETLINK_NETFILTER": (16, 3, 12)}
def error_of_call(number, *arguments):
    ctypes.set_errno(0)
    values = [ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0, 0)]
    return ctypes.get_errno() if libc.syscall(ctypes.c_long(number), *values) == -1 else 0
def error_of_socket(arguments):
    try:
        socket.socket(*arguments).close()
    except OSError as error:
        return error.errno
    return 0
found = {name: error_of_call(numbers[column]) for name, numbers in CALLS.items()}
found["CLONE_NEWUSER"] = error_of_call((272, 97)[column], 0x10000000)
found |= {name: error_of_socket(arguments) for name, arguments in SOCKETS.items()}
found["AF_UNIX"] = error_of_socket((1, 1, 0))
print(json.dumps(found))
"""
UNSUPPORTED = {"keyctl", "perf_event_open"}


def test_attack_of_old_and_rare_parts_of_the_kernel_are_refused_by_our_own_filter(sessions: Sessions):
    """Cells and commands get the filter's errors, which the kernel would not give."""
    name = sessions.ready()
    with sessions.connect(name) as sandbox:
        sandbox.files.write("probe.py", PROBE)
        cell, command = sandbox.run_code(PROBE), sandbox.run(["python3", "probe.py"])
    for done in (cell, command):
        found = json.loads(done.stdout)
        assert found.pop("AF_UNIX") == 0
        expected = {key: errno.EOPNOTSUPP if key in UNSUPPORTED else errno.EACCES for key in found}
        assert found == expected
