"""Others who write to the same bucket: other sandboxes, other tools, and what is poisoned."""

from __future__ import annotations

import asyncio
import contextlib
import json

import pytest

from sandbox_agent.storage.backends.s3.store import S3Store
from sandbox_agent.storage.errors import AccessDeniedError, StorageUnavailableError
from sandbox_link.protocol import OperationError
from sandbox_testing.store import Fault
from tests.integration.storage.conftest import contents

FILES = "clusters/t1/work/code-interpreter/"
HEAD = "clusters/t1/work/.workspace/HEAD"
CONFLICT = ("ABORTED", "WORKSPACE_CONFLICT")


async def expect_error(awaitable):
    with pytest.raises(OperationError) as caught:
        await awaitable
    return caught.value.code, caught.value.reason


async def test_what_another_tool_adds_or_replaces_is_seen_after_a_restore(new_sandbox, new_store):
    one = new_sandbox()
    one.write("f", b"mine")
    one.write("g", b"mine")
    await one.push()
    store = new_store()
    await store.put(FILES + "f", b"theirs, and longer")
    await store.put(FILES + "added/by hand.csv", b"a,b")
    if isinstance(store, S3Store):
        await store.put(FILES + "folder/", b"")  # how consoles show a folder

    fresh = new_sandbox("pod-b")
    done = await fresh.restore()
    assert list(done.failed) == []
    assert contents(fresh) == {"f": b"theirs, and longer", "g": b"mine", "added/by hand.csv": b"a,b"}
    assert (await one.restore()).files_restored == 2
    assert contents(one) == contents(fresh)
    assert (await one.push()).generation == 1, "nothing here is new"


async def test_an_agent_that_restarts_never_replaces_unseen_what_another_writer_saved_meanwhile(new_sandbox):
    one = new_sandbox("pod-a")
    one.write("f", b"mine")
    await one.push()
    other = new_sandbox("pod-b")
    await other.restore()
    other.write("f", b"theirs")
    await other.push()

    restarted = new_sandbox("pod-a", root=one.root)
    restarted.write("f", b"mine, changed")
    assert (await restarted.workspace.status()).dirty
    assert await expect_error(restarted.push()) == CONFLICT
    fresh = new_sandbox("pod-c")
    await fresh.restore()
    assert contents(fresh) == {"f": b"theirs"}
    await restarted.restore()
    restarted.write("f", b"mine, after all")
    assert (await restarted.push()).generation == 3


async def test_an_agent_that_restarts_goes_on_where_it_was_and_sees_what_was_removed(new_sandbox):
    one = new_sandbox("pod-a")
    one.write("f", b"mine")
    one.write("g", b"mine")
    await one.push()
    heir = new_sandbox("pod-b")
    await heir.restore()

    restarted = new_sandbox("pod-b", root=heir.root)
    (restarted.root / "g").unlink()
    assert (await restarted.push()).generation == 2
    fresh = new_sandbox("pod-c")
    await fresh.restore()
    assert contents(fresh) == {"f": b"mine"}


async def test_what_another_tool_added_is_replaced_and_removed_like_any_other_file(new_sandbox, new_store):
    one = new_sandbox()
    one.write("f", b"mine")
    await one.push()
    store = new_store()
    await store.put(FILES + "a", b"theirs")
    await store.put(FILES + "b", b"theirs")
    await one.restore()
    one.write("a", b"changed")
    (one.root / "b").unlink()
    assert (await one.push()).generation == 2
    fresh = new_sandbox("pod-b")
    await fresh.restore()
    assert contents(fresh) == {"f": b"mine", "a": b"changed"}


async def test_what_another_tool_added_is_in_the_next_generation_too(new_sandbox, new_store):
    one = new_sandbox()
    one.write("f", b"mine")
    await one.push()
    await new_store().put(FILES + "added", b"theirs")
    await one.workspace.refresh()
    one.write("f", b"mine, changed")
    await one.push()
    repository = one.workspace._context.repository
    state = await repository.read_head()
    manifest = await repository.read_manifest(state.head)
    assert [entry.path for entry in manifest.files] == ["added", "f"]
    assert all(entry.sha256 for entry in manifest.files)


