"""Attacks of user code on its own agent and on the kernel: rows 1 to 7, and old and rare parts of the kernel.

Every row makes sense on every isolation.
"""

import contextlib
import json
import signal

import pytest

from sandbox_client import SandboxError
from tests.e2e.support import kernel
from tests.e2e.support.isolations import Hostile
from tests.e2e.support.kubectl import Kubectl, poll
from tests.e2e.support.platform import Platform
from tests.e2e.support.stolen import find_agent

# Foreign: process ids that /proc does not show, or shows with another user. Among them must be the agent's, in its own
# container and on the node.
FOREIGN = """
import ctypes, errno, functools, json, os, sys
class Piece(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
pieces = (ctypes.c_void_p, ctypes.c_ulong)
libc.process_vm_readv.argtypes = (ctypes.c_int, *pieces, *pieces, ctypes.c_ulong)
secret, copy = ctypes.create_string_buffer(b"secret!"), ctypes.create_string_buffer(8)
theirs, ours = Piece(ctypes.addressof(secret), 8), Piece(ctypes.addressof(copy), 8)
def error(result):
    return errno.errorcode[ctypes.get_errno()] if result == -1 else "done"
def trace(pid):
    return error(libc.ptrace(0x4206, pid, None, None))  # PTRACE_SEIZE, which does not stop the process
def read(pid):
    return error(libc.process_vm_readv(pid, ctypes.byref(ours), 1, ctypes.byref(theirs), 1, 0))
def send(number, pid):
    try:
        os.kill(pid, number)
    except OSError as refused:
        return errno.errorcode[refused.errno]
    return "done"
def open_part(pid, part):
    try:
        os.close(os.open(f"/proc/{pid}/{part}", os.O_RDONLY))
    except OSError as refused:
        return errno.errorcode[refused.errno]
    return "done"
def read_user(pid):
    # Not the file's owner, which is root where a process shuts itself off.
    return int(open(f"/proc/{pid}/status").read().split("Uid:")[1].split()[0])
def list_own():
    own = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if read_user(pid) == os.getuid():
                own |= {int(pid), *map(int, os.listdir(f"/proc/{pid}/task"))}
        except (FileNotFoundError, ProcessLookupError):
            pass
    return own
own = list_own()
foreign = [pid for pid in (*range(1, 1500), *map(int, sys.argv[1:])) if pid not in own]
def attack_foreign(*attacks):
    answers = set()
    for attack in attacks:
        for pid in foreign:
            answer = attack(pid)
            # A process of our own may have begun meanwhile. It is listed then, or it has ended.
            if answer != "ESRCH" and pid not in list_own():
                answer = attack(pid)
            elif answer != "ESRCH":
                continue
            answers.add(answer)
    return sorted(answers)
def with_child(attack):
    ready, blocked = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(blocked)
        os.read(ready, 1)
        os._exit(0)
    try:
        return attack(child)
    finally:
        os.close(blocked)
        os.waitpid(child, 0)
"""
TRACE = f"""{FOREIGN}
print(json.dumps({{
    "of a child": [with_child(trace), with_child(read), copy.value.decode()],
    "of foreign processes": attack_foreign(trace, read),
    "agent": [attack(int(pid)) for pid in sys.argv[1:] for attack in (trace, read)],
}}))
"""
LOOK = f"""{FOREIGN}
parts = ("mem", "environ", "root/etc/hostname", "fd", "maps", "cwd", "exe", "cmdline", "status")
def look():
    found = {{pid: sorted({{open_part(pid, part) for part in parts}}) for pid in foreign}}
    return {{pid: answers for pid, answers in found.items() if answers != ["ENOENT"]}}
seen = look()
# A process of our own may have begun meanwhile. It is listed then, or it has ended.
again, listed = look(), {{int(name) for name in os.listdir("/proc") if name.isdigit()}}
uids, commands = set(), []
for pid in sorted(own | listed):
    if os.path.exists(f"/proc/{{pid}}"):
        uids.add(read_user(pid))
        commands.append(open(f"/proc/{{pid}}/cmdline").read().split("\\0"))
print(json.dumps({{
    "of a child": [with_child(lambda pid: open_part(pid, part)) for part in parts],
    "of foreign processes": {{pid: seen[pid] for pid in seen if pid in again and pid not in listed}},
    "uids": [sorted(uids), os.getuid()],
    "commands": commands,
    "root": open_part(1, "root/etc/sandbox/tls/tls.key"),
}}))
"""
KILL = f"""{FOREIGN}
print(json.dumps({{
    "of a child": with_child(functools.partial(send, 9)),
    "of foreign processes": attack_foreign(*(functools.partial(send, number) for number in (0, 9, 15, 19))),
    "of groups": sorted({{send(9, -pid) for pid in map(int, sys.argv[1:])}}),
}}))
"""


