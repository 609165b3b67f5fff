from __future__ import annotations

import asyncio
import getpass
import grp
import hashlib
import os
import socket

import pytest

from sandbox_link.protocol import Event, OperationError
from sandbox_testing.link import MemoryChannel

MIB = 1 << 20


async def test_the_info_comes_first_and_then_the_content(bench):
    (bench.root / "a.txt").write_text("hello")
    (bench.root / "a.txt").chmod(0o640)
    os.utime(bench.root / "a.txt", ns=(5, 1_700_000_000_000_000_001))
    assert await bench.read("a.txt") == b"hello"
    assert bench.channel.items[0] == Event(
        {
            "type": "info",
            "info": {
                "path": "a.txt",
                "type": "file",
                "size": 5,
                "mode": 0o640,
                "mtime_ns": 1_700_000_000_000_000_001,
                "symlink_target": "",
                "owner": getpass.getuser(),
                "group": grp.getgrgid(os.getgid()).gr_name,
            },
        }
    )


@pytest.mark.parametrize(
    ("op", "path", "code", "reason"),
    [
        ("file.read", "folder", "FAILED_PRECONDITION", "IS_A_DIRECTORY"),
        ("file.write", "folder", "FAILED_PRECONDITION", "IS_A_DIRECTORY"),
        ("file.remove", "folder", "FAILED_PRECONDITION", "IS_A_DIRECTORY"),
        ("file.read", "missing", "NOT_FOUND", "FILE_NOT_FOUND"),
        ("file.read", "missing/file", "NOT_FOUND", "FILE_NOT_FOUND"),
        ("file.list", "missing", "NOT_FOUND", "FILE_NOT_FOUND"),
        ("file.list", "file", "FAILED_PRECONDITION", "NOT_A_DIRECTORY"),
        ("file.mkdir", "file", "FAILED_PRECONDITION", "NOT_A_DIRECTORY"),
        ("file.read", "file/below", "FAILED_PRECONDITION", "NOT_A_DIRECTORY"),
        ("file.write", "file/below", "FAILED_PRECONDITION", "NOT_A_DIRECTORY"),
        ("file.read", "fifo", "FAILED_PRECONDITION", "NOT_A_FILE"),
        ("file.read", "locked", "PERMISSION_DENIED", "PERMISSION_DENIED"),
        ("file.list", "locked folder", "PERMISSION_DENIED", "PERMISSION_DENIED"),
    ],
)
async def test_a_folder_a_missing_file_and_a_missing_permission_are_told_apart(
    bench, monkeypatch, kernel, op, path, code, reason
):
    for name in ("folder", "locked folder"):
        (bench.root / name).mkdir()
    for name in ("file", "locked"):
        (bench.root / name).write_text("1")
    os.mkfifo(bench.root / "fifo")
    open_ = os.open

    def refuse(name, flags, *arguments, **named):
        if name in (b"locked", b"locked folder"):  # tests may run as root, who may read everything
            raise PermissionError(13, "Permission denied")
        return open_(name, flags, *arguments, **named)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(OperationError) as caught:
        await bench(op, [b"x"], path=path)
    assert (caught.value.code, caught.value.reason, caught.value.field) == (code, reason, "path")


async def test_owner_and_group_without_a_name_are_numbers(bench):
    (bench.root / "a").touch()
    if os.getuid() != 0:
        pytest.skip("only root may give a file away")
    os.chown(bench.root / "a", 987_654_321, 987_654_322)
    info = (await bench("file.stat", path="a"))["info"]
    assert (info["owner"], info["group"]) == ("987654321", "987654322")
    assert [(each["owner"], each["group"]) for each in await bench.list(path=".")] == [("987654321", "987654322")]


async def test_an_empty_file_has_no_data(bench):
    (bench.root / "empty").touch()
    assert await bench.read("empty") == b""
    assert len(bench.channel.items) == 1


@pytest.mark.parametrize(
    ("offset", "length", "expected"), [(0, 3, b"012"), (4, 0, b"456789"), (8, 100, b"89"), (10, 0, b""), (10, 5, b"")]
)
async def test_a_range_is_read(bench, offset, length, expected):
    (bench.root / "a").write_bytes(b"0123456789")
    assert await bench.read("/a".lstrip("/"), offset=offset, length=length) == expected


async def test_a_range_of_a_large_file_is_exact(bench):
    content = os.urandom(3 * MIB + 17)
    (bench.root / "a").write_bytes(content)
    assert await bench.read("a", offset=1, length=2 * MIB) == content[1 : 2 * MIB + 1]
    assert await bench.read("a", offset=MIB) == content[MIB:]


