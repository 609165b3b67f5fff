from __future__ import annotations

import asyncio
import os

import pytest

from sandbox_link.protocol import OperationError
from sandbox_runtime.files.confined import remove_tree as removal
from sandbox_testing.link import MemoryChannel


async def refused(bench, op, **arguments):
    with pytest.raises(OperationError) as caught:
        await bench(op, **arguments)
    return caught.value.code, caught.value.reason, caught.value.field


async def test_stat_tells_what_a_path_is(bench, kernel):
    (bench.root / "folder").mkdir()
    (bench.root / "folder" / "a").write_text("123")
    os.mkfifo(bench.root / "fifo")
    assert (await bench("file.stat", path="folder/a"))["info"]["size"] == 3
    assert (await bench("file.stat", path="fifo"))["info"]["type"] == "other"
    root = (await bench("file.stat", path="."))["info"]
    assert (root["path"], root["type"]) == (".", "directory")
    assert await refused(bench, "file.stat", path="x") == ("NOT_FOUND", "FILE_NOT_FOUND", "path")


async def test_a_folder_and_its_parents_are_made_and_made_again(bench, kernel):
    for _ in range(2):
        info = (await bench("file.mkdir", path="a/b/c"))["info"]
        assert (info["path"], info["type"]) == ("a/b/c", "directory")
    assert (await bench("file.mkdir", path="."))["info"]["path"] == "."
    (bench.root / "file").touch()
    expected = ("FAILED_PRECONDITION", "NOT_A_DIRECTORY", "path")
    assert await refused(bench, "file.mkdir", path="file") == expected
    assert await refused(bench, "file.mkdir", path="file/x") == expected


async def test_a_folder_is_made_where_a_dangling_link_inside_points(bench, kernel):
    (bench.root / "link").symlink_to("a/b")
    await bench("file.mkdir", path="link")
    assert (bench.root / "a" / "b").is_dir()


async def test_a_file_a_link_and_a_fifo_are_removed_themselves(bench):
    (bench.root / "file").touch()
    (bench.root / "folder").mkdir()
    (bench.root / "link").symlink_to("folder")
    os.mkfifo(bench.root / "fifo")
    for name in ("file", "link", "fifo"):
        assert await bench("file.remove", path=name) == {}
    assert bench.names() == ["folder"]


async def test_a_folder_is_removed_only_where_that_was_asked_for(bench):
    (bench.root / "a" / "b").mkdir(parents=True)
    assert await refused(bench, "file.remove", path="a") == ("FAILED_PRECONDITION", "IS_A_DIRECTORY", "path")
    await bench("file.remove", path="a", recursive=True)
    assert bench.names() == []
    assert await refused(bench, "file.remove", path="a", recursive=True) == ("NOT_FOUND", "FILE_NOT_FOUND", "path")
    assert (await refused(bench, "file.remove", path="a", recursive="yes"))[2] == "recursive"


async def test_removing_a_tree_follows_no_link_and_minds_no_kind_of_file(bench):
    outside = bench.root.parent / "outside"
    for number in range(20):
        (bench.root / "a" / str(number) / "x").mkdir(parents=True)
        (bench.root / "a" / str(number) / "y").touch()
    (bench.root / "a" / "out").symlink_to(outside)
    os.mkfifo(bench.root / "a" / "fifo")
    (bench.root / "a" / "0").chmod(0o555)
    await bench("file.remove", path="a", recursive=True)
    assert bench.names() == []
    assert (outside / "secret").read_text() == "secret"


async def test_a_folder_that_is_filled_while_it_is_removed_is_emptied_again(bench, monkeypatch):
    (bench.root / "a" / "b").mkdir(parents=True)
    rmdir, added = os.rmdir, []

    def fill_then_remove(name, **arguments):
        if name == b"b" and not added:
            added.append((bench.root / "a" / "b" / "late").touch())
        rmdir(name, **arguments)

    monkeypatch.setattr(os, "rmdir", fill_then_remove)
    await bench("file.remove", path="a", recursive=True)
    assert bench.names() == []


