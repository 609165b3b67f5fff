"""The home folder and /tmp beside the workspace: what paths lead there, and that none leads further."""

from __future__ import annotations

import asyncio
import ctypes
import itertools
import threading

import pytest

from sandbox_link.protocol import OperationError
from sandbox_runtime.files import build_handlers
from sandbox_testing.link import MemoryChannel

LIBC = ctypes.CDLL(None, use_errno=True)


@pytest.fixture
def rooted(bench, limits):
    """The bench with a home folder and a /tmp of its own."""
    home, tmp = bench.root.parent / "home", bench.root.parent / "tmp"
    home.mkdir()
    tmp.mkdir()
    bench.handlers = build_handlers(bench.root, limits, home, tmp)
    bench.home, bench.tmp = home, tmp
    return bench


@pytest.fixture(params=["home", "tmp"])
def other(request, rooted):
    """One of the two folders beside the workspace."""
    return rooted.root.parent / request.param


async def refusal(call) -> tuple[str, str, str]:
    with pytest.raises(OperationError) as caught:
        await call
    return caught.value.code, caught.value.reason, caught.value.field


def outside(field: str = "path") -> tuple[str, str, str]:
    return "INVALID_ARGUMENT", "PATH_OUTSIDE_WORKSPACE", field


async def test_an_absolute_path_is_in_the_root_that_it_names(rooted, other, kernel):
    info = (await rooted("file.write", [b"x"], path=f"{other}/a/f"))["info"]
    assert (info["path"], info["type"], info["size"]) == (f"{other}/a/f", "file", 1)
    assert (other / "a/f").read_bytes() == b"x"
    assert await rooted.read(f"{other}/a/f") == b"x"
    assert [entry["path"] for entry in await rooted.list(path=str(other), depth=9)] == [f"{other}/a", f"{other}/a/f"]
    assert (await rooted("file.stat", path=str(other)))["info"]["path"] == str(other)
    assert (await rooted("file.mkdir", path=f"{other}/b/c"))["info"]["path"] == f"{other}/b/c"
    moved = await rooted("file.move", source=f"{other}/a/f", destination=f"{other}/g")
    assert moved["info"]["path"] == f"{other}/g"
    await rooted("file.remove", path=f"{other}/a", recursive=True)
    assert sorted(path.name for path in other.iterdir()) == ["b", "g"]
    assert rooted.names() == []


async def test_a_named_root_decides_where_a_relative_path_is(rooted, other):
    await rooted("file.write", [b"x"], path="f", root=other.name)
    assert (other / "f").read_bytes() == b"x"
    assert (await rooted("file.stat", path=".", root=other.name))["info"]["path"] == str(other)
    await rooted("file.move", source="f", source_root=other.name, destination="g")
    assert rooted.names() == ["g"]
    assert (await rooted("file.stat", path=f"{rooted.root}/g", root="workspace"))["info"]["path"] == "g"
    assert await refusal(rooted("file.stat", path=f"{rooted.root}/g", root=other.name)) == outside()
    assert await refusal(rooted("file.stat", path="g", root="etc")) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT", "root")


async def test_searches_and_lists_name_files_elsewhere_by_absolute_paths(rooted, other):
    (other / "deep").mkdir()
    (other / "deep/f.txt").write_text("needle\n")
    await rooted("file.search", path=str(other), content_pattern="needle")
    assert [match["path"] for event in rooted.channel.events for match in event["matches"]] == [f"{other}/deep/f.txt"]
    await rooted("file.search", path=str(other), name_pattern="*.txt")
    found = [match["info"]["path"] for event in rooted.channel.events for match in event["matches"]]
    assert found == [f"{other}/deep/f.txt"]


async def test_changes_elsewhere_are_told_by_absolute_paths(rooted, other):
    channel = MemoryChannel({"op": "file.watch", "path": str(other), "recursive": True})
    watching = asyncio.create_task(rooted.handlers["file.watch"](channel))
    await channel.until(1)
    (other / "f").write_text("1")
    await channel.until(2)
    watching.cancel()
    assert channel.items[1].value["changes"][0] == {"path": f"{other}/f", "change": "added"}


async def test_no_path_leads_from_one_root_into_another_or_out(rooted, kernel):
    folders = {
        "workspace": rooted.root,
        "home": rooted.home,
        "tmp": rooted.tmp,
        "outside": rooted.root.parent / "outside",
    }
    for folder in folders.values():
        (folder / "secret").write_text("secret")
    for one, two in itertools.permutations(folders.values(), 2):
        (one / f"to-{two.name}").symlink_to(two)
        (one / f"up-{two.name}").symlink_to(f"../{two.name}/secret")
        (one / "magic").unlink(missing_ok=True)
        (one / "magic").symlink_to("/proc/self/cwd")
    for name, two in itertools.product(("workspace", "home", "tmp"), folders):
        if name == two:
            continue
        for path in (f"to-{two}/secret", f"up-{two}", f"../{two}/secret", "magic/x"):
            for op in ("file.read", "file.write"):
                assert await refusal(rooted(op, [b"x"], path=path, root=name)) == outside(), (name, path, op)
        assert await refusal(rooted("file.remove", path=f"to-{two}/secret", root=name)) == outside()
        assert await refusal(rooted("file.list", path=f"to-{two}", root=name)) == outside()
        target = {"destination": f"to-{two}/new", "destination_root": name}
        assert await refusal(rooted("file.move", source="secret", source_root=name, **target)) == outside("destination")
    assert [(folder / "secret").read_text() for folder in folders.values()] == ["secret"] * 4


