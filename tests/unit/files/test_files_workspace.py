from __future__ import annotations

import hashlib
import os
import stat
import time

import pytest

from sandbox_link.protocol import OperationError


async def test_a_scan_has_files_links_and_empty_folders_and_nothing_else(bench):
    root = bench.root
    for path in ["a/file", "b/c/file", ".hidden", "z"]:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("x")
    (root / "empty" / "inner").mkdir(parents=True)
    (root / "hard").hardlink_to(root / "z")
    (root / "link").symlink_to("/etc/passwd")
    (root / "folder link").symlink_to("b")
    (root / "only fifo").mkdir()
    os.mkfifo(root / "only fifo" / "fifo")
    entries = await bench.list("workspace.scan")
    assert sorted((entry["path"], entry["type"], entry["symlink_target"]) for entry in entries) == [
        (".hidden", "file", ""),
        ("a/file", "file", ""),
        ("b/c/file", "file", ""),
        ("empty/inner", "directory", ""),
        ("folder link", "symlink", "b"),
        ("hard", "file", ""),
        ("link", "symlink", "/etc/passwd"),
        ("only fifo", "directory", ""),
        ("z", "file", ""),
    ]
    status = (root / "z").stat()
    details = {entry["path"]: (entry["ino"], entry["ctime_ns"], entry["mtime_ns"]) for entry in entries}
    assert details["z"] == details["hard"] == (status.st_ino, status.st_ctime_ns, status.st_mtime_ns)


async def test_an_empty_workspace_has_nothing_to_save(bench):
    assert await bench.scan() == []


async def test_named_paths_are_scanned_once_each(bench):
    for path in ["a/x", "a/b/y", "c", "d/z"]:
        (bench.root / path).parent.mkdir(parents=True, exist_ok=True)
        (bench.root / path).touch()
    (bench.root / "empty").mkdir()
    (bench.root / "link").symlink_to("d")
    found = await bench.scan(paths=["a/b", "./a", "c", "c", "empty", "link"])
    assert found == ["a/b/y", "a/x", "c", "empty", "link"]
    assert await bench.scan(paths=["a", "."]) == await bench.scan()


async def test_a_named_path_that_is_missing_is_not_found_by_its_name(bench):
    with pytest.raises(OperationError) as caught:
        await bench.scan(paths=["a/b"])
    assert (caught.value.code, caught.value.field) == ("NOT_FOUND", "paths")
    (bench.root / "a").mkdir()
    with pytest.raises(OperationError) as caught:
        await bench.scan(paths=["a/b"])
    assert "'a/b'" in caught.value.message


async def test_what_is_excluded_is_left_out_with_all_below_it(bench):
    for path in ["a.py", "a.pyc", "node_modules/x/y.js", "s/node_modules/z", "s/keep", "build/out/x", "s/build/x"]:
        (bench.root / path).parent.mkdir(parents=True, exist_ok=True)
        (bench.root / path).touch()
    exclude = ["*.pyc", "node_modules", "build/out"]
    assert await bench.scan(exclude=exclude) == ["a.py", "build", "s/build/x", "s/keep"]
    assert await bench.scan(exclude=exclude, paths=["s/node_modules/z", "s/keep"]) == ["s/keep"]


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"exclude": [""]}, "exclude"),
        ({"exclude": "x"}, "exclude"),
        ({"exclude": ["x"] * 1001}, "exclude"),
        ({"paths": [5]}, "paths"),
        ({"paths": ["../x"]}, "paths"),
    ],
)
async def test_an_argument_out_of_bounds_is_refused_with_its_field(bench, arguments, field):
    with pytest.raises(OperationError) as caught:
        await bench("workspace.scan", **arguments)
    assert (caught.value.code, caught.value.field) == ("INVALID_ARGUMENT", field)


async def test_a_folder_that_may_not_be_read_is_left_out_by_name(bench, monkeypatch):
    (bench.root / "a" / "locked").mkdir(parents=True)
    (bench.root / "b").write_text("b")
    open_ = os.open

    def refuse(path, flags, *arguments, **named):
        if path == b"locked":
            raise PermissionError(13, "Permission denied")
        return open_(path, flags, *arguments, **named)

    monkeypatch.setattr(os, "open", refuse)
    found, left_out = await bench.scan_all()
    assert found == ["b"]
    assert list(left_out) == ["a/locked"]
    assert left_out["a/locked"].startswith("PERMISSION_DENIED: ")
    assert await bench.scan(exclude=["locked"]) == ["a", "b"]
    assert [entry["path"] for entry in await bench.list(path=".", depth=9)] == ["a", "a/locked", "b"]