async def test_a_push_that_is_cut_off_leaves_what_another_tool_had_put_there(new_sandbox, new_store, stride):
    """Replaced in storage after the last restore, and changed in the sandbox too."""
    store = new_store()
    for number in range(3, 30, stride):
        prefix = f"c{number}/"
        one = new_sandbox(prefix=prefix)
        one.write("f", b"mine")
        one.write("gone", b"mine")
        await one.push()
        await store.put(f"{prefix}code-interpreter/f", b"theirs, longer")
        await store.delete_many([f"{prefix}code-interpreter/gone"])
        one.write("f", b"mine, changed")
        one.write("gone", b"here again")
        one.store.fail_after(number, Fault.AFTER)
        try:
            await one.push()
        except OperationError:
            through = False
        else:
            through = True
        one.store.heal()
        fresh = new_sandbox("pod-b", prefix=prefix)
        await fresh.restore()
        # Neither the push nor the crash replaces what the other tool put there.
        assert contents(fresh) in ({"f": b"theirs, longer"}, {"f": b"theirs, longer", "gone": b"here again"})
        if through:
            break
    assert through


async def test_what_another_tool_had_put_there_stays_after_a_crash_too(new_sandbox, new_store, monkeypatch):
    one = new_sandbox()
    one.write("f", b"mine")
    await one.push()
    await new_store().put(FILES + "f", b"theirs")
    one.write("f", b"mine, changed")
    put, keys = one.store.put, []

    async def put_and_crash(key, body, **options):
        keys.append(key)
        # The push has told by then that it is theirs which a crash has to bring back.
        if key == HEAD and keys.count(HEAD) == 3:
            raise StorageUnavailableError("crash")
        return await put(key, body, **options)

    monkeypatch.setattr(one.store, "put", put_and_crash)
    assert await expect_error(one.push()) == ("UNAVAILABLE", "STORAGE_UNAVAILABLE")
    await expect_theirs(new_sandbox)
    assert [each.path for each in (await one.push()).failed] == ["f"]
    assert FILES + "f" not in keys
    await expect_theirs(new_sandbox)


async def expect_theirs(new_sandbox):
    fresh = new_sandbox("pod-b")
    assert list((await fresh.restore()).failed) == []
    assert contents(fresh) == {"f": b"theirs"}


async def test_a_file_that_somebody_deleted_in_storage_is_not_restored(new_sandbox, new_store):
    one = new_sandbox()
    one.write("f", b"1")
    one.write("g", b"2")
    await one.push()
    await new_store().delete_many([FILES + "f"])
    fresh = new_sandbox("pod-b")
    assert list((await fresh.restore()).failed) == []
    assert contents(fresh) == {"g": b"2"}


async def test_fault_33_of_two_writers_one_gets_a_conflict_and_nothing_is_touched(new_sandbox):
    """One push succeeds; the other gets WORKSPACE_CONFLICT and has changed nothing."""
    one, other = new_sandbox("pod-a"), new_sandbox("pod-b")
    one.write("f", b"base")
    await one.push()
    await other.restore()
    one.write("f", b"of one")
    other.write("f", b"of the other")
    await one.push()

    assert await expect_error(other.push()) == CONFLICT
    status = await other.workspace.status()
    assert (status.dirty, status.generation) == (True, 1)
    assert "restore first" in status.last_error
    fresh = new_sandbox("pod-c")
    await fresh.restore()
    assert contents(fresh) == {"f": b"of one"}

    await other.restore()
    other.write("f", b"after a restore")
    assert (await other.push()).generation == 3


async def test_a_push_that_is_under_way_keeps_other_writers_out_until_it_counts_as_dead(new_sandbox, monkeypatch):
    one, other = new_sandbox("pod-a"), new_sandbox("pod-b")
    one.write("f", b"base")
    await one.push()
    await other.restore()
    one.write("f", b"half way")
    one.store.fail_after(4)
    assert await expect_error(one.push()) == ("UNAVAILABLE", "STORAGE_UNAVAILABLE")
    other.write("g", b"other")
    with pytest.raises(
        OperationError, match=r"pod-a is pushing this workspace.* expires at 20.*Z, in (300|2\d\d) s"
    ) as caught:
        await other.push()
    assert (caught.value.code, caught.value.reason) == CONFLICT
    monkeypatch.setattr("sandbox_agent.storage.repository.repository.LOCK_EXPIRY", -1.0)
    assert (await other.push()).generation == 2
    one.store.heal()
    assert await expect_error(one.push()) == CONFLICT
    fresh = new_sandbox("pod-c")
    await fresh.restore()
    assert contents(fresh) == {"f": b"base", "g": b"other"}


