"""What is pushed comes back, and nothing moves that need not."""

from __future__ import annotations

import asyncio
import os
import random

import pytest

from sandbox_agent.storage.backends.s3.store import S3Store
from sandbox_agent.storage.concurrency import PART_SIZE
from sandbox_agent.storage.errors import ObjectNotFoundError, PreconditionFailedError
from sandbox_link.protocol import OperationError
from sandbox_proto.v1 import workspace_pb2
from tests.integration.storage.conftest import PREFIX


def fill(sandbox):
    sandbox.write("empty.txt")
    sandbox.write("binary.bin", bytes(range(256)) * 5)
    sandbox.write("big.bin", random.Random(1).randbytes(20 << 20))
    sandbox.write("übung/naïve 文件 🎉.txt", b"text")
    sandbox.write("nested/a/b/c/d.txt", b"deep")
    sandbox.write("run.sh", b"#!/bin/sh\n", 0o755)
    sandbox.write("secret", b"s", 0o600)
    sandbox.write("read-only", b"r", 0o444)
    (sandbox.root / "nothing here").mkdir(mode=0o750)
    (sandbox.root / "link").symlink_to("nested/a")
    (sandbox.root / "dangling").symlink_to("/nowhere/at all")
    os.utime(sandbox.root / "run.sh", ns=(1, 1_234_567_890_123_456_789))


async def test_everything_comes_back_byte_exact_in_a_fresh_sandbox(new_sandbox):
    one, other = new_sandbox(), new_sandbox("pod-b")
    fill(one)

    done = await one.push()
    assert (done.generation, done.files_saved, done.files_moved, list(done.failed)) == (1, 10, 8, [])

    restored = await other.restore()
    assert (restored.generation, restored.files_restored, list(restored.failed)) == (1, 10, [])
    assert restored.bytes_restored == done.bytes_moved
    assert other.tree() == one.tree()
    assert (other.root / "run.sh").stat().st_mtime_ns == 1_234_567_890_123_456_789


async def test_composed_and_decomposed_names_are_two_files(new_sandbox):
    one, other = new_sandbox(), new_sandbox("pod-b")
    one.write("caf\u00e9", b"composed")
    one.write("cafe\u0301", b"decomposed")

    await one.push()
    await other.restore()

    assert sorted(os.fsencode(path.name) for path in other.root.iterdir()) == sorted(
        ["cafe\u0301".encode(), "caf\u00e9".encode()]
    )
    assert other.tree() == one.tree()


async def test_a_name_that_cannot_be_stored_fails_alone_and_by_name(new_sandbox):
    sandbox = new_sandbox()
    sandbox.write("good", b"1")
    for name in (b"bad\xff", b"line\nbreak", b"esc\x1b[31m"):
        (sandbox.root / os.fsdecode(name)).write_bytes(b"2")

    done = await sandbox.push()

    assert done.files_saved == 1
    assert {failure.path: failure.reason for failure in done.failed} == {
        "bad\\udcff": "the name is not valid UTF-8",
        "line\\nbreak": "the name contains the control character U+000A",
        "esc\\x1b[31m": "the name contains the control character U+001B",
    }


async def test_a_push_of_nothing_new_writes_nothing(new_sandbox):
    sandbox = new_sandbox()
    fill(sandbox)
    await sandbox.push()
    sandbox.store.log.clear()

    done = await sandbox.push()

    assert (done.generation, done.files_saved, done.files_moved) == (1, 10, 0)
    assert {name for name, _ in sandbox.store.log} == {"get"}
    assert (await sandbox.workspace.status()).dirty is False


async def test_a_push_from_an_empty_sandbox_writes_nothing(new_sandbox):
    sandbox = new_sandbox()
    await sandbox.restore()
    assert await sandbox.push() == workspace_pb2.PushDone()
    assert {name for name, _ in sandbox.store.log} == {"get", "pages"}


