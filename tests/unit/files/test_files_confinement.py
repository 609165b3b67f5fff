from __future__ import annotations

import ctypes
import itertools
import threading
from typing import TYPE_CHECKING

import pytest

from sandbox_link.protocol import OperationError

if TYPE_CHECKING:
    from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
OUTSIDE = ("INVALID_ARGUMENT", "PATH_OUTSIDE_WORKSPACE", "path")


@pytest.fixture
def links(bench):
    """Symlinks that lead out, each in its own way."""
    root, outside = bench.root, bench.root.parent / "outside"
    (root / "folder").mkdir()
    (root / "absolute").symlink_to(outside / "secret")
    (root / "relative").symlink_to("../outside/secret")
    (root / "deep").symlink_to("folder/../../outside/secret")
    (root / "chain").symlink_to("relative")
    (root / "out").symlink_to(outside)
    (root / "up").symlink_to("..")
    (root / "proc").symlink_to("/proc/self/root")
    (root / "in and out").symlink_to("../workspace/folder")
    (root / "prefix").symlink_to(f"{root}2/secret")
    (root / "loop").symlink_to("loop")
    return bench


FILES = [
    "absolute",
    "relative",
    "deep",
    "chain",
    "out/secret",
    "up/outside/secret",
    "proc/etc/passwd",
    "prefix",
    "loop",
]


@pytest.mark.parametrize(
    ("op", "path"),
    [
        *itertools.product(["file.read", "file.write"], FILES),
        *itertools.product(
            # A link at the end is not followed by these.
            ["workspace.read", "workspace.hash", "workspace.write"],
            [path for path in FILES if "/" in path],
        ),
    ],
)
async def test_no_content_is_reached_through_a_link_that_leads_out(links, kernel, op, path):
    with pytest.raises(OperationError) as caught:
        await links(op, [b"x"], path=path)
    assert (caught.value.code, caught.value.reason, caught.value.field) == OUTSIDE
    assert (links.root.parent / "outside" / "secret").read_text() == "secret"


@pytest.mark.parametrize("path", ["out", "up", "up/outside", "proc", "proc/tmp", "in and out", "loop"])
@pytest.mark.parametrize("op", ["file.list", "file.mkdir"])
async def test_no_folder_is_reached_through_a_link_that_leads_out(links, kernel, op, path):
    with pytest.raises(OperationError) as caught:
        await links(op, path=path)
    assert (caught.value.code, caught.value.reason, caught.value.field) == OUTSIDE


@pytest.mark.parametrize("path", ["out/secret", "up/outside/secret", "proc/etc/passwd"])
async def test_nothing_is_named_moved_or_removed_through_a_link_that_leads_out(links, kernel, path):
    for op, arguments, field in [
        ("file.stat", {"path": path}, "path"),
        ("file.remove", {"path": path, "recursive": True}, "path"),
        ("file.move", {"source": path, "destination": "x"}, "source"),
        ("file.move", {"source": "folder", "destination": path, "overwrite": True}, "destination"),
        ("workspace.scan", {"paths": [path]}, "paths"),
    ]:
        with pytest.raises(OperationError) as caught:
            await links(op, **arguments)
        assert (caught.value.code, caught.value.reason, caught.value.field) == (*OUTSIDE[:2], field)
    assert (links.root.parent / "outside" / "secret").read_text() == "secret"


async def test_a_link_that_leads_out_can_be_looked_at_moved_and_removed_itself(links, kernel):
    info = (await links("file.stat", path="out"))["info"]
    assert (info["type"], info["symlink_target"]) == ("symlink", str(links.root.parent / "outside"))
    await links("file.move", source="out", destination="moved")
    await links("file.remove", path="moved", recursive=True)
    assert (links.root.parent / "outside" / "secret").read_text() == "secret"


async def test_a_restored_file_replaces_a_link_and_does_not_go_through_it(links, kernel):
    await links("workspace.write", [b"x"], path="absolute", type="file")
    assert not (links.root / "absolute").is_symlink()
    assert (links.root.parent / "outside" / "secret").read_text() == "secret"


async def test_links_that_stay_inside_are_followed_however_they_go(bench, kernel):
    root = bench.root
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "file").write_text("x")
    (root / "a" / "b" / "up").symlink_to("../../a/./b/../file")
    (root / "absolute").symlink_to(root / "a")
    (root / "to root").symlink_to(root)
    (root / "a" / "dots").symlink_to("..")
    for path in ["a/b/up", "absolute/file", "to root/a/file", "a/dots/a/dots/absolute/b/up", "absolute/dots/a/file"]:
        assert await bench.read(path) == b"x"
    assert [entry["path"] for entry in await bench.list(path="to root")] == [
        "to root/a",
        "to root/absolute",
        "to root/to root",
    ]


async def test_as_many_links_as_the_kernel_follows_are_followed(bench, kernel):
    (bench.root / "0").write_text("x")
    for number in range(41):
        (bench.root / str(number + 1)).symlink_to(str(number))
    assert await bench.read("40") == b"x"
    with pytest.raises(OperationError):
        await bench.read("41")


@pytest.mark.timeout(60)
async def test_a_folder_swapped_for_a_link_all_the_time_never_shows_the_outside(bench, kernel):
    root, outside = bench.root, bench.root.parent / "outside"
    (root / "now").mkdir()
    (root / "now" / "secret").write_text("mine")
    (root / "other").symlink_to(outside)
    exchange(root / "now", root / "other")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            exchange(root / "now", root / "other")

    thread = threading.Thread(target=swap)
    thread.start()
    outcomes = set()
    try:
        for _ in range(150):
            outcomes.add(await attempt(bench("file.write", [b"mine"], path="now/secret")))
            outcomes.add(await attempt(bench("workspace.hash", path="now/secret")))
            outcomes.add(await attempt(bench("file.list", path="now")))
            outcomes.add(await attempt(bench("file.read", path="now/secret")))
            assert bench.channel.output() in {b"", b"mine"}
            outcomes.add(await attempt(bench("file.remove", path="now/nothing", recursive=True)))
    finally:
        stop.set()
        thread.join()
    assert outcomes <= {"OK", "NOT_FOUND", "INVALID_ARGUMENT", "FAILED_PRECONDITION", "ABORTED"}
    assert {"OK", "INVALID_ARGUMENT"} <= outcomes
    assert [path.name for path in outside.iterdir()] == ["secret"]
    assert (outside / "secret").read_text() == "secret"


async def attempt(call) -> str:
    try:
        await call
    except OperationError as error:
        return error.code
    return "OK"


def exchange(one: Path, other: Path) -> None:
    """Swap two names atomically."""
    if LIBC.renameat2(-100, bytes(one), -100, bytes(other), 2):
        raise OSError(ctypes.get_errno(), "no RENAME_EXCHANGE here")


async def test_an_absolute_path_may_spell_the_root_by_a_symlink(bench):
    (bench.root / "a").mkdir()
    (bench.root / "a/f").write_text("1")
    alias = bench.root.parent / "alias"
    alias.symlink_to(bench.root)
    assert await bench.read(f"{alias}/a/f") == b"1"
    assert (await bench("file.stat", path=str(alias)))["info"]["path"] == "."
    for path in (f"{alias}/../outside/secret", f"{bench.root.parent}/outside/secret", "/nowhere/a/f"):
        with pytest.raises(OperationError) as caught:
            await bench.read(path)
        assert caught.value.reason == "PATH_OUTSIDE_WORKSPACE"
