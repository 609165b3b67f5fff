"""The time for digests follows what the sandbox has done: one that does nothing holds no push for long."""

import asyncio

import pytest

from sandbox_agent.storage import timeouts
from sandbox_agent.storage.sandbox.file_info import read_local
from sandbox_agent.storage.sandbox.files import SandboxFiles
from sandbox_link.protocol import OperationError

DIGEST = "0" * 64


class Clock:
    """Time that passes only when a test says so."""

    def __init__(self, loop):
        self.now, self.loop = loop.time(), loop
        loop.time = lambda: self.now

    async def advance(self, seconds):
        for _ in range(20):
            await asyncio.sleep(0)
        self.now += seconds
        for _ in range(20):
            await asyncio.sleep(0)


class Sandbox:
    """A runtime that answers with a digest when a test says so."""

    def __init__(self):
        self.asked = {}

    async def call(self, _op, arguments):
        answer = self.asked[arguments["path"]] = asyncio.get_running_loop().create_future()
        return await answer

    def answer(self, path):
        self.asked.pop(path).set_result({"sha256": DIGEST, "info": info(path)})


def info(path, size=1):
    return {"path": path, "type": "file", "size": size, "mode": 0o644, "mtime_ns": 1, "ctime_ns": 1, "ino": 1}


@pytest.fixture
async def clock():
    loop = asyncio.get_running_loop()
    yield Clock(loop)
    del loop.time


@pytest.fixture
def sandbox():
    return Sandbox()


@pytest.fixture
async def files(sandbox, clock):
    return SandboxFiles(sandbox)


def begin(files, path, size=1):
    return asyncio.create_task(files.hash(read_local(info(path, size), path)))


async def failures_of(tasks):
    found = await asyncio.gather(*tasks, return_exceptions=True)
    return [each.reason if isinstance(each, OperationError) else "" for each in found]


async def test_a_sandbox_that_answers_nothing_has_the_time_of_one_request(files, clock):
    tasks = [begin(files, f"f{number}") for number in range(16)]
    await clock.advance(timeouts.REQUEST_TIMEOUT - 1)
    assert not any(task.done() for task in tasks)
    await clock.advance(2)
    assert all(task.done() for task in tasks)
    assert await failures_of(tasks) == ["RUNTIME_UNAVAILABLE"] * 16


async def test_a_sandbox_that_answers_each_at_the_last_moment_does_not_go_on_for_long(files, clock, sandbox):
    started, count = clock.now, 0
    while clock.now < started + 10 * timeouts.REQUEST_TIMEOUT:
        task = begin(files, "small")
        await clock.advance(timeouts.REQUEST_TIMEOUT / 4)
        if task.done():
            break
        sandbox.answer("small")
        await task
        count += 1
    assert await failures_of([task]) == ["RUNTIME_UNAVAILABLE"]
    assert count <= 5


async def test_a_digest_may_wait_for_a_large_one_as_long_as_that_takes(files, clock, sandbox):
    size = 600 * timeouts._MIN_HASH_RATE
    large, small = begin(files, "large", size), begin(files, "small")
    await clock.advance(600)
    assert not large.done()
    assert not small.done()
    sandbox.answer("large")
    await large
    sandbox.answer("small")
    assert await small
    late = begin(files, "late")
    await clock.advance(timeouts.REQUEST_TIMEOUT + 1)
    assert await failures_of([late]) == ["RUNTIME_UNAVAILABLE"], "what the large one did not use is gone"


async def test_many_small_ones_take_as_long_as_they_must(files, clock, sandbox):
    for _ in range(100):
        tasks = [begin(files, f"f{number}") for number in range(16)]
        await clock.advance(1.5)
        for number in range(16):
            sandbox.answer(f"f{number}")
        assert await failures_of(tasks) == [""] * 16


async def test_a_file_of_any_claimed_size_has_the_longest_time_and_no_more(files, clock):
    task = begin(files, "huge", (1 << 63) - 1)
    await clock.advance(timeouts.HASH_TIMEOUT - 1)
    assert not task.done()
    await clock.advance(2)
    assert await failures_of([task]) == ["RUNTIME_UNAVAILABLE"]


async def test_time_in_which_nothing_was_asked_counts_for_the_sandbox(files, clock, sandbox):
    first = begin(files, "a")
    await clock.advance(timeouts.REQUEST_TIMEOUT - 10)
    sandbox.answer("a")
    await first
    await clock.advance(60)
    second = begin(files, "b")
    await clock.advance(65)
    assert not second.done()
    await clock.advance(10)
    assert await failures_of([second]) == ["RUNTIME_UNAVAILABLE"]
