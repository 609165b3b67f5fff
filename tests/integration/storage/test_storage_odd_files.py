"""A file that cannot be stored fails alone, by name, whatever is odd about it. The others are saved."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from sandbox_agent.storage.repository.keys import Keys
from sandbox_agent.storage.workspace import Workspace
from tests.integration.storage.conftest import PREFIX, contents
from tests.support.permissions import make_unreadable, obeying_permissions

LATE = 1 << 40
"""Seconds since 1970, as `touch -d 36812-01-01` sets them."""


@pytest.fixture(autouse=True)
def obeying():
    with obeying_permissions():
        yield


def failures(done):
    return {failure.path: failure.reason for failure in done.failed}


def make_deep(root, levels, name=b"d" * 100):
    """A chain of folders, and a file at its end."""
    folder = os.open(root, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir(name, dir_fd=folder)
        below = os.open(name, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    os.close(os.open(b"end", os.O_CREAT | os.O_WRONLY, dir_fd=folder))
    os.close(folder)


async def read_back(new_sandbox):
    """Restore the workspace in a new sandbox, and return that."""
    other = new_sandbox("pod-b")
    await other.restore()
    return other


async def test_a_tree_deeper_than_any_key_fails_by_its_name_and_nothing_else_does(new_sandbox):
    one = new_sandbox()
    one.write("good", b"1")
    make_deep(one.root, 60)
    first = await one.push()
    assert len(first.failed) == 1
    assert len(first.failed[0].path) == 2048
    assert next(iter(failures(first))).startswith("d" * 100 + "/" + "d" * 100 + "/")
    assert "longer than 4096 bytes" in next(iter(failures(first).values()))
    one.write("later", b"2")
    second = await one.push()
    assert failures(second) == failures(first)  # also by a scan that reports only differences
    assert contents(await read_back(new_sandbox)) == {"good": b"1", "later": b"2"}
    status = await one.workspace.status()
    assert status.dirty
    assert failures(first) == {failure.path: failure.reason for failure in status.unsaved}


async def test_names_that_are_too_long_for_a_key_fail_by_name(new_sandbox):
    one = new_sandbox()
    one.write("good", b"1")
    make_deep(one.root, 12)
    done = await one.push()
    path = "/".join(["d" * 100] * 12 + ["end"])
    assert failures(done) == {path: "the name is too long: its key would have more than 1024 bytes"}
    assert contents(await read_back(new_sandbox)) == {"good": b"1"}


async def test_a_thousand_of_them_are_counted_and_fit_into_an_answer(new_sandbox):
    one = new_sandbox()
    one.write("good", b"1")
    for number in range(1000):
        (one.root / f"{number:04d}{chr(1) * 200}").touch()
    done = await one.push()
    assert len(done.failed) <= 500
    assert done.ByteSize() < 1 << 20
    assert done.failed[-1].path == ""
    assert done.failed[-1].reason == f"{1000 - len(done.failed) + 1} more files failed"
    assert len((await one.workspace.status()).unsaved) == 50
    assert contents(await read_back(new_sandbox)) == {"good": b"1"}


async def test_an_unreadable_file_fails_by_name_and_keeps_its_stored_version(new_sandbox):
    one = new_sandbox()
    one.write("good", b"1")
    one.write("secret", b"2")
    await one.push()
    one.write("good", b"3")
    one.write("secret", b"44")
    make_unreadable(one.root / "secret")
    done = await one.push()
    assert {path: reason.partition(":")[0] for path, reason in failures(done).items()} == {
        "secret": "PERMISSION_DENIED"
    }
    assert contents(await read_back(new_sandbox)) == {"good": b"3", "secret": b"2"}


@pytest.mark.parametrize("mode", [0o000, 0o444, 0o111])
async def test_an_unreadable_folder_fails_by_name_and_its_stored_files_stay(new_sandbox, mode):
    one = new_sandbox()
    one.write("good", b"1")
    one.write("folder/a", b"2")
    one.write("folder/sub/b", b"2")
    await one.push()
    one.write("good", b"3")
    (one.root / "folder").chmod(mode)
    for _ in range(2):
        done = await one.push()
        assert {path.partition("/")[0] for path in failures(done)} == {"folder"}
        assert all("PERMISSION_DENIED" in reason for reason in failures(done).values())
    assert contents(await read_back(new_sandbox)) == {"good": b"3", "folder/a": b"2", "folder/sub/b": b"2"}
    (one.root / "folder").chmod(0o755)
    (one.root / "folder/a").unlink()
    assert not (await one.push()).failed
    assert contents(await read_back(new_sandbox)) == {"good": b"3", "folder/sub/b": b"2"}
    assert not (await one.workspace.status()).unsaved


async def test_a_root_that_cannot_be_read_deletes_nothing(new_sandbox):
    one = new_sandbox()
    one.write("good", b"1")
    await one.push()
    one.root.chmod(0)
    done = await one.push()
    one.root.chmod(0o755)
    assert list(failures(done)) == ["."]
    assert contents(await read_back(new_sandbox)) == {"good": b"1"}


async def test_paths_named_by_a_client_fail_alone_too(new_sandbox):
    one = new_sandbox()
    one.write("good", b"1")
    one.write("folder/a", b"2")
    (one.root / "folder").chmod(0)
    done = await one.push("folder", "folder/a", "good")
    (one.root / "folder").chmod(0o755)
    assert list(failures(done)) == ["folder"]
    assert contents(await read_back(new_sandbox)) == {"good": b"1"}


async def test_times_that_no_64_bits_of_nanoseconds_hold_are_saved_as_the_latest(new_sandbox):
    one = new_sandbox()
    one.write("good", b"1")
    one.write("late", b"2")
    os.utime(one.root / "late", (LATE, LATE))
    if (one.root / "late").stat().st_mtime_ns < 1 << 63:
        pytest.skip("this file system has no such times")
    for _ in range(2):
        assert not (await one.push()).failed
    assert contents(await read_back(new_sandbox)) == {"good": b"1", "late": b"2"}


async def test_files_without_content_are_no_failure(new_sandbox):
    one = new_sandbox()
    one.write("good", b"1")
    os.mkfifo(one.root / "fifo")
    with socket.socket(socket.AF_UNIX) as sock:
        here = Path.cwd()
        os.chdir(one.root)
        sock.bind("socket")
        os.chdir(here)
        assert not (await one.push()).failed
    assert contents(await read_back(new_sandbox)) == {"good": b"1"}


async def test_a_file_that_is_removed_during_the_push_is_no_failure(new_sandbox):
    one = new_sandbox()
    one.write("good", b"1")
    one.write("brief", b"2")

    def remove(op, arguments):
        if op == "workspace.read" and arguments["path"] == "brief":
            (one.root / "brief").unlink()

    one.runtime.before = remove
    assert not (await one.push()).failed
    assert contents(await read_back(new_sandbox)) == {"good": b"1"}


async def test_a_file_that_keeps_changing_fails_alone(new_sandbox):
    one = new_sandbox()
    one.write("good", b"1")
    one.write("busy", b"2")

    def grow(op, arguments):
        if op == "workspace.read" and arguments["path"] == "busy":
            with (one.root / "busy").open("ab") as file:
                file.write(b"2")

    one.runtime.before = grow
    done = await one.push()
    assert {path: reason.partition(":")[0] for path, reason in failures(done).items()} == {"busy": "FILE_CHANGED"}
    assert contents(await read_back(new_sandbox)) == {"good": b"1"}


def limited(sandbox, **limits):
    """The sandbox's workspace with other limits."""
    sandbox.workspace = Workspace(sandbox.store, Keys(PREFIX), sandbox.runtime, "pod-a", **limits)
    return sandbox


