"""R19: what others put into the workspace's prefix is in the sandbox before the next call, replaced files too."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace

import pytest

from sandbox_agent.storage.backends.directory.store import DirectoryStore
from sandbox_agent.storage.restore.remote_changes import RemoteChanges
from tests.integration.storage.conftest import contents

FILES = "clusters/t1/work/code-interpreter/"


async def next_call(sandbox):
    """What the agent does before each client call."""
    if not sandbox.workspace.is_fresh():
        await sandbox.workspace.refresh_if_stale()


@pytest.fixture
async def one(new_sandbox):
    sandbox = new_sandbox()
    sandbox.write("f", b"mine")
    await sandbox.push()
    await next_call(sandbox)
    yield sandbox
    await sandbox.workspace._remote_changes.close()


async def test_r19_what_others_put_there_is_in_the_sandbox_before_the_next_call(one, new_store):
    store = new_store()
    await store.put(FILES + "new folder/a.csv", b"1,2")
    await next_call(one)
    assert contents(one) == {"f": b"mine", "new folder/a.csv": b"1,2"}

    await store.put(FILES + "f", b"theirs")
    await store.put(FILES + "new folder/a.csv", b"3,4")
    await store.put(FILES + "new folder/b.csv", b"5")
    await next_call(one)
    assert contents(one) == {"f": b"theirs", "new folder/a.csv": b"3,4", "new folder/b.csv": b"5"}
    assert (await one.push()).files_moved == 0, "it is stored already"


async def test_r19_what_another_session_saved_is_there_before_the_next_call_and_both_may_push(one, new_sandbox):
    other = new_sandbox("pod-b")
    await other.restore()
    other.write("g", b"of the other")
    (other.root / "link").symlink_to("g")
    await other.push()
    await next_call(one)
    assert one.tree()["link"] == ("symlink", "g")
    one.write("h", b"of one")
    assert list((await one.push()).failed) == []
    await next_call(other)
    assert other.tree() == one.tree()


async def test_r19_a_file_that_changed_here_too_stays_and_the_conflict_is_told(one, new_store):
    await new_store().put(FILES + "f", b"theirs")
    await new_store().put(FILES + "unsaved", b"theirs")
    one.write("f", b"mine, changed")
    one.write("unsaved", b"mine")
    await next_call(one)
    assert contents(one) == {"f": b"mine, changed", "unsaved": b"mine"}
    assert list((await one.workspace.status()).conflicts) == ["f", "unsaved"]


async def test_where_nothing_is_new_a_call_costs_one_look_and_touches_no_file(one):
    await next_call(one)
    one.store.log.clear()
    one.runtime.calls.clear()
    await next_call(one)
    assert one.runtime.calls == []
    if isinstance(one.store._store, DirectoryStore):
        assert one.store.log == [], "a folder tells by itself that nothing happened"
    else:
        assert one.store.log == [("pages", "clusters/t1/work/")]


async def test_our_own_push_is_no_news(one):
    one.write("g", b"new")
    await one.push()
    one.runtime.calls.clear()
    await next_call(one)
    await next_call(one)
    assert one.runtime.calls == []


async def test_a_storage_that_fails_breaks_no_call_and_is_left_alone_for_a_while(one, new_store):
    await new_store().put(FILES + "late", b"1")
    one.store.fail_after(0)
    await next_call(one)
    assert one.workspace.is_fresh(), "the next call does not wait for it again"
    assert "could not check" in (await one.workspace.status()).last_error
    one.store.heal()
    one.workspace._remote_changes._valid_until = 0.0
    await next_call(one)
    assert contents(one) == {"f": b"mine", "late": b"1"}
    assert (await one.workspace.status()).last_error == ""


async def push_as_a_call(sandbox):
    """As the agent answers Push."""
    done = [step.done async for step in sandbox.workspace.push(follow=True) if step.WhichOneof("event") == "done"]
    return done[0]


async def test_a_push_looks_at_no_file_but_its_own_and_the_next_call_brings_the_others(one, new_store):
    await new_store().put(FILES + "theirs", b"theirs")
    one.write("g", b"new")
    one.store.log.clear()
    assert (await push_as_a_call(one)).files_moved == 1
    assert "pages" not in [name for name, _ in one.store.log]
    await next_call(one)
    assert contents(one) == {"f": b"mine", "g": b"new", "theirs": b"theirs"}


async def test_a_push_without_a_look_replaces_nothing_that_others_stored(one, new_store):
    store = new_store()
    await store.put(FILES + "f", b"theirs")
    await store.put(FILES + "g", b"theirs too")
    one.write("f", b"mine, changed")
    one.write("g", b"mine, new")
    assert [failure.path for failure in (await push_as_a_call(one)).failed] == ["f", "g"]
    for name, content in (("f", b"theirs"), ("g", b"theirs too")):
        async with store.get(FILES + name) as stored:
            assert b"".join([chunk async for chunk in stored.chunks]) == content
    assert contents(one) == {"f": b"mine, changed", "g": b"mine, new"}


async def test_a_push_first_brings_what_another_session_saved(one, new_sandbox):
    other = new_sandbox("pod-b")
    await other.restore()
    other.write("g", b"of the other")
    await other.push()
    one.write("h", b"of one")
    done = await push_as_a_call(one)
    assert (done.generation, list(done.failed)) == (3, [])
    assert contents(one) == {"f": b"mine", "g": b"of the other", "h": b"of one"}


async def test_a_call_does_not_wait_for_a_push_that_uploads_its_own_files(one, new_store):
    one.write("big", b"x" * 100)
    uploaded, may_go_on = asyncio.Event(), asyncio.Event()
    put = one.store.put

    async def slow_put(key, body, **conditions):
        etag = await put(key, body, **conditions)
        if key == FILES + "big":
            uploaded.set()
            await may_go_on.wait()
        return etag

    one.store.put = slow_put
    push = asyncio.create_task(one.push())
    await uploaded.wait()
    await next_call(one)
    assert not push.done()
    may_go_on.set()
    assert (await push).files_moved == 1


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def remote_changes(check, fetch, clock=time.monotonic):
    """RemoteChanges whose checks are the test's."""
    store = SimpleNamespace(is_unchanged=lambda prefix: False)
    context = SimpleNamespace(store=store, keys=SimpleNamespace(prefix=""))
    changes = RemoteChanges(context, None, None, fetch, monotonic=clock)
    changes._check = check
    return changes