def host_pids(attacker: Hostile, platform: Platform) -> list[int]:
    """Return the agent's process id on the node. gVisor hides its processes from the node."""
    return [] if attacker.isolation == "gvisor" or not platform.is_own else [find_agent(attacker.pod)]


def test_attack_01_user_code_neither_traces_nor_reads_its_agent(attacker: Hostile, platform: Platform):
    found = attacker.run(TRACE, *host_pids(attacker, platform))
    # A child may be read, so the attempt is a real one.
    assert found["of a child"] == ["done", "done", "secret!"]
    assert found["of foreign processes"] == ["ESRCH"]


def test_attack_02_user_code_sees_nothing_of_its_agent_in_proc(attacker: Hostile, platform: Platform):
    found = attacker.run(LOOK, *host_pids(attacker, platform))
    assert set(found["of a child"]) == {"done"}
    assert found["of foreign processes"] == {}
    uids, own = found["uids"]
    assert uids == [own]
    assert not [command for command in found["commands"] if "serve" in command], found["commands"]
    assert found["root"] in {"EACCES", "ENOENT"}


def test_attack_03_signals_do_not_reach_the_agent(attacker: Hostile, platform: Platform):
    found = attacker.run(KILL, *host_pids(attacker, platform))
    assert found["of a child"] == "done"
    assert found["of foreign processes"] == ["ESRCH"]
    assert found["of groups"] in ([], ["ESRCH"])


def test_attack_03_a_signal_to_every_process_ends_the_attackers_own_ones_only(hostile: Hostile):
    """Linux spares a container's first process, gVisor does not: then the kubelet starts that container again."""
    kill = f"import os; os.kill(1, {signal.SIGKILL:d}); os.kill(-1, {signal.SIGKILL:d})"
    with hostile.unharmed(may_restart=("sandbox",) if hostile.isolation == "gvisor" else ()):
        victim = hostile.sandbox.processes.start(["sleep", "600"])
        with contextlib.suppress(SandboxError):
            hostile.sandbox.run(["python3", "-c", kill], timeout=20)
        poll("code runs again", lambda: answers(hostile), timeout=60)
        assert not [each for each in hostile.sandbox.processes.list() if each.id == victim.id and each.exited is None]


@pytest.mark.parametrize("kind", ["cell", "command", "command of a cell"])
def test_attack_of_old_and_rare_parts_of_the_kernel_are_refused_by_our_own_filter(attacker: Hostile, kind: str):
    attacker.sandbox.files.write("probe.py", kernel.PROBE)
    child = "import subprocess; print(subprocess.check_output(['setsid', 'python3', 'probe.py'], text=True))"
    done = {
        "cell": lambda: attacker.sandbox.run_code(kernel.PROBE),
        "command": lambda: attacker.sandbox.run(["python3", "probe.py"]),
        "command of a cell": lambda: attacker.sandbox.run_code(child),
    }[kind]()
    refused, allowed = json.loads(done.stdout)
    assert refused == kernel.expected(refused)
    assert len(refused) >= 25 - 2
    assert set(allowed.values()) == {0}


