"""The seccomp filter of user code: which sockets it may open, and which system calls no interpreter needs.

In a container every process of user code has it, whatever the egress, so that nothing depends on the node's container
runtime. Children inherit it through fork and exec, and it cannot be removed. docs/threat-model.md says what it refuses,
with which error, and what common programs lose.
"""

from __future__ import annotations

import ctypes
import enum
import errno
import functools
import os
import platform
import socket
import struct
from typing import Final

from sandbox_runtime.linux.syscalls import libc


class Sockets(enum.StrEnum):
    """The sockets that user code may open. The values are on the wire between supervisor and interpreters."""

    ANY = ""
    """No filter at all: a local session, which isolates nothing."""
    INTERNET = "internet"
    """AF_UNIX, TCP and UDP over IP, and netlink for routes, which name resolution asks for addresses."""
    UNIX = "unix"
    """AF_UNIX: no egress, even in a cluster without network policies."""


_PR_SET_NO_NEW_PRIVS: Final = 38
_SECCOMP_SET_MODE_FILTER: Final = 1
_SECCOMP_FILTER_FLAG_TSYNC: Final = 1
_ALLOW: Final = 0x7FFF0000
_ERRNO: Final = 0x00050000
REFUSED: Final = errno.EACCES
"""The error of what is refused. The kernel itself has another one for calls that it lacks or reserves for root."""
UNSUPPORTED: Final = errno.EOPNOTSUPP
"""The same for calls where the kernel's own error may be EACCES."""
_LOAD, _AND, _IF_EQUAL, _IF_AT_LEAST, _IF_ANY_BIT, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16
_X32_BIT: Final = 0x40000000
_CLONE_NEWUSER: Final = 0x10000000
_KIND_MASK: Final = 0xF
_NETLINK_ROUTE: Final = 0
_REFUSED_KINDS: Final = (5, 6)
"""SOCK_SEQPACKET, which over IP is SCTP, and SOCK_DCCP."""
_REFUSED_PROTOCOLS: Final = (33, 115, 132)
"""DCCP, L2TP and SCTP."""
_IO_URING: Final = (425, 426, 427)
_CLONE3: Final = 435
# machine: AUDIT_ARCH, seccomp, socket, socketpair, clone, unshare, prlimit64, (bpf, userfaultfd),
# (keyring calls, perf_event_open)
_MACHINES: Final = {
    "x86_64": (0xC000003E, 317, 41, 53, 56, 272, 302, (321, 323), (248, 249, 250, 298)),
    "aarch64": (0xC00000B7, 277, 198, 199, 220, 97, 261, (280, 282), (217, 218, 219, 241)),
}


_installed: Final[set[Sockets]] = set()
"""The filters that this process has. Forked children have them too, and need not spend half a millisecond again."""


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


class _Assembler:
    """Instructions whose jumps name labels. A jump that names none goes to the next instruction."""

    def __init__(self) -> None:
        self._code: list[tuple[int, str, str, int]] = []
        self._labels: dict[str, int] = {}

    def label(self, name: str) -> None:
        self._labels[name] = len(self._code)

    def load(self, offset: int) -> None:
        self._code.append((_LOAD, "", "", offset))

    def load_argument(self, index: int, half: int = 0) -> None:
        """Load a half of an argument. The kernel reads only the lower one (0) of all that are no addresses."""
        self.load(_ARGUMENTS + 8 * index + 4 * half)

    def keep_bits(self, mask: int) -> None:
        self._code.append((_AND, "", "", mask))

    def jump_if(self, operation: int, value: int, target: str, otherwise: str = "") -> None:
        self._code.append((operation, target, otherwise, value))

    def finish(self, result: int) -> None:
        self._code.append((_RETURN, "", "", result))

    def assemble(self) -> bytes:
        pieces = []
        for index, (operation, *targets, value) in enumerate(self._code):
            jumps = [self._labels[target] - index - 1 if target else 0 for target in targets]
            pieces.append(struct.pack("=HBBI", operation, *jumps, value))
        return b"".join(pieces)


