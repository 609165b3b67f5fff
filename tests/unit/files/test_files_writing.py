from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import stat
import threading

import pytest

from sandbox_link.protocol import OperationError
from sandbox_testing.link import MemoryChannel

MIB = 1 << 20
ODD_NAMES = ["ü/ñ.txt", "日本/語", "new\nline", "esc\x1b[31m", "\udcff\udc80", "-rf", "a b", "...", "x" * 255]


@pytest.mark.parametrize(
    "pieces",
    [[], [b""], [b"x"], [bytes(range(256)) * 100], [b"a", b"b", b"c"], [b"", b"", b"z"]],
    ids=["nothing", "empty piece", "one byte", "binary", "three pieces", "empty pieces first"],
)
async def test_what_is_written_is_read_again(bench, pieces):
    content = b"".join(pieces)
    result = await bench("file.write", pieces, path="a/b/c.bin")
    assert result["sha256"] == hashlib.sha256(content).hexdigest()
    assert result["info"]["path"] == "a/b/c.bin"
    assert result["info"]["size"] == len(content)
    assert result["info"]["mode"] == 0o644
    assert await bench.read("a/b/c.bin") == content
    assert bench.names() == ["a", "a/b", "a/b/c.bin"]


async def test_fifty_megabytes_make_the_round_trip(bench):
    pieces = [os.urandom(1 << 10) * 1024 for _ in range(50)]
    digest = hashlib.sha256(b"".join(pieces)).hexdigest()
    result = await bench("file.write", pieces, path="big", sha256=digest)
    assert result["sha256"] == digest
    assert hashlib.sha256(await bench.read("big")).hexdigest() == digest


@pytest.mark.parametrize("name", ODD_NAMES)
async def test_every_name_that_linux_has_makes_the_round_trip(bench, name):
    await bench("file.write", [b"content"], path=name)
    assert await bench.read(name) == b"content"
    assert (await bench("file.stat", path=name))["info"]["path"] == name
    assert [entry["path"] for entry in await bench.list(path=".", depth=2) if entry["type"] == "file"] == [name]
    assert await bench.scan() == [name]
    await bench("file.remove", path=name)


async def test_an_absolute_path_inside_the_root_is_as_the_relative_one(bench):
    result = await bench("file.write", [b"x"], path=f"{bench.root}/a/../b")
    assert result["info"]["path"] == "b"


@pytest.mark.parametrize(("mode", "before", "expected"), [(0, None, 0o644), (0, 0o755, 0o755), (0o600, 0o755, 0o600)])
async def test_the_mode_is_the_one_asked_for_or_the_replaced_file_s(bench, mode, before, expected):
    if before is not None:
        (bench.root / "a").touch()
        (bench.root / "a").chmod(before)
    result = await bench("file.write", [b"x"], path="a", mode=mode)
    assert result["info"]["mode"] == expected


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"mode": 0o4755}, "mode"),
        ({"mode": -1}, "mode"),
        ({"sha256": "abc"}, "sha256"),
        ({"sha256": "A" * 64}, "sha256"),
        ({"sha256": 5}, "sha256"),
        ({"path": "../x"}, "path"),
        ({"path": "a\0b"}, "path"),
    ],
)
async def test_an_argument_out_of_bounds_is_refused_with_its_field(bench, arguments, field):
    with pytest.raises(OperationError) as caught:
        await bench("file.write", [b"x"], **{"path": "a", **arguments})
    assert (caught.value.code, caught.value.field) == ("INVALID_ARGUMENT", field)
    assert bench.names() == []


async def test_a_wrong_digest_leaves_the_old_file(bench):
    (bench.root / "a").write_text("old")
    with pytest.raises(OperationError) as caught:
        await bench("file.write", [b"new"], path="a", sha256="0" * 64)
    assert (caught.value.code, caught.value.reason) == ("DATA_LOSS", "DIGEST_MISMATCH")
    assert (bench.root / "a").read_text() == "old"
    assert bench.names() == ["a"]


@pytest.mark.parametrize("pieces", [[b"123456"], [b"123", b"456"], [b"123", b"4", b"56"]])
async def test_a_file_over_the_limit_is_refused_and_the_limit_is_read_at_each_call(bench, limits, pieces):
    limits.file_bytes = 5
    with pytest.raises(OperationError) as caught:
        await bench("file.write", pieces, path="a")
    error = caught.value
    assert (error.code, error.reason, error.field) == ("RESOURCE_EXHAUSTED", "FILE_TOO_LARGE", "path")
    assert bench.names() == []
    limits.file_bytes = 6
    await bench("file.write", pieces, path="a")
    assert bench.names() == ["a"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("pieces", [[b"new"], [b"new", b"er", b"!"]])
async def test_fault_26_a_full_disk_leaves_the_old_file_and_no_part_of_the_new(bench, monkeypatch, number, pieces):
    """The write fails with DISK_FULL, the old file stays, and no partial file is left."""
    (bench.root / "a").write_text("old")

    def full(_descriptor: int, _data: bytes) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OperationError) as caught:
        await bench("file.write", pieces, path="a")
    monkeypatch.undo()
    error = caught.value
    assert (error.code, error.reason, error.field) == ("RESOURCE_EXHAUSTED", "DISK_FULL", "path")
    assert (bench.root / "a").read_text() == "old"
    assert bench.names() == ["a"]