async def test_a_sparse_file_larger_than_the_volume_fails_alone(new_sandbox):
    one = limited(new_sandbox(), max_bytes=100_000)
    one.write("good", b"1" * 50_000)
    one.write("sparse", b"")
    os.truncate(one.root / "sparse", 3 << 30)
    done = await one.push()
    assert failures(done) == {
        "sparse": f"with its {3 << 30} bytes the workspace would be larger than its volume of 100000 bytes"
    }
    assert not one.runtime.ops("workspace.read").count("sparse")
    assert contents(await read_back(new_sandbox)) == {"good": b"1" * 50_000}


async def test_what_is_stored_counts_against_the_volume_and_the_largest_new_files_fail(new_sandbox):
    one = limited(new_sandbox(), max_bytes=1000)
    one.write("a", b"1" * 600)
    await one.push()
    one.write("b", b"1" * 500)
    one.write("c", b"1" * 300)
    assert list(failures(await one.push())) == ["b"]
    (one.root / "a").unlink()
    assert not failures(await one.push())


async def test_a_file_larger_than_any_object_fails_alone(new_sandbox, monkeypatch):
    one = new_sandbox()
    one.write("good", b"1")
    one.write("enormous", b"")
    monkeypatch.setattr(type(one.store), "max_object_bytes", 1 << 20)
    os.truncate(one.root / "enormous", 1 << 30)
    done = await one.push()
    assert list(failures(done)) == ["enormous"]
    assert "storage takes at most 1048576" in done.failed[0].reason
    assert contents(await read_back(new_sandbox)) == {"good": b"1"}


async def test_holes_stay_holes(new_sandbox):
    one = new_sandbox()
    one.write("sparse", b"")
    os.truncate(one.root / "sparse", 20 << 20)
    with (one.root / "sparse").open("r+b") as file:
        file.seek(10 << 20)
        file.write(b"middle")
    await one.push()
    other = await read_back(new_sandbox)
    assert (other.root / "sparse").read_bytes() == (one.root / "sparse").read_bytes()
    assert (other.root / "sparse").stat().st_blocks * 512 < 4 << 20
