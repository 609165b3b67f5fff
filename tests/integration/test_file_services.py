"""Searching, watching and whole folders, through a local session for real."""

import random
import threading

import pytest

from sandbox_client import FailedPrecondition, InvalidArgument, NotFound, Sandbox


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox.local() as sandbox:
        yield sandbox


def test_names_and_lines_are_found(sandbox):
    sandbox.files.write("find/a.py", "x = 1\nneedle = 2\n")
    sandbox.files.write("find/deep/b.txt", "needle\n")
    assert [info.path for info in sandbox.files.find("*.py", "find").matches] == ["find/a.py"]
    report = sandbox.files.grep("^needle", "find")
    assert [(match.path, match.line, match.text) for match in report.matches] == [
        ("find/a.py", 2, "needle = 2"),
        ("find/deep/b.txt", 1, "needle"),
    ]
    assert (report.files, report.limit) == (2, "")


def test_a_pattern_that_never_ends_holds_up_nobody(sandbox):
    sandbox.files.write("bomb/file", "a" * 64 + "!")
    report = sandbox.files.grep("(a|a)*$", "bomb", timeout=0.5)
    assert (report.matches, report.limit) == ((), "timeout")
    assert sandbox.run_code("1 + 1").text == "2"


def test_what_is_wrong_with_a_search_is_named(sandbox):
    with pytest.raises(InvalidArgument) as caught:
        sandbox.files.grep("(")
    assert caught.value.field == "content_pattern"
    with pytest.raises(InvalidArgument) as caught:
        sandbox.files.find("x", timeout=301)
    assert caught.value.field == "timeout"
    with pytest.raises(NotFound):
        sandbox.files.find("x", "missing")
    with pytest.raises(NotFound):
        list(sandbox.files.watch("missing"))


def test_what_code_writes_is_told_to_a_watcher(sandbox):
    sandbox.files.make_directory("seen")
    ready, told = threading.Event(), []

    def watch():
        for change in sandbox.files.watch("seen", on_ready=ready.set):
            told.append((change.change, change.path))
            if change.path == "seen/last":
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert ready.wait(30)
    sandbox.run_code("import os; os.makedirs('seen/deep'); open('seen/deep/f', 'w').write('1'); open('seen/last', 'w')")
    watcher.join(30)
    assert {("added", "seen/deep"), ("added", "seen/deep/f"), ("added", "seen/last")} <= set(told)


def test_a_folder_of_many_small_files_goes_there_and_back(sandbox, tmp_path):
    contents = {f"{number % 7}/file-{number}": bytes([number % 251]) * 4096 for number in range(120)}
    for name, content in contents.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(content)
    assert sandbox.files.upload_tree(tmp_path / "in", "tree").files == 120
    report = sandbox.files.download_tree("tree", tmp_path / "out")
    assert (report.files, report.bytes) == (120, 120 * 4096)
    found = {str(path.relative_to(tmp_path / "out")): path for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert {name: path.read_bytes() for name, path in found.items()} == contents


def test_a_file_of_many_chunks_goes_there_and_back_whole_and_in_parts(sandbox, tmp_path):
    content = random.Random(0).randbytes((5 << 20) + 3)
    (tmp_path / "in").write_bytes(content)
    assert sandbox.files.upload(tmp_path / "in", "large/file").size == len(content)
    assert sandbox.files.download("large/file", tmp_path / "out").read_bytes() == content
    assert sandbox.files.read("large/file", offset=3, length=2 << 20) == content[3 : 3 + (2 << 20)]
    assert b"".join(sandbox.files.stream("large/file", offset=1 << 20)) == content[1 << 20 :]
    sandbox.files.write("large/again", content)
    assert sandbox.files.read("large/again") == content


def test_a_file_is_written_from_pieces_of_any_size(sandbox):
    pieces = [b"", b"x" * 3_000_000, b"y", b"z" * 1_048_577]
    info = sandbox.files.write_stream("pieces/file", iter(pieces), mode=0o600)
    assert (info.size, info.mode & 0o777) == (sum(map(len, pieces)), 0o600)
    assert sandbox.files.read("pieces/file") == b"".join(pieces)

    async def chunks():
        for piece in pieces:
            yield piece

    assert sandbox.files.write_stream("pieces/file", chunks()).size == info.size
    assert sandbox.files.write_stream("pieces/empty", []).size == 0


def test_pieces_that_fail_write_nothing_and_raise_their_own_error(sandbox):
    sandbox.files.write("pieces/kept", "before")

    def chunks():
        yield b"after"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        sandbox.files.write_stream("pieces/kept", chunks())
    assert sandbox.files.read("pieces/kept") == b"before"
    with pytest.raises(FailedPrecondition):
        sandbox.files.write_stream("pieces", [b"x"])