async def test_calls_share_a_look_that_began_after_them_and_no_other():
    looks, gates, has_begun = [], [asyncio.Event() for _ in range(3)], asyncio.Event()

    async def look():
        looks.append(len(looks))
        has_begun.set()
        await gates[looks[-1]].wait()
        return False, False

    async def bring():
        raise AssertionError("there is no news")

    changes = remote_changes(look, bring)
    calls = []
    for _ in range(2):
        assert not changes.is_fresh()
        calls.append(asyncio.create_task(changes.refresh_if_stale()))
    await has_begun.wait()
    assert not changes.is_fresh()  # it comes while the first look is under way
    late = asyncio.create_task(changes.refresh_if_stale())
    await asyncio.sleep(0)
    gates[0].set()
    await asyncio.gather(*calls)
    assert not late.done(), "what was stored since the first look began is not in it"
    gates[1].set()
    await late
    assert looks == [0, 1]
    await changes.close()


@pytest.mark.parametrize(("is_costly", "good_for"), [(False, 0.0), (True, 8.0)])
async def test_a_costly_look_is_good_for_some_time(is_costly, good_for):
    clock = Clock()

    async def look():
        clock.now += 2.0
        return is_costly, False

    async def bring():
        raise AssertionError("there is no news")

    changes = remote_changes(look, bring, clock)
    assert not changes.is_fresh()
    await changes.refresh_if_stale()
    if good_for:
        clock.now += good_for - 0.1
        assert changes.is_fresh()
        clock.now += 0.2
    assert not changes.is_fresh()
    await changes.close()