FAKE = """
import array, json, os, socket, struct, sys, threading, time
here = "/run/sandbox/"
for name in ("runtime.sock", "stream.sock"):
    os.rename(here + name, here + name + ".real")
def frame(kind, channel, payload):
    return struct.pack("!IBI", 5 + len(payload), kind, channel) + payload
def event(channel, **fields):
    return frame(3, channel, json.dumps(fields).encode())
HELLO = event(0, type="hello", protocol=1, runtime_id="f" * 32, session_uid="", restored=False,
              workspace_root="/etc", streams=True)
EXITED = event(0, type="context_exited", context_id="x", reason="x")
FILES = array.array("i", [0] * 250)
def flood_descriptors(sock):
    sock.sendall(HELLO)
    for _ in range(100):
        sock.sendmsg([EXITED], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, FILES)])
ATTACKS = {
    "oversized": lambda sock: sock.sendall(struct.pack("!IBI", 0xFFFFFFFF, 3, 0) + bytes(128 << 20)),
    "noise": lambda sock: sock.sendall(os.urandom(1 << 20)),
    "reordered": lambda sock: sock.sendall(HELLO + frame(4, 7, b'{"ok": {}}') + frame(2, 9, b"\\0x")),
    "twice": lambda sock: sock.sendall(HELLO + HELLO),
    "deep": lambda sock: sock.sendall(frame(3, 0, b"[" * 900000)),
    "forged": lambda sock: sock.sendall(HELLO + b"".join(
        event(number, type="started") + frame(2, number, b"\\1" + b"x" * 1000000) for number in range(1, 40))),
    "credit": lambda sock: sock.sendall(HELLO + b"".join(frame(6, number, b"\\xff" * 4) for number in range(1, 2000))),
    "descriptors": flood_descriptors,
}
def serve(path, attacks):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    os.chmod(path, 0o666)
    listener.listen()
    if not attacks:
        return
    real = socket.socket(socket.AF_UNIX)
    real.connect(path + ".real")  # The runtime drops its agent for the newest one, so the agent connects again: here.
    done = []
    for name in attacks:
        sock = listener.accept()[0]
        sock.settimeout(3)
        try:
            ATTACKS[name](sock)
            while sock.recv(1 << 20):
                pass
            end = "hung up"
        except OSError as error:
            end = type(error).__name__
        done.append([name, end])
        json.dump(done, open("fake.part", "w"))
        os.rename("fake.part", "fake.json")
        sock.close()
serve(here + "stream.sock", [])
serve(here + "runtime.sock", list(ATTACKS))
while not os.path.exists("enough"):
    time.sleep(0.1)
for name in ("runtime.sock", "stream.sock"):
    os.rename(here + name + ".real", here + name)
"""
USAGE = """
import json, os
status = dict(line.split(":", 1) for line in open("/proc/1/status").read().splitlines() if ":" in line)
print(json.dumps([len(os.listdir("/proc/1/fd")), int(status["VmRSS"].split()[0]) >> 10]))
"""


def test_attack_05_06_07_a_false_runtime_is_hung_up_on_and_neither_fills_nor_ends_the_agent(
    attacker: Hostile, kubectl: Kubectl
):
    """The sockets are replaced, replies are oversized, forged and reordered, and descriptors are sent."""
    files, memory = json.loads(attacker.in_agent(USAGE))
    attacker.sandbox.files.write("fake.py", FAKE)
    attacker.sandbox.processes.start(["sh", "-c", "setsid python3 fake.py 2>fake.log & sleep 600"])

    def seen() -> list[list[str]]:
        text = kubectl.execute(attacker.pod, "sandbox", "sh", "-c", "cat fake.json 2>/dev/null || echo []")
        return json.loads(text)

    poll("the agent has met every attack", lambda: len(seen()) == 8, timeout=120, pause=1)
    found, (more_files, more_memory) = seen(), json.loads(attacker.in_agent(USAGE))
    # Meanwhile a client gets an error. It never gets the attacker's answer.
    with pytest.raises(SandboxError):
        attacker.sandbox.files.read("fake.py")
    kubectl.execute(attacker.pod, "sandbox", "touch", "/workspace/enough")
    poll("the real runtime serves again", lambda: answers(attacker), timeout=60)
    ends = dict(map(tuple, found))
    print(attacker.isolation, ends, (files, memory), (more_files, more_memory))  # noqa: T201 - a measurement, for people
    assert more_files < files + 20
    assert more_memory < memory + 64
    for name in ("oversized", "noise", "reordered", "twice", "deep", "forged"):
        assert ends[name] in {"hung up", "ConnectionResetError", "BrokenPipeError"}, ends


def answers(attacker: Hostile) -> bool:
    """Return whether code runs."""
    try:
        return attacker.sandbox.run_code("print(1)").ok
    except SandboxError:
        return False


BIND = """
import errno, json, socket
def bind(address, port, *options):
    with socket.socket() as sock:
        for option in options:
            sock.setsockopt(socket.SOL_SOCKET, option, 1)
        try:
            sock.bind((address, port))
            sock.listen()
        except OSError as error:
            return errno.errorcode[error.errno]
    return "done"
own = socket.gethostbyname(socket.gethostname())
OPTIONS = ((), (socket.SO_REUSEADDR,), (socket.SO_REUSEPORT,), (socket.SO_REUSEADDR, socket.SO_REUSEPORT))
PLACES = [(address, port) for address in ("0.0.0.0", "127.0.0.1", own) for port in (8443, 8444, 8081)]
TRIES = [(*place, *options) for place in PLACES for options in OPTIONS]
print(json.dumps({"agent's": {str(each): bind(*each) for each in TRIES}, "free": bind("0.0.0.0", 18443)}))
"""


def test_attack_04_user_code_shares_no_port_with_its_agent_except_under_gvisor(attacker: Hostile):
    """Sockets of different users may share a port there. After a crash that gives no token, as the other test shows."""
    found = attacker.run(BIND)
    shared = {"EADDRINUSE", "done"} if attacker.isolation == "gvisor" else {"EADDRINUSE"}
    assert (set(found["agent's"].values()), found["free"]) == (shared, "done"), found
