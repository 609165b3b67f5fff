"""Folders with one unusual file: it is copied, or named with the reason, and the others arrive. Execute bits stay."""

import errno
import os
import socket
import subprocess
import sys
import unicodedata
from pathlib import Path

from sandbox_client import FileFailure
from sandbox_client.transfer import folders

ODD = [
    "new\nline",
    "back\\slash",
    "tab\there",
    "-rf",
    "--help",
    " leading and trailing ",
    "quote'\"`$(date)",
    "\u202egnp.exe",
    "\x1b[31mred",
    "x" * 255,
    "\u4e2d" * 85,
    unicodedata.normalize("NFC", "\u00e9te"),
    unicodedata.normalize("NFD", "\u00e9te"),
    "Case",
    "case",
    "CON",
    "aux.txt",
    "a:b|c?*<>",
    ".hidden",
    "...",
    "~",
    "%41%2f",
    "deep " * 10 + "/" + "deeper\n" * 20 + "/file",
    r"\udcff as text",
]


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def create_non_unicode(folder, name):
    Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_text("")


def test_unusual_names_go_there_and_back(sandbox, tmp_path):
    expected = {name: name.encode() for name in ODD}
    for name, content in expected.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(content)
    report = sandbox.files.upload_tree(tmp_path / "in", "odd")
    assert (report.files, report.skipped, report.failed) == (len(ODD), (), ())
    report = sandbox.files.download_tree("odd", tmp_path / "out")
    assert (report.files, report.skipped, report.failed) == (len(ODD), (), ())
    assert contents(tmp_path / "out") == expected
    for name in ODD:
        assert sandbox.files.read(f"odd/{name}") == name.encode()


def test_names_that_are_not_utf_8_are_named_and_the_others_are_uploaded(sandbox, tmp_path):
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    (folder / "ok").write_text("1")
    (folder / "sub" / "ok").write_text("2")
    create_non_unicode(folder, b"bad\xff")
    report = sandbox.files.upload_tree(folder, "some")
    assert (report.files, report.bytes) == (2, 2)
    assert report.failed == (FileFailure("bad\\udcff", "its name is not valid Unicode: rename it"),)


def test_names_that_are_not_utf_8_are_named_and_the_others_are_downloaded(sandbox, tmp_path):
    assert sandbox.run(
        r"""mkdir -p bad; cd bad; echo 1 >ok; echo 2 >$'no\xff'; mkdir $'d\xfe'; echo 3 >$'d\xfe/in'"""
    ).ok
    report = sandbox.files.download_tree("bad", tmp_path / "out")
    assert contents(tmp_path / "out") == {"ok": b"1\n"}
    assert names(tmp_path / "out") == ["ok"]
    assert (report.files, report.bytes) == (1, 2)
    reason = "its name is not UTF-8: rename it in the sandbox"
    assert set(report.failed) == {FileFailure("bad/no\\udcff", reason), FileFailure("bad/d\\udcfe", reason)}


def test_special_files_are_skipped_by_name_on_both_sides(sandbox, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "ok").write_text("1")
    (folder / "link").symlink_to("ok")
    (folder / "dangling").symlink_to("nowhere")
    (folder / "loop").symlink_to(".")
    os.mkfifo(folder / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(folder / "sock"))
    special = ("dangling", "fifo", "link", "loop", "sock")
    report = sandbox.files.upload_tree(folder, "special")
    assert (report.files, report.skipped, report.failed) == (1, special, ())
    code = (
        "import os, socket; os.chdir('special'); os.mkfifo('fifo'); s = socket.socket(socket.AF_UNIX); s.bind('sock')"
    )
    assert sandbox.run(["python", "-c", code]).ok
    assert sandbox.run("cd special; ln -s ok link; ln -s nowhere dangling; ln -s . loop").ok
    report = sandbox.files.download_tree("special", tmp_path / "out")
    assert (report.files, report.failed) == (1, ())
    assert sorted(report.skipped) == [f"special/{name}" for name in special]
    assert names(tmp_path / "out") == ["ok"]


