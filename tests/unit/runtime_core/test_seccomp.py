"""The filter refuses calls with errors of its own, so that a feature that the kernel lacks passes for no defence."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import socket
import subprocess
import sys
import threading
import traceback
from pathlib import Path

import pytest

from sandbox_runtime.linux import seccomp
from sandbox_runtime.linux.seccomp import Sockets

LIBC = ctypes.CDLL(None, use_errno=True)
IS_X86 = platform.machine() == "x86_64"
CALLS = {
    "clone": (56, 220),
    "unshare": (272, 97),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "perf_event_open": (298, 241),
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "clone3": (435, 435),
    "prlimit64": (302, 261),
}
NEW_USER = 0x10000000


def run_forked(function) -> str:
    """The report of a forked child; "" if all went well."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            function()
        except BaseException:  # noqa: BLE001 - reported to the parent
            os.write(write, traceback.format_exc().encode()[:4000])
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as file:
        report = file.read().decode()
    os.waitpid(pid, 0)
    return report


def error_of(name, *arguments):
    """The error of a system call, 0 if it succeeded."""
    ctypes.set_errno(0)
    number = CALLS[name][0 if IS_X86 else 1]
    values = [ctypes.c_ulong(value) for value in (*arguments, *[0] * (6 - len(arguments)))]
    return ctypes.get_errno() if LIBC.syscall(ctypes.c_long(number), *values) == -1 else 0


def error_of_socket(*arguments):
    try:
        socket.socket(*arguments).close()
    except OSError as error:
        return error.errno
    return 0


def check_calls():
    refused = dict.fromkeys(("bpf", "userfaultfd"), seccomp.REFUSED)
    refused |= {f"io_uring_{name}": seccomp.REFUSED for name in ("setup", "enter", "register")}
    refused |= dict.fromkeys(("add_key", "request_key", "keyctl", "perf_event_open"), seccomp.UNSUPPORTED)
    assert {name: error_of(name) for name in refused} == refused
    assert error_of("unshare", NEW_USER) == seccomp.REFUSED
    assert error_of("clone", NEW_USER | 17) == seccomp.REFUSED
    assert error_of("clone3") == errno.ENOSYS
    check_limits()
    assert error_of("unshare", 0) == 0
    if IS_X86:
        ctypes.set_errno(0)
        assert LIBC.syscall(ctypes.c_long(0x40000000 | 39)) == -1
        assert ctypes.get_errno() == seccomp.REFUSED
    # Processes and threads start as before.
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()
    subprocess.run(["/bin/true"], check=True)


def check_limits():
    """The limits of other processes can be read, and only a process itself can change its own."""
    value = (ctypes.c_uint64 * 2)()
    pointer, core, other = ctypes.addressof(value), resource.RLIMIT_CORE, os.getppid()
    assert pointer >> 32, "the filter has to look at the upper half of the address as well"
    assert error_of("prlimit64", other, core, 0, pointer) == error_of("prlimit64", 0, core, pointer) == 0
    assert error_of("prlimit64", other, core, pointer) == seccomp.REFUSED
    # Nor does an address of which only one half is set lead around the filter.
    assert error_of("prlimit64", other, core, 1 << 32) == error_of("prlimit64", other, core, 1) == seccomp.REFUSED
    resource.setrlimit(resource.RLIMIT_NOFILE, resource.getrlimit(resource.RLIMIT_NOFILE))


REFUSED_SOCKETS = {
    "AF_ALG": (38, socket.SOCK_SEQPACKET),
    "AF_VSOCK": (40, socket.SOCK_STREAM),
    "AF_PACKET": (17, socket.SOCK_RAW),
    "AF_KEY": (15, socket.SOCK_RAW),
    "AF_RDS": (21, socket.SOCK_SEQPACKET),
    "AF_TIPC": (30, socket.SOCK_STREAM),
    "AF_SMC": (43, socket.SOCK_STREAM),
    "AF_XDP": (44, socket.SOCK_RAW),
    "AF_BLUETOOTH": (31, socket.SOCK_RAW),
    "SCTP": (socket.AF_INET, socket.SOCK_STREAM, 132),
    "SCTP by its kind": (socket.AF_INET, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC),
    "SCTP over IPv6": (socket.AF_INET6, socket.SOCK_SEQPACKET),
    "DCCP": (socket.AF_INET, 6, 33),
    "L2TP": (socket.AF_INET, socket.SOCK_DGRAM, 115),
    "NETLINK_NETFILTER": (16, socket.SOCK_RAW, 12),
    "NETLINK_XFRM": (16, socket.SOCK_RAW, 6),
    "NETLINK_SOCK_DIAG": (16, socket.SOCK_RAW, 4),
    "NETLINK_AUDIT": (16, socket.SOCK_RAW, 9),
}
ALLOWED_SOCKETS = {
    "TCP": (socket.AF_INET, socket.SOCK_STREAM),
    "UDP": (socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK),
    "TCP over IPv6": (socket.AF_INET6, socket.SOCK_STREAM, 6),
    "NETLINK_ROUTE": (16, socket.SOCK_RAW, 0),
}


