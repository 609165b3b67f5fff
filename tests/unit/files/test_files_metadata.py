"""The metadata of files: extended attributes that writes set, and that infos show."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import pytest

from sandbox_link.protocol import OperationError
from sandbox_runtime.files import build_handlers

METADATA = {"source": "crm", "größe": "groß", "empty": ""}


async def test_what_a_write_sets_is_in_every_info(bench):
    written = await bench("file.write", [b"1"], path="a/f", metadata=METADATA)
    assert written["info"]["metadata"] == METADATA
    assert os.getxattr(bench.root / "a/f", "user.größe").decode() == "groß"
    assert (await bench("file.stat", path="a/f"))["info"]["metadata"] == METADATA
    entries = await bench.list(path=".", depth=2)
    assert [entry.get("metadata") for entry in entries] == [None, METADATA]
    await bench.read("a/f")
    assert bench.channel.items[0].value["info"]["metadata"] == METADATA
    assert (await bench("file.move", source="a/f", destination="g"))["info"]["metadata"] == METADATA
    assert (await bench("workspace.hash", path="g"))["info"]["metadata"] == METADATA
    for tops in ([], ["g"]):
        scanned = await bench.list("workspace.scan", paths=tops)
        assert [entry.get("metadata") for entry in scanned if entry["path"] == "g"] == [METADATA]


async def test_a_write_keeps_the_metadata_of_the_replaced_file_or_replaces_all_of_it(bench):
    await bench("file.write", [b"1"], path="f", metadata={"a": "1", "b": "2"})
    assert (await bench("file.write", [b"2"], path="f"))["info"]["metadata"] == {"a": "1", "b": "2"}
    assert (await bench("file.write", [b"3"], path="f", metadata={"c": "3"}))["info"]["metadata"] == {"c": "3"}


async def test_a_change_of_metadata_alone_is_found_by_the_next_scan(bench):
    (bench.root / "f").write_text("1")
    token = (await bench("workspace.scan", since=""))["token"]
    assert (await bench("workspace.scan", since=token))["is_difference"]
    assert bench.channel.events == []
    os.setxattr(bench.root / "f", "user.a", b"1")
    scanned = await bench.list("workspace.scan", since=(await bench("workspace.scan", since=""))["token"])
    assert scanned == []
    token = (await bench("workspace.scan", since=""))["token"]
    os.setxattr(bench.root / "f", "user.a", b"2")
    assert [entry["metadata"] for entry in await bench.list("workspace.scan", since=token)] == [{"a": "2"}]


async def test_a_restored_file_has_its_metadata_and_no_other(bench):
    await bench("file.write", [b"1"], path="f", metadata={"old": "1"})
    restored = await bench("workspace.write", [b"2"], path="f", type="file", metadata={"new": "2"})
    assert restored["info"]["metadata"] == {"new": "2"}
    assert "metadata" not in (await bench("workspace.write", [b"3"], path="f", type="file"))["info"]


@pytest.fixture
def plain_bench(bench):
    """Runs the handlers without root's rights, as the runtime runs."""
    with tempfile.TemporaryDirectory() as folder:
        bench.root = Path(folder) / "workspace"
        bench.root.mkdir()
        bench.handlers = build_handlers(bench.root, bench.limits)
        user = os.geteuid()
        if user == 0:
            os.chown(folder, 65534, -1)
            os.chown(bench.root, 65534, -1)
            os.seteuid(65534)
        try:
            yield bench
        finally:
            os.seteuid(user)


@pytest.mark.parametrize("mode", [0o444, 0o555, 0o400])
async def test_a_read_only_file_has_its_metadata_after_a_restore_and_after_each_write(plain_bench, mode):
    bench = plain_bench
    await bench("workspace.write", [b"1"], path="f", type="file", mode=mode, metadata={"a": "1"})
    found = (await bench("file.stat", path="f"))["info"]
    assert (found.get("metadata"), found["mode"]) == ({"a": "1"}, mode)
    assert (await bench("file.write", [b"2"], path="f"))["info"]["metadata"] == {"a": "1"}
    written = (await bench("file.write", [b"3"], path="f", metadata={"b": "2"}))["info"]
    assert (written["metadata"], written["mode"]) == ({"b": "2"}, mode)


async def test_attributes_that_are_no_small_texts_are_left_out(bench):
    file = bench.root / "f"
    file.touch()
    os.setxattr(file, "user.binary", b"\xff\xfe")
    os.setxattr(file, "user.nul", b"a\0b")
    os.setxattr(file, "user.text", b"1")
    assert (await bench("file.stat", path="f"))["info"]["metadata"] == {"text": "1"}
    for number in range(80):
        os.setxattr(file, f"user.a{number:02}", b"x")
    found = (await bench("file.stat", path="f"))["info"]["metadata"]
    assert list(found) == [f"a{number:02}" for number in range(64)]


async def test_a_symlink_never_shows_the_metadata_of_its_target(bench):
    secret = bench.root.parent / "outside" / "secret"
    os.setxattr(secret, "user.key", b"secret")
    (bench.root / "link").symlink_to(secret)
    assert "metadata" not in (await bench("file.stat", path="link"))["info"]
    assert "metadata" not in (await bench.list(path="."))[0]


@pytest.mark.parametrize(
    "metadata",
    [
        [],
        {"a": 1},
        {"": "1"},
        {"a" * 201: "1"},
        {"a\0": "1"},
        {"a": "\0"},
        {"a": "\ud800"},
        {str(number): "" for number in range(65)},
        {"a": "x" * 3000},
    ],
)
async def test_metadata_out_of_bounds_is_refused_and_left_out_of_restored_files(bench, metadata):
    with pytest.raises(OperationError) as caught:
        await bench("file.write", [b"1"], path="f", metadata=metadata)
    assert (caught.value.code, caught.value.field) == ("INVALID_ARGUMENT", "metadata")
    assert bench.names() == []
    # A stored file is restored without it.
    restored = await bench("workspace.write", [b"1"], path="f", type="file", metadata=metadata)
    assert "metadata" not in restored["info"]
    assert (bench.root / "f").read_bytes() == b"1"


async def test_a_file_system_without_metadata_refuses_it_but_keeps_restored_files(bench, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(os, "setxattr", refuse)
    with pytest.raises(OperationError) as caught:
        await bench("file.write", [b"1"], path="f", metadata={"a": "1"})
    assert (caught.value.code, caught.value.reason) == ("FAILED_PRECONDITION", "NO_METADATA")
    assert bench.names() == []
    await bench("workspace.write", [b"1"], path="f", type="file", metadata={"a": "1"})
    assert (bench.root / "f").read_text() == "1"


async def test_pages_end_early_where_files_have_much_metadata(bench):
    for number in range(200):
        await bench("file.write", [b"1"], path=f"{number:03}", metadata={"a": "x" * 2900})
    token, found, pages = "", [], 0
    while pages == 0 or token:
        page = await bench("file.list", path=".", page_size=1000, page_token=token)
        found += [entry["path"] for event in bench.channel.events for entry in event["entries"]]
        token, pages = page["next_page_token"], pages + 1
    assert found == [f"{number:03}" for number in range(200)]
    assert pages == 3
