"""Files, workspace and contexts against the scripted agent."""

import datetime as dt
import errno
import os
import types
import unicodedata

import pytest

from sandbox_client import (
    Conflict,
    Context,
    DataCorrupted,
    FileFailure,
    FileInfo,
    InvalidArgument,
    LineMatch,
    NotFound,
    Progress,
    PushReport,
    SandboxError,
    SearchReport,
    WorkspaceStatus,
)
from sandbox_client.transfer import folders
from sandbox_client.transfer.local_tree import distinguishes_case, find_collisions, local_name_problem

CONTENTS = {
    "empty": b"",
    "binary": bytes(range(256)) * 3,
    "text": "Grüße, 世界\r\n\0\\'\"".encode(),
    "larger than a message": b"0123456789abcdef" * (5 << 16),
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
async def test_what_is_written_is_read_back(sandbox, content):
    info = await sandbox.files.write("a/b.bin", content)
    assert info == FileInfo("a/b.bin", "file", len(content), 0o644)
    assert await sandbox.files.read("a/b.bin") == content


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
async def test_an_upload_and_a_download_keep_every_byte(sandbox, tmp_path, content):
    (tmp_path / "source").write_bytes(content)
    sent, received = [], []
    await sandbox.files.upload(tmp_path / "source", "there", on_progress=lambda *at: sent.append(at))
    local = await sandbox.files.download("there", tmp_path / "target", on_progress=lambda *at: received.append(at))
    assert local.read_bytes() == content
    if content:
        assert sent[-1] == received[-1] == (len(content), len(content))


async def test_text_is_utf_8(agent, sandbox):
    await sandbox.files.write("t", "ü\n")
    assert agent.files["t"] == "ü\n".encode()
    assert await sandbox.files.read_text("t") == "ü\n"


async def test_a_range_can_be_read(agent, sandbox):
    agent.files["r"] = b"0123456789"
    assert await sandbox.files.read("r", offset=3, length=4) == b"3456"


async def test_a_download_that_fails_leaves_the_old_file_and_nothing_else(sandbox, tmp_path):
    (tmp_path / "kept").write_text("old")
    with pytest.raises(NotFound):
        await sandbox.files.download("missing", tmp_path / "kept")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("kept", "old")]


async def test_a_download_into_a_folder_keeps_its_name(agent, sandbox, tmp_path):
    agent.files["deep/name.txt"] = b"x"
    assert await sandbox.files.download("deep/name.txt", tmp_path) == tmp_path / "name.txt"


async def test_an_upload_whose_digest_differs_is_reported(sandbox, tmp_path, monkeypatch):
    (tmp_path / "f").write_bytes(b"data")
    monkeypatch.setattr("sandbox_client.transfer.files.hashlib", types.SimpleNamespace(sha256=FixedDigest))
    with pytest.raises(DataCorrupted):
        await sandbox.files.upload(tmp_path / "f")


class FixedDigest:
    def update(self, _data):
        pass

    def hexdigest(self):
        return "0" * 64


async def test_a_listing_follows_every_page(agent, sandbox):
    agent.files = {f"f{number}": b"" for number in range(5)}
    assert [entry.path for entry in await sandbox.files.list()] == ["f0", "f1", "f2", "f3", "f4"]


async def test_existence_is_asked_without_an_error(agent, sandbox):
    agent.files["a"] = b""
    assert (await sandbox.files.exists("a"), await sandbox.files.exists("b")) == (True, False)


async def test_a_move_onto_a_file_is_a_conflict_that_names_it(agent, sandbox):
    agent.files = {"a": b"1", "b": b"2"}
    with pytest.raises(Conflict) as caught:
        await sandbox.files.move("a", "b")
    assert caught.value.field == "destination"
    await sandbox.files.move("a", "b", overwrite=True)
    await sandbox.files.remove("b")
    assert agent.files == {}


async def test_a_push_reports_what_is_saved_and_what_is_not(agent, sandbox):
    agent.files["a"] = b"1"
    told = []
    report = await sandbox.workspace.push(["a", "b"], on_progress=told.append)
    assert report == PushReport(1, 1, 1, 0, (FileFailure("b", "not there"),))
    assert told == [Progress(files_done=1, files_total=1)]
    assert await sandbox.workspace.read("code-interpreter/a") == b"1"


async def test_the_workspaces_status_has_times_with_a_zone(sandbox):
    assert await sandbox.workspace.status() == WorkspaceStatus(
        generation=1, files=0, bytes=0, synced_at=dt.datetime(2026, 1, 2, tzinfo=dt.UTC), dirty=True, last_error=""
    )


async def test_contexts_are_made_listed_and_interrupted(sandbox):
    assert await sandbox.contexts.create("typescript", cwd="sub") == Context("c1", "typescript", "sub")
    assert await sandbox.contexts.list() == [Context("python", "python")]
    assert await sandbox.contexts.interrupt("python") is True