def check_internet():
    seccomp.restrict(Sockets.INTERNET)
    errors = {name: error_of_socket(*arguments) for name, arguments in REFUSED_SOCKETS.items()}
    assert errors == dict.fromkeys(REFUSED_SOCKETS, seccomp.REFUSED)
    errors = {name: error_of_socket(*arguments) for name, arguments in ALLOWED_SOCKETS.items()}
    assert errors == dict.fromkeys(ALLOWED_SOCKETS, 0)
    check_unix_and_calls()
    assert socket.getaddrinfo("localhost", 80)


def check_unix_only():
    server = socket.socket(socket.AF_UNIX)
    seccomp.restrict(Sockets.UNIX)
    server.close()
    everything = {**REFUSED_SOCKETS, **ALLOWED_SOCKETS}
    errors = {name: error_of_socket(*arguments) for name, arguments in everything.items()}
    assert errors == dict.fromkeys(everything, seccomp.REFUSED)
    # The upper half of the register does not fool the filter.
    number = {"x86_64": 41, "aarch64": 198}[platform.machine()]
    assert LIBC.syscall(number, ctypes.c_ulong((1 << 32) | socket.AF_INET), 1, 0) == -1
    check_unix_and_calls()
    with pytest.raises(subprocess.CalledProcessError):
        subprocess.run([sys.executable, "-c", "import socket; socket.socket()"], check=True, stderr=subprocess.DEVNULL)


def check_unix_and_calls():
    assert error_of_socket(socket.AF_UNIX) == 0
    for end in socket.socketpair():
        end.close()
    with pytest.raises(PermissionError):
        socket.socketpair(30)
    check_calls()


def test_with_egress_only_sockets_of_the_internet_and_of_unix_may_be_opened():
    assert run_forked(check_internet) == ""


def test_without_egress_only_sockets_of_unix_may_be_opened_also_by_children():
    assert run_forked(check_unix_only) == ""


def has_filter():
    return "Seccomp:\t0" not in Path("/proc/self/status").read_text()


def test_a_local_session_without_limits_has_no_filter():
    def check():
        seccomp.restrict(Sockets.ANY)
        assert not has_filter()

    if has_filter():
        pytest.skip("this process has a filter already")
    assert run_forked(check) == ""


def test_a_child_inherits_the_filter_and_may_get_the_stricter_one_as_well():
    def check():
        seccomp.restrict(Sockets.INTERNET)
        before = Path("/proc/self/status").read_text()
        seccomp.restrict(Sockets.INTERNET)
        assert filters(Path("/proc/self/status").read_text()) == filters(before)
        seccomp.restrict(Sockets.UNIX)
        assert error_of_socket(socket.AF_INET) == seccomp.REFUSED
        check_unix_and_calls()

    def filters(status):
        return [line for line in status.splitlines() if line.startswith("Seccomp_filters:")]

    assert run_forked(check) == ""


def test_a_machine_without_a_filter_is_refused():
    with pytest.raises(OSError, match="riscv64"):
        seccomp.build_filter("riscv64", Sockets.INTERNET)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("sockets", [Sockets.UNIX, Sockets.INTERNET])
def test_both_machines_have_a_filter_of_whole_instructions(machine, sockets):
    code = seccomp.build_filter(machine, sockets)
    assert len(code) % 8 == 0
    assert 0 < len(code) // 8 <= 4096


@pytest.mark.skipif(not IS_X86, reason="only x86 has this old way into the kernel")
def test_the_32_bit_abi_is_refused():
    """`int 0x80` with the 32-bit number of getpid, as machine code in a page of its own."""
    program = """
import ctypes, mmap, sys
from sandbox_runtime.linux import seccomp
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(bytes.fromhex("b814000000cd80c3"))
call = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
before = call()
seccomp.restrict(seccomp.Sockets.INTERNET)
print(before, call())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("this kernel has no 32-bit ABI")
    before, after = map(int, done.stdout.split())
    assert after == -seccomp.REFUSED
    assert before > 0