async def test_only_what_changed_is_moved(new_sandbox):
    one, other = new_sandbox(), new_sandbox("pod-b")
    for number in range(5):
        one.write(f"f{number}", b"%d" % number)
    await one.push()
    one.write("f3", b"x")
    (one.root / "f1").unlink()
    one.write("new", b"n")

    done = await one.push()

    assert (done.generation, done.files_saved, done.files_moved, done.bytes_moved) == (2, 5, 2, 2)
    await other.restore()
    assert other.tree() == one.tree()
    listed = await other.workspace.list_stored()
    assert [file.path for file in listed.files] == [f"code-interpreter/{name}" for name in sorted(one.tree())]


async def test_a_touched_file_is_compared_and_not_moved(new_sandbox):
    sandbox = new_sandbox()
    sandbox.write("f", b"same")
    await sandbox.push()
    os.utime(sandbox.root / "f", ns=(5, 5))

    done = await sandbox.push()

    assert (done.generation, done.files_saved, done.files_moved) == (1, 1, 0)


async def test_a_file_that_may_have_changed_within_a_tick_of_the_clock_is_compared_each_time(new_sandbox, monkeypatch):
    monkeypatch.setattr("sandbox_agent.storage.sandbox.file_info.RACY_NS", 1 << 62)
    sandbox = new_sandbox()
    sandbox.write("f", b"same")
    for _ in range(3):
        await sandbox.push()
    assert sandbox.runtime.ops("workspace.hash") == ["f", "f"]


async def test_a_new_mode_alone_makes_a_generation_and_moves_nothing(new_sandbox):
    one, other = new_sandbox(), new_sandbox("pod-b")
    one.write("f", b"same")
    await one.push()
    (one.root / "f").chmod(0o755)
    done = await one.push()
    assert (done.generation, done.files_moved) == (2, 0)
    await other.restore()
    assert other.tree() == one.tree()


async def test_an_agent_that_started_anew_compares_instead_of_moving(new_sandbox):
    one = new_sandbox()
    fill(one)
    await one.push()
    again = new_sandbox(root=one.root)
    assert (await again.workspace.status()).dirty is False
    (one.root / "secret").unlink()
    again.write("run.sh", b"#!/bin/sg\n", 0o755)
    assert (await again.workspace.status()).dirty is True

    done = await again.push()

    assert (done.generation, done.files_saved, done.files_moved) == (2, 9, 1)
    fresh = new_sandbox("pod-b")
    await fresh.restore()
    assert fresh.tree() == one.tree()


async def test_chosen_paths_leave_the_rest_of_the_generation_alone(new_sandbox):
    one, other = new_sandbox(), new_sandbox("pod-b")
    one.write("a/1", b"1")
    one.write("a/2", b"2")
    one.write("b", b"b")
    await one.push()
    one.write("a/1", b"changed")
    one.write("b", b"changed too")
    (one.root / "a/2").unlink()

    done = await one.push("a")

    assert (done.generation, done.files_saved, done.files_moved) == (2, 1, 1)
    await other.restore()
    assert {path: entry[2] for path, entry in other.tree().items()} == {"a/1": b"changed", "a/2": b"2", "b": b"b"}


async def test_a_chosen_path_that_is_missing_is_named(new_sandbox):
    sandbox = new_sandbox()
    sandbox.write("there", b"1")
    with pytest.raises(OperationError) as caught:
        await sandbox.push("there", "not there")
    assert (caught.value.code, caught.value.reason, caught.value.field) == ("NOT_FOUND", "FILE_NOT_FOUND", "paths")
    assert "not there" in caught.value.message
    assert (await sandbox.workspace.status()).generation == 0


async def test_caches_and_excluded_patterns_stay_out_unless_they_are_named(new_sandbox):
    one, other = new_sandbox(exclude=("*.log",)), new_sandbox("pod-b")
    for path in ("keep", "x.log", "node_modules/m.js", "a/__pycache__/c.pyc", ".cache/z", ".venv/bin/p"):
        one.write(path, b"1")
    assert (await one.push()).files_saved == 1
    assert (await one.push("x.log")).generation == 2
    one.write("keep", b"22")
    assert (await one.push()).generation == 3
    await other.restore()
    assert sorted(other.tree()) == ["a", "keep", "x.log"]


