"""Saving on change: bursts become one push, failures are tried again, and what cannot be watched is looked through."""

import asyncio
import contextlib

import pytest

from sandbox_agent.storage.autosave import AutoSave, AutoSavePolicy
from sandbox_link.protocol import Event, OperationError
from sandbox_proto import tracing
from tests.support.recording import recorded

QUICK = AutoSavePolicy(quiet=0.01, max_delay=0.05, min_retry=0.01, max_retry=0.02, poll=0.01)


class WatchingRuntime:
    """Tells what the test puts into `events`; an error ends the watch."""

    runtime_id = "r1"

    def __init__(self):
        self.events = asyncio.Queue()
        self.opened = []

    async def open(self, op, arguments):
        self.opened.append((op, arguments))
        return self

    async def end(self):
        pass

    async def cancel(self):
        pass

    def __aiter__(self):
        return self

    async def __anext__(self):
        item = await self.events.get()
        if isinstance(item, Exception):
            raise item
        return Event({"type": item})


class Store:
    """Counts pushes; fails as often as it is told to."""

    def __init__(self):
        self.pushes = 0
        self.failing = 0
        self.pushed = asyncio.Condition()

    async def push(self):
        async with self.pushed:
            self.pushes += 1
            self.pushed.notify_all()
        if self.failing:
            self.failing -= 1
            raise OperationError("UNAVAILABLE", "STORAGE_UNAVAILABLE", "down")
        return True

    async def until(self, count):
        async with self.pushed:
            await self.pushed.wait_for(lambda: self.pushes >= count)


@pytest.fixture
async def world():
    runtime, store, restored = WatchingRuntime(), Store(), asyncio.Event()

    @contextlib.asynccontextmanager
    async def begin(policy=QUICK):
        saving = AutoSave(runtime, ["node_modules"], restored.wait, store.push, policy)
        saving.start()
        yield saving
        await saving.stop()

    return runtime, store, restored, begin


async def test_a_save_is_no_part_of_the_trace_of_the_call_that_began_the_saving(world):
    _, store, restored, _ = world
    within = []

    async def push():
        within.append(tracing.is_within())
        return await store.push()

    with recorded(), tracing.span("bind"):
        assert tracing.is_within()
        saving = AutoSave(WatchingRuntime(), [], restored.wait, push, QUICK)
        saving.start()
        saving.note_change()
        restored.set()
        await store.until(1)
        await saving.stop()
    assert within == [False]


async def test_nothing_is_saved_before_the_restore_and_then_what_is_there_is(world):
    runtime, store, restored, begin = world
    runtime.events.put_nowait("watching")
    async with begin():
        await asyncio.sleep(0)
        assert (runtime.opened, store.pushes) == ([], 0)
        restored.set()
        await store.until(1)
        assert runtime.opened == [("workspace.watch", {"exclude": ["node_modules"]})]


async def test_a_burst_is_one_push_and_an_endless_one_is_saved_in_between(world):
    runtime, store, restored, begin = world
    restored.set()
    async with begin(AutoSavePolicy(quiet=0.05, max_delay=0.2)) as saving:
        for _ in range(50):
            runtime.events.put_nowait("changed")
        await store.until(1)
        assert store.pushes == 1

        async def go_on():
            while True:
                saving.note_change()
                await asyncio.sleep(0.01)

        endless = asyncio.create_task(go_on())
        await store.until(3)
        endless.cancel()


async def test_a_push_that_fails_is_tried_again_and_the_lag_is_told_until_one_works(world):
    runtime, store, restored, begin = world
    restored.set()
    store.failing = 2
    async with begin() as saving:
        runtime.events.put_nowait("changed")
        await store.until(1)
        assert saving.lag > 0
        await store.until(3)
        runtime.events.put_nowait("changed")
        await store.until(4)  # the third has ended by then
        assert saving.failures == 2
        assert saving.pushes >= 1


@pytest.mark.parametrize("code", ["RESOURCE_EXHAUSTED", "UNAVAILABLE"])
async def test_a_watch_that_ends_or_cannot_be_is_begun_again_and_missed_changes_are_looked_for(world, code):
    runtime, store, restored, begin = world
    restored.set()
    async with begin():
        for count in (1, 2, 3):
            runtime.events.put_nowait(OperationError(code, "TOO_MANY_FILES", "too many folders"))
            await store.until(count)
        assert len(runtime.opened) >= 3


async def test_after_a_stop_nothing_is_saved_until_it_goes_on(world):
    runtime, store, restored, begin = world
    restored.set()
    async with begin() as saving:
        runtime.events.put_nowait("changed")
        await store.until(1)
        await saving.stop()
        pushes = store.pushes
        saving.note_change()
        assert store.pushes == pushes
        saving.start()
        await store.until(pushes + 1)
