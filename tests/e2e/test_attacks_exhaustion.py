"""Attacks that use up processes, memory, output, time and descriptors: rows 24, 25, 27 to 30 and 33.

Each is tried under runc, runc with a user namespace, and gVisor. The memory of the agent is not measured under gVisor,
where it is no process of the node. Row 26 is in test_attacks_disk.py, rows 31 and 32 are in test_attacks_flood.py.
"""

from __future__ import annotations

import concurrent.futures
import json
import time
from typing import TYPE_CHECKING

import pytest

from sandbox_client import SandboxError, Status
from tests.e2e.support.arena import open_arena
from tests.e2e.support.kubectl import poll
from tests.e2e.support.sessions import Sessions
from tests.integration.test_limits import BOMB as MEMORY_BOMB

if TYPE_CHECKING:
    from sandbox_client import Sandbox
    from tests.e2e.support.arena import Arena
    from tests.e2e.support.kubectl import Kubectl
    from tests.e2e.support.platform import Platform

MIB = 1 << 20
DEADLINE_SLACK = 2.0
"""Seconds after its deadline within which nothing of a call may live."""

FORK_BOMB = """
import os, time
children = 0
try:
    while True:
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
        children += 1
except (BlockingIOError, MemoryError, OSError):
    with open("full.part", "w") as file:
        file.write(str(children))
    os.rename("full.part", "full")
time.sleep(60)
"""

LIST_PROCESSES = """
import json, pathlib
found = []
for folder in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        command = (folder / "cmdline").read_bytes().replace(b"\\0", b" ").decode("utf-8", "replace")
        state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        continue
    # A zombie whose parent lives is that program's own affair.
    found.append("zombie" if state == "Z" and parent == "1" else command)
print(json.dumps(found))
"""


def alive(sandbox: Sandbox, mark: str) -> list[str]:
    """The commands of those processes whose command line has the mark, and "zombie" for each that nobody will reap."""
    found = json.loads(sandbox.run_code(LIST_PROCESSES).stdout)
    return [command for command in found if mark in command or command == "zombie"]


# gVisor's kernel refuses no fork: see the next test.
@pytest.mark.parametrize("arena", ["runc", "userns"], indirect=True, scope="module")
def test_attack_24_a_fork_bomb_leaves_its_neighbours_and_its_own_files_alone(arena: Arena):
    """It reaches its own limit; others still fork, and it is gone with its call."""
    bomb = arena.attacker
    bomb.files.write("fork_bomb.py", FORK_BOMB)
    with arena.unharmed("fork bomb"), concurrent.futures.ThreadPoolExecutor() as pool:
        running = pool.submit(bomb.run, "python3 fork_bomb.py", timeout=15)
        poll("nothing more can be forked", lambda: bomb.files.exists("full"), timeout=15)
        assert 100 < int(bomb.files.read("full")) <= 512, "the bomb was none, or nothing stopped it"
        check_forks(arena.neighbour)
        done = running.result()
    assert done.status is Status.TIMED_OUT, done
    # Its processes are gone with it: there is room again.
    assert alive(bomb, "fork_bomb") == []
    assert bomb.run("echo recovered; rm -f full").stdout == "recovered\n"


def test_attack_24_under_gvisor_a_fork_bomb_costs_at_most_its_own_pod(
    own_node: Platform, system: Kubectl, kubectl: Kubectl
):
    """The runtime ends the bomb, or the pod's memory is used up first. Then the session goes on in another pod."""
    with open_arena("gvisor", Sessions(kubectl), system) as arena:
        own_pod = f"{arena.sessions.pod(arena.name)['metadata']['name']}/"
        others = {key: value for key, value in arena.identities().items() if not key.startswith(own_pod)}
        arena.attacker.files.write("fork_bomb.py", FORK_BOMB)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            running = pool.submit(arena.attacker.run, "python3 fork_bomb.py", timeout=15)
            check_forks(arena.neighbour)
            try:
                end = running.result().status.name
            except SandboxError as error:
                end = type(error).__name__
        print(f"\nfork bomb under gVisor: {end}")  # noqa: T201 - a measurement, for people
        assert end in {"TIMED_OUT", "OOM_KILLED", "SandboxUnavailable", "ExecutionLost", "SessionFailed"}
        check_forks(arena.neighbour)
        arena.sessions.wait_phase(arena.name, "Ready", timeout=180)
        with arena.sessions.connect(arena.name, is_direct=True) as sandbox:
            poll("the session goes on", lambda: sandbox.run("echo recovered").stdout == "recovered\n", timeout=60)
        assert others.items() <= arena.identities().items()


