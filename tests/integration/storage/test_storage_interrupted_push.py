"""A push was interrupted, and others store files under its names before the next one: nobody's version is lost."""

from __future__ import annotations

import asyncio
import contextlib
import json

import pytest

from sandbox_agent.storage.backends.object_store import PART_SIZE
from sandbox_agent.storage.backends.s3.store import S3Store
from sandbox_agent.storage.errors import PreconditionFailedError, StorageUnavailableError
from sandbox_agent.storage.push.conflicts import CONFLICT
from sandbox_link.protocol import OperationError
from tests.integration.storage.conftest import PREFIX, contents

FILES = PREFIX + "code-interpreter/"
HEAD = PREFIX + ".workspace/HEAD"
NAMES = ("replaced", "added")


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
    monkeypatch.setattr("sandbox_agent.storage.repository.repository.LOCK_EXPIRY", -1.0)
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
        keys.append(key)
        etag = await put(key, body, **options)
        if key == FILES + "f":
            raise PreconditionFailedError(key)
        return etag

    sandbox.store.put = put_twice
    with failing_commit(sandbox), pytest.raises(OperationError):
        await sandbox.push()
    sandbox.store.put = put
    assert FILES + "f" in keys
    fresh = new_sandbox("pod-b")
    await fresh.restore()
    assert fresh.tree() == old
    assert list((await sandbox.push()).failed) == []
    await fresh.restore()
    assert fresh.tree() == sandbox.tree()


@contextlib.contextmanager
def failing_commit(sandbox):
    """HEAD is claimed and never committed."""
    put = sandbox.store.put

    async def put_but_no_commit(key, body, **options):
        if key == HEAD and json.loads(body)["pushing"] is None:
            raise StorageUnavailableError("crash")
        return await put(key, body, **options)

    sandbox.store.put = put_but_no_commit
    yield
    sandbox.store.put = put


async def test_what_is_replaced_under_another_etag_is_kept_aside_too(new_sandbox, new_store):
    """Somebody wrote the same content anew, as a `touch` does in a folder."""
    sandbox = new_sandbox()
    sandbox.write("f", b"committed")
    await sandbox.push()
    await new_store().put(FILES + "f", b"committed")
    sandbox.write("f", b"not committed")
    with failing_commit(sandbox), pytest.raises(OperationError):
        await sandbox.push()
    fresh = new_sandbox("pod-b")
    await fresh.restore()
    assert contents(fresh) == {"f": b"committed"}
    sandbox.write("f", b"third")
    assert list((await sandbox.push()).failed) == []
    await new_store().put(FILES + "f", b"third")
    sandbox.write("f", b"fourth")
    assert list((await sandbox.push()).failed) == [], "the same content is no conflict"
    assert await stored(new_store()) == {"f": b"fourth"}


async def test_requests_of_an_interrupted_push_that_come_late_are_undone_or_replaced(new_sandbox, new_store):
    sandbox = new_sandbox()
    sandbox.write("reverted", b"old")
    await sandbox.push()
    for name in ("reverted", "removed", "changed", "same"):
        sandbox.write(name, f"new {name}".encode())
    put, late, all_sent = sandbox.store.put, [], asyncio.Event()

    async def put_late(key, body, **options):
        if not key.startswith(FILES):
            return await put(key, body, **options)
        late.append((key, b"".join([chunk async for chunk in body]), options))
        if len(late) == 4:
            all_sent.set()
        await all_sent.wait()
        raise StorageUnavailableError("no answer")

    sandbox.store.put = put_late
    with pytest.raises(OperationError):
        await sandbox.push()
    sandbox.write("reverted", b"old")
    sandbox.write("changed", b"newer")
    (sandbox.root / "removed").unlink()

    async def put_behind_them(key, body, **options):
        while key.startswith(FILES) and late:
            late_key, content, late_options = late.pop()
            with contextlib.suppress(PreconditionFailedError):
                await put(late_key, content, **late_options)
        return await put(key, body, **options)

    sandbox.store.put = put_behind_them
    assert list((await sandbox.push()).failed) == []
    assert late == []
    await sandbox.workspace.refresh()
    wanted = {"reverted": b"old", "changed": b"newer", "same": b"new same"}
    assert contents(sandbox) == wanted
    assert await stored(new_store()) == wanted