def test_execute_bits_stay_and_the_umask_counts(sandbox, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name, size, mode in (("run.sh", 9, 0o755), ("own", 9, 0o700), ("data", 9, 0o644), ("large", 2 << 20, 0o755)):
        (folder / name).write_bytes(bytes(size))
        (folder / name).chmod(mode)
    sandbox.files.upload_tree(folder, "modes")
    listed = {info.path: info.mode for info in sandbox.files.list("modes")}
    assert listed == {"modes/run.sh": 0o755, "modes/own": 0o700, "modes/data": 0o644, "modes/large": 0o755}
    before = os.umask(0o027)
    try:
        sandbox.files.download_tree("modes", tmp_path / "out")
        single = sandbox.files.download("modes/run.sh", tmp_path / "single")
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "out").iterdir()}
    assert modes == {"run.sh": 0o750, "own": 0o750, "data": 0o640, "large": 0o750}
    assert single.stat().st_mode & 0o777 == 0o750


def test_a_file_that_cannot_be_read_is_named_and_the_others_are_sent(sandbox, tmp_path, monkeypatch):
    for name in "abc":
        (tmp_path / name).write_text(name)

    def read(path):
        if path.name == "b":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return path.read_bytes(), 0o644

    monkeypatch.setattr(folders, "read_small", read)
    report = sandbox.files.upload_tree(tmp_path, "unread")
    assert (report.files, report.failed) == (2, (FileFailure("b", "Permission denied (on this machine)"),))


def test_what_is_in_the_way_costs_that_file_or_folder_only(sandbox, tmp_path):
    assert sandbox.run(
        "mkdir -p way/folder/sub way/file; cd way; echo 1 >folder/a; echo 2 >folder/sub/b; echo 3 >ok"
    ).ok
    (tmp_path / "ok").mkdir()
    (tmp_path / "folder").write_text("a file")
    report = sandbox.files.download_tree("way", tmp_path)
    assert {failure.path: failure.reason for failure in report.failed} == {
        "way/folder": "File exists (on this machine)",
        "way/ok": "Is a directory (on this machine)",
    }
    assert names(tmp_path) == ["file", "folder", "ok"]
    up = tmp_path / "up"
    (up / "file").mkdir(parents=True)
    (up / "file" / "x").write_text("1")
    (up / "good").write_text("1")
    sandbox.files.write("target/file", "a file where the folder would be")
    report = sandbox.files.upload_tree(up, "target")
    assert report.files == 1
    assert [failure.path for failure in report.failed] == ["file/x"]
    assert sandbox.files.read("target/good") == b"1"


def test_the_command_names_what_it_did_not_copy_and_exits_with_1(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))

    def run(*words):
        command = [sys.executable, "-m", "sandbox_client", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=120)

    folder = tmp_path / "-in"
    folder.mkdir()
    (folder / "ok\nname").write_text("1")
    (folder / "run").write_text("#!/bin/sh")
    (folder / "run").chmod(0o755)
    create_non_unicode(folder, b"\x1b\xff")
    assert run("create", "--local", "odd-names").returncode == 0
    try:
        done = run("files", "put", "--session", "local/odd-names", "-r", "--", "-in", "-there")
        assert done.returncode == 1
        assert "-there: 2 files" in done.stdout
        assert "not copied: \\x1b\\udcff: its name is not valid Unicode: rename it" in done.stderr
        done = run("files", "get", "--session", "local/odd-names", "-r", "--", "-there", "back")
        assert (done.returncode, "2 files" in done.stdout) == (0, True)
        assert names(tmp_path / "back") == ["ok\nname", "run"]
        assert os.access(tmp_path / "back" / "run", os.X_OK)
        assert not os.access(tmp_path / "back" / "ok\nname", os.X_OK)
    finally:
        run("delete", "local/odd-names")