async def test_a_tree_that_is_moved_out_while_it_is_removed_stops_the_removal(bench, monkeypatch):
    (bench.root / "a" / "b" / "c").mkdir(parents=True)
    unlink = removal._Removal._remove_files

    def move_away(self):
        if self._levels[-1].name == b"c":
            (bench.root / "a" / "b" / "c").rename(bench.root.parent / "outside" / "c")
        return unlink(self)

    monkeypatch.setattr(removal._Removal, "_remove_files", move_away)
    assert (await refused(bench, "file.remove", path="a", recursive=True))[0] == "ABORTED"
    assert (bench.root.parent / "outside" / "secret").exists()


async def test_a_removal_that_is_cancelled_stops(bench):
    for number in range(300):
        (bench.root / "a" / str(number)).mkdir(parents=True)
    task = asyncio.create_task(bench.handlers["file.remove"](MemoryChannel({"path": "a", "recursive": True})))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("path", [".", "a/..", "./"])
async def test_the_root_is_neither_removed_nor_moved(bench, path):
    (bench.root / "a").touch()
    assert (await refused(bench, "file.remove", path=path, recursive=True))[::2] == ("INVALID_ARGUMENT", "path")
    assert (await refused(bench, "file.move", source=path, destination="b"))[::2] == ("INVALID_ARGUMENT", "source")
    expected = ("INVALID_ARGUMENT", "destination")
    assert (await refused(bench, "file.move", source="a", destination=path, overwrite=True))[::2] == expected


async def test_a_file_and_a_folder_are_renamed(bench, kernel):
    (bench.root / "a").write_text("x")
    (bench.root / "folder" / "sub").mkdir(parents=True)
    info = (await bench("file.move", source="a", destination="folder/b"))["info"]
    assert (info["path"], info["type"], info["size"]) == ("folder/b", "file", 1)
    await bench("file.move", source="folder", destination="renamed")
    assert bench.names() == ["renamed", "renamed/b", "renamed/sub"]


async def test_what_is_there_is_replaced_only_where_that_was_asked_for(bench, kernel):
    (bench.root / "a").write_text("a")
    (bench.root / "b").write_text("b")
    (bench.root / "d").mkdir()
    (bench.root / "e").mkdir()
    expected = ("ALREADY_EXISTS", "ALREADY_EXISTS", "destination")
    assert await refused(bench, "file.move", source="a", destination="b") == expected
    assert await refused(bench, "file.move", source="d", destination="e") == expected
    assert (bench.root / "b").read_text() == "b"
    await bench("file.move", source="a", destination="b", overwrite=True)
    await bench("file.move", source="d", destination="e", overwrite=True)
    assert bench.names() == ["b", "e"]
    assert (bench.root / "b").read_text() == "a"


async def test_a_move_that_cannot_be_names_the_field_at_fault(bench, kernel):
    (bench.root / "a").touch()
    (bench.root / "d" / "x").mkdir(parents=True)
    (bench.root / "e").mkdir()
    moves = [
        ("x", "y", ("NOT_FOUND", "FILE_NOT_FOUND", "source")),
        ("a", "no/y", ("NOT_FOUND", "FILE_NOT_FOUND", "destination")),
        ("d", "d/x/y", ("INVALID_ARGUMENT", "INVALID_ARGUMENT", "destination")),
        ("e", "d", ("ALREADY_EXISTS", "ALREADY_EXISTS", "destination")),
        ("a", "d", ("FAILED_PRECONDITION", "IS_A_DIRECTORY", "destination")),
        ("d", "a", ("FAILED_PRECONDITION", "NOT_A_DIRECTORY", "destination")),
    ]
    for source, destination, expected in moves:
        assert await refused(bench, "file.move", source=source, destination=destination, overwrite=True) == expected