async def test_a_write_that_the_kernel_cuts_short_is_continued(bench, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, bytes(data[:3])))
    await bench("file.write", [b"0123456789"], path="a")
    assert (bench.root / "a").read_bytes() == b"0123456789"


@pytest.mark.parametrize("sent", [0, 1, 2, 5])
async def test_a_broken_stream_leaves_the_old_file_and_no_part_of_the_new(bench, sent):
    (bench.root / "a").write_text("old")
    channel = MemoryChannel({"path": "a"}, [b"new"] * sent, ended=False)
    task = asyncio.create_task(bench.handlers["file.write"](channel))
    async with asyncio.timeout(10):
        await channel.until_waiting()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (bench.root / "a").read_text() == "old"
    assert bench.names() == ["a"]


async def test_a_write_cancelled_at_any_moment_is_whole_or_not_there(bench):
    for turns in range(40):
        channel = MemoryChannel({"path": "a"}, [b"x" * 1000] * 3)
        task = asyncio.create_task(bench.handlers["file.write"](channel))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert bench.names() in ([], ["a"])
        if bench.names():
            assert (bench.root / "a").read_bytes() == b"x" * 3000
            (bench.root / "a").unlink()


async def test_a_write_that_is_cancelled_while_the_disk_works_ends_although_more_may_come(bench, monkeypatch):
    """All that came is read already: what is waited for is the disk, and the agent has just given up."""
    write, loop = os.write, asyncio.get_running_loop()
    is_writing, may_write = asyncio.Event(), threading.Event()

    def slow(descriptor: int, data: bytes) -> int:
        loop.call_soon_threadsafe(is_writing.set)
        assert may_write.wait(10)
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", slow)
    channel = MemoryChannel({"path": "a"}, [b"1", b"2", b"3"], ended=False)
    task = asyncio.create_task(bench.handlers["file.write"](channel))
    await is_writing.wait()
    task.cancel()
    await asyncio.sleep(0)
    may_write.set()
    done, _ = await asyncio.wait([task], timeout=5)
    task.cancel()
    assert done, "the cancellation got lost"
    assert task.cancelled()
    assert bench.names() == []


async def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(bench):
    (bench.root / "a").write_text("old")
    channel = MemoryChannel({"path": "a"}, [b"n", b"e"], ended=False)
    task = asyncio.create_task(bench.handlers["file.write"](channel))
    await channel.until_waiting()
    assert await bench.read("a") == b"old"
    assert [entry["path"] for entry in await bench.list(path=".")] == ["a"]
    assert await bench.scan() == ["a"]
    assert len(bench.names()) == 2
    channel.feed(b"w")
    channel.end()
    await task
    assert await bench.read("a") == b"new"
    assert bench.names() == ["a"]


async def test_a_hard_link_of_the_old_file_keeps_its_content(bench):
    (bench.root / "a").write_text("old")
    (bench.root / "b").hardlink_to(bench.root / "a")
    await bench("file.write", [b"new"], path="a")
    assert (bench.root / "b").read_text() == "old"


async def test_a_symlink_that_stays_inside_is_written_through(bench, kernel):
    (bench.root / "folder").mkdir()
    (bench.root / "link").symlink_to("folder/target")
    (bench.root / "absolute").symlink_to(bench.root / "folder" / "other")
    await bench("file.write", [b"1"], path="link")
    await bench("file.write", [b"2"], path="absolute")
    assert (bench.root / "link").is_symlink()
    assert (bench.root / "folder" / "target").read_text() == "1"
    assert (bench.root / "folder" / "other").read_text() == "2"


@pytest.mark.parametrize(
    ("path", "code", "reason"),
    [
        ("folder", "FAILED_PRECONDITION", "IS_A_DIRECTORY"),
        (".", "FAILED_PRECONDITION", "IS_A_DIRECTORY"),
        ("link to folder", "FAILED_PRECONDITION", "IS_A_DIRECTORY"),
        ("fifo", "FAILED_PRECONDITION", "NOT_A_FILE"),
        ("file/below", "FAILED_PRECONDITION", "NOT_A_DIRECTORY"),
        ("n" * 256, "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
    ],
)
async def test_only_a_file_is_replaced_by_a_file(bench, path, code, reason, kernel):
    (bench.root / "folder").mkdir()
    (bench.root / "file").touch()
    (bench.root / "link to folder").symlink_to("folder")
    os.mkfifo(bench.root / "fifo")
    before = bench.names()
    with pytest.raises(OperationError) as caught:
        await bench("file.write", [b"x"], path=path)
    assert (caught.value.code, caught.value.reason, caught.value.field) == (code, reason, "path")
    assert bench.names() == before
    assert stat.S_ISFIFO((bench.root / "fifo").stat().st_mode)
