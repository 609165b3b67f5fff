from __future__ import annotations

import os
import shutil

import pytest

from sandbox_link.protocol import OperationError


async def pages(bench, **arguments):
    """The paths of all entries, page by page."""
    found, token = [], ""
    while not found or token:
        result = await bench("file.list", page_token=token, **arguments)
        found.append([entry["path"] for event in bench.channel.events for entry in event["entries"]])
        token = result["next_page_token"]
    return found


async def test_a_folder_s_own_entries_are_listed_with_their_types(bench):
    root = bench.root
    (root / "folder").mkdir()
    (root / "folder" / "inner").touch()
    (root / "file").write_text("12")
    (root / "link").symlink_to("/nowhere")
    os.mkfifo(root / "fifo")
    entries = await bench.list(path=".")
    assert [(entry["path"], entry["type"]) for entry in entries] == [
        ("fifo", "other"),
        ("file", "file"),
        ("folder", "directory"),
        ("link", "symlink"),
    ]
    assert entries[3]["symlink_target"] == "/nowhere"
    assert await bench.list(path="") == entries


async def test_the_order_is_that_of_the_paths_at_every_depth(bench):
    for path in ["a/x", "a-b/x", "a.txt/x", "a/b/c/d", "A/x", "ab/x", "a/b-c", "a/\n", "ü/x", "a/b/c.d"]:
        (bench.root / path).parent.mkdir(parents=True, exist_ok=True)
        (bench.root / path).touch()
    everything = bench.names()
    assert [entry["path"] for entry in await bench.list(path=".", depth=100)] == everything
    for depth in (0, 1, 2, 3):
        listed = [entry["path"] for entry in await bench.list(path=".", depth=depth)]
        assert listed == [path for path in everything if path.count("/") < max(depth, 1)]
    below = [entry["path"] for entry in await bench.list(path="a/./b", depth=9)]
    assert below == [path for path in everything if path.startswith("a/b/")]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
async def test_pages_of_any_size_together_are_the_whole(bench, size):
    for path in ["a/x", "a-b/x", "a/b/c/d", "ab/x", "a/b-c", "z"]:
        (bench.root / path).parent.mkdir(parents=True, exist_ok=True)
        (bench.root / path).touch()
    found = await pages(bench, path=".", depth=9, page_size=size)
    assert [path for page in found for path in page] == bench.names()
    assert all(len(page) == size for page in found[:-1])


async def test_thousands_of_files_are_paged_without_loss_or_repetition(bench):
    for number in range(2_600):
        (bench.root / f"{number:05}").touch()
    found = await pages(bench, path=".")
    assert [len(page) for page in found] == [1000, 1000, 600]
    assert [path for page in found for path in page] == [f"{number:05}" for number in range(2_600)]


async def test_a_page_continues_where_the_last_one_ended_whatever_changed(bench):
    for name in "abcdef":
        (bench.root / name).touch()
    await bench("file.list", path=".", page_size=3)
    token = (await bench("file.list", path=".", page_size=3))["next_page_token"]
    (bench.root / "c").unlink()
    (bench.root / "a2").touch()
    (bench.root / "d").unlink()
    (bench.root / "dd").touch()
    assert [entry["path"] for entry in await bench.list(path=".", page_token=token)] == ["dd", "e", "f"]


@pytest.mark.parametrize(
    ("arguments", "code", "field"),
    [
        ({"page_size": 10_001}, "INVALID_ARGUMENT", "page_size"),
        ({"page_size": -1}, "INVALID_ARGUMENT", "page_size"),
        ({"depth": -1}, "INVALID_ARGUMENT", "depth"),
        ({"page_token": "%%%"}, "INVALID_ARGUMENT", "page_token"),
        ({"page_token": 5}, "INVALID_ARGUMENT", "page_token"),
        ({"path": "file"}, "FAILED_PRECONDITION", "path"),
        ({"path": "nothing"}, "NOT_FOUND", "path"),
    ],
)
async def test_an_argument_out_of_bounds_is_refused_with_its_field(bench, arguments, code, field):
    (bench.root / "file").touch()
    with pytest.raises(OperationError) as caught:
        await bench("file.list", **{"path": ".", **arguments})
    assert (caught.value.code, caught.value.field) == (code, field)


async def test_events_of_names_that_are_long_when_escaped_stay_below_the_frame_limit(bench):
    for number in range(900):
        (bench.root / f"{number:03}{chr(0xDCFF) * 240}").touch()
    assert len(await bench.list(path=".")) == 900


@pytest.fixture
def deep(bench):
    """A tree of 4,096 levels with a file at its end."""
    folder = os.open(bench.root, os.O_RDONLY)
    for _ in range(4096):
        os.mkdir("d", dir_fd=folder)
        below = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    os.close(os.open("end", os.O_CREAT | os.O_WRONLY, dir_fd=folder))
    os.close(folder)
    yield bench
    shutil.rmtree(bench.root, ignore_errors=True)


@pytest.mark.timeout(60)
async def test_a_tree_of_four_thousand_levels_is_listed_scanned_read_and_removed(deep):
    end = "d/" * 4096 + "end"
    listed = await deep.list(path=".", depth=10_000, page_size=10_000)
    assert len(listed) == 4097
    assert listed[-1]["path"] == end
    found, left_out = await deep.scan_all()
    assert found == []
    assert [len(path) for path in left_out] == [4096]
    await deep("file.write", [b"x"], path=end)
    assert await deep.read(end) == b"x"
    await deep("file.move", source=end, destination="d/" * 4096 + "other")
    await deep("file.remove", path="d", recursive=True)
    assert deep.names() == []


async def test_a_tree_that_is_moved_while_it_is_listed_is_left_out_and_the_rest_is_not(bench, monkeypatch):
    for path in ["a/b/c/d/x", "a/b/y", "z/x"]:
        (bench.root / path).parent.mkdir(parents=True, exist_ok=True)
        (bench.root / path).touch()
    stat = os.stat

    def move_then_stat(name, **arguments):
        if name == b"x" and (bench.root / "a" / "b" / "c").exists():
            (bench.root / "a" / "b" / "c").rename(bench.root.parent / "outside" / "c")
        return stat(name, **arguments)

    monkeypatch.setattr(os, "stat", move_then_stat)
    listed = [entry["path"] for entry in await bench.list(path=".", depth=9)]
    assert [path for path in listed if "outside" in path or "secret" in path] == []
    assert {"a", "a/b", "a/b/y", "z", "z/x"} <= set(listed)
