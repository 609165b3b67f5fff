"""What goes on behind the answer of a push: copies and old manifests are removed, and nothing that anybody needs."""

from __future__ import annotations

import asyncio
import json

import pytest

from sandbox_agent.storage.errors import StorageUnavailableError
from sandbox_link.protocol import OperationError
from tests.integration.storage.conftest import contents

MANIFEST = pytest.mark.parametrize("most", [256, 0], ids=["changes in HEAD", "a manifest"])
BOOKKEEPING = [".workspace/HEAD", ".workspace/manifest-0000000001.json"]


async def bookkeeping(sandbox):
    return [key for key in await sandbox.keys() if key.startswith(".workspace/")]


@pytest.fixture
async def one(new_sandbox):
    """Has pushed a first generation, and changed the file since."""
    sandbox = new_sandbox()
    sandbox.write("f", b"old")
    await sandbox.push()
    sandbox.write("f", b"new content")
    return sandbox


@pytest.fixture
def removal(one, monkeypatch):
    """No object is deleted before this is set."""
    gate = asyncio.Event()
    delete_many = one.store.delete_many

    async def delete_late(keys):
        if keys:
            await gate.wait()
        await delete_many(keys)

    monkeypatch.setattr(one.store, "delete_many", delete_late)
    return gate


async def has_ended(task) -> bool:
    """Whether it ends without what it may have to wait for."""
    await asyncio.wait({task}, timeout=0.3)
    return task.done()


async def test_a_push_is_answered_before_anything_is_removed_and_is_whole(one, removal, new_sandbox):
    async with asyncio.timeout(30):
        assert (await one.push()).generation == 2
    fresh = new_sandbox("pod-b")
    assert list((await fresh.restore()).failed) == []
    assert contents(fresh) == {"f": b"new content"}
    fresh.write("g", b"by another, at once")
    assert (await fresh.push()).generation == 3, "no claim is left behind an answer"
    removal.set()
    assert await bookkeeping(one) == BOOKKEEPING


async def test_the_next_push_waits_for_the_removal_behind_the_last_one(one, removal):
    await one.push()
    one.write("f", b"newer")
    one.store.log.clear()
    following = asyncio.create_task(one.push())
    assert not await has_ended(following)
    assert "put" not in {name for name, _ in one.store.log}, "nothing is claimed yet"
    removal.set()
    assert (await following).generation == 3
    assert await bookkeeping(one) == BOOKKEEPING


@pytest.mark.parametrize("end", ["a drain", "a drain behind a push", "the agent's end"])
async def test_the_end_waits_for_the_removal_behind_the_last_push(one, removal, end):
    if end != "a drain":
        await one.push()
    ending = one.workspace.close() if end == "the agent's end" else one.workspace.push_last("s1")
    task = asyncio.create_task(ending)
    assert not await has_ended(task)
    removal.set()
    await task
    assert [key for name, key in one.store.log if name == "delete_many" and "previous/" in key] != []


async def test_the_end_does_not_wait_for_ever(one, removal, monkeypatch):
    monkeypatch.setattr("sandbox_agent.storage.repository.prune.CLOSE_TIMEOUT", 0.05)
    await one.push()
    async with asyncio.timeout(30):
        await one.workspace.close()


@MANIFEST
async def test_what_a_dead_agent_left_is_removed_by_a_push_that_saves_nothing(one, new_sandbox, most, monkeypatch):
    """It died between the answer and the removal."""
    monkeypatch.setattr("sandbox_agent.storage.repository.delta.MAX_PATHS", most)
    one.store.fail_after(0, only="delete_many")
    assert (await one.push()).generation == 2
    assert len(await bookkeeping(one)) == (3 if most else 4)
    heir = new_sandbox("pod-b")
    await heir.restore()
    assert (await heir.push()).generation == 2
    expected = BOOKKEEPING if most else [BOOKKEEPING[0], ".workspace/manifest-0000000002.json"]
    assert await bookkeeping(heir) == expected
    heir.store.log.clear()
    await heir.push()
    await heir.workspace.wait_for_pruning()
    assert [name for name, _ in heir.store.log] == ["get"], "it knows now that nothing is left"


@MANIFEST
@pytest.mark.parametrize("through", [True, False], ids=["whose push ends well", "that crashes"])
async def test_a_removal_leaves_what_the_next_writer_needs(one, new_sandbox, most, through, monkeypatch):
    """Its listing comes late, when another session has claimed the next generation already."""
    monkeypatch.setattr("sandbox_agent.storage.repository.delta.MAX_PATHS", most)
    await one.push()
    await one.workspace.wait_for_pruning()
    other = new_sandbox("pod-b")
    await other.restore()
    other.write("f", b"of the other")
    pruner, put, heads = one.workspace._context.repository.pruner, other.store.put, []

    async def put_amid_a_removal(key, body, **conditions):
        heads.extend([key] if key.endswith("/HEAD") else [])
        if len(heads) == 2:  # its commit: all that it needs is there
            state = await one.workspace._context.repository.read_head()
            assert state.head.lock.generation == 3
            await pruner.prune(state.head, state.head.generation)
            if not through:
                raise StorageUnavailableError("crash")
        return await put(key, body, **conditions)

    monkeypatch.setattr(other.store, "put", put_amid_a_removal)
    if through:
        assert (await other.push()).generation == 3
    else:
        with pytest.raises(OperationError):
            await other.push()
    fresh = new_sandbox("pod-c")
    assert list((await fresh.restore()).failed) == []
    assert contents(fresh) == {"f": b"of the other" if through else b"new content"}


async def test_an_interrupted_push_of_an_older_version_is_undone(one, new_store, new_sandbox):
    """Its copies have no generation in their names, and its HEAD no changes."""
    prefix, store = "clusters/t1/work/", new_store()
    repository = one.workspace._context.repository
    state = await repository.read_head()
    (entry,) = (await repository.read_manifest(state.head)).files
    await store.copy(await one.manifest_key(), f"{prefix}.workspace/manifest-0000000001.json")
    await store.delete_many([await one.manifest_key()])
    await store.copy(f"{prefix}code-interpreter/f", f"{prefix}.workspace/previous/{entry.sha256}")
    await store.put(f"{prefix}code-interpreter/f", b"half of a push")
    pushing = {"generation": 2, "writer": "pod-a", "since": ""}
    head = {
        "version": 1,
        "generation": 1,
        "manifest": "manifest-0000000001.json",
        "writer": "pod-a",
        "committed_at": state.head.committed_at,
        "pushing": {**pushing, "undo": {"f": {"sha256": entry.sha256, "etag": entry.etag}}},
        "removed": {},
    }
    await store.put(f"{prefix}.workspace/HEAD", json.dumps(head).encode())
    fresh = new_sandbox("pod-b")
    assert list((await fresh.restore()).failed) == []
    assert contents(fresh) == {"f": b"old"}
    assert (await one.push()).generation == 2
    assert await bookkeeping(one) == BOOKKEEPING
