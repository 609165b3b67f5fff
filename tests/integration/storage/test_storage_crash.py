"""A push that is cut off anywhere: a restore then gives the old generation or the new one, never a mixture."""

from __future__ import annotations

import asyncio
import contextlib
import shutil

import pytest

from sandbox_link.protocol import OperationError
from sandbox_testing.store import Fault

MANIFEST = pytest.mark.parametrize("most", [256, 0], ids=["changes in HEAD", "a manifest"])
"""How the second generation is written."""
FAULTS = pytest.mark.parametrize("fault", list(Fault), ids=lambda fault: fault.value)


def make_old(sandbox):
    for name in ("same", "changed", "changed too", "removed", "folder/removed"):
        sandbox.write(name, f"old {name}".encode())
    (sandbox.root / "link").symlink_to("same")


def make_new(sandbox):
    sandbox.write("changed", b"new content")
    sandbox.write("changed too", b"new content, too", 0o755)
    (sandbox.root / "removed").unlink()
    shutil.rmtree(sandbox.root / "folder")
    sandbox.write("added", b"added")
    sandbox.write("more/added", b"also added")
    (sandbox.root / "link").unlink()
    (sandbox.root / "link").symlink_to("changed")


async def crash(new_sandbox, number, fault, prefix):
    """A sandbox whose second push was cut off after `number` calls; its two trees, and whether the push got through."""
    sandbox = new_sandbox(prefix=prefix)
    make_old(sandbox)
    await sandbox.push()
    old = sandbox.tree()
    make_new(sandbox)
    sandbox.store.fail_after(number, fault)
    with contextlib.suppress(OperationError):
        await sandbox.push()
    await sandbox.workspace.wait_for_pruning()
    is_through = sandbox.store.count <= number
    sandbox.store.heal()
    return sandbox, old, sandbox.tree(), is_through


@MANIFEST
@FAULTS
async def test_fault_1_after_a_crash_at_any_call_a_restore_is_the_old_or_the_new_generation(
    new_sandbox, fault, stride, most, monkeypatch
):
    """An agent that dies at any call of a push leaves the old or the new snapshot, never a mixture."""
    monkeypatch.setattr("sandbox_agent.storage.repository.delta.MAX_PATHS", most)
    seen = []
    for number in range(0, 200, stride):
        prefix = f"c{number}/"
        sandbox, old, new, is_through = await crash(new_sandbox, number, fault, prefix)

        fresh = new_sandbox("pod-b", prefix=prefix)
        done = await fresh.restore()
        assert list(done.failed) == []
        assert fresh.tree() in (old, new), f"a mixture after {number} calls"
        seen.append("new" if fresh.tree() == new else "old")

        # The sandbox that was cut off tries again: nothing is lost, and nothing is left lying about.
        done = await sandbox.push()
        assert (done.generation, list(done.failed)) == (2, [])
        assert [key for key in await sandbox.keys() if key.startswith(".workspace/")] == [
            ".workspace/HEAD",
            f".workspace/manifest-000000000{1 if most else 2}.json",
        ]
        fresh = new_sandbox("pod-b", prefix=prefix)
        await fresh.restore()
        assert fresh.tree() == new
        if is_through:
            break
    assert is_through
    assert seen == sorted(seen, reverse=True), "once the new generation is there it stays"
    assert {"old", "new"} == set(seen)


@FAULTS
async def test_whoever_comes_after_a_crash_goes_on_from_what_it_restored(new_sandbox, fault, monkeypatch, stride):
    """The pod is gone with its files; another one restores, changes something else, and pushes."""
    monkeypatch.setattr("sandbox_agent.storage.repository.repository.LOCK_EXPIRY", -1.0)
    for number in range(0, 200, 3 * stride):
        prefix = f"c{number}/"
        _, old, new, is_through = await crash(new_sandbox, number, fault, prefix)
        heir = new_sandbox("pod-b", prefix=prefix)
        await heir.restore()
        assert heir.tree() in (old, new)
        heir.write("changed", b"by the heir")
        expected = heir.tree()

        done = await heir.push()

        assert list(done.failed) == []
        fresh = new_sandbox("pod-c", prefix=prefix)
        await fresh.restore()
        assert fresh.tree() == expected
        assert not [key for key in await heir.keys() if "previous" in key]
        if is_through:
            break
    assert is_through


async def test_two_crashes_in_a_row_still_leave_the_old_generation(new_sandbox):
    for number in (3, 7, 11, 18):
        prefix = f"c{number}/"
        sandbox, old, new, _ = await crash(new_sandbox, number, Fault.BEFORE, prefix)
        sandbox.write("added", b"once more")
        sandbox.write("changed", b"old changed")  # as it was
        for again in (1, 4, 9, 14):
            sandbox.store.fail_after(again)
            with contextlib.suppress(OperationError):
                await sandbox.push()
            sandbox.store.heal()
            fresh = new_sandbox("pod-b", prefix=prefix)
            await fresh.restore()
            assert fresh.tree() in (old, new, sandbox.tree())
        await sandbox.push()
        fresh = new_sandbox("pod-b", prefix=prefix)
        await fresh.restore()
        assert fresh.tree() == sandbox.tree()


