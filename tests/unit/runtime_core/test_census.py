"""A fork bomb's processes are ended without reading them all, and those that were there before are spared."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from sandbox_runtime.limits import census as census_module
from sandbox_runtime.limits.census import Census
from sandbox_runtime.limits.memory_usage import Cgroup
from sandbox_runtime.limits.oom_guard import OomGuard
from sandbox_runtime.linux.process_tree import list_processes
from sandbox_runtime.settings import Limits

# Each process starts another two, up to a number that this machine bears.
BOMB = """
import os, sys, time
for depth in range(7):
    os.fork()
    {escape}
time.sleep(60)
"""
SIZE = 128


def in_session(leader: int) -> set[int]:
    return {pid for pid, _, _, session in list_processes() if session == leader}


@pytest.fixture
def own(monkeypatch):
    """Let a census see this test's own processes only, since it kills what it does not know."""
    mark = f"CENSUS_TEST={os.getpid()}\0".encode()

    def is_own(folder):
        try:
            return folder.name.isdigit() and mark in (folder / "environ").read_bytes()
        except OSError:
            return False

    def list_own(_folder="/proc"):
        return [folder.name for folder in Path("/proc").iterdir() if is_own(folder)]

    monkeypatch.setattr(census_module, "os", SimpleNamespace(listdir=list_own, getpid=os.getpid, kill=os.kill))
    return list_own


@pytest.fixture
def start():
    """Start a process in a session of its own, which the test's census sees."""
    started = []

    def start_one(*command):
        tree = f"{len(started):016x}"
        environment = {**os.environ, "CENSUS_TEST": str(os.getpid()), "SANDBOX_TREE": tree}
        started.append(subprocess.Popen(command, start_new_session=True, env=environment))
        return started[-1]

    yield start_one
    for process in started:
        for pid in in_session(process.pid):
            os.kill(pid, 9)
        process.kill()
        process.wait()


def wait_for(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def start_bomb(start, census, escape=""):
    before = census.count()
    bomb = start(sys.executable, "-c", BOMB.format(escape=escape))
    wait_for(lambda: census.count() >= before + SIZE)
    return bomb


def test_the_leader_of_a_bomb_and_all_that_it_started_are_killed_and_others_live(own, start):
    census = Census()
    older, other = start("sleep", "60"), start("sh", "-c", "sleep 60 & wait")
    wait_for(lambda: census.count() >= 3)
    census.settle()
    bomb = start_bomb(start, census)
    assert census.end_newcomers({other.pid, bomb.pid})
    assert census.leader == bomb.pid
    assert bomb.wait(10) == -9
    wait_for(lambda: not in_session(bomb.pid))
    assert older.poll() is None
    assert other.poll() is None
    assert len(in_session(other.pid)) == 2


def test_those_that_left_the_session_of_their_leader_are_killed_alone(own, start):
    census = Census()
    other = start("sleep", "60")
    wait_for(lambda: census.count() >= 1)
    census.settle()
    start_bomb(start, census, "os.setsid() if os.getpid() != os.getsid(0) else None")
    census.end_newcomers({other.pid})
    assert not census.leader
    assert other.poll() is None
    wait_for(lambda: {pid for pid, *_ in list_processes()}.isdisjoint(map(int, set(own()) - {str(other.pid)})))


def test_few_files_are_read_however_many_processes_there_are(own, start, monkeypatch):
    read = []
    monkeypatch.setattr(census_module, "read_process", read.append)
    census = Census()
    start("sleep", "60")
    wait_for(lambda: census.count() >= 1)
    census.settle()
    start_bomb(start, census)
    assert census.end_newcomers(())
    assert 0 < len(read) <= 16


def test_without_a_calm_moment_before_nothing_is_ended(own, start):
    census = Census()
    process = start("sleep", "60")
    wait_for(lambda: census.count() >= 1)
    assert not census.end_newcomers(())
    assert process.poll() is None


async def test_the_guard_ends_the_tree_of_the_bomb(own, start, tmp_path):
    census = Census()
    single = start("sleep", "60")
    children = {single.pid: SimpleNamespace(tree=f"{0:016x}", over_memory=False, killed=False)}
    watch = OomGuard(Limits(processes=40), children, census)
    watch._cgroup = Cgroup(tmp_path)
    wait_for(lambda: census.count() >= 1)
    for _ in range(4):
        watch._check()
    bomb = start_bomb(start, census)
    children[bomb.pid] = SimpleNamespace(tree=f"{1:016x}", over_memory=False, killed=False)
    for _ in range(4):
        watch._check()
    await asyncio.gather(*watch._kills)
    watch.close()
    assert bomb.wait(10) == -9
    assert single.poll() is None
    assert not children[bomb.pid].over_memory