@functools.cache
def build_filter(machine: str, sockets: Sockets) -> bytes:
    """Return the BPF program for a machine as `platform.machine` names it.

    Raises:
        OSError: The machine is unknown. Refusing to run is safer than running without the filter.
    """
    if machine not in _MACHINES:
        raise OSError(errno.ENOSYS, f"no system call filter for {machine}")
    arch, _, socket_call, pair_call, clone, unshare, limits, refused, unsupported = _MACHINES[machine]
    code = _Assembler()
    # A foreign ABI, such as the 32-bit one, has other numbers.
    code.load(_ARCH)
    code.jump_if(_IF_EQUAL, arch, "", "refuse")
    code.load(_NUMBER)
    if machine == "x86_64":
        code.jump_if(_IF_AT_LEAST, _X32_BIT, "refuse")
    for number in (*_IO_URING, *refused):
        code.jump_if(_IF_EQUAL, number, "refuse")
    for number in unsupported:
        code.jump_if(_IF_EQUAL, number, "unsupported")
    others = {clone: "namespaces", unshare: "namespaces", limits: "limits", _CLONE3: "missing", pair_call: "unix"}
    for number, target in others.items():
        code.jump_if(_IF_EQUAL, number, target)
    code.jump_if(_IF_EQUAL, socket_call, "unix" if sockets is Sockets.UNIX else "internet")
    code.label("allow")
    code.finish(_ALLOW)
    code.label("namespaces")
    code.load_argument(0)
    code.jump_if(_IF_ANY_BIT, _CLONE_NEWUSER, "refuse", "permit")
    # A new limit for another process. Under gVisor the first processes of a pod's containers share their limits, so the
    # one of the sandbox would lead to the agent's.
    code.label("limits")
    code.load_argument(0)
    code.jump_if(_IF_EQUAL, 0, "permit")
    code.load_argument(2)
    code.jump_if(_IF_EQUAL, 0, "", "refuse")
    code.load_argument(2, half=1)
    code.jump_if(_IF_EQUAL, 0, "permit", "refuse")
    code.label("unix")
    code.load_argument(0)
    code.jump_if(_IF_EQUAL, socket.AF_UNIX, "permit", "refuse")
    code.label("internet")
    code.load_argument(0)
    for family, target in ((socket.AF_UNIX, "permit"), (socket.AF_INET, "ip"), (socket.AF_INET6, "ip")):
        code.jump_if(_IF_EQUAL, family, target)
    code.jump_if(_IF_EQUAL, 16, "", "refuse")  # AF_NETLINK, which Python may lack
    code.load_argument(2)
    code.jump_if(_IF_EQUAL, _NETLINK_ROUTE, "permit", "refuse")
    code.label("ip")
    code.load_argument(2)
    for protocol in _REFUSED_PROTOCOLS:
        code.jump_if(_IF_EQUAL, protocol, "refuse")
    code.load_argument(1)
    code.keep_bits(_KIND_MASK)
    for kind in _REFUSED_KINDS:
        code.jump_if(_IF_EQUAL, kind, "refuse")
    code.label("permit")
    code.finish(_ALLOW)
    code.label("refuse")
    code.finish(_ERRNO | REFUSED)
    code.label("unsupported")
    code.finish(_ERRNO | UNSUPPORTED)
    # A filter cannot read the flags of clone3. C libraries then use clone.
    code.label("missing")
    code.finish(_ERRNO | errno.ENOSYS)
    return code.assemble()


def restrict(sockets: Sockets) -> None:
    """Install the filter on every thread of this process, unless `sockets` allows any. It cannot be removed.

    Raises:
        OSError: It could not be installed. The caller must then not run user code.
    """
    if sockets is Sockets.ANY or sockets in _installed:
        return
    machine = platform.machine()
    code = build_filter(machine, sockets)
    program = _Program(len(code) // 8, code)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), 0, 0, 0) != 0:
        raise _last_error("no_new_privs")
    number = _MACHINES[machine][1]
    flags = ctypes.c_ulong(_SECCOMP_FILTER_FLAG_TSYNC)
    if libc.syscall(ctypes.c_long(number), ctypes.c_ulong(_SECCOMP_SET_MODE_FILTER), flags, ctypes.byref(program)) != 0:
        raise _last_error("seccomp")
    _installed.add(sockets)


def _last_error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")