async def test_a_file_that_becomes_a_folder_and_back(new_sandbox):
    one = new_sandbox()
    one.write("thing", b"file")
    await one.push()
    (one.root / "thing").unlink()
    one.write("thing/inside", b"folder")
    done = await one.push()
    assert list(done.failed) == []
    fresh = new_sandbox("pod-b")
    await fresh.restore()
    assert fresh.tree() == one.tree()


async def test_a_restore_leaves_local_files_and_what_is_there_already(new_sandbox):
    one, other = new_sandbox(), new_sandbox("pod-b")
    one.write("f", b"stored")
    one.write("g", b"stored")
    await one.push()
    other.write("mine", b"local")
    other.write("f", b"stored")
    restored = await other.restore()
    assert restored.files_restored == 1
    again = await other.restore()
    assert (again.files_restored, again.generation) == (0, 1)
    assert {path: entry[2] for path, entry in other.tree().items()} == {
        "mine": b"local",
        "f": b"stored",
        "g": b"stored",
    }


async def test_a_restore_brings_a_changed_file_back(new_sandbox):
    one = new_sandbox()
    one.write("f", b"stored")
    await one.push()
    one.write("f", b"spoilt")
    assert (await one.restore()).files_restored == 1
    assert (one.root / "f").read_bytes() == b"stored"


async def test_a_growing_file_is_read_again_and_then_listed(new_sandbox):
    sandbox = new_sandbox()
    sandbox.write("steady", b"1")
    sandbox.write("growing.log", b"line\n")
    sandbox.write("once", b"a")
    touched = []

    def grow(op, arguments):
        if op == "workspace.read" and arguments["path"] == "growing.log":
            with (sandbox.root / "growing.log").open("ab") as log:
                log.write(b"line\n")
        if op == "workspace.read" and arguments["path"] == "once" and not touched:
            touched.append(1)
            sandbox.write("once", b"bb")

    sandbox.runtime.before = grow
    done = await sandbox.push()

    assert done.files_saved == 2
    assert [failure.path for failure in done.failed] == ["growing.log"]
    assert "FILE_CHANGED" in done.failed[0].reason
    assert len(sandbox.runtime.ops("workspace.read")) == 1 + 3 + 2
    listed = await sandbox.workspace.list_stored("code-interpreter/")
    assert [file.path for file in listed.files] == ["code-interpreter/once", "code-interpreter/steady"]
    assert (await sandbox.workspace.status()).dirty is True


async def test_stored_files_are_listed_in_pages_and_read(new_sandbox):
    sandbox = new_sandbox()
    names = [*(f"d/{number:03d}" for number in range(25)), "z"]
    for name in names:
        sandbox.write(name, name.encode())
    await sandbox.push()
    found, token = [], ""
    while True:
        page = await sandbox.workspace.list_stored("code-interpreter/", 10, token)
        found += [file.path for file in page.files]
        token = page.next_page_token
        if not token:
            break
    assert found == [f"code-interpreter/{name}" for name in names]
    assert [f.path for f in (await sandbox.workspace.list_stored("code-interpreter/z")).files] == ["code-interpreter/z"]
    parts = [part async for part in sandbox.workspace.read_stored("code-interpreter/z")]
    assert parts[0].info.path == "code-interpreter/z"
    assert parts[0].info.size == 1
    assert b"".join(part.data for part in parts[1:]) == b"z"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("code-interpreter/missing", "NOT_FOUND"),
        (".workspace/HEAD", "NOT_FOUND"),
        ("../work/code-interpreter/f", "INVALID_ARGUMENT"),
        ("/etc/passwd", "INVALID_ARGUMENT"),
        ("code-interpreter//f", "INVALID_ARGUMENT"),
        ("", "INVALID_ARGUMENT"),
    ],
)
async def test_reading_outside_of_the_stored_files_is_refused(new_sandbox, path, code):
    sandbox = new_sandbox()
    sandbox.write("f", b"1")
    await sandbox.push()
    with pytest.raises(OperationError) as caught:
        [part async for part in sandbox.workspace.read_stored(path)]
    assert (caught.value.code, caught.value.field) == (code, "path")


