"""What the runtime reads of cgroups and processes to keep a session within its memory."""

import asyncio
import mmap
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from sandbox_runtime.limits.memory_usage import Cgroup, find_members, private_pages, proportional_bytes
from sandbox_runtime.limits.oom_guard import OomGuard
from sandbox_runtime.limits.process_count import count_threads
from sandbox_runtime.linux.process_tree import find_tree, list_processes
from sandbox_runtime.settings import Limits

V2 = {"memory.max": "1000", "memory.current": "900", "memory.stat": "anon 500\ninactive_file 200\nactive_file 100\n"}
V1 = {
    "memory.limit_in_bytes": "1000",
    "memory.usage_in_bytes": "900",
    "memory.stat": "inactive_file 1\ntotal_inactive_file 200\ntotal_active_file 100\n",
}


@pytest.mark.parametrize("files", [V1, V2])
def test_memory_in_use_is_what_the_kernel_could_not_drop(tmp_path, files):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    group = Cgroup(tmp_path)
    assert (group.limit, group.used()) == (1000, 600)


@pytest.mark.parametrize(
    ("name", "text"), [("memory.max", "max"), ("memory.limit_in_bytes", "9223372036854771712"), ("other", "")]
)
def test_a_group_without_a_limit_has_none(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert Cgroup(tmp_path).limit == 0


def test_a_process_that_left_its_session_still_counts_by_its_mark():
    tree = "00000000000000ab"
    code = f"""import os, time
from sandbox_runtime.linux import syscalls
syscalls.set_limit_mark({tree!r})
if os.fork() == 0:
    os.setsid()
    time.sleep(60)
print(flush=True)
time.sleep(60)"""
    child = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        child.stdout.readline()
        members = find_members({child.pid: tree, 1: "0" * 16}, list_processes())
        assert len(members[child.pid]) == 2
        assert child.pid in members[child.pid]
    finally:
        for pid in members[child.pid]:
            os.kill(pid, 9)
        child.wait()
        child.stdout.close()


def test_memory_of_a_process_grows_with_what_it_holds_and_a_gone_one_has_none():
    before = private_pages(os.getpid()), proportional_bytes(os.getpid())
    # Not from malloc, which may have as much left of what an earlier test gave back.
    with mmap.mmap(-1, 32 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as held:
        held.write(b"x" * (32 << 20))
        after = private_pages(os.getpid()), proportional_bytes(os.getpid())
    assert all(new - old > (24 << 20) for new, old in zip(after, before, strict=True))
    assert private_pages(1 << 30) == proportional_bytes(1 << 30) == 0


@pytest.mark.parametrize(
    ("session", "container", "named"), [(0, 0, 0), (5, 0, 5), (0, 7, 7), (5, 7, 5), (7, 7, 7), (9, 7, 7)]
)
def test_the_lower_limit_holds_and_is_named(tmp_path, session, container, named):
    (tmp_path / "memory.max").write_text(str(container << 20) if container else "max")
    watch = OomGuard(Limits(memory_bytes=session << 20), {})
    watch._cgroup = Cgroup(tmp_path)
    assert watch.limit == named << 20
    assert (f"the limit of {named} MiB" in watch.error_event()["value"]) == bool(named)


@pytest.fixture
def two_processes():
    """One that SIGKILL has ended and that nobody has waited for, and one that lives."""
    ended, other = (subprocess.Popen(["sleep", "60"], start_new_session=True) for _ in range(2))
    ended.kill()
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    yield ended, other
    for process in (ended, other):
        process.kill()
        process.wait()


async def test_while_what_took_the_memory_ends_nobody_else_is_ended_for_it(tmp_path, two_processes):
    """The kernel was faster: its victim has no memory any more, which the group still counts."""
    (tmp_path / "memory.max").write_text(str(640 << 20))
    (tmp_path / "memory.current").write_text(str(639 << 20))
    children = {
        process.pid: SimpleNamespace(tree=f"{process.pid:016x}", over_memory=False, killed=False)
        for process in two_processes
    }
    ended, other = children
    watch = OomGuard(Limits(), children)
    watch._cgroup = Cgroup(tmp_path)
    for _ in range(3):
        watch._check()
    assert not children[other].over_memory
    survivor = children[other]
    del children[ended]
    watch._check()
    assert survivor.over_memory, "now it is the largest"
    watch.close()
    await asyncio.gather(*watch._kills)


@pytest.fixture
def crowd_and_single():
    """Two trees, of four processes and of one, by the pid of the first."""
    commands = {"c" * 16: ["sh", "-c", "for n in 1 2 3; do sleep 60 & done; wait"], "d" * 16: ["sleep", "60"]}
    processes = {
        tree: subprocess.Popen(command, start_new_session=True, env={**os.environ, "SANDBOX_TREE": tree})
        for tree, command in commands.items()
    }
    yield {
        process.pid: SimpleNamespace(tree=tree, over_memory=False, killed=False, process=process)
        for tree, process in processes.items()
    }
    for process in processes.values():
        process.kill()
        process.wait()


def counting(count):
    """A census that knows no newcomers."""
    return SimpleNamespace(count=count, settle=lambda: None, end_newcomers=lambda _: False)


@pytest.mark.parametrize(
    ("counts", "is_settled"),
    [
        ((350, 360, 390), True),  # the workers of servers, up to the limit
        ((100, 390, 390), True),
        ((100, 131), True),
        ((100, 132), False),  # a bomb starts more between two looks
        ((390, 420), False),
        ((390, 300), False),  # one that is being ended
    ],
)
async def test_processes_are_known_after_a_look_at_which_their_number_hardly_changed(tmp_path, counts, is_settled):
    found, settled = 0, []
    census = SimpleNamespace(
        count=lambda: found, settle=lambda: settled.append(found), end_newcomers=lambda _: pytest.fail("no bomb")
    )
    watch = OomGuard(Limits(processes=400), {os.getpid(): SimpleNamespace(tree="e" * 16)}, census)
    watch._cgroup = Cgroup(tmp_path)
    for found in counts:  # noqa: B007 - `count` returns it
        for _ in range(4):
            watch._check()
    watch.close()
    assert (settled[-1:] == [counts[-1]]) == is_settled


async def test_where_the_kernel_counts_no_processes_the_largest_tree_above_the_limit_is_ended(
    tmp_path, crowd_and_single
):
    """No memory limit is needed for it, and the end is not told as one for memory."""
    crowd, single = crowd_and_single.values()
    found = 400 + 64
    watch = OomGuard(Limits(processes=400), crowd_and_single, counting(lambda: found))
    watch._cgroup = Cgroup(tmp_path)
    async with asyncio.timeout(10):
        while count_threads(find_tree(crowd.tree, crowd.process.pid)) < 4:  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0.01)
    for _ in range(8):
        watch._check()
    assert not watch._kills, "the runtime's own processes are not the user's"
    found = 500
    for _ in range(4):
        watch._check()
    await asyncio.gather(*watch._kills)
    watch.close()
    assert crowd.process.wait(10) == -9
    assert single.process.poll() is None
    assert not crowd.over_memory


@pytest.mark.parametrize(("container", "is_ended"), [(0, True), (1 << 40, False)])
async def test_where_no_cgroup_shows_it_a_process_counts_for_what_the_kernel_needs(
    tmp_path, crowd_and_single, container, is_ended
):
    """Five idle processes have hardly any memory of their own, and are above a limit of 12 MiB nevertheless."""
    crowd, single = crowd_and_single.values()
    if container:
        (tmp_path / "memory.max").write_text(str(container))
    watch = OomGuard(Limits(memory_bytes=12 << 20), crowd_and_single, counting(lambda: 5))
    watch._cgroup = Cgroup(tmp_path)
    async with asyncio.timeout(10):
        while count_threads(find_tree(crowd.tree, crowd.process.pid)) < 4:  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0.01)
    for _ in range(10):
        watch._check()
    await asyncio.gather(*watch._kills)
    watch.close()
    assert (crowd.over_memory, single.over_memory) == (is_ended, False)


def test_threads_are_counted_as_the_kernel_counts_them():
    start = "import threading, time\nfor _ in range(4): threading.Thread(target=time.sleep, args=[60]).start()\n"
    code = f"{start}print(1, flush=True)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        assert count_threads([process.pid]) == 5
        process.kill()
    assert count_threads([process.pid]) == 0