def check_forks(neighbour: Sandbox) -> None:
    """A session can start processes."""
    forked = neighbour.run_code("import subprocess; print(subprocess.run(['echo', 'forked'], text=True))")
    commanded = neighbour.run("for number in $(seq 20); do /bin/echo $number; done | wc -l")
    assert "returncode=0" in forked.stdout, forked
    assert commanded.stdout.strip() == "20", commanded


def test_attack_25_a_memory_bomb_is_reported_and_the_agent_lives(arena: Arena):
    """A cell, a cell's child and a command are each OOM_KILLED, and other contexts keep their variables."""
    sandbox = arena.attacker
    context = sandbox.contexts.create().id
    assert sandbox.run_code("kept = 7", context=context).ok
    child = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {MEMORY_BOMB!r}])"
    with arena.unharmed("memory bomb"):
        cell = sandbox.run_code(MEMORY_BOMB, timeout=60)
        of_child = sandbox.run_code(child, timeout=60)
        command = sandbox.run(["python3", "-c", MEMORY_BOMB], timeout=60)
    assert [done.status for done in (cell, of_child, command)] == [Status.OOM_KILLED] * 3
    assert (cell.limit, command.limit) == ("memory", "memory")
    assert sandbox.run_code("kept", context=context).text == "7"
    sandbox.contexts.delete(context)


def test_attack_27_ten_gigabytes_of_output_are_cut_flagged_and_bounded_in_memory(arena: Arena):
    """What is kept is the output limit, what is dropped is counted, and the agent stays small."""
    # Pipes of gVisor are many times slower.
    size = 10 << 30 if arena.isolation != "gvisor" else 300 << 20
    with arena.unharmed(f"{size >> 20} MiB of output"):
        done = arena.attacker.run(f"head -c {size} /dev/zero", timeout=120)
    assert done.status is Status.OK, done.status
    assert done.dropped_bytes > 0
    assert len(done.stdout) + done.dropped_bytes == size
    assert len(done.stdout) <= 129 * MIB
    if arena.has_process_of_agent:
        assert arena.peak_of_agent() < 384 * MIB


STUBBORN = """
import os, signal, time
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
for _ in range(3):
    os.fork()
while True:
    time.time()
"""


@pytest.mark.parametrize("kind", ["command", "cell", "stubborn cell", "process"])
def test_attack_28_a_loop_that_ignores_sigterm_is_dead_within_two_seconds_of_its_deadline(arena: Arena, kind: str):
    """The whole tree of eight busy processes that ignore every signal is gone."""
    sandbox, timeout = arena.attacker, 2.0
    sandbox.files.write("stubborn.py", STUBBORN)
    code = "import subprocess, sys; subprocess.run([sys.executable, 'stubborn.py'])"
    with arena.unharmed(f"loop that ignores signals, {kind}"):
        began = time.monotonic()
        if kind == "command":
            done = sandbox.run("python3 stubborn.py", timeout=timeout)
        elif kind == "cell":
            done = sandbox.run_code(code, timeout=timeout)
        elif kind == "stubborn cell":
            done = sandbox.run_code(STUBBORN, timeout=timeout)
        else:
            done = sandbox.processes.start("python3 stubborn.py", timeout=timeout).wait(timeout=30)
        taken = time.monotonic() - began
        left = alive(sandbox, "stubborn")
    print(f"\n{kind} ({arena.isolation}): ended {taken - timeout:.2f} s after its deadline")  # noqa: T201 - a measurement
    assert done.status is Status.TIMED_OUT, done
    assert taken < timeout + DEADLINE_SLACK
    assert left == []