async def test_status_tells_what_is_saved(new_sandbox):
    sandbox = new_sandbox()
    assert await sandbox.workspace.status() == workspace_pb2.WorkspaceStatus()
    sandbox.write("f", b"12345")
    assert (await sandbox.workspace.status()).dirty is True
    await sandbox.push()
    status = await sandbox.workspace.status()
    assert (status.generation, status.files, status.bytes, status.dirty, status.last_error) == (1, 1, 5, False, "")
    assert status.synced_at.seconds > 0
    (sandbox.root / "f").unlink()
    assert (await sandbox.workspace.status()).dirty is True


async def test_a_push_reports_progress_and_then_done(new_sandbox):
    sandbox = new_sandbox()
    for number in range(40):
        sandbox.write(f"f{number}", b"1234")
    steps = [step async for step in sandbox.workspace.push()]
    assert [step.WhichOneof("event") for step in steps][-2:] == ["progress", "done"]
    last = steps[-2].progress
    assert (last.files_done, last.files_total, last.bytes_done, last.bytes_total) == (40, 40, 160, 160)


async def test_fault_31_half_of_a_large_upload_leaves_nothing_in_the_bucket(s3_settings):
    """The upload is aborted, and no part stays in the bucket."""
    store, begun = S3Store(s3_settings), []

    async def uploads():
        return (await store._call("list_multipart_uploads")).get("Uploads", [])

    async def body():
        yield bytes(PART_SIZE)
        yield bytes(PART_SIZE)
        begun.extend(await uploads())
        raise OperationError("UNAVAILABLE", "RUNTIME_UNAVAILABLE", "the sandbox is gone")

    with pytest.raises(OperationError, match="the sandbox is gone"):
        await store.put("large", body())
    assert [upload["Key"] for upload in begun] == ["large"]
    assert await uploads() == []
    with pytest.raises(ObjectNotFoundError):
        await store.stat("large")
    await store.close()


async def test_a_time_before_1970_comes_back(new_sandbox):
    one = new_sandbox()
    one.write("old", b"1")
    os.utime(one.root / "old", ns=(-(10**18), -(10**18)))
    await one.push()
    fresh = new_sandbox("pod-b")
    await fresh.restore()
    assert (fresh.root / "old").stat().st_mtime_ns == -(10**18)


async def test_a_sandbox_that_hangs_while_it_is_read_ends_the_push(new_sandbox, monkeypatch):
    one = new_sandbox()
    one.write("f", b"1")

    async def hang(channel):
        await asyncio.Event().wait()

    one.runtime._handlers = {**one.runtime._handlers, "workspace.read": hang}
    monkeypatch.setattr("sandbox_agent.storage.timeouts.REQUEST_TIMEOUT", 0.05)
    with pytest.raises(OperationError) as caught:
        await one.push()
    assert (caught.value.code, caught.value.reason) == ("UNAVAILABLE", "RUNTIME_UNAVAILABLE")


@pytest.mark.parametrize("is_ignored", [False, True])
async def test_a_copy_of_another_version_is_an_error_even_where_the_store_ignores_conditions(
    s3_settings, monkeypatch, is_ignored
):
    store = S3Store(s3_settings)
    etag = await store.put("from", b"old")
    await store.put("from", b"new")
    call = store._call

    async def call_without_condition(operation, **arguments):
        if is_ignored:
            arguments.pop("CopySourceIfMatch", None)
        return await call(operation, **arguments)

    monkeypatch.setattr(store, "_call", call_without_condition)
    for size in (3, None):
        with pytest.raises(PreconditionFailedError):
            await store.copy("from", "to", if_match=etag, size=size)
    await store.close()


