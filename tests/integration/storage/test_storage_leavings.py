"""A push was interrupted, and others store files under its names before the next one: nobody's version is lost."""

from __future__ import annotations

import contextlib
import json

import pytest

from sandbox_agent.link.calls import OperationError
from sandbox_agent.storage.knowledge import CONFLICT
from sandbox_agent.storage.object_store import PART_SIZE, PreconditionFailedError, StorageUnavailableError
from sandbox_agent.storage.s3_store import S3Store

PREFIX = "clusters/t1/work/"
FILES = PREFIX + "code-interpreter/"
HEAD = PREFIX + ".workspace/HEAD"
NAMES = ("replaced", "added")


def contents(sandbox):
    return {path: entry[2] for path, entry in sandbox.tree().items()}


async def stored(store):
    found = {}
    async for page in store.pages(FILES):
        for info in page:
            async with store.get(info.key) as reading:
                found[info.key.removeprefix(FILES)] = b"".join([chunk async for chunk in reading.chunks])
    return found


@pytest.fixture
async def interrupted(new_sandbox):
    """A sandbox whose push has uploaded all its files and was cut off before its commit."""
    sandbox = new_sandbox()
    for name in ("replaced", "taken back", "same"):
        sandbox.write(name, f"old {name}".encode())
    await sandbox.push()
    for name in ("replaced", "taken back", "added", "dropped"):
        sandbox.write(name, f"new {name}".encode())
    uploads = 4
    # HEAD's claim is a put, too.
    sandbox.store.fail_after(1 + uploads, only="put")
    with pytest.raises(OperationError):
        await sandbox.push()
    sandbox.store.heal()
    return sandbox


async def test_a_push_after_an_interrupted_one_replaces_nothing_that_others_stored_since(interrupted, new_store):
    store = new_store()
    assert (await stored(store))["added"] == b"new added", "the push has uploaded it"
    for name in NAMES:
        await store.put(FILES + name, b"theirs")
    done = await interrupted.push()
    assert sorted((each.path, each.reason) for each in done.failed) == [(name, CONFLICT) for name in sorted(NAMES)]
    theirs = dict.fromkeys(NAMES, b"theirs")
    assert await stored(store) == {
        "same": b"old same", "taken back": b"new taken back", "dropped": b"new dropped", **theirs
    }  # fmt: skip
    assert contents(interrupted)["added"] == b"new added"


async def test_what_an_interrupted_push_uploaded_is_replaced_by_the_next_one(interrupted, new_store):
    interrupted.write("added", b"newer")
    interrupted.write("replaced", b"newer, too")
    assert list((await interrupted.push()).failed) == []
    assert (await stored(new_store()))["added"] == b"newer"
    assert await stored(new_store()) == contents(interrupted)


async def test_a_push_that_takes_an_interrupted_one_back_leaves_what_others_stored_since(interrupted, new_store):
    store = new_store()
    await store.put(FILES + "added", b"theirs")
    await store.put(FILES + "taken back", b"theirs")
    interrupted.write("taken back", b"old taken back")
    for name in ("added", "dropped"):
        (interrupted.root / name).unlink()
    await interrupted.push()
    found = await stored(store)
    assert (found["added"], found["taken back"]) == (b"theirs", b"theirs")
    assert "dropped" not in found
    await interrupted.workspace.refresh()
    assert contents(interrupted)["added"] == b"theirs"


async def test_a_restore_after_an_interrupted_push_brings_what_others_stored_since(
    interrupted, new_store, new_sandbox, monkeypatch
):
    monkeypatch.setattr("sandbox_agent.storage.generations.LEASE", -1.0)
    store = new_store()
    for name in NAMES:
        await store.put(FILES + name, b"theirs")
    heir = new_sandbox("pod-b")
    await heir.restore()
    expected = {"replaced": b"theirs", "added": b"theirs", "same": b"old same", "taken back": b"old taken back"}
    assert contents(heir) == expected
    heir.write("mine", b"1")
    assert list((await heir.push()).failed) == []
    assert await stored(store) == {**expected, "mine": b"1"}


async def test_others_who_store_files_between_one_interrupted_push_and_the_next_keep_them(interrupted, new_store):
    store = new_store()
    await store.put(FILES + "added", b"theirs")
    for calls in range(2, 12, 3):
        interrupted.store.fail_after(calls)
        with contextlib.suppress(OperationError):
            await interrupted.push()
        interrupted.store.heal()
        assert (await stored(store))["added"] == b"theirs", f"after {calls} calls"
    done = await interrupted.push()
    assert [each.path for each in done.failed] == ["added"]
    assert (await stored(store))["added"] == b"theirs"


async def test_an_upload_that_was_made_twice_is_undone_by_a_crash_like_any_other(new_sandbox):
    """Its answer was lost, and the client's second try met its own object."""
    sandbox = new_sandbox()
    for name in ("f", "g"):
        sandbox.write(name, b"old")
    await sandbox.push()
    old = sandbox.tree()
    for name in ("f", "g"):
        sandbox.write(name, b"new content")
    put, keys = sandbox.store.put, []

    async def put_twice(key, body, **options):
        if key == HEAD and json.loads(body)["generation"] == 2:
            raise StorageUnavailableError("crash")
        keys.append(key)
        etag = await put(key, body, **options)
        if key == FILES + "f":
            raise PreconditionFailedError(key)
        return etag

    sandbox.store.put = put_twice
    with pytest.raises(OperationError):
        await sandbox.push()
    sandbox.store.put = put
    assert FILES + "f" in keys
    fresh = new_sandbox("pod-b")
    await fresh.restore()
    assert fresh.tree() == old
    assert list((await sandbox.push()).failed) == []
    await fresh.restore()
    assert fresh.tree() == sandbox.tree()


async def test_a_push_marks_what_it_uploads(new_sandbox, new_store, tmp_path):
    sandbox, store = new_sandbox(), new_store()
    sandbox.write("small", b"1")
    sandbox.write("small, too", b"2")
    sandbox.write("large", b"x" * (PART_SIZE + 1))
    await sandbox.push()
    for name in ("small", "small, too", "large"):
        assert (await store.stat(FILES + name)).push == 1
    assert (await store.stat(PREFIX + ".workspace/HEAD")).push == 0
    if isinstance(store, S3Store):
        return
    # Another program that writes into the same file leaves its attributes alone.
    (tmp_path / "bucket" / FILES / "small").write_bytes(b"theirs")
    assert (await store.stat(FILES + "small")).push == 0
