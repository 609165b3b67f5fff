"""`file.watch` and `workspace.watch`: changes as they happen."""

import asyncio
import contextlib

import pytest

from sandbox_link import inotify
from sandbox_link.protocol import OperationError
from sandbox_runtime.files import watch as watching
from sandbox_testing.link import MemoryChannel


class Watch:
    """A watch under way; `told` is what it said since it was asked last."""

    def __init__(self, channel, task):
        self.channel = channel
        self.task = task
        self._seen = 1

    async def told(self, until, last=None):
        """Changes until the path `until` was told, as `last` if that is given, in their order."""
        changes = []
        while True:
            await self.channel.until(self._seen + 1)
            event = self.channel.items[self._seen].value
            self._seen += 1
            changes += [(change["change"], change["path"]) for change in event["changes"]]
            if any(path == until and change == (last or change) for change, path in changes):
                return changes


@pytest.fixture
def open_watch(bench):
    @contextlib.asynccontextmanager
    async def open_it(op="file.watch", **arguments):
        channel = MemoryChannel({"op": op, **arguments})
        task = asyncio.create_task(bench.handlers[op](channel))
        started = asyncio.create_task(channel.until(1))
        await asyncio.wait({task, started}, return_when=asyncio.FIRST_COMPLETED)
        started.cancel()
        if task.done():
            task.result()
        assert channel.items[0].value == {"type": "watching"}
        yield Watch(channel, task)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    return open_it


async def test_what_is_written_moved_and_removed_is_told(bench, open_watch):
    (bench.root / "old").write_text("1")
    async with open_watch(recursive=True) as watch:
        (bench.root / "old").write_text("2")
        assert await watch.told("old") == [("modified", "old")]
        await bench("file.write", [b"x"], path="new")
        assert await watch.told("new") == [("added", "new"), ("modified", "new")]
        await bench("file.write", [b"y"], path="new")
        assert await watch.told("new") == [("modified", "new")], "replaced by a rename"
        (bench.root / "new").rename(bench.root / "moved")
        assert await watch.told("moved") == [("removed", "new"), ("added", "moved")]
        (bench.root / "old").unlink()
        assert await watch.told("old") == [("removed", "old")]


async def test_folders_that_appear_are_watched_with_what_is_in_them(bench, open_watch):
    async with open_watch(recursive=True) as watch:
        (bench.root / "a/b/c").mkdir(parents=True)
        (bench.root / "a/b/c/file").write_text("1")
        changes = await watch.told("a/b/c/file")
        assert {path for change, path in changes if change == "added"} >= {"a", "a/b", "a/b/c", "a/b/c/file"}
        (bench.root / "a/b/c/late").write_text("1")
        assert ("added", "a/b/c/late") in await watch.told("a/b/c/late")
        (bench.root / "a").rename(bench.root / "z")
        assert ("added", "z/b/c/file") in await watch.told("z/b/c/late")
        (bench.root / "z/b/c/file").unlink()
        assert await watch.told("z/b/c/file") == [("removed", "z/b/c/file")]


@pytest.mark.parametrize("recursive", [False, True])
async def test_a_new_file_is_added_and_then_written(bench, open_watch, recursive):
    async with open_watch(recursive=recursive) as watch:
        with (bench.root / "slow").open("w") as file:
            assert await watch.told("slow") == [("added", "slow")]
            file.write("1")
            file.flush()
            assert await watch.told("slow") == [("modified", "slow")]
        await bench("file.write", [b"x"], path="whole")
        assert (await watch.told("whole"))[-2:] == [("added", "whole"), ("modified", "whole")]
        (bench.root / "whole").rename(bench.root / "moved")
        assert await watch.told("moved") == [("removed", "whole"), ("added", "moved")], "no part file, so no content"
        await bench("file.mkdir", path="folder")
        assert await watch.told("folder") == [("added", "folder")]


async def test_what_a_new_folder_contains_is_added_and_written(bench, open_watch):
    full = bench.root.parent / "full"
    full.mkdir()
    (full / "file").write_text("1")
    (full / "empty").touch()
    (full / "link").symlink_to("file")
    async with open_watch(recursive=True) as watch:
        full.rename(bench.root / "full")
        changes = await watch.told("full/file")
    expected = [("added", "full"), ("added", "full/file"), ("modified", "full/file"), ("added", "full/empty")]
    assert sorted(changes) == sorted([*expected, ("added", "full/link")])
    assert changes.index(("added", "full/file")) < changes.index(("modified", "full/file"))


async def test_a_flat_watch_tells_its_own_entries_only(bench, open_watch):
    (bench.root / "sub/deep").mkdir(parents=True)
    async with open_watch(path="sub") as watch:
        (bench.root / "sub/deep/unseen").write_text("1")
        (bench.root / "beside").write_text("1")
        (bench.root / "sub/seen").write_text("1")
        assert await watch.told("sub/seen", "modified") == [("added", "sub/seen"), ("modified", "sub/seen")]


async def test_a_watch_ends_well_where_its_folder_is_removed(bench, open_watch):
    (bench.root / "sub").mkdir()
    async with open_watch(path="sub") as watch:
        (bench.root / "sub").rmdir()
        assert await watch.task == {"reason": "gone"}


async def test_no_symlink_leads_out_of_what_is_watched(bench, open_watch):
    (bench.root / "out").symlink_to("../outside")
    async with open_watch(recursive=True) as watch:
        (bench.root.parent / "outside" / "unseen").write_text("1")
        (bench.root / "seen").write_text("1")
        assert await watch.told("seen", "modified") == [("added", "seen"), ("modified", "seen")]
    with pytest.raises(OperationError) as caught:
        async with open_watch(path="out"):
            pass
    assert caught.value.reason == "PATH_OUTSIDE_WORKSPACE"


async def test_lost_events_are_told_and_end_the_watch(bench, open_watch, monkeypatch):
    async with open_watch(recursive=True) as watch:
        monkeypatch.setattr(inotify.Inotify, "read", lambda self: [inotify.Event(-1, inotify.OVERFLOW, b"")])
        (bench.root / "any").write_text("1")
        assert await watch.task == {"reason": "overflow"}
        assert watch.channel.events[-1] == {"type": "overflow"}


@pytest.mark.parametrize(("bound", "value"), [("MAX_FOLDERS", 2), ("MAX_WATCHES", 0)])
async def test_too_many_folders_or_watches_are_refused(bench, monkeypatch, bound, value):
    for name in "abc":
        (bench.root / name).mkdir()
    monkeypatch.setattr(watching, bound, value)
    with pytest.raises(OperationError) as caught:
        await bench("file.watch", recursive=True)
    assert (caught.value.code, caught.value.reason) == ("RESOURCE_EXHAUSTED", "TOO_MANY_FILES")


async def test_a_workspace_watch_says_only_that_something_changed_and_not_in_what_is_excluded(bench, open_watch):
    (bench.root / "node_modules").mkdir()
    async with open_watch("workspace.watch", exclude=["node_modules", "*.log"]) as watch:
        (bench.root / "node_modules/unseen").write_text("1")
        (bench.root / "unseen.log").write_text("1")
        for _ in range(3):
            (bench.root / "seen").write_text("1")
        await watch.channel.until(2)
        (bench.root / "again").mkdir()
        await watch.channel.until(3)
        assert [event["type"] for event in watch.channel.events] == ["watching", "changed", "changed"]