@pytest.mark.parametrize(
    ("most", "last"), [(256, "code-interpreter/f"), (0, "/manifest-0000000002")], ids=["upload", "manifest"]
)
async def test_a_writer_that_lost_its_claim_meanwhile_does_not_commit(new_sandbox, monkeypatch, most, last):
    monkeypatch.setattr("sandbox_agent.storage.repository.delta.MAX_PATHS", most)
    monkeypatch.setattr("sandbox_agent.storage.repository.repository.LOCK_EXPIRY", -1.0)
    one, other = new_sandbox("pod-a"), new_sandbox("pod-b")
    one.write("f", b"base")
    await one.push()
    await other.restore()
    one.write("f", b"slow")
    other.write("f", b"fast")
    original, seen = one.store.put, []

    async def slow_put(key, body, **conditions):
        etag = await original(key, body, **conditions)
        if last in key and not seen:
            seen.append(await other.push())
        return etag

    one.store.put = slow_put
    assert await expect_error(one.push()) == CONFLICT
    fresh = new_sandbox("pod-c")
    await fresh.restore()
    assert contents(fresh) == {"f": b"fast"}


async def test_a_writer_that_lost_its_claim_writes_over_no_manifest_of_the_winner(new_sandbox, monkeypatch):
    """It stood still before its manifest, until another one had made the same generation."""
    monkeypatch.setattr("sandbox_agent.storage.repository.delta.MAX_PATHS", 0)
    monkeypatch.setattr("sandbox_agent.storage.repository.repository.LOCK_EXPIRY", -1.0)
    one, other = new_sandbox("pod-a"), new_sandbox("pod-b")
    one.write("f", b"base")
    await one.push()
    await other.restore()
    one.write("of one", b"1")
    other.write("of the other", b"1", 0o755)
    (other.root / "link").symlink_to("f")
    original, seen = one.store.put, []

    async def stand_still(key, body, **options):
        if "/manifest-0000000002" in key and not seen:
            seen.append(await other.push())
        return await original(key, body, **options)

    one.store.put = stand_still
    assert await expect_error(one.push()) == CONFLICT
    assert seen[0].generation == 2
    fresh = new_sandbox("pod-c")
    assert list((await fresh.restore()).failed) == []
    assert fresh.tree() == other.tree()


async def test_a_new_agent_does_not_drop_what_another_writer_saved(new_sandbox):
    one = new_sandbox("pod-a")
    one.write("f", b"1")
    await one.push()
    other = new_sandbox("pod-b")
    other.write("g", b"2")
    assert (await other.push()).generation == 2  # never restored: it cannot know of f
    fresh = new_sandbox("pod-c")
    await fresh.restore()
    assert contents(fresh) == {"f": b"1", "g": b"2"}


async def test_a_denied_access_is_never_an_empty_workspace(new_sandbox):
    sandbox = new_sandbox()
    sandbox.write("f", b"1")
    await sandbox.push()

    class Denied:
        async def __aenter__(self):
            raise AccessDeniedError("GetObject was answered with AccessDenied")

        async def __aexit__(self, *_):
            return None

    fresh = new_sandbox("pod-b")
    fresh.store.get = lambda key: Denied()
    assert await expect_error(fresh.restore()) == ("UNAVAILABLE", "STORAGE_UNAVAILABLE")
    assert await expect_error(fresh.push()) == ("UNAVAILABLE", "STORAGE_UNAVAILABLE")
    status = await fresh.workspace.status()
    assert (status.generation, status.dirty) == (0, True)
    assert "AccessDenied" in status.last_error


@pytest.mark.parametrize(
    ("new_store", "key"),
    # A folder cannot hold the others.
    [
        ("directory", "line\nbreak"),
        *(("s3", key) for key in ("../../t2/x", "a//b", "a/../../x", "/etc/passwd", "%2e%2e/../x")),
    ],
    indirect=["new_store"],
)
async def test_a_hostile_key_is_refused_by_name_and_the_rest_is_restored(new_sandbox, new_store, key):
    sandbox = new_sandbox()
    sandbox.write("f", b"1")
    await sandbox.push()
    await new_store().put(FILES + key, b"evil")
    fresh = new_sandbox("pod-b")
    done = await fresh.restore()
    assert len(done.failed) == 1
    assert contents(fresh) == {"f": b"1"}
    assert sorted(path.name for path in fresh.root.parent.iterdir() if path.name.startswith("t2")) == []


