"""The end of a sandbox that has files which changed in storage, too: neither version is lost."""

from __future__ import annotations

import itertools

import pytest

from sandbox_agent.storage.push.conflicts import conflict_names
from tests.integration.storage.conftest import contents

FILES = "clusters/t1/work/code-interpreter/"
IN_A_FOLDER = pytest.mark.parametrize("new_store", ["directory"], indirect=True)
"""Nothing in it depends on the store, and that of S3 is slow here."""


async def stored(new_sandbox):
    """What the next sandbox has."""
    fresh = new_sandbox("pod-next")
    assert list((await fresh.restore()).failed) == []
    return contents(fresh)


@pytest.fixture
async def one(new_sandbox):
    sandbox = new_sandbox()
    sandbox.write("data/f", b"base")
    sandbox.write("untouched", b"base")
    await sandbox.push()
    yield sandbox
    await sandbox.workspace._remote_changes.close()


@pytest.mark.parametrize("is_seen", [True, False], ids=["seen by a call before", "found by the last push"])
async def test_fault_37_a_file_that_changed_on_both_sides_is_kept_in_both_versions(
    one, new_store, new_sandbox, is_seen
):
    """A file that changed here and in storage is kept in both versions."""
    await new_store().put(FILES + "data/f", b"theirs")
    await new_store().put(FILES + "new", b"theirs, new")
    one.write("data/f", b"mine")
    one.write("new", b"mine, new")
    one.write("plain", b"mine alone")
    if is_seen and not one.workspace.is_fresh():
        await one.workspace.refresh_if_stale()
    done = await one.workspace.push_last("s1")
    assert list(done.failed) == []
    assert await stored(new_sandbox) == {
        "data/f": b"theirs",
        "data/f.conflict-s1": b"mine",
        "new": b"theirs, new",
        "new.conflict-s1": b"mine, new",
        "plain": b"mine alone",
        "untouched": b"base",
    }
    status = await one.workspace.status()
    assert (list(status.conflicts), status.dirty) == ([], False)


@IN_A_FOLDER
async def test_a_name_that_is_taken_is_not_replaced(one, new_store, new_sandbox):
    one.write("data/f.conflict-s1", b"an earlier one")
    one.write("data/f", b"mine")
    await new_store().put(FILES + "data/f", b"theirs")
    assert list((await one.workspace.push_last("s1")).failed) == []
    assert await stored(new_sandbox) == {
        "data/f": b"theirs",
        "data/f.conflict-s1": b"an earlier one",
        "data/f.conflict-s1-2": b"mine",
        "untouched": b"base",
    }


@IN_A_FOLDER
async def test_what_another_session_saved_meanwhile_is_no_reason_to_lose_anything(one, new_sandbox):
    other = new_sandbox("pod-b")
    await other.restore()
    other.write("data/f", b"of the other")
    other.write("theirs", b"of the other")
    await other.push()
    one.write("data/f", b"mine")
    one.write("mine", b"mine")
    assert list((await one.workspace.push_last("s1")).failed) == []
    assert await stored(new_sandbox) == {
        "data/f": b"of the other",
        "data/f.conflict-s1": b"mine",
        "mine": b"mine",
        "theirs": b"of the other",
        "untouched": b"base",
    }


@IN_A_FOLDER
async def test_without_a_conflict_the_last_push_is_a_push(one):
    one.write("data/f", b"mine")
    done = await one.workspace.push_last("s1")
    assert (done.files_moved, list(done.failed)) == (1, [])
    assert contents(one) == {"data/f": b"mine", "untouched": b"base"}


@pytest.mark.parametrize("name", ["x" * 255, "ü" * 127, "short"])
def test_the_names_fit_into_a_folder_and_differ(name):
    names = list(itertools.islice(conflict_names(f"a/{name}", "s" * 40), 12))
    assert len(set(names)) == 12
    for path in names:
        folder, last = path.split("/")
        assert folder == "a"
        assert len(last.encode()) <= 255
        assert ".conflict-" in last