ESCAPES = """
import os, sys, time
def escape(name, **environment):
    if os.fork():
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    code = "import sys, os, time; open(sys.argv[1], 'w').close(); time.sleep(600)"
    argv = [sys.executable, "-c", code, name, "escapee"]
    os.execve(argv[0], argv, environment)
for number in range(5):
    escape(f"escaped-{number}", **os.environ)
    escape(f"cleared-{number}")
time.sleep(600)
"""


def test_attack_29_setsid_and_double_forks_are_killed_and_leave_no_zombies(arena: Arena):
    """Ten processes in sessions of their own, half of them without an environment, end with their command."""
    sandbox = arena.attacker
    sandbox.files.write("escapes.py", ESCAPES)
    with arena.unharmed("setsid and double fork"):
        process = sandbox.processes.start("python3 escapes.py")
        poll(
            "all have escaped", lambda: sandbox.run("ls escaped-* cleared-* | wc -l").stdout.strip() == "10", timeout=20
        )
        assert len(alive(sandbox, "escapee")) == 10
        process.kill()
        assert process.wait(timeout=20).status is Status.KILLED
        poll("none is left, and no zombie", lambda: alive(sandbox, "escapee") == [], timeout=5)


DESCRIPTORS = """
import os, resource, sys, time
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20000), hard))
for _ in range(3):
    os.fork()
count = 0
try:
    while True:
        os.pipe()
        count += 2
except OSError as error:
    print(count, error.strerror, flush=True)
time.sleep(3)
"""
THREADS = """
import threading
stop, started = threading.Event(), []
try:
    for _ in range(20000):
        thread = threading.Thread(target=stop.wait, daemon=True)
        thread.start()
        started.append(thread)
except RuntimeError as error:
    print(len(started), error, flush=True)
finally:
    stop.set()
    [thread.join() for thread in started]
"""


def test_attack_30_descriptors_and_threads_run_out_for_the_attacker_alone(arena: Arena):
    """Eight processes open all pipes that they may, and a cell starts threads until none is left."""
    sandbox = arena.attacker
    sandbox.files.write("descriptors.py", DESCRIPTORS)
    with arena.unharmed("descriptors and threads"):
        opened = sandbox.run("python3 descriptors.py", timeout=60)
        threads = sandbox.run_code(THREADS, timeout=60)
    counts = [int(line.split()[0]) for line in opened.stdout.splitlines()]
    assert len(counts) == 8, opened
    assert min(counts) > 500, opened
    assert "can't start new thread" in threads.stdout, threads
    assert 50 < int(threads.stdout.split()[0]) <= 512, threads


def test_attack_33_glob_and_regex_bombs_end_at_their_deadline(arena: Arena):
    """An expression with catastrophic backtracking and a glob of 60 stars: each ends, and the next search works."""
    sandbox, timeout = arena.attacker, 2.0
    sandbox.files.write("bombs/aaa.txt", "a" * 50_000 + "b")
    sandbox.files.write(f"bombs/{'a' * 200}", "")
    with arena.unharmed("glob and regex bombs"):
        for search in (
            lambda: sandbox.files.grep(r"(a|aa)+(a|aa)+$", "bombs", timeout=timeout),
            lambda: sandbox.files.find("*a" * 60 + "b", "bombs", timeout=timeout),
            lambda: sandbox.files.find("**/*a" * 60 + "b", "bombs", timeout=timeout),
        ):
            began = time.monotonic()
            try:
                search()
            except SandboxError as error:
                assert error.reason, repr(error)  # noqa: PT017 - either is an end: cut short, or refused by name
            assert time.monotonic() - began < timeout + DEADLINE_SLACK
        assert len(sandbox.files.grep("a$|b$", "bombs").matches) == 1