async def test_an_agent_that_goes_on_after_its_claim_was_taken_over_loses_no_committed_file(new_sandbox):
    """It copies aside and replaces while the next agent of its session looks at what it left."""
    before = new_sandbox()
    before.write("f", b"committed")
    await before.push()
    after = new_sandbox()
    await after.restore()
    before.write("f", b"not committed")
    after.write("mine", b"1")
    copy, has_claimed, may_go_on = before.store.copy, asyncio.Event(), asyncio.Event()

    async def copy_later(*arguments, **options):
        has_claimed.set()
        await may_go_on.wait()
        return await copy(*arguments, **options)

    before.store.copy = copy_later
    pushing = asyncio.create_task(before.push())
    await has_claimed.wait()
    repository = after.workspace._context.repository
    looks = {name: getattr(repository, name) for name in ("list_all", "list_backups")}

    def going_on_behind(name):
        async def look(*arguments):
            seen = await looks[name](*arguments)
            may_go_on.set()
            with contextlib.suppress(OperationError):
                await pushing
            return seen

        return look

    for name in looks:
        setattr(repository, name, going_on_behind(name))
    await after.push()
    fresh = new_sandbox("pod-c")
    await fresh.restore()
    assert contents(fresh) == {"f": b"committed", "mine": b"1"}


async def test_what_somebody_deleted_amid_an_interrupted_push_stays_deleted(
    interrupted, new_store, new_sandbox, monkeypatch
):
    monkeypatch.setattr("sandbox_agent.storage.repository.repository.LOCK_EXPIRY", -1.0)
    await new_store().delete_many([FILES + "replaced"])
    heir = new_sandbox("pod-b")
    await heir.restore()
    assert contents(heir).keys() == {"same", "taken back"}
    heir.write("mine", b"1")
    await heir.push()
    assert (await stored(new_store())).keys() == {"same", "taken back", "mine"}


async def test_a_copy_of_another_key_has_nobodys_mark(interrupted, new_store):
    store = new_store()
    elsewhere = "clusters/t1/other/code-interpreter/x"
    await store.put(elsewhere, b"theirs", writer_tag=2)
    for name in NAMES:
        await store.copy(elsewhere, FILES + name)
    await interrupted.push()
    found = await stored(store)
    assert [found[name] for name in NAMES] == [b"theirs", b"theirs"]


async def test_an_interrupted_push_without_marks_is_undone_also_after_one_with_marks(
    interrupted, new_store, new_sandbox, monkeypatch
):
    """An agent of before had no marks; the next one's push is cut off behind its claim."""
    monkeypatch.setattr("sandbox_agent.storage.repository.repository.LOCK_EXPIRY", -1.0)
    store = new_store()
    async with store.get(HEAD) as reading:
        head = json.loads(b"".join([chunk async for chunk in reading.chunks]))
    del head["pushing"]["marked"]
    await store.put(HEAD, json.dumps(head).encode())
    for name in ("replaced", "taken back", "added", "dropped"):
        await store.put(FILES + name, f"new {name}".encode())
    heir = new_sandbox("pod-b")
    await heir.restore()
    heir.write("mine", b"1")
    heir.store.fail_after(1, only="put")
    with pytest.raises(OperationError):
        await heir.push()
    fresh = new_sandbox("pod-c")
    await fresh.restore()
    assert contents(fresh) == {name: f"old {name}".encode() for name in ("replaced", "taken back", "same")}


async def test_in_a_store_that_keeps_no_marks_an_interrupted_push_is_undone_all_the_same(new_sandbox):
    sandbox = new_sandbox()
    put = sandbox.store.put

    async def put_without_mark(key, body, *, writer_tag=0, **options):
        return await put(key, body, **options)

    sandbox.store.put = put_without_mark
    sandbox.write("f", b"old")
    await sandbox.push()
    sandbox.write("f", b"new")
    sandbox.write("added", b"new")
    with failing_commit(sandbox), pytest.raises(OperationError):
        await sandbox.push()
    fresh = new_sandbox("pod-b")
    await fresh.restore()
    assert contents(fresh) == {"f": b"old"}
    sandbox.write("f", b"newer")
    sandbox.write("added", b"newer")
    assert list((await sandbox.push()).failed) == []


async def test_a_push_marks_what_it_uploads(new_sandbox, new_store, tmp_path):
    sandbox, store = new_sandbox(), new_store()
    sandbox.write("small", b"1")
    sandbox.write("small, too", b"2")
    sandbox.write("large", b"x" * (PART_SIZE + 1))
    await sandbox.push()
    for name in ("small", "small, too", "large"):
        assert (await store.stat(FILES + name)).writer_tag == 1
    assert (await store.stat(HEAD)).writer_tag, "it tells that this store keeps marks"
    if isinstance(store, S3Store):
        return
    # Another program that writes into the same file leaves its attributes alone.
    (tmp_path / "bucket" / FILES / "small").write_bytes(b"theirs")
    assert (await store.stat(FILES + "small")).writer_tag == 0