async def test_what_is_too_large_for_one_copy_is_copied_in_parts(s3_settings, monkeypatch):
    monkeypatch.setattr("sandbox_agent.storage.backends.s3.store.MAX_COPY", 6 << 20)
    monkeypatch.setattr("sandbox_agent.storage.backends.s3.store.COPY_PART", 5 << 20)
    store = S3Store(s3_settings)
    content = bytes(range(256)) * (11 << 12)
    etag = await store.put("from", content)
    await store.copy("from", "to", if_match=etag)
    async with store.get("to") as stored:
        assert b"".join([chunk async for chunk in stored.chunks]) == content
    with pytest.raises(PreconditionFailedError):
        await store.copy("from", "to", if_match='"another"')
    await store.close()


async def test_what_a_restore_asks_of_storage(new_sandbox):
    first = new_sandbox()
    await first.restore()
    assert first.store.log == [("pages", PREFIX)], "where nothing is stored one listing tells it"
    first.write("f", b"1")
    await first.push()

    second = new_sandbox("pod-b")
    await second.restore()
    names = [key.removeprefix(PREFIX) for _, key in second.store.log]
    assert names == ["", ".workspace/HEAD", (await second.manifest_key()).removeprefix(PREFIX), "code-interpreter/f"]


@pytest.mark.parametrize("is_stored", [False, True])
async def test_a_commit_amid_the_look_of_a_restore_is_seen(new_sandbox, is_stored):
    one, other = new_sandbox("pod-a"), new_sandbox("pod-b")
    if is_stored:
        one.write("old", b"1")
        await one.push()
    fresh = new_sandbox("pod-c")
    pages = fresh.store.pages

    async def pages_and_a_commit(prefix, **options):
        async for page in pages(prefix, **options):
            yield page
        fresh.store.pages = pages
        await other.restore()
        other.write("new", b"2")
        await other.push()

    if not is_stored:
        await fresh.store.put(f"{PREFIX}code-interpreter/by hand", b"3")
    fresh.store.pages = pages_and_a_commit
    done = await fresh.restore()
    assert done.generation == (2 if is_stored else 1)
    assert fresh.tree() == other.tree()
    assert "new" in fresh.tree()


@pytest.mark.parametrize("is_cut_off", [False, True], ids=["goes on", "is cut off"])
async def test_a_restore_amid_a_push_is_the_old_generation_and_no_mixture(new_sandbox, is_cut_off):
    """The push copies aside and replaces while the restore lists: after the bookkeeping, before the files."""
    one = new_sandbox("pod-a")
    one.write("a", b"old a")
    one.write("b", b"old b")
    await one.push()
    old = one.tree()
    one.write("a", b"NEW a!")
    one.write("b", b"NEW b!")
    claimed, go, uploaded, finish = (asyncio.Event() for _ in range(4))
    copy, put = one.store.copy, one.store.put

    async def copy_later(*arguments, **options):
        claimed.set()
        await go.wait()
        return await copy(*arguments, **options)

    async def put_in_steps(key, body, **options):
        if key.endswith("/b"):
            await finish.wait()
        etag = await put(key, body, **options)
        if key.endswith("/a"):
            uploaded.set()
        return etag

    one.store.copy, one.store.put = copy_later, put_in_steps
    pushing = asyncio.create_task(one.push())
    await claimed.wait()
    # The same session in its next pod: the claim is its own.
    next_one = new_sandbox("pod-a")
    pages = next_one.store.pages

    async def pages_in_steps(prefix, **options):
        next_one.store.pages = pages
        seen = [info async for page in pages(prefix, **options) for info in page]
        yield [info for info in seen if "/.workspace/" in info.key]
        go.set()
        await uploaded.wait()
        seen = [info async for page in pages(prefix, **options) for info in page]
        yield [info for info in seen if "/.workspace/" not in info.key]

    next_one.store.pages = pages_in_steps
    await next_one.restore()
    assert next_one.tree() == old
    if is_cut_off:
        pushing.cancel()
        await asyncio.gather(pushing, return_exceptions=True)
        assert list((await next_one.push()).failed) == []
    else:
        finish.set()
        await pushing
    fresh = new_sandbox("pod-d")
    await fresh.restore()
    assert fresh.tree() == (old if is_cut_off else one.tree())
