"""A seccomp filter that refuses every socket but AF_UNIX: no egress, even in a cluster without network policies.

It refuses with EACCES: socket and socketpair of any other family; io_uring, which opens sockets without those calls;
system calls of a foreign ABI, whose numbers the filter would misread. Children inherit the filter through fork and
exec, and it cannot be removed.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import socket
import struct
from typing import Final

from sandbox_runtime.linux.syscalls import libc

_PR_SET_NO_NEW_PRIVS: Final = 38
_SECCOMP_SET_MODE_FILTER: Final = 1
_SECCOMP_FILTER_FLAG_TSYNC: Final = 1
_ALLOW: Final = 0x7FFF0000
_REFUSE: Final = 0x00050000 | errno.EACCES
_LOAD: Final = 0x20
_IF_EQUAL: Final = 0x15
_IF_AT_LEAST: Final = 0x35
_RETURN: Final = 0x06
_OFFSET_NUMBER: Final = 0
_OFFSET_ARCH: Final = 4
_OFFSET_FIRST_ARGUMENT: Final = 16
_IO_URING: Final = (425, 426, 427)
_X32_BIT: Final = 0x40000000
# machine: (AUDIT_ARCH, numbers of socket and socketpair, number of seccomp)
_MACHINES: Final = {
    "x86_64": (0xC000003E, (41, 53), 317),
    "aarch64": (0xC00000B7, (198, 199), 277),
}


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def build_filter(machine: str) -> bytes:
    """Return the BPF program for a machine as `platform.machine` names it.

    Raises:
        OSError: The machine is unknown. Refusing to run is safer than running without the filter.
    """
    if machine not in _MACHINES:
        raise OSError(errno.ENOSYS, f"no socket filter for {machine}")
    arch, socket_calls, _ = _MACHINES[machine]
    refused = [(_IF_EQUAL, number) for number in _IO_URING]
    if machine == "x86_64":
        refused.append((_IF_AT_LEAST, _X32_BIT))
    # The program: architecture, refused numbers, socket numbers, allow, family check, refuse. Jumps are relative to the
    # next instruction.
    checks = [*refused, *((_IF_EQUAL, number) for number in socket_calls)]
    program = [(_LOAD, 0, 0, _OFFSET_ARCH), (_IF_EQUAL, 0, 1 + len(checks) + 3, arch), (_LOAD, 0, 0, _OFFSET_NUMBER)]
    for index, (operation, number) in enumerate(checks):
        left = len(checks) - index - 1
        target = left + 3 if index < len(refused) else left + 1
        program.append((operation, target, 0, number))
    program += [
        (_RETURN, 0, 0, _ALLOW),
        (_LOAD, 0, 0, _OFFSET_FIRST_ARGUMENT),
        (_IF_EQUAL, 1, 0, socket.AF_UNIX),
        (_RETURN, 0, 0, _REFUSE),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def deny_network() -> None:
    """Install the filter on every thread of this process. It cannot be removed.

    Raises:
        OSError: It could not be installed. The caller must then not run user code.
    """
    machine = platform.machine()
    code = build_filter(machine)
    program = _Program(len(code) // 8, code)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), 0, 0, 0) != 0:
        raise _last_error("no_new_privs")
    number = _MACHINES[machine][2]
    flags = ctypes.c_ulong(_SECCOMP_FILTER_FLAG_TSYNC)
    if libc.syscall(ctypes.c_long(number), ctypes.c_ulong(_SECCOMP_SET_MODE_FILTER), flags, ctypes.byref(program)) != 0:
        raise _last_error("seccomp")


def _last_error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")