async def test_a_poisoned_manifest_is_refused_with_a_clear_error(new_sandbox, new_store):
    sandbox = new_sandbox()
    sandbox.write("f", b"1")
    await sandbox.push()
    store = new_store()
    key = await sandbox.manifest_key()
    async with store.get(key) as stored:
        manifest = json.loads(b"".join([chunk async for chunk in stored.chunks]))
    manifest["files"][0]["path"] = "../../../etc/cron.d/x"
    await store.put(key, json.dumps(manifest).encode())
    with pytest.raises(OperationError) as caught:
        await new_sandbox("pod-b").restore()
    assert (caught.value.code, caught.value.reason) == ("DATA_LOSS", "STORAGE_UNAVAILABLE")
    assert "not a plain relative path" in caught.value.message


async def test_content_that_is_not_what_the_manifest_says_is_a_failure_of_its_file(new_sandbox, new_store):
    sandbox = new_sandbox()
    sandbox.write("bad", b"1")
    sandbox.write("good", b"2")
    await sandbox.push()
    store = new_store()
    key = await sandbox.manifest_key()
    async with store.get(key) as stored:
        manifest = json.loads(b"".join([chunk async for chunk in stored.chunks]))
    manifest["files"][0]["sha256"] = "0" * 64
    await store.put(key, json.dumps(manifest).encode())
    fresh = new_sandbox("pod-b")
    done = await fresh.restore()
    assert [failure.path for failure in done.failed] == ["bad"]
    assert "DIGEST_MISMATCH" in done.failed[0].reason
    assert contents(fresh) == {"good": b"2"}
    # What could not be restored is not taken for removed.
    fresh.write("new", b"3")
    await fresh.push()
    assert "code-interpreter/bad" in await fresh.keys()


async def test_a_refresh_brings_news_and_leaves_what_changed_here(new_sandbox, new_store):
    one = new_sandbox()
    for name in ("f", "g", "h"):
        one.write(name, b"base")
    await one.push()
    store = new_store()
    await store.put(FILES + "f", b"theirs f")
    await store.put(FILES + "h", b"theirs h")
    await store.put(FILES + "new", b"theirs new")
    one.write("g", b"mine g")
    one.write("h", b"mine h")

    done = await one.workspace.refresh()

    assert done.files_restored == 2
    assert [failure.path for failure in done.failed] == ["h"]
    assert contents(one) == {"f": b"theirs f", "g": b"mine g", "h": b"mine h", "new": b"theirs new"}
    pushed = await one.push()
    assert (pushed.files_moved, [failure.path for failure in pushed.failed]) == (1, ["h"])
    assert "rename yours to keep both" in pushed.failed[0].reason
    assert list((await one.workspace.status()).conflicts) == ["h"]
    fresh = new_sandbox("pod-b")
    await fresh.restore()
    assert contents(fresh) == {"f": b"theirs f", "g": b"mine g", "h": b"theirs h", "new": b"theirs new"}


@pytest.mark.parametrize("how", ["rename", "restore", "agree"])
async def test_a_conflict_is_over_once_there_is_one_version_of_the_file(new_sandbox, new_store, how):
    one = new_sandbox()
    one.write("f", b"base")
    await one.push()
    await new_store().put(FILES + "f", b"theirs")
    one.write("f", b"mine")
    assert [failure.path for failure in (await one.push()).failed] == ["f"]
    await one.workspace.refresh_if_stale()
    assert [failure.path for failure in (await one.push()).failed] == ["f"]
    assert contents(one) == {"f": b"mine"}

    expected = {"f": b"theirs"}
    if how == "rename":
        (one.root / "f").rename(one.root / "mine")
        expected["mine"] = b"mine"
        assert list((await one.push()).failed) == []
        assert not one.workspace.is_fresh()
        await one.workspace.refresh_if_stale()
    elif how == "restore":
        await one.restore()
    else:
        one.write("f", b"theirs")
    assert list((await one.push()).failed) == []
    assert contents(one) == expected
    status = await one.workspace.status()
    assert (list(status.conflicts), status.dirty) == ([], False)
    fresh = new_sandbox("pod-b")
    await fresh.restore()
    assert contents(fresh) == expected


async def test_a_file_that_another_tool_stored_first_is_never_replaced_unseen(new_sandbox, new_store):
    one = new_sandbox()
    one.write("other", b"1")
    await one.push()
    await new_store().put(FILES + "report", b"theirs")
    one.write("report", b"mine")
    pushed = await one.push()
    assert [failure.path for failure in pushed.failed] == ["report"]
    assert (await one.workspace.status()).dirty
    async with new_store().get(FILES + "report") as stored:
        assert b"".join([chunk async for chunk in stored.chunks]) == b"theirs"