@pytest.mark.parametrize("path", ["/etc/passwd", "/", "/proc/self/environ", "{tmp}/../outside/secret", "{tmp}2/f"])
async def test_other_absolute_paths_are_refused(rooted, kernel, path):
    path = path.format(tmp=rooted.tmp)
    for op in ("file.read", "file.write", "file.stat", "file.list", "file.remove", "file.mkdir", "file.watch"):
        assert await refusal(rooted(op, [b"x"], path=path)) == outside(), op


async def test_a_root_itself_is_never_removed_or_moved(rooted, other):
    assert (await refusal(rooted("file.remove", path=str(other), recursive=True)))[2] == "path"
    assert (await refusal(rooted("file.move", source=str(other), destination="x")))[2] == "source"
    assert (await refusal(rooted("file.move", source=str(other), destination=f"{other}/x")))[2] == "source"
    assert other.is_dir()


async def test_a_folder_is_not_moved_into_itself_but_may_go_to_another_root_of_the_same_name(rooted, other):
    await rooted("file.mkdir", path="a")
    assert (await refusal(rooted("file.move", source="a", destination="a/b")))[2] == "destination"
    await rooted("file.mkdir", path=f"{other}/a")
    await rooted("file.move", source="a", destination=f"{other}/a/b")
    assert (other / "a/b").is_dir()


async def test_what_is_saved_is_in_the_workspace_alone(rooted, other):
    (other / "f").write_text("1")
    (rooted.root / "mine").write_text("1")
    assert await rooted.scan() == ["mine"]
    assert await refusal(rooted("workspace.scan", paths=[str(other)])) == outside("paths")
    for op in ("workspace.read", "workspace.hash", "workspace.write"):
        assert await refusal(rooted(op, [b"x"], path=f"{other}/f", root=other.name)) == outside()
        await_missing = rooted(op, [b"x"], path="f", root=other.name)
        if op != "workspace.write":
            assert (await refusal(await_missing))[1] == "FILE_NOT_FOUND"
            continue
        await await_missing
        assert (other / "f").read_text() == "1"


async def test_a_workspace_below_tmp_stays_the_workspace(bench, limits):
    bench.handlers = build_handlers(bench.root, limits, bench.root.parent / "home", bench.root.parent)
    (bench.root / "f").write_text("1")
    assert (await bench("file.stat", path=f"{bench.root}/f"))["info"]["path"] == "f"
    alias = bench.root.parent / "alias"
    alias.symlink_to(bench.root)
    assert (await bench("file.stat", path=f"{alias}/f"))["info"]["path"] == "f"
    assert (await bench("file.stat", path=str(alias)))["info"]["symlink_target"] == str(bench.root)


async def test_a_home_that_is_the_workspace_is_the_workspace(bench, limits):
    bench.handlers = build_handlers(bench.root, limits, bench.root)
    (bench.root / "f").write_text("1")
    assert (await bench("file.stat", path=f"{bench.root}/f"))["info"]["path"] == "f"
    assert (await bench("file.stat", path=".", root="home"))["info"]["path"] == str(bench.root)


async def test_a_swapped_folder_in_tmp_leads_nowhere_else(rooted, kernel):
    """A folder and a symlink to a folder outside change places all the time."""
    outside_folder = rooted.root.parent / "outside"
    (rooted.tmp / "now").mkdir()
    (rooted.tmp / "now/secret").write_text("mine")
    (rooted.tmp / "link").symlink_to(outside_folder)
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            LIBC.renameat2(-100, bytes(rooted.tmp / "now"), -100, bytes(rooted.tmp / "link"), 2)

    swapping = threading.Thread(target=swap)
    swapping.start()
    outcomes = set()
    try:
        for number in range(150):
            for op, arguments in (
                ("file.read", {"path": f"{rooted.tmp}/now/secret"}),
                ("file.write", {"path": f"{rooted.tmp}/now/written"}),
                ("file.remove", {"path": f"{rooted.tmp}/now/written"}),
                ("file.move", {"source": f"{rooted.tmp}/now/secret", "destination": f"{rooted.tmp}/now/s{number}"}),
                ("file.move", {"source": f"{rooted.tmp}/now/s{number}", "destination": f"{rooted.tmp}/now/secret"}),
            ):
                try:
                    await rooted(op, [b"x"], **arguments)
                    outcomes.add("OK")
                    assert op != "file.read" or rooted.channel.output() == b"mine"
                except OperationError as error:
                    outcomes.add(error.code)
    finally:
        stop.set()
        swapping.join()
    assert {"OK", "INVALID_ARGUMENT"} <= outcomes
    assert [path.name for path in outside_folder.iterdir()] == ["secret"]
    assert (outside_folder / "secret").read_text() == "secret"
