"""Writes to files of the image, whose pages the kernel shares among sessions of a node. On every isolation."""

from collections.abc import Iterator

import pytest

from tests.e2e.support.isolations import Hostile, open_hostile
from tests.e2e.support.kubectl import Kubectl
from tests.e2e.support.platform import Platform

PAGES = """
import ctypes, errno, json, mmap, os, sys
paths = sys.argv[1:]
def attempt(attack):
    try:
        attack()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"
def open_to_write(path):
    os.close(os.open(path, os.O_RDWR))
def rename(path):
    os.rename(path, path + "-moved")
def replace(path):
    os.replace("attack.py", path)
def map_shared(path):
    file = os.open(path, os.O_RDONLY)
    mmap.mmap(file, 1, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
def spliced(path):
    # CVE-2022-0847: a page of the file in a pipe, which the pipe may then still be written to.
    read, write = os.pipe()
    for _ in range(16):
        os.write(write, bytes(4096))
        os.read(read, 4096)
    file = os.open(path, os.O_RDONLY)
    os.splice(file, write, 1, offset_src=0)
    os.write(write, b"planted")
    os.close(file)
def forced(path):
    # Through /proc/self/mem, which ignores that a mapping is read-only.
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
    file = os.open(path, os.O_RDONLY)
    for kind in (mmap.MAP_SHARED, mmap.MAP_PRIVATE):
        address = libc.mmap(None, 4096, mmap.PROT_READ, kind, file, 0)
        memory = os.open("/proc/self/mem", os.O_RDWR)
        try:
            os.pwrite(memory, b"planted", address)
        except OSError:
            pass
attacks = {"open": open_to_write, "truncate": lambda path: os.truncate(path, 0), "unlink": os.unlink, "rename": rename,
           "chmod": lambda path: os.chmod(path, 0o777), "replace": replace, "times": os.utime, "shared map": map_shared,
           "beside it": lambda path: os.mkdir(os.path.dirname(path) + "/planted")}
found = {name: sorted({attempt(lambda: attack(path)) for path in paths}) for name, attack in attacks.items()}
for path in paths:
    attempt(lambda: spliced(path))
    attempt(lambda: forced(path))
print(json.dumps(found))
"""
DIGESTS = """
import hashlib, json, sys
print(json.dumps({path: hashlib.sha256(open(path, "rb").read()).hexdigest() for path in sys.argv[1:]}))
"""
IMAGE_FILES = (
    "/etc/passwd",
    "/usr/bin/env",
    "/usr/local/lib/sandbox/sandbox_runtime/__init__.py",
    "/usr/local/bin/sandbox-runtime",
)


@pytest.fixture(scope="module")
def neighbour(platform: Platform, kubectl: Kubectl) -> Iterator[Hostile]:
    """Another session of the same image on the same node."""
    with open_hostile(platform, kubectl, "runc", "None") as neighbour:
        yield neighbour


def test_attack_of_shared_pages_no_write_to_a_file_of_the_image_is_seen_by_anyone(
    attacker: Hostile, neighbour: Hostile
):
    before = neighbour.run(DIGESTS, *IMAGE_FILES)
    assert attacker.run(DIGESTS, *IMAGE_FILES) == before
    found = attacker.run(PAGES, *IMAGE_FILES)
    assert all(set(errors) <= {"EROFS", "EACCES", "EPERM", "EXDEV"} for errors in found.values()), found
    assert attacker.run(DIGESTS, *IMAGE_FILES) == before
    assert neighbour.run(DIGESTS, *IMAGE_FILES) == before