@pytest.mark.parametrize(
    ("arguments", "code", "field"),
    [
        ({"offset": 11}, "OUT_OF_RANGE", "offset"),
        ({"offset": -1}, "INVALID_ARGUMENT", "offset"),
        ({"length": -1}, "INVALID_ARGUMENT", "length"),
        ({"offset": "1"}, "INVALID_ARGUMENT", "offset"),
        ({"offset": True}, "INVALID_ARGUMENT", "offset"),
        ({"offset": float("nan")}, "INVALID_ARGUMENT", "offset"),
        ({"length": 1 << 63}, "INVALID_ARGUMENT", "length"),
    ],
)
async def test_a_range_out_of_bounds_is_refused_with_its_field(bench, arguments, code, field):
    (bench.root / "a").write_bytes(b"0123456789")
    with pytest.raises(OperationError) as caught:
        await bench("file.read", path="a", **arguments)
    assert (caught.value.code, caught.value.field) == (code, field)


async def test_a_missing_file_is_not_found(bench):
    with pytest.raises(OperationError) as caught:
        await bench("file.read", path="a/b")
    error = caught.value
    assert (error.code, error.reason, error.field) == ("NOT_FOUND", "FILE_NOT_FOUND", "path")


async def test_what_is_below_a_file_is_no_folder(bench):
    (bench.root / "a").touch()
    with pytest.raises(OperationError) as caught:
        await bench("file.read", path="a/b/c")
    assert caught.value.reason == "NOT_A_DIRECTORY"


@pytest.mark.timeout(10)
@pytest.mark.parametrize("op", ["file.read", "workspace.read", "workspace.hash"])
@pytest.mark.parametrize(
    ("name", "reason"), [("fifo", "NOT_A_FILE"), ("socket", "NOT_A_FILE"), ("folder", "IS_A_DIRECTORY")]
)
async def test_only_regular_files_are_opened(bench, op, name, reason):
    os.mkfifo(bench.root / "fifo")
    (bench.root / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        folder = os.open(bench.root, os.O_PATH)
        listener.bind(f"/proc/self/fd/{folder}/socket")
        os.close(folder)
        with pytest.raises(OperationError) as caught:
            await bench(op, path=name)
    assert (caught.value.code, caught.value.reason) == ("FAILED_PRECONDITION", reason)


async def test_a_slow_reader_that_is_cancelled_leaves_nothing_open(bench, open_files):
    with (bench.root / "big").open("wb") as file:
        file.truncate(20 * MIB)
    channel = MemoryChannel({"path": "big"}, window=2 * MIB)
    task = asyncio.create_task(bench.handlers["file.read"](channel))
    async with asyncio.timeout(10):
        await channel.until(4)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not open_files("big")


async def test_a_file_that_is_cut_while_it_is_read_ends_early(bench):
    content = os.urandom(8 * MIB)
    (bench.root / "big").write_bytes(content)
    channel = MemoryChannel({"path": "big"}, window=MIB)
    task = asyncio.create_task(bench.handlers["file.read"](channel))
    async with asyncio.timeout(10):
        await channel.until(2)
        os.truncate(bench.root / "big", MIB // 2)
        channel.grant(8 * MIB)
        result = await task
    sent = channel.output()
    assert result == {"bytes": len(sent)}
    assert MIB // 2 <= len(sent) < len(content)
    assert sent == content[: len(sent)]


async def test_a_hash_is_the_digest_with_a_detailed_info(bench):
    content = os.urandom(2 * MIB)
    (bench.root / "a").write_bytes(content)
    result = await bench("workspace.hash", path="a")
    status = (bench.root / "a").stat()
    assert result["sha256"] == hashlib.sha256(content).hexdigest()
    assert (result["info"]["ino"], result["info"]["ctime_ns"]) == (status.st_ino, status.st_ctime_ns)


async def test_a_read_for_storage_tells_what_the_file_was_afterwards(bench):
    (bench.root / "a").write_bytes(b"x" * MIB)
    result = await bench("workspace.read", path="a")
    info = bench.channel.events[0]["info"]
    assert result == {"bytes": MIB, "info_after": info}
    assert {"ino", "ctime_ns"} <= info.keys()


async def test_a_file_that_changes_while_it_is_read_for_storage_shows_it(bench):
    (bench.root / "a").write_bytes(b"x" * 4 * MIB)
    channel = MemoryChannel({"path": "a"}, window=MIB)
    task = asyncio.create_task(bench.handlers["workspace.read"](channel))
    async with asyncio.timeout(10):
        await channel.until(2)
        with (bench.root / "a").open("r+b") as file:
            file.write(b"changed")
        os.utime(bench.root / "a", ns=(1, 1))
        channel.grant(8 * MIB)
        result = await task
    assert result["info_after"] != channel.events[0]["info"]


@pytest.mark.parametrize("op", ["workspace.read", "workspace.hash"])
async def test_saving_never_follows_a_symlink(bench, op):
    (bench.root / "a").write_text("x")
    (bench.root / "link").symlink_to("a")
    (bench.root / "folder").mkdir()
    (bench.root / "folder" / "a").write_text("x")
    (bench.root / "way").symlink_to("folder")
    with pytest.raises(OperationError) as caught:
        await bench(op, path="link")
    assert caught.value.reason == "NOT_A_FILE"
    with pytest.raises(OperationError) as caught:
        await bench(op, path="way/a")
    assert caught.value.reason == "PATH_OUTSIDE_WORKSPACE"