async def test_a_search_reports_matches_and_what_it_went_through(agent, sandbox):
    agent.files.update({"a.txt": b"one\ntwo\n", "b.py": b"two\n"})
    found = await sandbox.files.find("*.py")
    assert [info.path for info in found.matches] == ["b.py"]
    assert await sandbox.files.grep("two", literal=True) == SearchReport(
        (LineMatch("a.txt", 2, "two"), LineMatch("b.py", 1, "two")), files=2
    )


async def test_a_watch_tells_when_it_is_in_force_and_then_changes(agent, sandbox):
    agent.changes = [("added", "a"), ("modified", "a")]
    ready = []
    changes = [change async for change in sandbox.files.watch(on_ready=lambda: ready.append(1))]
    assert (ready, [(change.change, change.path) for change in changes]) == ([1], [("added", "a"), ("modified", "a")])


async def test_a_path_that_is_no_text_is_refused_by_field(sandbox):
    with pytest.raises(InvalidArgument) as caught:
        await sandbox.files.write("\udcff", b"")
    assert caught.value.field == "path"
    with pytest.raises(InvalidArgument) as caught:
        await sandbox.files.move("a", "\udcff")
    assert caught.value.field == "destination"


async def test_a_folder_of_small_and_large_files_goes_there_and_back_with_progress(agent, sandbox, tmp_path):
    (tmp_path / "in").mkdir()
    contents = {"small": b"1", "empty": b"", "large": bytes(3 << 20)}
    for name, content in contents.items():
        (tmp_path / "in" / name).write_bytes(content)
    told = []
    report = await sandbox.files.upload_tree(tmp_path / "in", "d", on_progress=lambda *at: told.append(at))
    assert (report.files, report.bytes, told[-1]) == (3, (3 << 20) + 1, ((3 << 20) + 1, (3 << 20) + 1))
    assert agent.files == {f"d/{name}": content for name, content in contents.items()}
    await sandbox.files.download_tree("d", tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == contents


async def test_a_hostile_name_is_not_fetched_to_a_place_outside(agent, sandbox, tmp_path):
    agent.files |= {"../evil": b"1", "good": b"2"}
    report = await sandbox.files.download_tree(".", tmp_path / "out")
    assert [failure.path for failure in report.failed] == ["../evil"]
    assert "cannot be the name of a local file" in report.failed[0].reason
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "good"]


async def test_an_error_that_concerns_every_file_is_raised(agent, sandbox, tmp_path, monkeypatch):
    agent.files |= {"a": b"1", "b": b"2"}

    def fail(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(folders, "write_small", fail)
    with pytest.raises(OSError, match="No space left"):
        await sandbox.files.download_tree(".", tmp_path / "out")
    with pytest.raises(NotADirectoryError, match="is not a folder"):
        await sandbox.files.upload_tree(tmp_path / "none")


async def test_a_folder_that_may_not_be_read_is_named(sandbox, tmp_path, monkeypatch):
    async def list_(path, *, depth=1):
        if path == "d/closed":
            raise SandboxError("no", reason="PERMISSION_DENIED")
        assert depth > 1
        return [FileInfo("d/closed", "directory", mode=0), FileInfo("d/open", "directory", mode=0o755)]

    monkeypatch.setattr(sandbox.files, "list", list_)
    report = await sandbox.files.download_tree("d", tmp_path / "out")
    assert report.failed == (FileFailure("d/closed", "it may not be read in the sandbox"),)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["open"]


@pytest.mark.parametrize(
    "name", ["CON", "con.txt", "a/LPT1", "a:b", "back\\slash", "question?", "line\nbreak", "dot.", "space ", "x\0y"]
)
def test_names_that_windows_does_not_allow_are_refused_there(name):
    assert local_name_problem(name, is_windows=True)
    assert bool(local_name_problem(name, is_windows=False)) == ("\0" in name)


@pytest.mark.parametrize("name", ["../a", "a/../b", "/a", "a//b", ".", "a/."])
def test_names_that_leave_the_folder_are_refused_everywhere(name):
    assert local_name_problem(name, is_windows=False) == "it cannot be the name of a local file"


def test_names_that_differ_in_case_or_accents_alone_collide_where_that_does_not_count(tmp_path):
    nfc, nfd = unicodedata.normalize("NFC", "d/\u00e9"), unicodedata.normalize("NFD", "D/\u00e9")
    assert find_collisions(["A", "b", "a", nfc, nfd, "ss"]) == {"a": "A", nfd: nfc}
    assert distinguishes_case(tmp_path) == ((tmp_path / "x").write_text("") == 0 and not (tmp_path / "X").exists())
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