async def test_a_file_is_restored_as_it_was(bench):
    arguments = {"path": "a/b", "mode": 0o750, "mtime_ns": 1_600_000_000_123_456_789, "type": "file"}
    digest = hashlib.sha256(b"content").hexdigest()
    result = await bench("workspace.write", [b"con", b"tent"], **arguments, sha256=digest)
    status = (bench.root / "a" / "b").stat()
    assert result == {
        "sha256": digest,
        "info": {
            "path": "a/b",
            "type": "file",
            "size": 7,
            "mode": 0o750,
            "mtime_ns": 1_600_000_000_123_456_789,
            "symlink_target": "",
            "ino": status.st_ino,
            "ctime_ns": status.st_ctime_ns,
        },
    }
    assert (bench.root / "a" / "b").read_bytes() == b"content"


async def test_a_restored_file_is_not_held_to_the_size_limit_but_to_its_digest(bench, limits):
    limits.file_bytes = 1
    await bench("workspace.write", [b"content"], path="a")
    with pytest.raises(OperationError) as caught:
        await bench("workspace.write", [b"other"], path="a", sha256="0" * 64)
    assert (caught.value.code, caught.value.reason) == ("DATA_LOSS", "DIGEST_MISMATCH")
    assert (bench.root / "a").read_bytes() == b"content"
    assert bench.names() == ["a"]


async def test_bits_beyond_permissions_are_not_restored(bench):
    await bench("workspace.write", [b"x"], path="a", mode=0o6755)
    assert stat.S_IMODE((bench.root / "a").stat().st_mode) == 0o755


async def test_a_link_is_restored_as_a_link_over_what_was_there(bench):
    (bench.root / "a").write_text("x")
    for target in ("b", "/etc/passwd", "\udcff"):
        result = await bench("workspace.write", path="a", type="symlink", symlink_target=target, mtime_ns=10**18)
        assert (result["info"]["type"], result["info"]["symlink_target"]) == ("symlink", target)
        assert result["info"]["mtime_ns"] == 10**18
    assert bench.names() == ["a"]


async def test_a_time_before_1970_makes_the_round_trip(bench):
    (bench.root / "a").touch()
    os.utime(bench.root / "a", ns=(0, -1_500_000_000))
    mtime = (await bench.list("workspace.scan"))[0]["mtime_ns"]
    await bench("workspace.write", [b"x"], path="b", mtime_ns=mtime)
    assert (bench.root / "b").stat().st_mtime_ns == -1_500_000_000


async def test_a_scan_removes_what_a_killed_runtime_left_half_written_an_hour_ago(bench):
    left, writing = bench.root / ".0123456789abcdef.sandbox-part", bench.root / ".ffffffffffffffff.sandbox-part"
    for part in (left, writing):
        part.touch()
    hours_ago = time.time() - 2 * 3600
    os.utime(left, (hours_ago, hours_ago))
    assert await bench.scan() == []
    assert bench.names() == [writing.name]


async def test_an_empty_folder_is_restored_with_mode_and_time(bench):
    for _ in range(2):
        result = await bench("workspace.write", path="a/b", type="directory", mode=0o700, mtime_ns=10**18)
        info = result["info"]
        assert (info["type"], info["mode"], info["mtime_ns"]) == ("directory", 0o700, 10**18)


@pytest.mark.parametrize(
    ("arguments", "code", "field"),
    [
        ({"type": "device"}, "INVALID_ARGUMENT", "type"),
        ({"type": "symlink"}, "INVALID_ARGUMENT", "symlink_target"),
        ({"type": "symlink", "symlink_target": "a\0"}, "INVALID_ARGUMENT", "symlink_target"),
        ({"type": "symlink", "symlink_target": "a" * 5000}, "INVALID_ARGUMENT", "symlink_target"),
        ({"type": "symlink", "symlink_target": "a", "path": "folder"}, "FAILED_PRECONDITION", "path"),
        ({"type": "directory", "path": "file"}, "FAILED_PRECONDITION", "path"),
        ({"type": "file", "path": "folder"}, "FAILED_PRECONDITION", "path"),
        ({"type": "file", "path": "link/x"}, "INVALID_ARGUMENT", "path"),
        ({"type": "file", "path": "."}, "FAILED_PRECONDITION", "path"),
        ({"mtime_ns": 1 << 64}, "INVALID_ARGUMENT", "mtime_ns"),
        ({"mode": 1 << 20}, "INVALID_ARGUMENT", "mode"),
        ({"path": "../x"}, "INVALID_ARGUMENT", "path"),
    ],
)
async def test_an_entry_of_a_poisoned_manifest_is_refused(bench, arguments, code, field):
    (bench.root / "folder").mkdir()
    (bench.root / "file").touch()
    (bench.root / "link").symlink_to("folder")
    before = bench.names()
    with pytest.raises(OperationError) as caught:
        await bench("workspace.write", [b"x"], **{"path": "a", **arguments})
    assert (caught.value.code, caught.value.field) == (code, field)
    assert bench.names() == before
