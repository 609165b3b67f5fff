"""Old and rare parts of the kernel, and the errors that our own filter gives for them."""

import errno

PROBE = """
import ctypes, json, mmap, os, platform, socket
libc = ctypes.CDLL(None, use_errno=True)
column = 0 if platform.machine() == "x86_64" else 1
CALLS = {"bpf": (321, 280), "userfaultfd": (323, 282), "io_uring_setup": (425, 425), "io_uring_enter": (426, 426),
         "io_uring_register": (427, 427), "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218),
         "perf_event_open": (298, 241), "clone3": (435, 435)}
SOCKETS = {"AF_ALG": (38, 5, 0), "AF_VSOCK": (40, 1, 0), "AF_PACKET": (17, 3, 0), "AF_KEY": (15, 3, 0),
           "SCTP": (2, 1, 132), "SCTP of SEQPACKET": (2, 5, 0), "DCCP": (2, 6, 33), "NETLINK_NETFILTER": (16, 3, 12),
           "NETLINK_AUDIT": (16, 3, 9), "NETLINK_XFRM": (16, 3, 6), "AF_BLUETOOTH": (31, 3, 1), "AF_XDP": (44, 3, 0)}
ALLOWED = {"AF_UNIX": (1, 1, 0), "TCP": (2, 1, 0), "UDP": (2, 2, 0), "NETLINK_ROUTE": (16, 3, 0)}
# Machine code: getpid by int 0x80, and by the x32 number. A function that is called with no argument returns rax.
ABIS = {"32-bit ABI": b"\\xb8\\x14\\0\\0\\0\\xcd\\x80\\xc3", "x32 ABI": b"\\xb8\\x27\\0\\0\\x40\\x0f\\x05\\xc3"}
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
def error_of_code(code):
    # In a child, because the call may kill it.
    ends = os.pipe()
    child = os.fork()
    if child == 0:
        page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        page.write(code)
        function = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
        os.write(ends[1], str(-function()).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(ends[1])
    return int(os.read(ends[0], 99) or -1)
refused = {name: error_of_call(numbers[column]) for name, numbers in CALLS.items()}
refused["unshare CLONE_NEWUSER"] = error_of_call((272, 97)[column], 0x10000000)
refused["unshare CLONE_NEWUSER and CLONE_NEWNS"] = error_of_call((272, 97)[column], 0x10020000)
refused["clone CLONE_NEWUSER"] = error_of_call((56, 220)[column], 0x10000000 | 17)
limit = (ctypes.c_uint64 * 2)(0, 0)
# The first process of the container, and a parent, whose limit stays what it is.
for name, pid in {"prlimit64 of the first process": 1, "prlimit64 of the parent": os.getppid()}.items():
    refused[name] = error_of_call((302, 261)[column], pid, 4, ctypes.addressof(limit))
refused |= {name: error_of_socket(arguments) for name, arguments in SOCKETS.items()}
if column == 0:
    refused |= {name: error_of_code(code) for name, code in ABIS.items()}
print(json.dumps([refused, {name: error_of_socket(arguments) for name, arguments in ALLOWED.items()}]))
"""
UNSUPPORTED = {"keyctl", "add_key", "request_key", "perf_event_open"}


def expected(refused: dict[str, int]) -> dict[str, int]:
    """The errors that our own filter gives, which the kernel would not give."""
    special = dict.fromkeys(UNSUPPORTED, errno.EOPNOTSUPP) | {"clone3": errno.ENOSYS}
    return {name: special.get(name, errno.EACCES) for name in refused}