async def test_a_file_that_another_tool_replaced_is_not_deleted_with_the_old_one(new_sandbox, new_store):
    one = new_sandbox()
    one.write("f", b"mine")
    one.write("g", b"mine")
    await one.push()
    await new_store().put(FILES + "f", b"theirs")
    (one.root / "f").unlink()
    (one.root / "g").unlink()
    assert (await one.push()).generation == 2
    assert "code-interpreter/g" not in await one.keys()
    await one.workspace.refresh_if_stale()
    assert contents(one) == {"f": b"theirs"}


async def test_what_could_not_be_restored_is_not_dropped_after_a_refresh(new_sandbox, new_store):
    one = new_sandbox("pod-a")
    one.write("bad", b"1")
    await one.push()
    heir = new_sandbox("pod-b")
    heir.runtime.before = _refuse_to_write("bad")
    assert [failure.path for failure in (await heir.restore()).failed] == ["bad"]
    await new_store().put(FILES + "new", b"theirs")
    await heir.workspace.refresh()
    assert contents(heir) == {"new": b"theirs"}
    heir.write("mine", b"2")
    await heir.push()
    assert "code-interpreter/bad" in await heir.keys()


def _refuse_to_write(path):
    def before(op, arguments):
        if op == "workspace.write" and arguments["path"] == path:
            raise OperationError("RESOURCE_EXHAUSTED", "DISK_FULL", "no room")

    return before


@pytest.mark.parametrize(
    "info",
    [
        {"path": "../x", "type": "file"},
        {"path": "/x", "type": "file"},
        {"path": "a//b", "type": "file"},
        {"path": 7, "type": "file"},
        {"path": "x", "type": "socket"},
        {"path": "x", "type": ["file"]},
        {"path": "x", "type": "file", "size": -1},
        {"path": "x", "type": "file", "size": True},
        {"path": "x", "type": "file", "mode": "0644"},
        {"path": "x", "type": "symlink", "symlink_target": []},
        "x",
    ],
)
async def test_a_hostile_sandbox_ends_its_own_push_only(new_sandbox, info):
    sandbox = new_sandbox()
    handlers = sandbox.runtime._handlers

    async def lie(channel):
        channel.send_event({"type": "entries", "entries": [info]})
        return {}

    sandbox.runtime._handlers = {**handlers, "workspace.scan": lie}
    assert await expect_error(sandbox.push()) == ("INTERNAL", "RUNTIME_UNAVAILABLE")
    assert await sandbox.keys() == []


def has(root, *names):
    """Whether what the others stored first is there."""
    return all((root / name).exists() and (root / name).read_bytes() == b"theirs" for name in names)


@pytest.mark.parametrize("way", ["restore", "refresh"])
async def test_what_others_replace_while_a_restore_begins_anew_is_brought_and_no_conflict(
    new_sandbox, new_store, monkeypatch, way
):
    """Of the first attempt `b` is another object by the time it is fetched, `a` after it was written."""
    one, store = new_sandbox(), new_store()
    one.write("a", b"old")
    one.write("b", b"old")
    await one.push()
    for name in ("a", "b", "new"):
        await store.put(FILES + name, b"theirs")
    real, fetched = one.store.get, []

    @contextlib.asynccontextmanager
    async def get(key):
        if key.startswith(FILES):
            fetched.append(key.removeprefix(FILES))
            if fetched[-1] == "b" and fetched.count("b") == 1:
                while not has(one.root, "a", "new"):  # noqa: ASYNC110 - no event tells
                    await asyncio.sleep(0.001)
                await store.put(FILES + "a", b"theirs, later")
                await store.put(FILES + "b", b"theirs, later")
        async with real(key) as found:
            yield found

    monkeypatch.setattr(one.store, "get", get)
    if way == "restore":
        assert list((await one.restore()).failed) == []
    else:
        assert list((await one.workspace.refresh()).failed) == []
    assert contents(one) == {"a": b"theirs, later", "b": b"theirs, later", "new": b"theirs"}
    (one.root / "new").unlink()
    await one.push()
    fresh = new_sandbox("pod-b")
    await fresh.restore()
    assert contents(fresh) == {"a": b"theirs, later", "b": b"theirs, later"}