async def test_a_change_that_is_taken_back_after_a_crash_is_undone_in_storage(new_sandbox):
    for number in (4, 6, 8, 10):
        prefix = f"c{number}/"
        sandbox, old, _, _ = await crash(new_sandbox, number, Fault.BEFORE, prefix)
        shutil.rmtree(sandbox.root)
        sandbox.root.mkdir()
        make_old(sandbox)
        assert (await sandbox.push()).failed == []
        fresh = new_sandbox("pod-b", prefix=prefix)
        await fresh.restore()
        assert fresh.tree() == old
        assert sorted(key for key in await sandbox.keys() if not key.startswith(".workspace/")) == sorted(
            f"code-interpreter/{path}" for path, entry in old.items() if entry[0] == "file"
        )


@FAULTS
async def test_fault_30_a_first_push_that_is_cut_off_is_nothing_or_all(new_sandbox, fault):
    """A first push that is cut off at any call has saved nothing or everything."""
    for number in range(100):
        prefix = f"c{number}/"
        sandbox = new_sandbox(prefix=prefix)
        make_old(sandbox)
        sandbox.store.fail_after(number, fault)
        with contextlib.suppress(OperationError):
            await sandbox.push()
        is_through = sandbox.store.count <= number
        sandbox.store.heal()
        fresh = new_sandbox("pod-b", prefix=prefix)
        await fresh.restore()
        assert fresh.tree() in ({}, sandbox.tree())
        if is_through:
            break
    assert is_through


async def test_fault_34_a_restore_that_is_cut_off_can_be_run_again(new_sandbox):
    """A restore that is cut off at any call of storage can be run again."""
    one = new_sandbox()
    make_old(one)
    await one.push()
    for number in range(20):
        other = new_sandbox("pod-b")
        other.store.fail_after(number)
        with contextlib.suppress(OperationError):
            await other.restore()
        other.store.heal()
        again = new_sandbox("pod-b", root=other.root)  # and the agent started anew
        assert list((await again.restore()).failed) == []
        assert again.tree() == one.tree()


async def test_fault_28_storage_that_is_down_is_said_and_nothing_is_lost(new_sandbox):
    """A push fails with the reason, and the next one saves everything."""
    sandbox = new_sandbox()
    sandbox.write("f", b"1")
    sandbox.store.fail_after(0)
    with pytest.raises(OperationError) as caught:
        await sandbox.push()
    assert (caught.value.code, caught.value.reason) == ("UNAVAILABLE", "STORAGE_UNAVAILABLE")
    status = await sandbox.workspace.status()
    assert status.dirty is True
    assert "STORAGE_UNAVAILABLE" in status.last_error
    sandbox.store.heal()
    status = await sandbox.workspace.status()
    assert status.dirty is True
    assert "STORAGE_UNAVAILABLE" in status.last_error, "until a push has worked"
    assert (await sandbox.push()).files_saved == 1
    status = await sandbox.workspace.status()
    assert (status.dirty, status.last_error) == (False, "")


async def test_fault_28_a_push_that_cannot_read_head_does_not_wait_for_the_sandbox(new_sandbox):
    """A push that cannot read HEAD fails without waiting for the scan of the sandbox."""
    sandbox = new_sandbox()
    scans = []

    async def hang(channel):
        scans.append(channel)
        await asyncio.Event().wait()

    sandbox.runtime._handlers = {**sandbox.runtime._handlers, "workspace.scan": hang}
    sandbox.store.fail_after(0)
    async with asyncio.timeout(30):
        with pytest.raises(OperationError) as caught:
            await sandbox.push()
    assert caught.value.reason == "STORAGE_UNAVAILABLE"
    assert all(scan.task.done() for scan in scans)


async def test_a_lost_sandbox_ends_the_push_and_is_no_failure_of_files(new_sandbox):
    sandbox = new_sandbox()
    sandbox.write("f", b"1")

    def lose(op, arguments):
        if op == "workspace.read":
            raise OperationError("UNAVAILABLE", "RUNTIME_UNAVAILABLE", "gone")

    sandbox.runtime.before = lose
    with pytest.raises(OperationError) as caught:
        await sandbox.push()
    assert caught.value.reason == "RUNTIME_UNAVAILABLE"
    sandbox.runtime.before = lambda op, arguments: None
    assert (await sandbox.push()).files_saved == 1


async def test_a_client_that_stops_listening_stops_the_push_and_the_next_one_works(new_sandbox):
    sandbox = new_sandbox()
    for number in range(50):
        sandbox.write(f"f{number}", b"x" * 1000)
    steps = sandbox.workspace.push()
    await anext(steps)
    await steps.aclose()
    assert (await sandbox.push()).files_saved == 50
    fresh = new_sandbox("pod-b")
    await fresh.restore()
    assert fresh.tree() == sandbox.tree()


async def test_pushes_at_once_run_one_after_the_other(new_sandbox):
    sandbox = new_sandbox()
    sandbox.write("f", b"1")
    results = await asyncio.gather(*(sandbox.push() for _ in range(4)))
    assert [done.generation for done in results] == [1, 1, 1, 1]
    assert sorted(done.files_moved for done in results) == [0, 0, 0, 1]
